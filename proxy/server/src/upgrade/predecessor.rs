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
    /// Take over what it has, from standard input.
    ///
    /// # Errors
    /// Nobody hands anything over there.
    pub fn meet() -> anyhow::Result<(Self, Inherited)> {
        let mut link = UnixStream::from(take_stdin().context("standard input")?);
        link.set_read_timeout(Some(PATIENCE)).context("a process is started so by another one only")?;
        let handover: Handover = link::read(&mut link).context("nothing is handed over")?;
        let number = handover.sockets.len() + usize::from(handover.requests.is_some());
        let mut sockets = link::receive(&link, number).context("sockets are missing")?;
        let requests = handover.requests.and_then(|path| Some((path, sockets.pop()?.into())));
        let mut inherited = Inherited::default();
        for (label, socket) in handover.sockets.into_iter().zip(sockets) {
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

    /// Tell it that this process is ready, and wait for leave to serve. Gives what it has learnt and was told.
    ///
    /// # Errors
    /// It has ended, or wants this process no more.
    pub async fn relieve(&mut self) -> anyhow::Result<Estate> {
        self.link.write_all(&link::frame(&Said::Ready)?).context(GONE)?;
        let link = self.link.try_clone()?;
        link.set_nonblocking(true)?;
        let mut link = tokio::net::UnixStream::from_std(link)?;
        let mut head = [0; 4];
        link.read_exact(&mut head).await.context(GONE)?;
        let mut octets = vec![0; link::length(head)?];
        link.read_exact(&mut octets).await.context(GONE)?;
        match link::unframed(&octets)? {
            Said::Go(estate) => Ok(estate),
            other => bail!("the process before answers {other:?}"),
        }
    }

    /// Tell it that this process serves.
    pub fn succeed(mut self) {
        let said = link::frame(&Said::Serving).and_then(|said| self.link.write_all(&said));
        if let Err(error) = said {
            tracing::warn!(%error, "the process before has ended by itself");
        }
    }
}

const GONE: &str = "the process before wants no successor any more";

/// Standard input reads nothing from then on.
fn take_stdin() -> io::Result<OwnedFd> {
    let link = io::stdin().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    Ok(link)
}
