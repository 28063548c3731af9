//! The process that is to take the place of this one, as this one sees it.

use std::{
    io,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::process::ExitStatusExt,
    },
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest},
    net::UnixStream,
    process::{Child, Command},
    task::block_in_place,
    time::timeout,
};

use super::{
    estate::Estate,
    link::{self, Handover, Said},
};

/// Longest wait for a process that has closed its end.
const LAST_BREATH: Duration = Duration::from_secs(5);

/// A process that was started. It ends with this, unless it is left alone.
#[derive(Debug)]
pub struct Successor {
    child: Option<Child>,
    link: UnixStream,
    pid: u32,
}

impl Drop for Successor {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.start_kill();
        }
    }
}

impl Successor {
    /// Start this program on this configuration.
    ///
    /// # Errors
    /// Of the system: there is no such program, or no process to be had.
    pub fn start(program: &Path, config: &Path) -> io::Result<Self> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(program);
        command.args(["run", "--take-over", "--config"]).arg(config).stdin(Stdio::from(OwnedFd::from(theirs)));
        let child = command.spawn()?;
        let pid = child.id().unwrap_or_default();
        Ok(Self { child: Some(child), link: UnixStream::from_std(ours)?, pid })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Hand over what this process has, and wait until the other is ready.
    ///
    /// # Errors
    /// Why it will not be, for people.
    pub async fn prepare(&mut self, handover: &Handover, descriptors: &[BorrowedFd<'_>]) -> Result<(), String> {
        let said = block_in_place(|| link::frame(handover));
        let said = said.map_err(|error| format!("what is to be handed over: {error}"))?;
        // One that ends early is asked why.
        let _ = self.hand_over(&said, descriptors).await;
        match self.hear().await? {
            Said::Ready => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// Let it serve, with what this process has learnt and was told, and wait until it does.
    ///
    /// # Errors
    /// Why it does not, for people.
    pub async fn go(&mut self, estate: Estate) -> Result<(), String> {
        let said = block_in_place(|| link::frame(&Said::Go(estate))).map_err(|error| error.to_string())?;
        let _ = self.link.write_all(&said).await;
        match self.hear().await? {
            Said::Serving => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    /// It is on its own from now on.
    pub fn leave(mut self) {
        drop(self.child.take());
    }

    async fn hand_over(&mut self, said: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        self.link.write_all(said).await?;
        for batch in link::batches(descriptors) {
            self.link.async_io(Interest::WRITABLE, || link::send(&self.link, batch)).await?;
        }
        Ok(())
    }

    async fn hear(&mut self) -> Result<Said, String> {
        match self.next().await {
            Ok(Said::Failed(why)) => Err(why),
            Ok(word) => Ok(word),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(format!("it says {error}")),
            Err(_) => Err(self.end().await),
        }
    }

    async fn next(&mut self) -> io::Result<Said> {
        let mut head = [0; 4];
        self.link.read_exact(&mut head).await?;
        let mut octets = vec![0; link::length(head)?];
        self.link.read_exact(&mut octets).await?;
        link::unframed(&octets)
    }

    /// How it ended.
    async fn end(&mut self) -> String {
        let Some(child) = &mut self.child else { return "it is gone".to_owned() };
        match timeout(LAST_BREATH, child.wait()).await {
            Ok(Ok(status)) => ended(status),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it has closed its standard input: is it Weir?".to_owned(),
        }
    }
}

fn ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit code {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended".to_owned(),
    }
}

fn unexpected(word: &Said) -> String {
    format!("it says {word:?} out of turn")
}
