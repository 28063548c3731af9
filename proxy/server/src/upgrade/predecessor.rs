//! The process whose place this one takes, as this one sees it.

use std::{
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context, bail};
use tokio::io::AsyncReadExt;
use weir_upstream::affinity::inherit_secret;

use super::{
    belongings::Belongings,
    estate::Estate,
    link::{self, Handover, Said},
};
use crate::inherited::Inherited;

/// Longest wait for what it hands over.
const PATIENCE: Duration = Duration::from_secs(30);

/// The process before this one. It serves until this one does.
#[derive(Debug)]
pub struct Predecessor {
    link: UnixStream,
    requests: Option<(PathBuf, UnixListener)>,
    kept: Belongings,
}

impl Predecessor {
    /// Take over what it has, from standard input. Where it ends meanwhile, this process serves all the same, with
    /// what it got until then.
    ///
    /// # Errors
    /// No process hands anything over there.
    pub fn meet() -> anyhow::Result<(Self, Inherited)> {
        let mut link = UnixStream::from(take_stdin().context("standard input")?);
        link.set_read_timeout(Some(PATIENCE)).context("a process is started so by another one only")?;
        let handover: Handover = match link::read(&mut link) {
            Err(error) if link::is_gone(&error) => {
                tracing::warn!("the process before has ended and has handed over nothing: everything begins anew");
                return Ok((Self { link, requests: None, kept: Belongings::default() }, Inherited::default()));
            }
            read => read.context("nothing is handed over")?,
        };
        let number = handover.sockets.len() + usize::from(handover.requests.is_some());
        let sockets = &mut Vec::with_capacity(number);
        match link::receive(&link, number, sockets) {
            Err(error) if link::is_gone(&error) => {
                let missing = number - sockets.len();
                tracing::warn!(missing, "the process before has ended: sockets it did not hand over are bound again");
            }
            received => received.context("sockets are missing")?,
        }
        // It comes last.
        let requests = handover.requests.filter(|_| sockets.len() == number);
        let requests = requests.and_then(|path| Some((path, sockets.pop()?.into())));
        let mut inherited = Inherited::default();
        for (label, socket) in handover.sockets.into_iter().zip(sockets.drain(..)) {
            inherited.add(label, socket).map_err(anyhow::Error::msg)?;
        }
        if !inherit_secret(handover.secret) {
            bail!("secrets were made already");
        }
        Ok((Self { link, requests, kept: handover.kept }, inherited))
    }

    /// What came to it while it ran; nothing at a second time.
    pub fn belongings(&mut self) -> Belongings {
        std::mem::take(&mut self.kept)
    }

    /// Its socket for requests, where it is at this path.
    pub fn requests(&mut self, path: &std::path::Path) -> Option<UnixListener> {
        self.requests.take_if(|(theirs, _)| theirs == path).map(|(_, listener)| listener)
    }

    /// Tell it that this process cannot serve.
    pub fn give_up(mut self, why: &str) {
        if let Ok(said) = link::frame(&Said::Failed(why.to_owned())) {
            let _ = self.link.write_all(&said);
        }
    }

    /// Tell it that this process is ready, and wait for leave to serve. Gives what it has learnt and was told; nothing
    /// where it has ended by itself, as clients have no other process then. One that wants this process no more kills
    /// it before it closes its end.
    ///
    /// # Errors
    /// It is not understood.
    pub async fn relieve(&mut self) -> anyhow::Result<Estate> {
        match self.answer_to_ready().await {
            Ok(Said::Go(estate)) => Ok(estate),
            Ok(other) => bail!("the process before answers {other:?}"),
            Err(error) if link::is_gone(&error) => {
                tracing::warn!("the process before has ended: this one serves without what that has learnt");
                Ok(Estate::default())
            }
            Err(error) => Err(error).context("the process before is not understood"),
        }
    }

    async fn answer_to_ready(&mut self) -> io::Result<Said> {
        self.link.write_all(&link::frame(&Said::Ready)?)?;
        let link = self.link.try_clone()?;
        link.set_nonblocking(true)?;
        let mut link = tokio::net::UnixStream::from_std(link)?;
        let mut head = [0; 4];
        link.read_exact(&mut head).await?;
        let mut octets = vec![0; link::length(head)?];
        link.read_exact(&mut octets).await?;
        link::unframed(&octets)
    }

    /// Tell it that this process serves.
    pub fn succeed(mut self) {
        let said = link::frame(&Said::Serving).and_then(|said| self.link.write_all(&said));
        if let Err(error) = said {
            tracing::warn!(%error, "the process before has ended by itself");
        }
    }
}

/// Standard input reads nothing from then on.
fn take_stdin() -> io::Result<OwnedFd> {
    let link = io::stdin().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(link)
}
