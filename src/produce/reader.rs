//! Reads the inputs in blocks, on a thread of its own: a read of standard input cannot be interrupted.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::mpsc as std_mpsc;

use tokio::sync::mpsc;

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
    /// Bytes of the source with that number.
    Block(usize, Vec<u8>),
    /// The source with that number is at its end; it had so many bytes (more than its blocks if it was cut off).
    End(usize, u64),
    /// Reading it failed.
    Failed(usize, io::Error),
}

/// The reading thread's output. It ends with the last source, or when this is dropped and the read under way returns.
#[derive(Debug)]
pub struct Reader {
    events: mpsc::Receiver<Event>,
    used: std_mpsc::Sender<Vec<u8>>,
}

impl Reader {
    /// Starts reading the sources, one after the other.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(sources: Vec<Source>, cut: Cut) -> io::Result<Self> {
        let (send, events) = mpsc::channel(AHEAD);
        let (used, free) = std_mpsc::channel();
        std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || {
                for (number, source) in sources.iter().enumerate() {
                    let result = match source {
                        Source::Stdin => read(number, &mut io::stdin().lock(), cut, &send, &free),
                        Source::File(path) => {
                            File::open(path).and_then(|mut file| read(number, &mut file, cut, &send, &free))
                        }
                    };
                    let event = match result {
                        Ok(Some(bytes)) => Event::End(number, bytes),
                        // Nobody listens any more.
                        Ok(None) => return,
                        Err(error) => Event::Failed(number, error),
                    };
                    if send.blocking_send(event).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self { events, used })
    }

    /// The next event, or `None` after the last source.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// What has been read already and not been asked for yet.
    pub fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Gives a block's memory back.
    pub fn recycle(&self, block: Vec<u8>) {
        // After its last source the thread has no use for it.
        drop(self.used.send(block));
    }
}

/// Reads to the end. Returns the source's bytes, or `None` if nobody listens.
fn read(
    number: usize,
    source: &mut impl Read,
    cut: Cut,
    send: &mpsc::Sender<Event>,
    free: &std_mpsc::Receiver<Vec<u8>>,
) -> io::Result<Option<u64>> {
    if let Cut::Whole { limit } = cut {
        let mut whole = Vec::new();
        let kept = u64::try_from(limit).unwrap_or(u64::MAX);
        source.take(kept.saturating_add(1)).read_to_end(&mut whole)?;
        let mut bytes = whole.len() as u64;
        if whole.len() > limit {
            whole.clear();
            bytes += io::copy(source, &mut io::sink())?;
        }
        return Ok(send
            .blocking_send(Event::Block(number, whole))
            .is_ok()
            .then_some(bytes));
    }
    let mut total = 0;
    loop {
        let mut block = free.try_recv().unwrap_or_default();
        // A used block is as long as what was read into it: only the rest is written to.
        block.resize(BLOCK, 0);
        let length = match source.read(&mut block) {
            Ok(0) => return Ok(Some(total)),
            Ok(length) => length,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        total += length as u64;
        block.truncate(length);
        if send.blocking_send(Event::Block(number, block)).is_err() {
            return Ok(None);
        }
    }
}
