//! A regular file, read as long as that needs no wait.

use std::fs::File;
use std::io::IoSliceMut;

use rustix::io::{ReadWriteFlags, preadv2};

/// Means the file's own position, which moves on: whoever reads the file after us goes on behind what was read.
const POSITION: u64 = u64::MAX;

/// A file that is read from the page cache.
#[derive(Debug)]
pub(super) struct Cached {
    number: usize,
    file: File,
    bytes: u64,
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// So many bytes.
    Read(usize),
    /// The end; the file had so many bytes.
    End(u64),
    /// Nothing yet: the next bytes are not in memory, or the file system cannot tell, or they cannot be read at all.
    /// Which of them, an ordinary read will show.
    WouldWait,
}

impl Cached {
    /// The source with that number, an open regular file.
    pub(super) fn new(number: usize, file: File) -> Self {
        Self {
            number,
            file,
            bytes: 0,
        }
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    /// Reads at most as much as the block has room for, if it is in memory.
    pub(super) fn step(&mut self, block: &mut [u8]) -> Step {
        match preadv2(
            &self.file,
            &mut [IoSliceMut::new(block)],
            POSITION,
            ReadWriteFlags::NOWAIT,
        ) {
            Ok(0) => Step::End(self.bytes),
            Ok(length) => {
                self.bytes += length as u64;
                Step::Read(length)
            }
            Err(_) => Step::WouldWait,
        }
    }

    /// The file, and how many bytes of it were read.
    pub(super) fn into_parts(self) -> (File, u64) {
        (self.file, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_read_afterwards_is_behind_what_was_read_in_memory() {
        let path = std::env::temp_dir().join(format!("barnabas-cached-{}", std::process::id()));
        std::fs::write(&path, "onetwo").unwrap();
        let mut cached = Cached::new(7, File::open(&path).unwrap());
        let mut block = [0; 3];
        // A file system that cannot tell is no reason to fail.
        let read = match cached.step(&mut block) {
            Step::Read(length) => length,
            Step::WouldWait => 0,
            Step::End(bytes) => panic!("an end after {bytes} bytes"),
        };
        let (mut file, bytes) = cached.into_parts();
        assert_eq!(bytes, read as u64);
        let mut rest = block[..read].to_vec();
        file.read_to_end(&mut rest).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(rest, b"onetwo");
    }

    #[test]
    fn a_file_that_knows_no_such_read_would_wait() {
        let mut cached = Cached::new(0, File::open("/proc/self/stat").unwrap());
        assert_eq!(cached.step(&mut [0; 100]), Step::WouldWait);
    }
}
