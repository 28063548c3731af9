//! A failed call with what the engine said about it.

use wasmtime::{Error, Trap};

use crate::{Failure, answer::HANDED_OVER, limits::Limits};

/// A failure and, where the engine knows more, its cause for the log.
pub(crate) struct Fault {
    pub failure: Failure,
    pub cause: Option<Error>,
}

impl Fault {
    /// Why a call ended: the deadline, the memory limit, or the guest itself.
    pub(crate) fn of_call(cause: Error, limits: &Limits) -> Self {
        let failure = match cause.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Failure::Deadline,
            _ if limits.refused => Failure::Memory,
            None if is_too_much(&cause) => Failure::BadAnswer(format!("more than {HANDED_OVER} bytes in one call")),
            _ => Failure::Trap,
        };
        Self { failure, cause: Some(cause) }
    }

    /// Why there is no instance.
    pub(crate) fn of_start(cause: Error, limits: &Limits) -> Self {
        match Self::of_call(cause, limits) {
            Self { failure: Failure::Trap, cause: Some(cause) } => {
                Self { failure: Failure::Start(format!("{cause:#}")), cause: None }
            }
            fault => fault,
        }
    }
}

/// Whether a guest wanted to hand over more than it may in one call. wasmtime's error has no public type.
fn is_too_much(cause: &Error) -> bool {
    cause.chain().any(|error| error.to_string().contains("fuel allocated for hostcalls has been exhausted"))
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self { failure, cause: None }
    }
}
