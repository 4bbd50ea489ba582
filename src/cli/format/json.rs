//! kcat's JSON object.

use super::{Source, number};
use crate::record::{Header, RecordView, TimestampType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Writes records as JSON objects, with the parts that seldom change kept ready.
#[derive(Debug, Default)]
pub(super) struct JsonWriter {
    topic: String,
    partition: i32,
    broker: i32,
    /// From the brace to the offset; empty before the first record.
    head: Vec<u8>,
    /// From the timestamp to the key.
    tail: Vec<u8>,
    escaper: Escaper,
}

impl JsonWriter {
    /// Appends one record as an object.
    pub(super) fn print(&mut self, source: Source<'_>, record: &RecordView<'_>, out: &mut Vec<u8>) {
        if self.head.is_empty()
            || self.partition != source.partition
            || self.broker != source.broker
            || self.topic != source.topic
        {
            self.prepare(source);
        }
        out.extend_from_slice(&self.head);
        number::append(record.offset, out);
        out.extend_from_slice(match record.timestamp_type {
            TimestampType::CreateTime => &b",\"tstype\":\"create\",\"ts\":"[..],
            TimestampType::LogAppendTime => b",\"tstype\":\"logappend\",\"ts\":",
        });
        number::append(record.timestamp, out);
        out.extend_from_slice(&self.tail);
        let mut headers = record.headers.iter();
        if let Some(first) = headers.next() {
            out.extend_from_slice(b",\"headers\":[");
            self.header(first, out);
            for header in headers {
                out.push(b',');
                self.header(header, out);
            }
            out.push(b']');
        }
        out.extend_from_slice(b",\"key\":");
        self.nullable(record.key, out);
        out.extend_from_slice(b",\"payload\":");
        self.nullable(record.value, out);
        out.push(b'}');
    }

    #[cold]
    fn prepare(&mut self, source: Source<'_>) {
        source.topic.clone_into(&mut self.topic);
        (self.partition, self.broker) = (source.partition, source.broker);
        self.head.clear();
        self.head.extend_from_slice(b"{\"topic\":");
        self.escaper.quote(source.topic.as_bytes(), &mut self.head);
        self.head.extend_from_slice(b",\"partition\":");
        number::append(source.partition.into(), &mut self.head);
        self.head.extend_from_slice(b",\"offset\":");
        self.tail.clear();
        self.tail.extend_from_slice(b",\"broker\":");
        number::append(source.broker.into(), &mut self.tail);
    }

    fn header(&mut self, (name, value): Header<'_>, out: &mut Vec<u8>) {
        self.bytes(name, out);
        out.push(b',');
        self.nullable(value, out);
    }

    fn nullable(&mut self, bytes: Option<&[u8]>, out: &mut Vec<u8>) {
        match bytes {
            Some(bytes) => self.bytes(bytes, out),
            None => out.extend_from_slice(b"null"),
        }
    }

    /// A string, or an object with base64 where the bytes are no text.
    fn bytes(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if std::str::from_utf8(bytes).is_ok() {
            self.escaper.quote(bytes, out);
            return;
        }
        out.extend_from_slice(b"{\"base64\":\"");
        let from = out.len();
        let length = bytes.len().div_ceil(3) * 4;
        out.resize(from + length, b'=');
        // The length is exact, so this cannot fail.
        let written = STANDARD.encode_slice(bytes, &mut out[from..]).unwrap_or(0);
        debug_assert_eq!(written, length);
        out.extend_from_slice(b"\"}");
    }
}

/// Escapes strings by blocks: finds what needs an escape in 64 bytes at once, and copies what lies between by 16.
#[derive(Debug)]
struct Escaper {
    /// The escaped form of one chunk; never shrinks, so that it need not be cleared each time.
    escaped: Box<[u8; ESCAPED]>,
}

/// Bytes of text that are escaped at once; a multiple of [`BLOCK`].
const CHUNK: usize = 1024;
/// Bytes whose need of escapes is found at once.
const BLOCK: usize = 64;
/// Bytes that are copied at once, however few are needed.
const STEP: usize = 16;
/// A byte grows to six at most (`\u001F`), and a step may go beyond the end.
const ESCAPED: usize = CHUNK * 6 + BLOCK + STEP;

impl Default for Escaper {
    fn default() -> Self {
        Self {
            escaped: Box::new([0; ESCAPED]),
        }
    }
}

impl Escaper {
    /// Appends UTF-8 text as a JSON string.
    fn quote(&mut self, text: &[u8], out: &mut Vec<u8>) {
        out.push(b'"');
        for chunk in text.chunks(CHUNK) {
            let mut to = 0;
            let (blocks, rest) = chunk.as_chunks::<BLOCK>();
            for block in blocks {
                to = self.block(block, BLOCK, to);
            }
            if !rest.is_empty() {
                let mut block = [b' '; BLOCK];
                block[..rest.len()].copy_from_slice(rest);
                to = self.block(&block, rest.len(), to);
            }
            out.extend_from_slice(&self.escaped[..to]);
        }
        out.push(b'"');
    }

    /// Escapes the first `length` bytes of a block (the rest being spaces) behind `to`, and returns where it ends.
    #[inline]
    fn block(&mut self, block: &[u8; BLOCK], length: usize, mut to: usize) -> usize {
        let mut mask = needs_escape(block);
        if mask == 0 {
            self.escaped[to..to + BLOCK].copy_from_slice(block);
            return to + length;
        }
        let mut padded = [0; BLOCK + STEP];
        padded[..BLOCK].copy_from_slice(block);
        let mut from = 0;
        while mask != 0 {
            let at = mask.trailing_zeros() as usize;
            to = self.run(&padded, from, at, to);
            let byte = padded[at];
            let escape = ESCAPES[usize::from(byte & 0x7f)];
            self.escaped[to..to + 2].copy_from_slice(&[b'\\', escape]);
            to += 2;
            if escape == b'u' {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                let digits = [
                    b'0',
                    b'0',
                    HEX[usize::from(byte >> 4)],
                    HEX[usize::from(byte & 15)],
                ];
                self.escaped[to..to + 4].copy_from_slice(&digits);
                to += 4;
            }
            from = at + 1;
            mask &= mask - 1;
        }
        self.run(&padded, from, length, to)
    }

    /// Copies `padded[from..until]` to `to`, and returns where it ends.
    #[inline]
    fn run(&mut self, padded: &[u8; BLOCK + STEP], mut from: usize, until: usize, mut to: usize) -> usize {
        let end = to + (until - from);
        while from < until {
            self.escaped[to..to + STEP].copy_from_slice(&padded[from..from + STEP]);
            from += STEP;
            to += STEP;
        }
        end
    }
}

/// What stands behind the backslash, for the bytes that need one.
const ESCAPES: [u8; 128] = {
    let mut escapes = [b'u'; 128];
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes[8] = b'b';
    escapes[12] = b'f';
    escapes[b'\n' as usize] = b'n';
    escapes[b'\r' as usize] = b'r';
    escapes[b'\t' as usize] = b't';
    escapes
};

/// A bit for each byte that needs an escape: quotes, backslashes and controls.
#[inline]
fn needs_escape(block: &[u8; BLOCK]) -> u64 {
    /// Moves the lowest bit of byte i of a word to bit 56 + i.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    // The compiler makes this loop one comparison per 16 bytes; the intrinsic that gathers bits is unsafe code.
    let mut flags = [0; BLOCK];
    for (flag, &byte) in flags.iter_mut().zip(block) {
        *flag = u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte < 0x20);
    }
    let (words, _) = flags.as_chunks::<8>();
    let bits = |word: &[u8; 8]| u64::from_le_bytes(*word).wrapping_mul(GATHER) >> 56;
    words.iter().rev().fold(0, |mask, word| mask << 8 | bits(word))
}
