//! One by one, as every system can.

use std::{io, mem::MaybeUninit, net::SocketAddr, os::fd::BorrowedFd};

use socket2::{SockAddr, SockRef};

use super::{Datagram, LONGEST, Run};

pub(super) fn take_runs(_: BorrowedFd<'_>) {}

pub(super) fn receive(
    socket: BorrowedFd<'_>,
    scratch: &mut [u8],
    see: impl FnOnce(&[Datagram<'_>]),
) -> io::Result<bool> {
    let mut octets = [MaybeUninit::uninit(); LONGEST];
    let (length, from) = SockRef::from(&socket).recv_from(&mut octets)?;
    for (place, octet) in scratch.iter_mut().zip(&octets).take(length) {
        // SAFETY: so many octets were written.
        *place = unsafe { octet.assume_init() };
    }
    if let (Some(from), Some(octets)) = (from.as_socket(), scratch.get(..length)) {
        see(&[Datagram { from, run: Run::one(octets) }]);
    }
    Ok(true)
}

pub(super) fn send(socket: BorrowedFd<'_>, to: Option<SocketAddr>, runs: &[Run<'_>]) -> io::Result<usize> {
    let (socket, to) = (SockRef::from(&socket), to.map(SockAddr::from));
    for octets in runs.iter().flat_map(|run| run.datagrams()) {
        match &to {
            Some(to) => socket.send_to(octets, to)?,
            None => socket.send(octets)?,
        };
    }
    Ok(runs.len())
}
