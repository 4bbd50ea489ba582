//! kcat's JSON object.

use super::{Source, number};
use crate::record::{Header, RecordView, TimestampType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Writes records as JSON objects, with the parts that seldom change kept ready.
#[derive(Debug)]
pub(super) struct JsonWriter {
    topic: String,
    partition: i32,
    broker: i32,
    /// From the brace to the offset; empty before the first record.
    head: Vec<u8>,
    /// The timestamp that the tail has, in milliseconds, and whose it is.
    clock: (i64, TimestampType),
    /// From the timestamp to the broker; empty if it is to be made anew.
    tail: Vec<u8>,
    escaper: Escaper,
}

impl Default for JsonWriter {
    fn default() -> Self {
        Self {
            topic: String::new(),
            partition: 0,
            broker: 0,
            head: Vec::new(),
            clock: (0, TimestampType::CreateTime),
            tail: Vec::new(),
            escaper: Escaper::default(),
        }
    }
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
        if self.tail.is_empty() || self.clock != (record.timestamp, record.timestamp_type) {
            self.prepare_tail(record.timestamp, record.timestamp_type);
        }
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
    }

    /// Records that were produced together often share the millisecond, and formatting it is not for nothing.
    fn prepare_tail(&mut self, timestamp: i64, whose: TimestampType) {
        self.clock = (timestamp, whose);
        self.tail.clear();
        self.tail.extend_from_slice(match whose {
            TimestampType::CreateTime => &b",\"tstype\":\"create\",\"ts\":"[..],
            TimestampType::LogAppendTime => b",\"tstype\":\"logappend\",\"ts\":",
        });
        number::append(timestamp, &mut self.tail);
        self.tail.extend_from_slice(b",\"broker\":");
        number::append(self.broker.into(), &mut self.tail);
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
    /// The escaped form of one chunk; not cleared between uses, which would cost as much as the escaping.
    escaped: Box<[u8; ESCAPED]>,
}

/// Bytes of text that are escaped at once.
const CHUNK: usize = BLOCK * BLOCKS;
/// Bytes whose need of escapes is found at once.
const BLOCK: usize = 64;
/// Blocks in a chunk.
const BLOCKS: usize = 16;
/// Bytes that are copied at once, however few are needed.
const STEP: usize = 16;
/// A byte grows to six at most (`\u001F`), and a step may go beyond the end.
const ESCAPED: usize = CHUNK * 6 + STEP;

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
            let mut masks = [0; BLOCKS];
            let (blocks, rest) = chunk.as_chunks::<BLOCK>();
            let mut any = 0;
            for (mask, block) in masks.iter_mut().zip(blocks) {
                *mask = needs_escape(block);
                any |= *mask;
            }
            if !rest.is_empty() {
                let mut block = [b' '; BLOCK];
                block[..rest.len()].copy_from_slice(rest);
                masks[blocks.len()] = needs_escape(&block);
                any |= masks[blocks.len()];
            }
            if any == 0 {
                out.extend_from_slice(chunk);
            } else {
                let length = self.escape(chunk, &masks);
                out.extend_from_slice(&self.escaped[..length]);
            }
        }
        out.push(b'"');
    }

    /// Writes the escaped chunk to the buffer and returns its length.
    fn escape(&mut self, chunk: &[u8], masks: &[u64; BLOCKS]) -> usize {
        let escaped = &mut self.escaped[..];
        let (mut from, mut to) = (0, 0);
        for (block, &mask) in masks[..chunk.len().div_ceil(BLOCK)].iter().enumerate() {
            let mut mask = mask;
            while mask != 0 {
                let at = block * BLOCK + mask.trailing_zeros() as usize;
                to = copy(chunk, from, at, escaped, to);
                let byte = chunk[at];
                let escape = ESCAPES[usize::from(byte & 0x7f)];
                escaped[to..to + 2].copy_from_slice(&[b'\\', escape]);
                to += 2;
                if escape == b'u' {
                    const HEX: &[u8; 16] = b"0123456789ABCDEF";
                    let digits = [
                        b'0',
                        b'0',
                        HEX[usize::from(byte >> 4)],
                        HEX[usize::from(byte & 15)],
                    ];
                    escaped[to..to + 4].copy_from_slice(&digits);
                    to += 4;
                }
                from = at + 1;
                mask &= mask - 1;
            }
        }
        copy(chunk, from, chunk.len(), escaped, to)
    }
}

/// Copies `chunk[from..until]` to `escaped[to..]`, and returns where it ends.
#[inline]
fn copy(chunk: &[u8], from: usize, until: usize, escaped: &mut [u8], to: usize) -> usize {
    let end = to + (until - from);
    // Most runs are short; a step of fixed size is two instructions, where a copy of unknown size is a call.
    match (chunk.get(from..from + STEP), escaped.get_mut(to..to + STEP)) {
        (Some(step), Some(target)) => {
            target.copy_from_slice(step);
            if until - from > STEP {
                copy_rest(&chunk[from + STEP..until], &mut escaped[to + STEP..end]);
            }
        }
        _ => copy_rest(&chunk[from..until], &mut escaped[to..end]),
    }
    end
}

#[inline(never)]
fn copy_rest(from: &[u8], to: &mut [u8]) {
    to.copy_from_slice(from);
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
