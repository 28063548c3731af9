//! Datagrams in batches, several with one call of the system: `recvmmsg(2)` and `sendmmsg(2)`, and runs of
//! equal length as one (GRO and GSO) where the kernel has them.

use std::{cell::RefCell, io, net::SocketAddr, os::fd::AsFd};

use socket2::SockRef;

#[cfg(test)]
mod tests;

/// Most that one call takes or gives.
pub const BATCH: usize = 16;
/// The longest there can be, and the longest run.
const LONGEST: usize = 1 << 16;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; BATCH * LONGEST].into_boxed_slice());
}

/// A datagram, or several that were taken as one.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub from: SocketAddr,
    /// What it carries.
    pub run: Run<'a>,
}

/// What one datagram carries, or several of one length of which only the last may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run<'a> {
    /// All of them, one after the other.
    pub octets: &'a [u8],
    /// Length of each.
    pub each: usize,
}

impl<'a> Run<'a> {
    /// One alone.
    pub fn one(octets: &'a [u8]) -> Self {
        Self { octets, each: octets.len() }
    }

    /// Each for itself. An empty datagram is one as well.
    pub fn datagrams(self) -> impl Iterator<Item = &'a [u8]> {
        let empty = self.octets.is_empty().then_some(self.octets);
        empty.into_iter().chain(self.octets.chunks(self.each.max(1)))
    }

    fn is_one(self) -> bool {
        self.octets.len() <= self.each
    }
}

/// Make a socket give runs, where the kernel can.
pub fn take_runs(socket: &impl AsFd) {
    system::take_runs(socket.as_fd());
}

/// Take what has come, at most a batch, and see to it; false when nothing can be left.
///
/// # Errors
/// Of the socket, [`io::ErrorKind::WouldBlock`] when nothing has come.
pub fn receive(socket: &impl AsFd, see: impl FnOnce(&[Datagram<'_>])) -> io::Result<bool> {
    SCRATCH.with_borrow_mut(|scratch| system::receive(socket.as_fd(), scratch, see))
}

/// Send to an address, or to the one the socket is connected to; the number of runs that went.
///
/// # Errors
/// When the first did not go.
pub fn send(socket: &impl AsFd, to: Option<SocketAddr>, runs: &[Run<'_>]) -> io::Result<usize> {
    if let [run] = runs
        && run.is_one()
    {
        return send_one(socket, to, run.octets).map(|()| 1);
    }
    let mut sent = 0;
    for part in runs.chunks(BATCH) {
        let gone = match system::send(socket.as_fd(), to, part) {
            Ok(gone) => gone,
            // A kernel or a device may refuse what it was given as one.
            Err(error) if part.iter().any(|run| !run.is_one()) && !is_full(&error) => {
                one_by_one(socket, to, part)?;
                part.len()
            }
            Err(error) if sent == 0 => return Err(error),
            Err(_) => 0,
        };
        sent += gone;
        if gone < part.len() {
            break;
        }
    }
    Ok(sent)
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused)
}

fn one_by_one(socket: &impl AsFd, to: Option<SocketAddr>, runs: &[Run<'_>]) -> io::Result<()> {
    runs.iter().flat_map(|run| run.datagrams()).try_for_each(|octets| send_one(socket, to, octets))
}

/// One alone needs none of what a batch needs.
fn send_one(socket: &impl AsFd, to: Option<SocketAddr>, octets: &[u8]) -> io::Result<()> {
    let socket = SockRef::from(socket);
    match to {
        Some(to) => socket.send_to(octets, &to.into()).map(drop),
        None => socket.send(octets).map(drop),
    }
}

#[cfg(target_os = "linux")]
#[path = "datagrams/linux.rs"]
mod system;

#[cfg(not(target_os = "linux"))]
#[path = "datagrams/portable.rs"]
mod system;
