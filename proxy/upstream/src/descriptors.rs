//! File descriptors of the process: how many there may be, how many are in use, and how many of them are kept back.
//!
//! Sockets of clients and endpoints and pipes are counted as they come and go; what else is open is measured from time to time.

use std::{
    io,
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// More than any process needs; some systems allow numbers that cost programs minutes to go through.
const MOST: u64 = 1 << 20;

/// Up to which numbers there is more than one needs, and from which on less than one wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marks {
    plenty: u64,
    few: u64,
    scarce: u64,
    reserved: u64,
}

static MARKS: LazyLock<Marks> = LazyLock::new(|| {
    let most = getrlimit(Resource::RLIMIT_NOFILE).map_or(MOST, |(now, _)| now);
    Marks::below(most)
});

impl Marks {
    fn below(most: u64) -> Self {
        let reserve = (most / 8).clamp(16, 256).min(most);
        Self {
            plenty: most / 2,
            few: most.saturating_sub(2 * reserve),
            scarce: most - reserve,
            reserved: most - reserve / 2,
        }
    }
}

/// Raise the limit of this process as far as the system lets it. Call it before the first socket.
pub fn raise_limit() {
    if let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        let wanted = most.min(MOST);
        if now < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, most).is_err() {
            tracing::warn!(limit = now, "the limit of open files cannot be raised");
        }
    }
}

/// Descriptors that are counted.
static TAKEN: AtomicU64 = AtomicU64::new(0);
/// All others that were open when that was measured last.
static OTHERS: AtomicU64 = AtomicU64::new(0);

/// Descriptors that count as in use until this goes.
#[derive(Debug)]
#[must_use = "they count only while this lives"]
pub struct Taken(u64);

/// Count so many descriptors as in use.
pub fn take(number: u64) -> Taken {
    TAKEN.fetch_add(number, Relaxed);
    Taken(number)
}

impl Drop for Taken {
    fn drop(&mut self) {
        TAKEN.fetch_sub(self.0, Relaxed);
    }
}

/// So many descriptors are open in all, as the system says.
pub fn measured(open: u64) {
    OTHERS.store(open.saturating_sub(TAKEN.load(Relaxed)), Relaxed);
}

fn in_use() -> u64 {
    TAKEN.load(Relaxed).saturating_add(OTHERS.load(Relaxed))
}

/// Whether there are descriptors to spare: for what can do without.
pub fn are_plenty() -> bool {
    in_use() < MARKS.plenty
}

/// Whether what is left is kept for connections. Sessions of datagrams stop here: a client that sends from
/// many addresses could open them faster than a connection finds a descriptor that became free. It is no shortage:
/// sessions make room among themselves.
pub fn are_for_connections() -> bool {
    in_use() >= MARKS.few
}

/// Whether so many descriptors are in use that no further clients should be taken on.
pub fn are_scarce() -> bool {
    in_use() >= MARKS.scarce
}

/// Whether what is left is kept for the admin interface, health checks and files.
pub fn are_reserved() -> bool {
    in_use() >= MARKS.reserved
}

/// Whether a call failed because there was no descriptor, in the process or the whole system.
pub fn are_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE))
}

/// The failure of a call for which there is no descriptor.
pub fn missing() -> io::Error {
    io::Error::from_raw_os_error(nix::libc::EMFILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eighth_is_kept_back() {
        assert_eq!(Marks::below(1024), Marks { plenty: 512, few: 768, scarce: 896, reserved: 960 });
        assert_eq!(Marks::below(160), Marks { plenty: 80, few: 120, scarce: 140, reserved: 150 });
        let many = 1 << 20;
        assert_eq!(
            Marks::below(many),
            Marks { plenty: many / 2, few: many - 512, scarce: many - 256, reserved: many - 128 }
        );
        assert_eq!(Marks::below(10), Marks { plenty: 5, few: 0, scarce: 0, reserved: 5 });
    }

    #[test]
    fn what_is_taken_and_what_else_is_open_count_together() {
        assert!(are_plenty() && !are_for_connections() && !are_scarce() && !are_reserved());
        let some = take(MARKS.scarce - 10);
        measured(MARKS.scarce - 10 + 9);
        assert!(are_for_connections() && !are_scarce());
        let one = take(1);
        assert!(are_scarce() && !are_reserved());
        let rest = take(MARKS.reserved - MARKS.scarce);
        assert!(are_reserved());
        drop((some, one, rest));
        assert!(are_plenty());
        measured(0);
    }

    #[test]
    fn want_of_descriptors_is_told_from_other_failures() {
        assert!(are_missing(&io::Error::from_raw_os_error(nix::libc::EMFILE)));
        assert!(!are_missing(&io::Error::from_raw_os_error(nix::libc::ECONNREFUSED)));
        assert!(!are_missing(&io::ErrorKind::Other.into()));
    }
}
