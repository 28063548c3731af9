//! The queue before standard error, and the thread that empties it.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{Receiver, Sender, SyncSender, channel, sync_channel},
    },
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

use crate::access_log::write_lines;

/// Most bytes of lines that wait: what is logged beyond is dropped.
const MOST_WAITING: usize = 1 << 20;
/// Most that is written at once. A pipe takes that much as a whole (`PIPE_BUF`), beside what others write.
const PIECE: usize = 4096;

/// Of the whole process, as the log itself is.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Lines of the process log lost because standard error did not take them.
pub fn dropped() -> u64 {
    DROPPED.load(Relaxed)
}

enum Message {
    Line(Vec<u8>),
    /// Tell when everything before is written.
    Flush(SyncSender<()>),
}

/// Where lines are left for the writing thread; cheap to clone.
#[derive(Debug, Clone)]
pub struct Queue {
    to_writer: Sender<Message>,
    waiting: Arc<AtomicUsize>,
}

impl Queue {
    /// Starts the thread that writes to standard error.
    ///
    /// # Errors
    /// Of the system: no thread, or no descriptor.
    pub(super) fn open() -> io::Result<Queue> {
        // A descriptor of its own: a stalled write must not hold the lock of `io::stderr`.
        Queue::before(File::from(io::stderr().as_fd().try_clone_to_owned()?))
    }

    fn before(file: impl Write + Send + 'static) -> io::Result<Queue> {
        let (to_writer, messages) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let writer = Writer { file, waiting: Arc::clone(&waiting), torn: false, told: 0 };
        thread::Builder::new().name("weir-stderr".into()).spawn(move || writer.run(&messages))?;
        Ok(Queue { to_writer, waiting })
    }

    /// Leaves text for people, a line or several, whatever else waits: for the last words of a process.
    pub fn say(&self, text: &str) {
        self.push(format!("{text}\n").into_bytes());
    }

    /// Waits until everything that was logged before is written; false when it was not within `wait`.
    pub fn flush(&self, wait: Duration) -> bool {
        let (done, written) = sync_channel(1);
        self.to_writer.send(Message::Flush(done)).is_ok() && written.recv_timeout(wait).is_ok()
    }

    /// Never waits.
    fn log(&self, line: &[u8]) {
        if self.waiting.load(Relaxed).saturating_add(line.len()) > MOST_WAITING {
            DROPPED.fetch_add(1, Relaxed);
        } else {
            self.push(line.to_vec());
        }
    }

    fn push(&self, line: Vec<u8>) {
        self.waiting.fetch_add(line.len(), Relaxed);
        if self.to_writer.send(Message::Line(line)).is_err() {
            DROPPED.fetch_add(1, Relaxed);
        }
    }
}

/// One event, which is written by one call.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.log(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Queue;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

struct Writer<F> {
    file: F,
    waiting: Arc<AtomicUsize>,
    /// The last write ended inside a line.
    torn: bool,
    /// Lost lines that were reported.
    told: u64,
}

impl<F: Write> Writer<F> {
    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(message) = messages.recv() {
            match message {
                Message::Line(line) => self.write(&line),
                Message::Flush(done) => drop(done.try_send(())),
            }
        }
    }

    fn write(&mut self, line: &[u8]) {
        let mut written = 0;
        let result = write_lines(&mut self.file, line, PIECE, self.torn, &mut written);
        let waiting = self.waiting.fetch_sub(line.len(), Relaxed).saturating_sub(line.len());
        if result.is_ok() {
            self.torn = false;
            self.tell(waiting);
        } else {
            self.torn = written.checked_sub(1).and_then(|last| line.get(last)).map_or(self.torn, |byte| *byte != b'\n');
            DROPPED.fetch_add(1, Relaxed);
        }
    }

    /// Says how much was lost once standard error takes lines again, and there is room for the line that says so.
    fn tell(&mut self, waiting: usize) {
        let lost = dropped().saturating_sub(self.told);
        if lost > 0 && waiting < MOST_WAITING / 2 {
            self.told = self.told.saturating_add(lost);
            tracing::warn!(lines = lost, "standard error was not read: lines of the process log were dropped");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn a_reader_that_has_stopped_holds_no_thread_up() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let queue = Queue::before(ours).unwrap();
        let before = dropped();
        let line = [b'x'; 1000];
        for _ in 0..4 * MOST_WAITING / line.len() {
            (&queue).write_all(&line).unwrap();
        }
        assert!(dropped() > before);
        assert!(queue.waiting.load(Relaxed) <= MOST_WAITING);
        assert!(!queue.flush(Duration::from_millis(1)));
        drop(theirs);
        assert!(queue.flush(Duration::from_secs(10)), "what can never be written is given up");
        assert_eq!(queue.waiting.load(Relaxed), 0);
    }

    #[test]
    fn last_words_find_room_in_a_full_queue() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let queue = Queue::before(ours).unwrap();
        queue.waiting.store(MOST_WAITING, Relaxed);
        (&queue).write_all(b"a line\n").unwrap();
        queue.say("error: the end");
        assert!(queue.flush(Duration::from_secs(10)));
        drop(queue);
        assert_eq!(io::read_to_string(theirs).unwrap(), "error: the end\n");
    }
}
