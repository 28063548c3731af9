//! What is said between two processes, and how it looks on the wire: frames of JSON behind their length, and
//! descriptors beside single octets.

use std::{
    io::{self, IoSlice, IoSliceMut, Read},
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
    path::PathBuf,
};

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use weir_upstream::affinity::ProcessSecret;

use super::{belongings::Belongings, estate::Estate};
use crate::inherited::Label;

/// Descriptors of one message; the system allows for 253.
const AT_ONCE: usize = 64;
/// Longest frame.
const LONGEST: usize = 1 << 30;

/// What a process hands over, beside its sockets.
#[derive(Debug, Serialize, Deserialize)]
pub struct Handover {
    /// One for each descriptor that follows.
    pub sockets: Vec<Label>,
    /// The path of the socket for requests, whose descriptor comes last; none where there is none.
    pub requests: Option<PathBuf>,
    /// What sessions are kept with.
    pub secret: ProcessSecret,
    /// What came to the process while it ran.
    #[serde(default)]
    pub kept: Belongings,
}

/// What else they say.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Said {
    /// The new process could serve.
    Ready,
    /// The new process cannot serve, and why.
    Failed(String),
    /// The new process is to serve, and to go on with this.
    Go(Estate),
    /// The new process serves.
    Serving,
}

/// As it goes over the wire.
pub fn frame(said: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    serde_json::to_writer(&mut frame, said)?;
    let length = Some(frame.len() - 4).filter(|length| *length <= LONGEST);
    let length = length.and_then(|length| u32::try_from(length).ok());
    let length = length.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "it is more than 1 GiB"))?;
    frame.splice(..4, length.to_be_bytes());
    Ok(frame)
}

/// The length of what follows.
pub fn length(head: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(head) as usize;
    if length <= LONGEST { Ok(length) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// What was framed.
pub fn unframed<T: DeserializeOwned>(octets: &[u8]) -> io::Result<T> {
    Ok(serde_json::from_slice(octets)?)
}

/// The next frame.
pub fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut head = [0; 4];
    from.read_exact(&mut head)?;
    let mut octets = vec![0; length(head)?];
    from.read_exact(&mut octets)?;
    unframed(&octets)
}

/// How descriptors are sent together.
pub fn batches<'a, 'f>(descriptors: &'a [BorrowedFd<'f>]) -> impl Iterator<Item = &'a [BorrowedFd<'f>]> {
    descriptors.chunks(AT_ONCE)
}

/// Send one batch, beside one octet.
pub fn send(link: &impl AsRawFd, batch: &[BorrowedFd<'_>]) -> io::Result<()> {
    let raw: Vec<RawFd> = batch.iter().map(AsRawFd::as_raw_fd).collect();
    let beside = [ControlMessage::ScmRights(&raw)];
    sendmsg::<()>(link.as_raw_fd(), &[IoSlice::new(b"+")], &beside, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Receive so many descriptors. Those that came before an error are kept.
pub fn receive(link: &impl AsRawFd, number: usize, descriptors: &mut Vec<OwnedFd>) -> io::Result<()> {
    while descriptors.len() < number {
        let before = descriptors.len();
        let octets = receive_batch(link, descriptors)?;
        if octets == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if descriptors.len() == before {
            return Err(io::Error::other("this process may not open more descriptors (ulimit -n)"));
        }
    }
    Ok(())
}

/// Whether the process at the other end has ended, as an error of reading or writing tells.
pub fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}

/// Gives the number of octets that came with them.
fn receive_batch(link: &impl AsRawFd, descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let (mut octet, mut room) = ([0], nix::cmsg_space!([RawFd; AT_ONCE]));
    let mut octets = [IoSliceMut::new(&mut octet)];
    let message = recvmsg::<()>(link.as_raw_fd(), &mut octets, Some(&mut room), CLOSED_ON_EXEC)?;
    for beside in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = beside {
            // SAFETY: the system has just made these descriptors for this process, and nobody else has
            // seen their numbers.
            descriptors.extend(raw.into_iter().map(|raw| unsafe { OwnedFd::from_raw_fd(raw) }));
        }
    }
    Ok(message.bytes)
}

#[cfg(target_os = "linux")]
const CLOSED_ON_EXEC: MsgFlags = MsgFlags::MSG_CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const CLOSED_ON_EXEC: MsgFlags = MsgFlags::empty();

#[cfg(test)]
mod tests {
    use std::{
        io::Write,
        net::TcpListener,
        os::{fd::AsFd, unix::net::UnixStream},
    };

    use super::*;

    #[test]
    fn words_and_descriptors_arrive_in_order() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let listeners: Vec<TcpListener> = (0..150).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let descriptors: Vec<BorrowedFd<'_>> = listeners.iter().map(AsFd::as_fd).collect();
        let failed = Said::Failed("no \"plugin\"".to_owned());
        ours.write_all(&frame(&failed).unwrap()).unwrap();
        batches(&descriptors).for_each(|batch| send(&ours, batch).unwrap());
        ours.write_all(&frame(&Said::Go(Estate::default())).unwrap()).unwrap();
        assert!(matches!(read(&mut theirs).unwrap(), Said::Failed(why) if why == "no \"plugin\""));
        let mut received = Vec::new();
        receive(&theirs, descriptors.len(), &mut received).unwrap();
        let address = |listener: &TcpListener| listener.local_addr().unwrap();
        let received: Vec<_> = received.into_iter().map(|one| address(&TcpListener::from(one))).collect();
        assert_eq!(received, listeners.iter().map(address).collect::<Vec<_>>());
        assert!(matches!(read(&mut theirs).unwrap(), Said::Go(_)));
    }

    #[test]
    fn an_end_too_early_and_a_frame_too_long_are_faults() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        ours.write_all(&u32::MAX.to_be_bytes()).unwrap();
        send(&ours, &[listener.as_fd()]).unwrap();
        drop(ours);
        assert_eq!(read::<Said>(&mut theirs).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut received = Vec::new();
        assert!(is_gone(&receive(&theirs, 2, &mut received).unwrap_err()));
        assert_eq!(received.len(), 1, "what came before is kept");
    }
}
