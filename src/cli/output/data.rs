//! Data to standard output: large writes, and a closed pipe told from other errors.

use std::fs::File;
use std::io::{self, Write};
use std::sync::mpsc;

/// Nobody reads standard output any more, as with `| head`: the end, and no error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("standard output is closed")]
pub struct ClosedPipe;

/// Whether an error comes from a closed standard output, and not, say, from a closed connection.
#[must_use]
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause.is::<ClosedPipe>() || inner.is_some_and(|inner| inner.is::<ClosedPipe>())
    })
}

/// Standard output with a buffer.
///
/// Not `std::io::Stdout`, which looks for the last newline of everything written to it.
#[derive(Debug)]
pub struct Data {
    file: File,
    buffer: Vec<u8>,
    behind: Option<Behind>,
}

/// A thread that writes one buffer while the next one is filled.
#[derive(Debug)]
struct Behind {
    full: mpsc::SyncSender<Vec<u8>>,
    /// Buffers that were written, or what went wrong; nothing is written after that.
    done: mpsc::Receiver<io::Result<Vec<u8>>>,
    /// Buffers handed over and not heard of since.
    out: usize,
}

/// Buffers handed over to the writing thread at most.
const MAX_BEHIND: usize = 2;

impl Data {
    /// Bytes in the buffer at which it is written out.
    pub const FULL: usize = 256 << 10;

    pub(super) fn stdout() -> io::Result<Self> {
        // Flushed first, lest the order be mixed up with what clap printed.
        io::stdout().flush().map_err(tell_apart)?;
        Ok(Self::to(duplicate()?))
    }

    pub(in crate::cli) fn to(file: File) -> Self {
        Self {
            file,
            buffer: Vec::new(),
            behind: None,
        }
    }

    /// From now on writes on a thread of its own, if this is a file: copying into the page cache takes longer than
    /// what fills the buffer. Call [`Self::finish`] at the end, or errors and what is on its way are lost.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn write_behind(&mut self) -> io::Result<()> {
        // A pipe or a terminal has a reader who waits; there is nothing to gain where nothing is copied.
        if self.behind.is_some() || !self.file.metadata()?.is_file() {
            return Ok(());
        }
        let mut file = self.file.try_clone()?;
        let (full, buffers) = mpsc::sync_channel::<Vec<u8>>(MAX_BEHIND);
        let (tell, done) = mpsc::channel();
        std::thread::Builder::new()
            .name("writer".to_owned())
            .spawn(move || {
                for mut buffer in buffers {
                    let written = file.write_all(&buffer).map_err(tell_apart);
                    buffer.clear();
                    let failed = written.is_err();
                    if tell.send(written.map(|()| buffer)).is_err() || failed {
                        return;
                    }
                }
            })?;
        self.behind = Some(Behind { full, done, out: 0 });
        Ok(())
    }

    /// Writes everything out and waits until it is written.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn finish(&mut self) -> io::Result<()> {
        self.flush_all()?;
        match &mut self.behind {
            Some(behind) => behind.wait_for(0).map(drop),
            None => Ok(()),
        }
    }

    /// Adds bytes, and writes the buffer out when it is full.
    ///
    /// # Errors
    /// [`ClosedPipe`] inside if nobody reads any more, or another error of writing.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        self.flush_full()
    }

    /// The buffer, to append to in place; call [`Self::flush_full`] now and then.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes the buffer out if it is full.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn flush_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= Self::FULL {
            self.flush_all()
        } else {
            Ok(())
        }
    }

    /// Writes the buffer out or, with [`Self::write_behind`], hands it over for that.
    ///
    /// # Errors
    /// As [`Self::push`]; with [`Self::write_behind`] that of an earlier buffer.
    pub fn flush_all(&mut self) -> io::Result<()> {
        if let Some(behind) = &mut self.behind {
            if !self.buffer.is_empty() {
                let empty = behind.wait_for(MAX_BEHIND - 1)?;
                behind.hand_over(std::mem::replace(&mut self.buffer, empty))?;
            }
            return Ok(());
        }
        let written = self.file.write_all(&self.buffer).map_err(tell_apart);
        self.buffer.clear();
        written
    }
}

impl Behind {
    /// Waits until no more than `out` buffers are on their way; returns one that is free again.
    fn wait_for(&mut self, out: usize) -> io::Result<Vec<u8>> {
        let mut free = Vec::new();
        while self.out > out {
            free = self.done.recv().map_err(|_| gone())??;
            self.out -= 1;
        }
        Ok(free)
    }

    fn hand_over(&mut self, buffer: Vec<u8>) -> io::Result<()> {
        self.full.send(buffer).map_err(|_| gone())?;
        self.out += 1;
        Ok(())
    }
}

/// The thread has told of an error before.
fn gone() -> io::Error {
    io::Error::other("the writing thread has ended")
}

impl Write for Data {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.flush_all()
    }
}

#[cfg(unix)]
fn duplicate() -> io::Result<File> {
    use std::os::fd::AsFd;
    io::stdout().as_fd().try_clone_to_owned().map(File::from)
}

#[cfg(windows)]
fn duplicate() -> io::Result<File> {
    use std::os::windows::io::AsHandle;
    io::stdout().as_handle().try_clone_to_owned().map(File::from)
}

fn tell_apart(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::BrokenPipe {
        io::Error::new(io::ErrorKind::BrokenPipe, ClosedPipe)
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn what_is_written_behind_is_all_there_in_order() {
        let path = std::env::temp_dir().join(format!("barnabas-data-{}", std::process::id()));
        let mut data = Data::to(File::create(&path).unwrap());
        data.write_behind().unwrap();
        let mut expected = Vec::new();
        for number in 0..200_000 {
            let line = format!("line {number}\n");
            data.push(line.as_bytes()).unwrap();
            expected.extend_from_slice(line.as_bytes());
            if number % 50_000 == 7 {
                data.flush_all().unwrap();
            }
        }
        data.finish().unwrap();
        let written = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert!(
            written == expected,
            "{} of {} bytes",
            written.len(),
            expected.len()
        );
    }

    #[test]
    fn an_error_of_the_writing_thread_is_told() {
        let path = std::env::temp_dir().join(format!("barnabas-read-only-{}", std::process::id()));
        std::fs::write(&path, b"").unwrap();
        // Open for reading: each write fails.
        let mut data = Data::to(File::open(&path).unwrap());
        data.write_behind().unwrap();
        data.buffer().extend_from_slice(b"never");
        let told = data.finish();
        std::fs::remove_file(&path).unwrap();
        assert!(told.is_err());
    }

    #[test]
    fn a_closed_output_is_told_from_a_closed_connection() {
        let output = Err::<(), _>(tell_apart(io::ErrorKind::BrokenPipe.into()))
            .context("printing")
            .unwrap_err();
        assert!(is_closed_pipe(&output));
        let connection = Err::<(), _>(io::Error::from(io::ErrorKind::BrokenPipe))
            .context("fetching")
            .unwrap_err();
        assert!(!is_closed_pipe(&connection));
        assert!(is_closed_pipe(&anyhow::Error::from(ClosedPipe)));
    }
}
