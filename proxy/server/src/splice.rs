//! Moving octets from socket to socket within the kernel, by way of a pipe (`splice(2)`).
//!
//! What a system without it gives is no pipe at all: whoever asks then reads and writes. So it is where there are
//! no file descriptors to spare, of which a pipe takes two: they are for connections.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
};

use tokio::net::TcpStream;

/// Pipes that a worker keeps for the next connection that moves much.
const KEPT: usize = 64;

/// The pipes of one worker.
#[derive(Debug, Default)]
pub struct Pipes(Rc<Home>);

/// Where pipes go back to.
#[derive(Debug, Default)]
struct Home {
    kept: RefCell<Vec<Inner>>,
    /// Descriptors are short: there are no pipes.
    pressed: Cell<bool>,
}

/// A pipe between two sockets. It goes back to its worker, unless something is left in it.
#[derive(Debug)]
pub struct Pipe {
    inner: Option<Inner>,
    held: usize,
    home: Rc<Home>,
}

impl Pipes {
    /// An empty pipe; none where the system has none to give, or there are no descriptors to spare.
    pub fn take(&self) -> Option<Pipe> {
        if self.are_pressed() {
            return None;
        }
        let kept = self.0.kept.borrow_mut().pop();
        let inner = kept.or_else(Inner::make)?;
        Some(Pipe { inner: Some(inner), held: 0, home: Rc::clone(&self.0) })
    }

    /// Have none, and keep none, while descriptors are short.
    pub fn press(&self, on: bool) {
        self.0.pressed.set(on);
        if on {
            self.0.kept.borrow_mut().clear();
        }
    }

    /// Whether those in use are to be given back.
    pub fn are_pressed(&self) -> bool {
        self.0.pressed.get()
    }
}

impl Pipe {
    /// Octets that were taken from one socket and not yet given to the other.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Take what a socket has; 0 at its end.
    ///
    /// # Errors
    /// Of the socket; [`io::ErrorKind::WouldBlock`] when it has nothing.
    pub fn fill(&mut self, from: &TcpStream) -> io::Result<usize> {
        let taken = self.inner.as_ref().map_or(Ok(0), |inner| inner.fill(from))?;
        self.held += taken;
        Ok(taken)
    }

    /// Give what is held to a socket.
    ///
    /// # Errors
    /// Of the socket; [`io::ErrorKind::WouldBlock`] when it takes nothing.
    pub fn drain(&mut self, to: &TcpStream) -> io::Result<usize> {
        let given = self.inner.as_ref().map_or(Ok(0), |inner| inner.drain(to, self.held))?;
        self.held -= given;
        Ok(given)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let mut kept = self.home.kept.borrow_mut();
        if self.held == 0 && kept.len() < KEPT && !self.home.pressed.get() {
            kept.extend(self.inner.take());
        }
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::{io, os::fd::OwnedFd};

    use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
    use tokio::net::TcpStream;
    use weir_upstream::descriptors::{self, Taken};

    /// What one pipe may hold: a few hundred packets.
    const SIZE: i32 = 256 * 1024;

    #[derive(Debug)]
    pub(super) struct Inner {
        read: OwnedFd,
        write: OwnedFd,
        _counted: Taken,
    }

    impl Inner {
        pub(super) fn make() -> Option<Self> {
            if !descriptors::are_plenty() {
                return None;
            }
            let (read, write) = nix::unistd::pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).ok()?;
            // A user may have too many large pipes already: a small one does as well.
            let _ = fcntl(&write, FcntlArg::F_SETPIPE_SZ(SIZE));
            Some(Self { read, write, _counted: descriptors::take(2) })
        }

        pub(super) fn fill(&self, from: &TcpStream) -> io::Result<usize> {
            Ok(splice(from, None, &self.write, None, SIZE as usize, flags())?)
        }

        pub(super) fn drain(&self, to: &TcpStream, held: usize) -> io::Result<usize> {
            Ok(splice(&self.read, None, to, None, held, flags())?)
        }
    }

    fn flags() -> SpliceFFlags {
        SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    use tokio::net::TcpStream;

    /// There is none.
    #[derive(Debug)]
    pub(super) enum Inner {}

    impl Inner {
        pub(super) fn make() -> Option<Self> {
            None
        }

        pub(super) fn fill(&self, _: &TcpStream) -> io::Result<usize> {
            match *self {}
        }

        pub(super) fn drain(&self, _: &TcpStream, _: usize) -> io::Result<usize> {
            match *self {}
        }
    }
}

use system::Inner;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    fn kept(pipes: &Pipes) -> usize {
        pipes.0.kept.borrow().len()
    }

    #[test]
    fn a_pipe_that_is_given_back_is_kept_unless_descriptors_are_short() {
        let pipes = Pipes::default();
        let [one, other] = [0; 2].map(|_| pipes.take().unwrap());
        drop(one);
        assert_eq!(kept(&pipes), 1);
        pipes.press(true);
        assert_eq!(kept(&pipes), 0, "closed at once");
        assert!(pipes.are_pressed() && pipes.take().is_none());
        drop(other);
        assert_eq!(kept(&pipes), 0, "closed as it comes back");
        pipes.press(false);
        drop(pipes.take().unwrap());
        assert_eq!(kept(&pipes), 1);
    }

    #[test]
    fn a_pipe_with_something_in_it_is_not_kept() {
        let pipes = Pipes::default();
        let mut pipe = pipes.take().unwrap();
        pipe.held = 1;
        drop(pipe);
        assert_eq!(kept(&pipes), 0);
    }
}
