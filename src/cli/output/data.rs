//! Data to standard output: large writes, and a closed pipe told from other errors.

use std::fs::File;
use std::io::{self, Write};

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
}

impl Data {
    /// Bytes in the buffer at which it is written out.
    pub const FULL: usize = 256 << 10;

    pub(super) fn stdout() -> io::Result<Self> {
        // Flushed first, lest the order be mixed up with what clap printed.
        io::stdout().flush().map_err(tell_apart)?;
        Ok(Self {
            file: duplicate()?,
            buffer: Vec::new(),
        })
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

    /// Writes the buffer out.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub fn flush_all(&mut self) -> io::Result<()> {
        let written = self.file.write_all(&self.buffer).map_err(tell_apart);
        self.buffer.clear();
        written
    }
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
