//! The codecs at work: one [`Compressor`] and one [`Decompressor`] for many batches, whose tables and buffers
//! are used again.

use std::fmt;
use std::io::Read;

use flate2::{Compress, Crc, FlushCompress, Status};
use lz4_flex::block::CompressTable;
use structured_zstd::decoding::errors::{
    DecodeBlockContentError, DecodeBufferError, DecompressBlockError, ExecuteSequencesError,
    FrameDecoderError,
};
use structured_zstd::decoding::{ContentChecksum, FrameContentSize, FrameDecoder, read_frame_content_size};
use structured_zstd::encoding::{CompressionLevel, FrameCompressor};

use super::{Codec, Compression, lz4};

/// The most bytes that a batch may decompress to, unless a [`super::DecodeBuffer`] sets another limit. A broker
/// takes batches of 1 MB by default and of 100 MB at most in practice; without a limit, 256 KB of nothing but
/// repetition fill the memory.
pub const MAX_DECOMPRESSED: usize = 256 * 1024 * 1024;

/// zstd's level where none is asked for: about as dense as other clients' default, at twice the speed of level 3.
const ZSTD_LEVEL: i32 = 1;
/// gzip's level where none is asked for, as zlib has it.
const GZIP_LEVEL: u32 = 6;
/// Magic, deflate, no flags, no time, no hints, unknown system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// Room to begin with where the content's size is unknown, in multiples of the compressed size.
const FIRST_GUESS: usize = 4;
/// The least room to begin with, in bytes.
const MIN_ROOM: usize = 16 * 1024;
/// A snappy block's shortest copy of 64 bytes takes 3 bytes: nothing honest claims a higher ratio.
const SNAPPY_MAX_RATIO: usize = 22;
/// How the stream of the Java library `snappy-java` begins, before two version numbers.
const XERIAL_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const XERIAL_HEADER: usize = 16;

/// A codec refused to encode: not to be expected of any input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{codec} could not compress the batch: {message}")]
pub struct CompressError {
    /// Which one.
    pub codec: Codec,
    /// What it said.
    pub message: String,
}

/// Why a payload cannot be decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// It would take more memory than allowed.
    #[error("it is larger than {limit} bytes when decompressed")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// It ends too early.
    #[error("the compressed data ends too early")]
    Truncated,
    /// The codec makes no sense of it.
    #[error("{0}")]
    Corrupt(String),
}

/// Encoders, made when first needed and kept from batch to batch.
#[derive(Default)]
pub struct Compressor {
    /// For codecs that write into a slice: as long as it ever was.
    slice: Vec<u8>,
    /// For codecs that write into a vector.
    vector: Vec<u8>,
    gzip: Option<(u32, Compress)>,
    snappy: Option<snap::raw::Encoder>,
    lz4: Option<CompressTable>,
    zstd: Option<(i32, Box<FrameCompressor>)>,
    spare: Option<Vec<u8>>,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").finish_non_exhaustive()
    }
}

impl Compressor {
    /// Without any encoder yet.
    #[must_use]
    pub fn new() -> Self {
        Compressor::default()
    }

    /// The buffer of the last batch that was compressed, for [`super::BatchBuilder::with_buffer`].
    pub fn take_spare(&mut self) -> Option<Vec<u8>> {
        self.spare.take()
    }

    pub(super) fn give_spare(&mut self, buffer: Vec<u8>) {
        self.spare = Some(buffer);
    }

    /// The compressed form, valid until the next call, or `None` for the codec "none".
    pub(super) fn compress(
        &mut self,
        compression: Compression,
        input: &[u8],
    ) -> Result<Option<&[u8]>, CompressError> {
        let codec = compression.codec();
        let failed = |message: String| CompressError { codec, message };
        match codec {
            Codec::None => Ok(None),
            Codec::Gzip => {
                let level = compression
                    .level()
                    .and_then(|level| u32::try_from(level).ok())
                    .unwrap_or(GZIP_LEVEL);
                self.gzip(level, input).map_err(failed)?;
                Ok(Some(&self.vector))
            }
            Codec::Snappy => {
                let encoder = self.snappy.get_or_insert_with(snap::raw::Encoder::new);
                let bound = snap::raw::max_compress_len(input.len());
                let out = at_least(&mut self.slice, bound);
                let length = encoder
                    .compress(input, out)
                    .map_err(|error| failed(error.to_string()))?;
                Ok(Some(&self.slice[..length]))
            }
            Codec::Lz4 => {
                let table = self.lz4.get_or_insert_with(CompressTable::large);
                let length = lz4::compress(input, at_least(&mut self.slice, lz4::bound(input.len())), table);
                Ok(Some(&self.slice[..length]))
            }
            Codec::Zstd => {
                let level = compression.level().unwrap_or(ZSTD_LEVEL);
                if self.zstd.as_ref().is_none_or(|(made_for, _)| *made_for != level) {
                    let encoder = FrameCompressor::new(CompressionLevel::from_level(level));
                    self.zstd = Some((level, Box::new(encoder)));
                }
                if let Some((_, encoder)) = &mut self.zstd {
                    encoder.compress_independent_frame_into(input, &mut self.vector);
                }
                Ok(Some(&self.vector))
            }
        }
    }

    /// `flate2`'s own writer would make its 300 KB of tables anew for each batch.
    fn gzip(&mut self, level: u32, input: &[u8]) -> Result<(), String> {
        let encoder = match &mut self.gzip {
            Some((made_for, encoder)) if *made_for == level => {
                encoder.reset();
                encoder
            }
            other => {
                let made = Compress::new(flate2::Compression::new(level), false);
                &mut other.insert((level, made)).1
            }
        };
        let out = &mut self.vector;
        out.clear();
        out.reserve(input.len() / 2 + GZIP_HEADER.len() + 64);
        out.extend_from_slice(&GZIP_HEADER);
        loop {
            let read = usize::try_from(encoder.total_in()).unwrap_or(usize::MAX);
            let rest = input.get(read..).unwrap_or_default();
            match encoder.compress_vec(rest, out, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => break,
                Ok(_) => out.reserve(input.len() / 4 + 64),
                Err(error) => return Err(error.to_string()),
            }
        }
        let mut crc = Crc::new();
        crc.update(input);
        out.extend_from_slice(&crc.sum().to_le_bytes());
        // The size modulo 2^32, as the format has it.
        out.extend_from_slice(&crc.amount().to_le_bytes());
        Ok(())
    }
}

fn at_least(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    buffer
}

/// A growing output with a limit. The vector is kept as long as it ever was, so that it is zeroed only once.
pub(super) struct Output<'a> {
    buffer: &'a mut Vec<u8>,
    filled: usize,
    limit: usize,
}

impl Output<'_> {
    pub(super) fn filled(&self) -> usize {
        self.filled
    }

    pub(super) fn too_large(&self) -> DecompressError {
        DecompressError::TooLarge { limit: self.limit }
    }

    /// Room for exactly so many bytes.
    pub(super) fn room(&mut self, wanted: usize) -> Result<&mut [u8], DecompressError> {
        let end = self.filled.checked_add(wanted).filter(|end| *end <= self.limit);
        let end = end.ok_or_else(|| self.too_large())?;
        self.grow(end);
        Ok(&mut self.buffer[self.filled..end])
    }

    /// The last `history` bytes, and room for `wanted` bytes or as many as the limit leaves.
    pub(super) fn room_and_history(
        &mut self,
        wanted: usize,
        history: usize,
    ) -> Result<(&[u8], &mut [u8]), DecompressError> {
        let end = self.filled.saturating_add(wanted).min(self.limit);
        self.grow(end);
        let (before, room) = self.buffer[..end].split_at_mut(self.filled);
        Ok((&before[before.len().saturating_sub(history)..], room))
    }

    pub(super) fn advance(&mut self, written: usize) {
        self.filled += written;
    }

    fn grow(&mut self, end: usize) {
        if self.buffer.len() < end {
            let doubled = self.buffer.len().saturating_mul(2).min(self.limit);
            self.buffer.resize(end.max(doubled), 0);
        }
    }
}

/// Decoders and their output, kept from batch to batch.
pub(super) struct Decompressor {
    buffer: Vec<u8>,
    limit: usize,
    snappy: snap::raw::Decoder,
    zstd: Option<Box<FrameDecoder>>,
}

impl Decompressor {
    /// `limit` is in bytes of decompressed data.
    pub(super) fn new(limit: usize) -> Self {
        Decompressor {
            buffer: Vec::new(),
            limit,
            snappy: snap::raw::Decoder::new(),
            zstd: None,
        }
    }

    /// The decompressed form, valid until the next call; of the codec "none" the input itself.
    pub(super) fn decompress<'a>(
        &'a mut self,
        codec: Codec,
        input: &'a [u8],
    ) -> Result<&'a [u8], DecompressError> {
        let mut out = Output {
            buffer: &mut self.buffer,
            filled: 0,
            limit: self.limit,
        };
        match codec {
            Codec::None => return Ok(input),
            Codec::Gzip => gunzip(input, &mut out)?,
            Codec::Snappy => snappy(&mut self.snappy, input, &mut out)?,
            Codec::Lz4 => lz4::decompress(input, &mut out)?,
            Codec::Zstd => {
                let decoder = self.zstd.get_or_insert_with(|| {
                    let mut decoder = FrameDecoder::new();
                    decoder.set_content_checksum(ContentChecksum::None);
                    Box::new(decoder)
                });
                unzstd(decoder, input, &mut out)?;
            }
        }
        let filled = out.filled;
        Ok(&self.buffer[..filled])
    }
}

fn gunzip(input: &[u8], out: &mut Output<'_>) -> Result<(), DecompressError> {
    let mut decoder = flate2::bufread::MultiGzDecoder::new(input);
    loop {
        let wanted = if out.filled == 0 {
            input.len().saturating_mul(FIRST_GUESS).max(MIN_ROOM)
        } else {
            MIN_ROOM
        };
        let (_, room) = out.room_and_history(wanted.max(out.buffer.len() - out.filled), 0)?;
        let full = room.is_empty();
        let mut beyond = [0];
        match decoder.read(if full { &mut beyond } else { room }) {
            Ok(0) => return Ok(()),
            Ok(_) if full => return Err(out.too_large()),
            Ok(read) => out.advance(read),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                return Err(DecompressError::Truncated);
            }
            Err(error) => return Err(DecompressError::Corrupt(error.to_string())),
        }
    }
}

fn snappy(
    decoder: &mut snap::raw::Decoder,
    input: &[u8],
    out: &mut Output<'_>,
) -> Result<(), DecompressError> {
    if !input.starts_with(&XERIAL_MAGIC) {
        return snappy_block(decoder, input, out);
    }
    let mut rest = input.get(XERIAL_HEADER..).ok_or(DecompressError::Truncated)?;
    while !rest.is_empty() {
        // Joined streams carry the header again.
        if rest.starts_with(&XERIAL_MAGIC) {
            rest = rest.get(XERIAL_HEADER..).ok_or(DecompressError::Truncated)?;
            continue;
        }
        let (length, behind) = rest.split_first_chunk().ok_or(DecompressError::Truncated)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| DecompressError::Truncated)?;
        let (block, behind) = behind
            .split_at_checked(length)
            .ok_or(DecompressError::Truncated)?;
        snappy_block(decoder, block, out)?;
        rest = behind;
    }
    Ok(())
}

fn snappy_block(
    decoder: &mut snap::raw::Decoder,
    block: &[u8],
    out: &mut Output<'_>,
) -> Result<(), DecompressError> {
    let corrupt = |error: snap::Error| DecompressError::Corrupt(error.to_string());
    let length = snap::raw::decompress_len(block).map_err(corrupt)?;
    if length > block.len().saturating_mul(SNAPPY_MAX_RATIO) {
        return Err(DecompressError::Corrupt(
            "a snappy block that claims an impossible size".to_owned(),
        ));
    }
    let written = decoder.decompress(block, out.room(length)?).map_err(corrupt)?;
    out.advance(written);
    Ok(())
}

fn unzstd(decoder: &mut FrameDecoder, input: &[u8], out: &mut Output<'_>) -> Result<(), DecompressError> {
    // Java's encoder streams and so does not declare the size. `decode_all` straight into the buffer is several
    // times faster than block by block through a window, so a guess is tried, and a larger one: the buffer stays
    // that large, so that this happens for the first batches only.
    let declared = match read_frame_content_size(input) {
        Ok(FrameContentSize::Known(size)) => usize::try_from(size).unwrap_or(usize::MAX),
        Ok(FrameContentSize::Unknown) => 0,
        Err(error) => return Err(DecompressError::Corrupt(error.to_string())),
    };
    let mut wanted = declared
        .max(out.buffer.len())
        .max(input.len().saturating_mul(FIRST_GUESS))
        .max(MIN_ROOM);
    loop {
        let (_, room) = out.room_and_history(wanted, 0)?;
        let length = room.len();
        match decoder.decode_all(input, room) {
            Ok(written) => {
                out.advance(written);
                return Ok(());
            }
            Err(error) if did_not_fit(&error) && length >= out.limit => return Err(out.too_large()),
            Err(error) if did_not_fit(&error) => wanted = length.saturating_mul(2),
            Err(error) => return Err(DecompressError::Corrupt(error.to_string())),
        }
    }
}

/// Whether the room was too small for a frame that does not declare its size. structured-zstd 0.2.6 has an error of
/// that name, but not where a sequence is what did not fit.
fn did_not_fit(error: &FrameDecoderError) -> bool {
    use DecodeBlockContentError::DecompressBlockError as InBlock;
    use DecompressBlockError::ExecuteSequencesError as InSequences;
    use ExecuteSequencesError::{DecodebufferError as InBuffer, OutputBufferOverflow};
    match error {
        FrameDecoderError::TargetTooSmall => true,
        FrameDecoderError::FailedToReadBlockBody(InBlock(InSequences(error))) => matches!(
            error,
            OutputBufferOverflow { .. } | InBuffer(DecodeBufferError::OutputBufferOverflow { .. })
        ),
        _ => false,
    }
}
