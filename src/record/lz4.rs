//! The LZ4 frame format around `lz4_flex`'s blocks, on buffers that are used again.
//!
//! `lz4_flex`'s own frame encoder and decoder copy each block through buffers that they allocate anew for each
//! batch. Checksums inside a frame are skipped: the batch's CRC-32C is over all of it.

use lz4_flex::block::{self, CompressTable, DecompressError as BlockError};

use super::compression::{DecompressError, Output};

/// Magic, flags (version 1, independent blocks, no checksums, no content size), 64 KiB blocks, header checksum.
const FRAME_HEADER: [u8; 7] = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
const MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];
/// What Kafka's own clients write; larger ones would cost readers more memory.
const BLOCK_SIZE: usize = 64 * 1024;
/// How far a block may refer back into the blocks before it.
const WINDOW: usize = 64 * 1024;
/// In a block's length: the block is stored as it is.
const STORED: u32 = 1 << 31;
/// A byte of a block stands for at most 255 bytes of content.
const MAX_RATIO: usize = 255;

/// The most bytes that [`compress`] makes of `length`.
pub(super) fn bound(length: usize) -> usize {
    let blocks = length.div_ceil(BLOCK_SIZE);
    // A block is compressed in place before it is known whether it shrinks.
    FRAME_HEADER.len() + length + blocks * 4 + (block::get_maximum_output_size(BLOCK_SIZE) - BLOCK_SIZE) + 4
}

/// Writes `input` as one frame into `out`, which is at least [`bound`] long, and returns its size.
pub(super) fn compress(input: &[u8], out: &mut [u8], table: &mut CompressTable) -> usize {
    out[..FRAME_HEADER.len()].copy_from_slice(&FRAME_HEADER);
    let mut at = FRAME_HEADER.len();
    for block in input.chunks(BLOCK_SIZE) {
        let body = at + 4;
        let (length, flag) = match block::compress_into_with_table(block, &mut out[body..], table) {
            Ok(length) if length < block.len() => (length, 0),
            _ => {
                out[body..body + block.len()].copy_from_slice(block);
                (block.len(), STORED)
            }
        };
        // At most 64 KiB.
        let word = u32::try_from(length).unwrap_or_default() | flag;
        out[at..body].copy_from_slice(&word.to_le_bytes());
        at = body + length;
    }
    out[at..at + 4].fill(0);
    at + 4
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], DecompressError> {
        let (taken, rest) = self
            .0
            .split_at_checked(length)
            .ok_or(DecompressError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    fn word(&mut self) -> Result<[u8; 4], DecompressError> {
        self.take(4)?.try_into().map_err(|_| DecompressError::Truncated)
    }
}

/// Reads all frames of `input` into `out`.
pub(super) fn decompress(input: &[u8], out: &mut Output<'_>) -> Result<(), DecompressError> {
    let mut input = Input(input);
    while !input.0.is_empty() {
        frame(&mut input, out)?;
    }
    Ok(())
}

fn frame(input: &mut Input<'_>, out: &mut Output<'_>) -> Result<(), DecompressError> {
    let corrupt = |why: &str| DecompressError::Corrupt(why.to_owned());
    if input.word()? != MAGIC {
        return Err(corrupt("no LZ4 frame begins there"));
    }
    let &[flags, sizes] = input.take(2)? else {
        return Err(DecompressError::Truncated);
    };
    if flags & 0xc0 != 0x40 || flags & 0x03 != 0 || sizes & 0x8f != 0 || sizes < 0x40 {
        return Err(corrupt("an LZ4 frame with unknown features"));
    }
    let independent = flags & 0x20 != 0;
    let block_checksums = flags & 0x10 != 0;
    let content_size = flags & 0x08 != 0;
    let content_checksum = flags & 0x04 != 0;
    let max_block = 1usize << (8 + 2 * (sizes >> 4));
    input.take(if content_size { 9 } else { 1 })?;

    let start = out.filled();
    loop {
        let word = u32::from_le_bytes(input.word()?);
        if word == 0 {
            break;
        }
        let length = usize::try_from(word & !STORED).unwrap_or(usize::MAX);
        if length > max_block {
            return Err(corrupt("an LZ4 block above its frame's limit"));
        }
        let block = input.take(length)?;
        if word & STORED != 0 {
            out.room(length)?[..length].copy_from_slice(block);
            out.advance(length);
        } else {
            let wanted = max_block.min(length.saturating_mul(MAX_RATIO));
            let history = if independent {
                0
            } else {
                WINDOW.min(out.filled() - start)
            };
            let (before, room) = out.room_and_history(wanted, history)?;
            let short = room.len() < wanted;
            let written = if history == 0 {
                block::decompress_into(block, room)
            } else {
                block::decompress_into_with_dict(block, room, before)
            };
            match written {
                Ok(length) => out.advance(length),
                Err(BlockError::OutputTooSmall { .. }) if short => return Err(out.too_large()),
                Err(error) => return Err(DecompressError::Corrupt(error.to_string())),
            }
        }
        if block_checksums {
            input.take(4)?;
        }
    }
    if content_checksum {
        input.take(4)?;
    }
    Ok(())
}
