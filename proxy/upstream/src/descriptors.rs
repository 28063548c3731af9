//! File descriptors of the process: how many there may be, and how many of them are kept back.
//!
//! The system gives the lowest number that is free, so that the number of a new socket tells how many
//! are in use: nothing has to be counted.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    sync::LazyLock,
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

/// Whether there are descriptors to spare, by a new one: for what can do without.
pub fn are_plenty(new: &impl AsRawFd) -> bool {
    number(new) < MARKS.plenty
}

/// Whether what is left is kept for connections, by a new socket. Sessions of datagrams stop here: whoever sends from
/// many addresses could open them faster than a connection finds a descriptor that became free. It is no shortage:
/// sessions make room among themselves.
pub fn are_for_connections(socket: &impl AsRawFd) -> bool {
    number(socket) >= MARKS.few
}

/// Whether this holds of the next new socket, or there can be none.
pub fn next_is(socket: &impl AsFd, holds: impl FnOnce(&OwnedFd) -> bool) -> bool {
    // The number that a copy gets is the lowest that is free.
    socket.as_fd().try_clone_to_owned().map_or(true, |copy| holds(&copy))
}

/// Whether so many descriptors are in use, by that of a new socket, that no further clients should be
/// taken on.
pub fn are_scarce(socket: &impl AsRawFd) -> bool {
    number(socket) >= MARKS.scarce
}

/// Whether a new socket has one of the descriptors that are kept for the admin interface, health checks
/// and files.
pub fn is_reserved(socket: &impl AsRawFd) -> bool {
    number(socket) >= MARKS.reserved
}

/// Whether a call failed because there was no descriptor, in the process or the whole system.
pub fn are_missing(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE))
}

/// The failure of a call for which there is no descriptor.
pub fn missing() -> io::Error {
    io::Error::from_raw_os_error(nix::libc::EMFILE)
}

fn number(socket: &impl AsRawFd) -> u64 {
    u64::try_from(socket.as_raw_fd()).unwrap_or(0)
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
    fn a_first_socket_is_no_sign_of_scarcity() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(are_plenty(&socket) && !are_for_connections(&socket) && !are_scarce(&socket) && !is_reserved(&socket));
    }

    #[test]
    fn want_of_descriptors_is_told_from_other_failures() {
        assert!(are_missing(&io::Error::from_raw_os_error(nix::libc::EMFILE)));
        assert!(!are_missing(&io::Error::from_raw_os_error(nix::libc::ECONNREFUSED)));
        assert!(!are_missing(&io::ErrorKind::Other.into()));
    }
}
