//! Futures in boxes.

use std::pin::Pin;

/// A future that is made in its box. `Box::pin` makes it on the stack and copies all its room, kilobytes for what
/// serves an exchange; the runtime moves what it is to run several times more.
#[inline(always)]
pub fn in_place<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    let place = Box::new_uninit();
    Box::into_pin(Box::write(place, make()))
}
