//! Octets both ways between a client and an endpoint, neither of which is read.
//!
//! Each way reads into a scratch area of the thread and writes at once, so that a connection that waits
//! owns no buffer. A way that moves much goes on through a pipe, where both ends are plain TCP; one that
//! slows down goes back, and so does one whose pipe is wanted back.

#[cfg(test)]
mod tests;

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::TcpStream,
};

use crate::{
    splice::{Pipe, Pipes},
    timer::Timer,
};

const SCRATCH: usize = 16 * 1024;
/// Full reads in a row after which a way goes through a pipe.
const MANY: u32 = 2;
/// A pipe that is given less than this so often in a row is given back.
const LITTLE: usize = 4 * 1024;
const SELDOM: u32 = 4;

thread_local! {
    static SCRATCH_AREA: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// One side of it.
pub trait Side: AsyncRead + AsyncWrite + Unpin {
    /// The socket, where what it carries is what is passed on.
    fn plain(&self) -> Option<&TcpStream>;
}

impl Side for TcpStream {
    fn plain(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Side for weir_upstream::connection::Transport {
    fn plain(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(stream) => Some(stream),
            Self::Tls(_) => None,
        }
    }
}

/// Octets passed on so far.
#[derive(Debug, Default)]
pub struct Moved {
    /// From the client to the endpoint.
    pub up: Cell<u64>,
    /// From the endpoint to the client.
    pub down: Cell<u64>,
    /// When the endpoint's first octets came.
    pub answered: Cell<Option<Instant>>,
    /// The client had said all, or the endpoint took no more of it.
    pub up_over: Cell<UpOver>,
}

/// How the way from a client to an endpoint has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpOver {
    /// Not yet.
    #[default]
    No,
    /// The client has said all.
    Said,
    /// The endpoint did not take what the client said.
    Refused,
}

/// Why it ended before both sides had said all.
#[derive(Debug)]
pub enum Broken {
    /// The client's connection failed.
    Client,
    /// The endpoint's did.
    Endpoint(io::Error),
    /// Nothing passed for too long.
    Idle,
}

/// Whose connection failed.
enum Failed {
    From(io::Error),
    To,
}

/// Pass on both ways until both are closed; a half that is closed stays so while the other goes on.
///
/// # Errors
/// What ended it early.
pub async fn run<A: Side, B: Side>(
    client: &mut A,
    endpoint: &mut B,
    moved: &Moved,
    pipes: &Pipes,
    idle: Duration,
) -> Result<(), Broken> {
    let (mut up, mut down) = (Way::default(), Way::default());
    let mut timer = Timer::default();
    let mut since = Instant::now();
    poll_fn(|cx| {
        let before = (moved.up.get(), moved.down.get());
        let went_up = up.poll(cx, client, endpoint, &moved.up, pipes);
        let went_down = down.poll(cx, endpoint, client, &moved.down, pipes);
        let now = (moved.up.get(), moved.down.get());
        if before != now {
            since = Instant::now();
            if before.1 == 0 && now.1 > 0 {
                moved.answered.set(Some(since));
            }
        }
        match &went_up {
            Poll::Ready(Err(Failed::To)) => moved.up_over.set(UpOver::Refused),
            Poll::Ready(Ok(())) if moved.up_over.get() == UpOver::No => moved.up_over.set(UpOver::Said),
            _ => {}
        }
        match (went_up, went_down) {
            (Poll::Ready(Err(Failed::From(_))), _) | (_, Poll::Ready(Err(Failed::To))) => {
                return Poll::Ready(Err(Broken::Client));
            }
            (_, Poll::Ready(Err(Failed::From(error)))) => return Poll::Ready(Err(Broken::Endpoint(error))),
            // What the endpoint said before it stopped listening is still the client's.
            (Poll::Ready(_), Poll::Ready(Ok(()))) => return Poll::Ready(Ok(())),
            _ => {}
        }
        timer.poll(cx, since + idle).map(|()| Err(Broken::Idle))
    })
    .await
}

/// One of both ways.
#[derive(Default)]
struct Way {
    /// Read and not taken yet.
    unsent: Bytes,
    pipe: Option<Pipe>,
    /// Full reads in a row, or poor fillings of the pipe.
    streak: u32,
    /// No pipe serves this way.
    pipeless: bool,
    /// The source has said all.
    ended: bool,
    /// And the destination knows, or takes no more.
    over: bool,
}

type Step = Poll<Result<(), Failed>>;

impl Way {
    fn poll<F: Side, T: Side>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
        count: &Cell<u64>,
        pipes: &Pipes,
    ) -> Step {
        if self.over {
            return Poll::Ready(Ok(()));
        }
        let step = self.poll_on(cx, from, to, count, pipes);
        self.over = step.is_ready();
        step
    }

    fn poll_on<F: Side, T: Side>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
        count: &Cell<u64>,
        pipes: &Pipes,
    ) -> Step {
        loop {
            ready!(self.poll_unsent(cx, to, count))?;
            if self.ended {
                self.pipe = None;
                let _ = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                return Poll::Ready(Ok(()));
            }
            if let (Some(_), Some(from), Some(to)) = (&self.pipe, from.plain(), to.plain()) {
                ready!(self.poll_pipe(cx, from, to, count, pipes))?;
                continue;
            }
            ready!(self.poll_copy(cx, from, to, count))?;
            if self.streak >= MANY && !self.pipeless && from.plain().is_some() && to.plain().is_some() {
                self.pipe = pipes.take();
                self.pipeless = self.pipe.is_none();
                self.streak = 0;
            }
        }
    }

    fn poll_unsent<T: Side>(&mut self, cx: &mut Context<'_>, to: &mut T, count: &Cell<u64>) -> Step {
        while !self.unsent.is_empty() {
            let n = ready!(Pin::new(&mut *to).poll_write(cx, &self.unsent)).map_err(|_| Failed::To)?;
            if n == 0 {
                return Poll::Ready(Err(Failed::To));
            }
            self.unsent.advance(n);
            count.set(count.get() + n as u64);
        }
        Poll::Ready(Ok(()))
    }

    /// Once from one side to the other by way of the thread's scratch area.
    fn poll_copy<F: Side, T: Side>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut F,
        to: &mut T,
        count: &Cell<u64>,
    ) -> Step {
        SCRATCH_AREA.with_borrow_mut(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            match Pin::new(from).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) => {}
                // Whoever closes TCP under TLS has said all as well.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failed::From(error))),
                Poll::Pending => {
                    // TLS may hold back what it could not send at once.
                    return match Pin::new(to).poll_flush(cx) {
                        Poll::Ready(Err(_)) => Poll::Ready(Err(Failed::To)),
                        _ => Poll::Pending,
                    };
                }
            }
            let mut octets = buf.filled();
            self.ended = octets.is_empty();
            self.streak = if octets.len() == SCRATCH { self.streak + 1 } else { 0 };
            while !octets.is_empty() {
                match Pin::new(&mut *to).poll_write(cx, octets) {
                    Poll::Ready(Ok(n)) if n > 0 => {
                        count.set(count.get() + n as u64);
                        octets = octets.get(n..).unwrap_or_default();
                    }
                    Poll::Ready(Ok(_)) => return Poll::Ready(Err(Failed::To)),
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(Failed::To)),
                    Poll::Pending => {
                        self.unsent = Bytes::copy_from_slice(octets);
                        return Poll::Pending;
                    }
                }
            }
            Poll::Ready(Ok(()))
        })
    }

    /// Once from one side to the other by way of the pipe. Without a pipe it ends the way's use of one.
    fn poll_pipe(
        &mut self,
        cx: &mut Context<'_>,
        from: &TcpStream,
        to: &TcpStream,
        count: &Cell<u64>,
        pipes: &Pipes,
    ) -> Step {
        let Some(pipe) = &mut self.pipe else { return Poll::Ready(Ok(())) };
        if pipe.held() == 0 && pipes.are_pressed() {
            (self.pipeless, self.pipe, self.streak) = (true, None, 0);
            return Poll::Ready(Ok(()));
        }
        if pipe.held() == 0 {
            ready!(from.poll_read_ready(cx)).map_err(Failed::From)?;
            match from.try_io(Interest::READABLE, || pipe.fill(from)) {
                Ok(0) => self.ended = true,
                Ok(n) => self.streak = if n < LITTLE { self.streak + 1 } else { 0 },
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => (self.pipeless, self.pipe) = (true, None),
                Err(error) => return Poll::Ready(Err(Failed::From(error))),
            }
            return Poll::Ready(Ok(()));
        }
        ready!(to.poll_write_ready(cx)).map_err(|_| Failed::To)?;
        match to.try_io(Interest::WRITABLE, || pipe.drain(to)) {
            Ok(n) => count.set(count.get() + n as u64),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return Poll::Ready(Err(Failed::To)),
        }
        if pipe.held() == 0 && self.streak >= SELDOM {
            (self.pipe, self.streak) = (None, 0);
        }
        Poll::Ready(Ok(()))
    }
}
