//! Memory that the allocator keeps in case it is needed again.

/// Give it back to the system, as far as this thread has it. The allocator does so by itself only on the
/// way to further allocations, which a process that takes nobody on need not make.
pub fn give_back() {
    // SAFETY: it takes no pointers, and what it gives back is in nobody's use.
    unsafe { libmimalloc_sys::mi_collect(true) };
}
