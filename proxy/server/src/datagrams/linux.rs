//! By the calls of Linux.

use std::{
    io,
    mem::{self, MaybeUninit},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

use socket2::SockAddr;

use super::{BATCH, Datagram, LONGEST, Run};

/// Room for one control message with a length in it, aligned as the kernel wants it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

// SAFETY: it only computes.
const CONTROL: usize = unsafe { libc::CMSG_SPACE(size_of::<libc::c_int>() as u32) } as usize;

pub(super) fn take_runs(socket: BorrowedFd<'_>) {
    let on: libc::c_int = 1;
    // SAFETY: the value is an int and outlives the call. A kernel that knows no runs refuses, which is
    // as good.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_GRO,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

pub(super) fn receive(
    socket: BorrowedFd<'_>,
    scratch: &mut [u8],
    see: impl FnOnce(&[Datagram<'_>]),
) -> io::Result<bool> {
    // SAFETY: all of these are plain data for which zeros are valid.
    let mut names: [libc::sockaddr_storage; BATCH] = unsafe { mem::zeroed() };
    let mut controls = [Control([0; CONTROL]); BATCH];
    // SAFETY: as above.
    let (mut vectors, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) = unsafe { mem::zeroed() };
    let places = names.iter_mut().zip(&mut controls).zip(&mut vectors).zip(scratch.chunks_exact_mut(LONGEST));
    for ((((name, control), vector), octets), header) in places.zip(&mut headers) {
        *vector = libc::iovec { iov_base: octets.as_mut_ptr().cast(), iov_len: LONGEST };
        let header = &mut header.msg_hdr;
        header.msg_name = (&raw mut *name).cast();
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        header.msg_control = control.0.as_mut_ptr().cast();
        header.msg_controllen = CONTROL as _;
    }
    // SAFETY: each header points to a name, a vector, octets and a control buffer of its own, all of
    // which live until the end of this function.
    let got = unsafe {
        libc::recvmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), BATCH as u32, libc::MSG_DONTWAIT, ptr::null_mut())
    };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    let mut seen = [NOTHING; BATCH];
    let mut count = 0;
    let came = headers.iter().take(got).zip(&names).zip(scratch.chunks_exact(LONGEST));
    for (((header, name), octets), place) in came.zip(&mut seen) {
        let octets = octets.get(..header.msg_len as usize).unwrap_or_default();
        let Some(from) = address(name) else { continue };
        let each = length_of_each(&header.msg_hdr).unwrap_or(octets.len());
        *place = Datagram { from, run: Run { octets, each } };
        count += 1;
    }
    see(seen.get(..count).unwrap_or_default());
    Ok(got == BATCH)
}

const NOTHING: Datagram<'static> = Datagram {
    from: SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0),
    run: Run { octets: &[], each: 0 },
};

fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: of this family it is such a structure, for which there is room.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from_bits(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddr::new(ip.into(), u16::from_be(name.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let name = unsafe { &*(&raw const *name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr);
            Some(SocketAddrV6::new(ip, u16::from_be(name.sin6_port), 0, name.sin6_scope_id).into())
        }
        _ => None,
    }
}

/// Of a run that the kernel made.
fn length_of_each(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: the header is as the kernel left it: its control messages are whole.
    let message = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() }?;
    if (message.cmsg_level, message.cmsg_type) != (libc::SOL_UDP, libc::UDP_GRO) {
        return None;
    }
    // SAFETY: this message carries an int.
    let each = unsafe { libc::CMSG_DATA(message).cast::<libc::c_int>().read_unaligned() };
    usize::try_from(each).ok().filter(|each| *each > 0)
}

pub(super) fn send(socket: BorrowedFd<'_>, to: Option<SocketAddr>, runs: &[Run<'_>]) -> io::Result<usize> {
    let to = to.map(SockAddr::from);
    let mut controls = [Control([0; CONTROL]); BATCH];
    // SAFETY: both are plain data for which zeros are valid.
    let (mut vectors, mut headers): ([libc::iovec; BATCH], [libc::mmsghdr; BATCH]) = unsafe { mem::zeroed() };
    let places = runs.iter().zip(&mut controls).zip(&mut vectors).zip(&mut headers);
    for (((run, control), vector), header) in places {
        *vector = libc::iovec { iov_base: run.octets.as_ptr().cast_mut().cast(), iov_len: run.octets.len() };
        let header = &mut header.msg_hdr;
        if let Some(to) = &to {
            header.msg_name = to.as_ptr().cast_mut().cast();
            header.msg_namelen = to.len();
        }
        header.msg_iov = vector;
        header.msg_iovlen = 1;
        if let (false, Ok(each)) = (run.is_one(), u16::try_from(run.each)) {
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL as _;
            tell_length(header, each);
        }
    }
    let count = runs.len().min(BATCH) as u32;
    // SAFETY: each header that counts points to a vector, octets, and where it has them an address and a
    // control message, all of which live until the end of this function and are only read.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Have the kernel cut a run.
fn tell_length(header: &mut libc::msghdr, each: u16) {
    let length = MaybeUninit::new(each);
    // SAFETY: the control buffer has room for a message with an int, which is more than is written.
    unsafe {
        if let Some(message) = libc::CMSG_FIRSTHDR(header).as_mut() {
            message.cmsg_level = libc::SOL_UDP;
            message.cmsg_type = libc::UDP_SEGMENT;
            message.cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
            ptr::copy_nonoverlapping(length.as_ptr().cast::<u8>(), libc::CMSG_DATA(message), size_of::<u16>());
        }
    }
    // SAFETY: it only computes.
    header.msg_controllen = unsafe { libc::CMSG_SPACE(size_of::<u16>() as u32) } as _;
}
