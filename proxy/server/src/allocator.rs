//! The process's allocator.

use std::{
    alloc::{GlobalAlloc, Layout},
    ffi::c_void,
};

use libmimalloc_sys::{
    mi_free, mi_malloc, mi_malloc_aligned, mi_realloc, mi_realloc_aligned, mi_zalloc, mi_zalloc_aligned,
};

/// mimalloc: exchanges allocate and free many small things on one thread, what it is made for. It is asked for an
/// alignment only where that is out of the ordinary, since it then takes a longer way and more memory
/// for every size that is no power of two.
pub struct Mimalloc;

/// What memory is aligned to that was asked for without a word on it, as with C's `malloc`: to this, or to the
/// power of two that is not above its size.
const ORDINARY: usize = 16;

fn is_ordinary(layout: Layout) -> bool {
    layout.align() <= ORDINARY && layout.align() <= layout.size()
}

// SAFETY: all of it is passed on to mimalloc, which keeps to the contract for sizes and alignments alike, and
// `is_ordinary` says where its plain functions align enough. Any of its functions frees and
// resizes what any other has given.
unsafe impl GlobalAlloc for Mimalloc {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size and any power of two will do.
        let given = unsafe {
            match is_ordinary(layout) {
                true => mi_malloc(layout.size()),
                false => mi_malloc_aligned(layout.size(), layout.align()),
            }
        };
        given.cast()
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        let given = unsafe {
            match is_ordinary(layout) {
                true => mi_zalloc(layout.size()),
                false => mi_zalloc_aligned(layout.size(), layout.align()),
            }
        };
        given.cast()
    }

    #[inline]
    unsafe fn dealloc(&self, given: *mut u8, _: Layout) {
        // SAFETY: the caller says that it is ours.
        unsafe { mi_free(given.cast::<c_void>()) }
    }

    #[inline]
    unsafe fn realloc(&self, given: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let given = given.cast::<c_void>();
        // SAFETY: the caller says that it is ours and was aligned so.
        let moved = unsafe {
            match layout.align() <= ORDINARY && layout.align() <= size {
                true => mi_realloc(given, size),
                false => mi_realloc_aligned(given, size, layout.align()),
            }
        };
        moved.cast()
    }
}
