//! The socket on which a running process is asked for an upgrade: one line of JSON each way.
//!
//! It belongs to the user of the process and is heard from that user and from root only.

use std::{
    fs,
    io::{self, ErrorKind},
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use weir_config::SocketFile;

use crate::unix_socket;

/// Longest request, and longest answer.
const LONGEST: u64 = 64 * 1024;

/// A request for an upgrade.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The program to start; none is the one that this process was started as.
    pub program: Option<PathBuf>,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asked {
    /// Another process serves.
    Upgraded {
        /// The process that serves.
        pid: u32,
        /// The process that finishes what it has begun.
        former: u32,
    },
    /// Everything is as it was.
    Refused(String),
}

/// The open socket.
#[derive(Debug)]
pub struct Requests {
    path: PathBuf,
    listener: UnixListener,
}

impl Requests {
    /// Listen at a path. A socket that a process has left there when it ended is replaced.
    ///
    /// # Errors
    /// Of the system, or somebody listens there.
    pub fn bind(path: &Path) -> io::Result<Self> {
        let listener = unix_socket::bind(path, &SocketFile::default())?;
        Self::over(path, listener)
    }

    /// Over a socket that listens at a path already.
    ///
    /// # Errors
    /// Of the system.
    pub fn over(path: &Path, listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { path: path.to_owned(), listener })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The socket, to be passed on.
    pub fn socket(&self) -> &UnixListener {
        &self.listener
    }

    /// Take the socket's name away: nobody takes the place of this process.
    pub fn remove(&self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Ask the process that listens at this path for an upgrade, to this program or to the one it was started as.
///
/// # Errors
/// Nobody listens there, or does not answer.
pub async fn ask(path: &Path, program: Option<PathBuf>) -> io::Result<Asked> {
    let mut stream = tokio::net::UnixStream::connect(path).await?;
    say(&mut stream, &Request { program }).await?;
    hear(&mut stream).await
}

/// Write one line.
///
/// # Errors
/// Of the socket.
pub async fn say(to: &mut (impl AsyncWrite + Unpin), said: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_string(said)?;
    line.push('\n');
    to.write_all(line.as_bytes()).await
}

/// Read one line.
///
/// # Errors
/// Of the socket, or what comes is something else.
pub async fn hear<T: DeserializeOwned>(from: &mut (impl AsyncRead + Unpin)) -> io::Result<T> {
    let mut line = String::new();
    BufReader::new(from.take(LONGEST)).read_line(&mut line).await?;
    if line.is_empty() {
        return Err(io::Error::new(ErrorKind::UnexpectedEof, "the connection was closed without a word"));
    }
    Ok(serde_json::from_str(&line)?)
}
