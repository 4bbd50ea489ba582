//! Reads the inputs in blocks, on a thread of its own: a read of standard input cannot be interrupted.
//!
//! A regular file is handed over to the caller once it is open, and read by it for as long as the page cache has what
//! comes next (`Cached`): a thread between costs more than such a read. When it would have to wait (a cold file, a
//! slow disk, a file system of a network), the thread goes on with it, so that the caller never waits for a file.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as std_mpsc;

use tokio::sync::mpsc;

use super::cached::{Cached, Step};

/// Bytes read at once: large enough that a read's cost does not show, small enough to stay in the processor's cache.
const BLOCK: usize = 256 << 10;
/// Blocks read ahead.
const AHEAD: usize = 3;

/// Where to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Standard input.
    Stdin,
    /// A file.
    File(PathBuf),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Stdin => f.write_str("standard input"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

/// How much of a source a block is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Whatever a read brings.
    Blocks,
    /// All of it, unless it is longer than so many bytes.
    Whole {
        /// The most bytes kept.
        limit: usize,
    },
}

/// What the thread has to tell.
#[derive(Debug)]
pub enum Event {
    /// Bytes of the source with that number; of a whole one all, and none at all if it is longer than the limit.
    Block(usize, Vec<u8>),
    /// The source with that number is at its end; it had so many bytes (more than its blocks if it was cut off).
    End(usize, u64),
    /// Reading it failed.
    Failed(usize, io::Error),
}

/// What the thread sends.
#[derive(Debug)]
enum Message {
    Event(Event),
    /// The source with that number is a regular file: the caller reads it, and says how it went.
    Handed(usize, File),
}

/// What the caller answers to [`Message::Handed`].
#[derive(Debug)]
enum Back {
    /// The source was read to its end.
    Done,
    /// The next read would have to wait; so many bytes were read.
    Rest(File, u64),
}

/// The reading thread's output. It ends with the last source, or when this is dropped and the read under way returns.
#[derive(Debug)]
pub struct Reader {
    messages: mpsc::Receiver<Message>,
    used: std_mpsc::Sender<Vec<u8>>,
    state: Arc<State>,
    /// `None` once reading is stopped: the thread ends if it waits for an answer.
    back: Option<std_mpsc::Sender<Back>>,
    /// The source that is read here, and memory for its blocks.
    cached: Option<Cached>,
    spare: Vec<u8>,
}

#[derive(Debug, Default)]
struct State {
    /// Nothing more is to be read.
    stopped: AtomicBool,
    /// Whether the thread is in the system's hands, perhaps for ever, and so has nothing that was read and not sent.
    reading: AtomicBool,
}

impl State {
    /// Called before each read, in this order: whoever stops the thread and then finds it not reading can wait for it.
    fn may_read(&self) -> bool {
        self.reading.store(true, Ordering::SeqCst);
        !self.stopped.load(Ordering::SeqCst)
    }

    fn has_read(&self) {
        self.reading.store(false, Ordering::SeqCst);
    }
}

impl Reader {
    /// Starts reading the sources, one after the other.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(sources: Vec<Source>, cut: Cut) -> io::Result<Self> {
        let (send, messages) = mpsc::channel(AHEAD);
        let (used, free) = std_mpsc::channel();
        let (back, answers) = std_mpsc::channel();
        let state = Arc::new(State::default());
        let thread = Thread {
            cut,
            send,
            free,
            answers,
            state: Arc::clone(&state),
        };
        std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || thread.run(&sources))?;
        Ok(Self {
            messages,
            used,
            state,
            back: Some(back),
            cached: None,
            spare: Vec::new(),
        })
    }

    /// The next event, or `None` after the last source. Nothing is lost if this is dropped before it is ready. It may be
    /// ready each time for long: it is the caller who lets other tasks run between two events.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.next_cached() {
                return Some(event);
            }
            match self.messages.recv().await? {
                Message::Event(event) => return Some(event),
                Message::Handed(number, file) => self.cached = Some(Cached::new(number, file)),
            }
        }
    }

    /// The next event of the file that is read here, if there is one and no wait.
    fn next_cached(&mut self) -> Option<Event> {
        let mut cached = self.cached.take()?;
        let mut block = std::mem::take(&mut self.spare);
        block.resize(BLOCK, 0);
        let number = cached.number();
        let (event, back) = match cached.step(&mut block) {
            Step::Read(length) => {
                block.truncate(length);
                self.cached = Some(cached);
                return Some(Event::Block(number, block));
            }
            Step::End(bytes) => (Some(Event::End(number, bytes)), Back::Done),
            Step::WouldWait => {
                let (file, bytes) = cached.into_parts();
                (None, Back::Rest(file, bytes))
            }
        };
        self.spare = block;
        // The thread waits for it.
        self.back.as_ref()?.send(back).ok()?;
        event
    }

    /// Stops reading: gives what has been read until now, and then `None`, without waiting for a read.
    pub async fn rest(&mut self) -> Option<Event> {
        self.state.stopped.store(true, Ordering::SeqCst);
        self.cached = None;
        self.back = None;
        loop {
            // Asked before the channel: what the thread had before this read is in the channel then.
            let reading = self.state.reading.load(Ordering::SeqCst);
            let message = match self.messages.try_recv() {
                Ok(message) => Some(message),
                Err(mpsc::error::TryRecvError::Empty) if !reading => self.messages.recv().await,
                Err(_) => None,
            };
            match message? {
                Message::Event(event) => return Some(event),
                // Nothing of it has been read.
                Message::Handed(..) => {}
            }
        }
    }

    /// Gives a block's memory back.
    pub fn recycle(&mut self, block: Vec<u8>) {
        if self.cached.is_some() {
            self.spare = block;
        } else {
            // After its last source the thread has no use for it.
            drop(self.used.send(block));
        }
    }
}

/// The thread's side.
struct Thread {
    cut: Cut,
    send: mpsc::Sender<Message>,
    free: std_mpsc::Receiver<Vec<u8>>,
    answers: std_mpsc::Receiver<Back>,
    state: Arc<State>,
}

impl Thread {
    /// Reads the sources, one after the other, until nobody listens any more.
    fn run(&self, sources: &[Source]) {
        for (number, source) in sources.iter().enumerate() {
            // Opening a named pipe may take for ever as well.
            if !self.state.may_read() {
                return;
            }
            let result = open(source).and_then(|file| self.source(number, file));
            self.state.has_read();
            let event = match result {
                Ok(Told::Read(bytes)) => Event::End(number, bytes),
                Ok(Told::All) => continue,
                Ok(Told::Nobody) => return,
                Err(error) => Event::Failed(number, error),
            };
            if !self.tell(event) {
                return;
            }
        }
    }

    fn tell(&self, event: Event) -> bool {
        self.send.blocking_send(Message::Event(event)).is_ok()
    }

    /// Reads an open source, or has it read.
    fn source(&self, number: usize, mut file: File) -> io::Result<Told> {
        let mut bytes = 0;
        if self.cut == Cut::Blocks && file.metadata()?.is_file() {
            self.state.has_read();
            if self.send.blocking_send(Message::Handed(number, file)).is_err() {
                return Ok(Told::Nobody);
            }
            match self.answers.recv() {
                Ok(Back::Rest(rest, before)) => (file, bytes) = (rest, before),
                Ok(Back::Done) => return Ok(Told::All),
                Err(std_mpsc::RecvError) => return Ok(Told::Nobody),
            }
        }
        self.read(number, &mut file, bytes)
    }

    /// Reads to the end of a source of which so many bytes were read before.
    fn read(&self, number: usize, source: &mut impl Read, before: u64) -> io::Result<Told> {
        if let Cut::Whole { limit } = self.cut {
            let mut whole = Vec::new();
            let kept = u64::try_from(limit).unwrap_or(u64::MAX);
            source.take(kept.saturating_add(1)).read_to_end(&mut whole)?;
            let mut bytes = whole.len() as u64;
            if whole.len() > limit {
                // No block at all: an empty one would be taken for an empty source.
                bytes += io::copy(source, &mut io::sink())?;
                return Ok(Told::Read(bytes));
            }
            self.state.has_read();
            let told = self.tell(Event::Block(number, whole));
            return Ok(if told { Told::Read(bytes) } else { Told::Nobody });
        }
        let mut total = before;
        loop {
            let mut block = self.free.try_recv().unwrap_or_default();
            // A used block is as long as what was read into it: only the rest is written to.
            block.resize(BLOCK, 0);
            if !self.state.may_read() {
                return Ok(Told::Nobody);
            }
            let result = source.read(&mut block);
            self.state.has_read();
            let length = match result {
                Ok(0) => return Ok(Told::Read(total)),
                Ok(length) => length,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            total += length as u64;
            block.truncate(length);
            if !self.tell(Event::Block(number, block)) {
                return Ok(Told::Nobody);
            }
        }
    }
}

/// What has become of a source.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    /// It was read to its end, which is to be told; it had so many bytes.
    Read(u64),
    /// Its end is known.
    All,
    /// Nobody listens any more.
    Nobody,
}

fn open(source: &Source) -> io::Result<File> {
    match source {
        Source::Stdin => io::stdin().as_fd().try_clone_to_owned().map(File::from),
        Source::File(path) => File::open(path),
    }
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
