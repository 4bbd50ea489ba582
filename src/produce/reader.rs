//! Reads the inputs in blocks, on a thread of its own: a read of standard input cannot be interrupted.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
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
    /// Bytes of the source with that number; of a whole one all, and none at all if it is longer than the limit.
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
    state: Arc<State>,
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
        let (send, events) = mpsc::channel(AHEAD);
        let (used, free) = std_mpsc::channel();
        let state = Arc::new(State::default());
        let reader = Arc::clone(&state);
        std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn(move || {
                for (number, source) in sources.iter().enumerate() {
                    // Opening a named pipe may take for ever as well.
                    if !reader.may_read() {
                        return;
                    }
                    let result = match source {
                        Source::Stdin => read(number, &mut io::stdin().lock(), cut, &send, &free, &reader),
                        Source::File(path) => File::open(path)
                            .and_then(|mut file| read(number, &mut file, cut, &send, &free, &reader)),
                    };
                    reader.has_read();
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
        Ok(Self { events, used, state })
    }

    /// The next event, or `None` after the last source.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// Stops reading: gives what has been read until now, and then `None`, without waiting for a read.
    pub async fn rest(&mut self) -> Option<Event> {
        self.state.stopped.store(true, Ordering::SeqCst);
        // Asked before the channel: what the thread had before this read is in the channel then.
        let reading = self.state.reading.load(Ordering::SeqCst);
        match self.events.try_recv() {
            Ok(event) => Some(event),
            Err(mpsc::error::TryRecvError::Empty) if !reading => self.events.recv().await,
            Err(_) => None,
        }
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
    state: &State,
) -> io::Result<Option<u64>> {
    if let Cut::Whole { limit } = cut {
        let mut whole = Vec::new();
        let kept = u64::try_from(limit).unwrap_or(u64::MAX);
        source.take(kept.saturating_add(1)).read_to_end(&mut whole)?;
        let mut bytes = whole.len() as u64;
        if whole.len() > limit {
            // No block at all: an empty one would be taken for an empty source.
            bytes += io::copy(source, &mut io::sink())?;
            return Ok(Some(bytes));
        }
        state.has_read();
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
        if !state.may_read() {
            return Ok(None);
        }
        let result = source.read(&mut block);
        state.has_read();
        let length = match result {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// All events of a source of bytes.
    fn events(mut bytes: &[u8], cut: Cut) -> (Vec<Vec<u8>>, Option<u64>) {
        let (send, mut events) = mpsc::channel(100);
        let (_used, free) = std_mpsc::channel();
        let end = read(0, &mut bytes, cut, &send, &free, &State::default()).unwrap();
        drop(send);
        let mut blocks = Vec::new();
        while let Ok(Event::Block(0, block)) = events.try_recv() {
            blocks.push(block);
        }
        (blocks, end)
    }

    #[test]
    fn blocks_together_are_the_source() {
        let source: Vec<u8> = (0..=250).cycle().take(BLOCK * 2 + 77).collect();
        let (blocks, end) = events(&source, Cut::Blocks);
        assert_eq!(end, Some(source.len() as u64));
        assert_eq!(
            blocks.iter().map(Vec::len).collect::<Vec<_>>(),
            [BLOCK, BLOCK, 77]
        );
        assert_eq!(blocks.concat(), source);
        assert_eq!(events(b"", Cut::Blocks), (vec![], Some(0)));
    }

    #[test]
    fn a_whole_source_is_one_block_even_if_it_is_empty() {
        let whole = Cut::Whole { limit: 5 };
        assert_eq!(events(b"12345", whole), (vec![b"12345".to_vec()], Some(5)));
        assert_eq!(events(b"", whole), (vec![vec![]], Some(0)));
    }

    #[test]
    fn a_source_beyond_the_limit_is_no_block_and_its_length_is_told() {
        assert_eq!(events(b"1234567", Cut::Whole { limit: 5 }), (vec![], Some(7)));
    }

    #[test]
    fn reading_ends_when_nobody_listens() {
        let (send, events) = mpsc::channel(1);
        drop(events);
        let (_used, free) = std_mpsc::channel();
        let end = read(
            0,
            &mut b"x".as_slice(),
            Cut::Blocks,
            &send,
            &free,
            &State::default(),
        )
        .unwrap();
        assert_eq!(end, None);
    }

    #[test]
    fn a_used_block_is_read_into_again_and_shows_nothing_of_its_past() {
        let (send, mut events) = mpsc::channel(4);
        let (used, free) = std_mpsc::channel();
        used.send(vec![b'o'; 1000]).unwrap();
        read(
            0,
            &mut b"new".as_slice(),
            Cut::Blocks,
            &send,
            &free,
            &State::default(),
        )
        .unwrap();
        assert!(matches!(events.try_recv(), Ok(Event::Block(0, block)) if block == b"new"));
    }

    #[test]
    fn a_missing_file_is_told_and_the_next_source_is_read() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let sources = vec![
                Source::File("/nonexistent/file".into()),
                Source::File("/dev/null".into()),
            ];
            let mut reader = Reader::start(sources, Cut::Blocks).unwrap();
            assert!(matches!(reader.next().await, Some(Event::Failed(0, _))));
            assert!(matches!(reader.next().await, Some(Event::End(1, 0))));
            assert!(reader.next().await.is_none());
        });
    }

    #[test]
    fn a_reader_that_is_stopped_gives_what_was_read_and_no_more() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut reader = Reader::start(vec![Source::File("/dev/zero".into())], Cut::Blocks).unwrap();
            assert!(matches!(reader.next().await, Some(Event::Block(0, _))));
            let mut more = 0;
            while reader.rest().await.is_some() {
                more += 1;
            }
            // And one in the thread's hand.
            assert!(more <= AHEAD + 1);
        });
    }
}
