//! The thread that owns the file. It writes whole buffers as they come and gives them back.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel},
    },
    thread,
    time::Duration,
};

use weir_config::LogFormat;

use super::{AccessLog, LARGEST_KEPT, Shared};

/// What the writer is told.
#[derive(Debug)]
pub(super) enum Message {
    /// Whole lines, and where the emptied buffer goes back to.
    Lines { bytes: Vec<u8>, lines: u64, home: SyncSender<Vec<u8>> },
    /// Open the path again: the file was moved away.
    Reopen,
    /// Go on elsewhere.
    Replace(Sink),
    /// End once everything sent before is written.
    Close,
}

/// Where lines go.
#[derive(Debug)]
pub(super) struct Sink {
    file: Option<File>,
    path: Option<PathBuf>,
    /// Most that is written at once, where another process may write there too.
    piece: usize,
}

/// What a pipe takes as a whole (`PIPE_BUF`), beside what others write.
const PIECE: usize = 4096;

impl Sink {
    pub(super) fn open(config: &weir_config::AccessLog) -> io::Result<Sink> {
        let path = config.path.clone();
        let file = match (config.format, &path) {
            (LogFormat::Off, _) => None,
            (_, Some(path)) => Some(append_to(path)?),
            (_, None) => Some(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        };
        let is_file = file.as_ref().is_none_or(|file| file.metadata().is_ok_and(|metadata| metadata.is_file()));
        Ok(Sink { file, path, piece: if is_file { usize::MAX } else { PIECE } })
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let (Some(file), Some(path)) = (&mut self.file, &self.path) {
            *file = append_to(path)?;
        }
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

/// The hold on the writer's thread.
#[derive(Debug)]
pub struct Writer {
    to_writer: Sender<Message>,
    ended: Receiver<()>,
}

impl Writer {
    pub(super) fn start(log: &AccessLog, messages: Receiver<Message>, sink: Sink) -> io::Result<Writer> {
        let (at_end, ended) = channel();
        let shared = Arc::clone(&log.shared);
        let to_writer = log.shared.to_writer.clone();
        thread::Builder::new().name("weir-log".into()).spawn(move || {
            Loop { shared, sink, torn: false, failing: false }.run(&messages);
            drop(at_end);
        })?;
        Ok(Writer { to_writer, ended })
    }

    /// Opens the file's path again, after it was rotated. A path that cannot be opened is reported
    /// in the process log and the open file stays in use.
    pub fn reopen(&self) {
        let _ = self.to_writer.send(Message::Reopen);
    }

    /// Writes what workers have handed over and ends. Call it after the workers have ended.
    ///
    /// False when the disk did not take it all within `wait`.
    pub fn close(self, wait: Duration) -> bool {
        let _ = self.to_writer.send(Message::Close);
        self.ended.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected)
    }
}

struct Loop {
    shared: Arc<Shared>,
    sink: Sink,
    /// The last write ended inside a line.
    torn: bool,
    failing: bool,
}

impl Loop {
    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            if self.take(message) {
                break;
            }
        }
        while let Ok(message) = messages.try_recv() {
            self.take(message);
        }
    }

    /// True when this was the last message.
    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Lines { bytes, lines, home } => {
                self.write(&bytes, lines);
                self.shared.waiting.fetch_sub(1, Relaxed);
                give_back(&home, bytes);
            }
            Message::Reopen => self.reopen(),
            Message::Replace(sink) => {
                self.sink = sink;
                self.torn = false;
            }
            Message::Close => return true,
        }
        false
    }

    fn write(&mut self, bytes: &[u8], lines: u64) {
        let Some(file) = &mut self.sink.file else { return };
        let mut written = 0;
        match write_lines(file, bytes, self.sink.piece, self.torn, &mut written) {
            Ok(()) => {
                self.torn = false;
                self.failing = false;
            }
            Err(error) => {
                let last = written.checked_sub(1).and_then(|last| bytes.get(last));
                self.torn = last.map_or(self.torn, |byte| *byte != b'\n');
                self.failed(&error, lines);
            }
        }
    }

    fn failed(&mut self, error: &io::Error, lines: u64) {
        self.shared.dropped.fetch_add(lines, Relaxed);
        if !self.failing {
            tracing::warn!(%error, path = ?self.sink.path, "the access log cannot be written: lines are lost");
        }
        self.failing = true;
    }

    fn reopen(&mut self) {
        match self.sink.reopen() {
            Ok(()) => self.torn = false,
            Err(error) => {
                tracing::warn!(%error, path = ?self.sink.path, "the access log cannot be reopened: the old file stays in use");
            }
        }
    }
}

fn give_back(home: &SyncSender<Vec<u8>>, mut bytes: Vec<u8>) {
    bytes.clear();
    bytes.shrink_to(LARGEST_KEPT);
    // A worker with enough spare buffers, or none left, lets this one go.
    let _ = home.try_send(bytes);
}

/// Writes all, in pieces of whole lines, ending a torn line first; `written` says how far it came.
pub(crate) fn write_lines(
    file: &mut impl Write,
    bytes: &[u8],
    most: usize,
    torn: bool,
    written: &mut usize,
) -> io::Result<()> {
    if torn {
        file.write_all(b"\n")?;
    }
    while let Some(rest) = bytes.get(*written..).filter(|rest| !rest.is_empty()) {
        match file.write(piece(rest, most)) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => *written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The whole lines at the beginning that have this length together, or as much of the first.
fn piece(lines: &[u8], most: usize) -> &[u8] {
    let Some(start) = lines.get(..most) else { return lines };
    let end = start.iter().rposition(|byte| *byte == b'\n').map_or(most, |last| last + 1);
    start.get(..end).unwrap_or(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes a number of bytes, then fails.
    struct Small(Vec<u8>, usize);

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.1 - self.0.len()).min(3);
            self.0.extend_from_slice(&bytes[..count]);
            if count == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(count) }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn says_how_far_it_came() {
        let mut small = Small(Vec::new(), 7);
        let mut written = 0;
        assert!(write_lines(&mut small, b"one\ntwo\n", usize::MAX, false, &mut written).is_err());
        assert_eq!(written, 7);
    }

    #[test]
    fn pieces_are_whole_lines_where_these_are_short_enough() {
        assert_eq!(piece(b"one\ntwo\nthree\n", 9), b"one\ntwo\n");
        assert_eq!(piece(b"one\ntwo\n", 8), b"one\ntwo\n");
        assert_eq!(piece(b"one\ntwo\n", usize::MAX), b"one\ntwo\n");
        assert_eq!(piece(b"longer\ntwo\n", 4), b"long");
    }

    #[test]
    fn a_torn_line_is_ended_first() {
        let mut small = Small(b"tw".to_vec(), 100);
        write_lines(&mut small, b"three\n", usize::MAX, true, &mut 0).unwrap();
        assert_eq!(small.0, b"tw\nthree\n");
    }
}
