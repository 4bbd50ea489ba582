//! Blocks → lines → records.

use super::lines::Delimiter;
use super::{InputError, InputFormat, InputOptions, Parsed, Refusal, envelope, lines, ndjson};
use crate::record::Header;

/// Splits blocks of input into records; holds nothing but the part of a line that the next block goes on with.
///
/// ```
/// use barnabas::produce::input::{InputOptions, Splitter};
/// let mut splitter = Splitter::new(InputOptions::default(), &[]);
/// let mut values = Vec::new();
/// for block in [&b"one\ntw"[..], b"o\nthree"] {
///     let mut at = 0;
///     while let Some(record) = splitter.next_record(block, &mut at) {
///         values.push(record.expect("lines are never refused").value.map(<[u8]>::to_vec));
///     }
/// }
/// if let Some(Ok(last)) = splitter.finish() {
///     values.push(last.value.map(<[u8]>::to_vec));
/// }
/// assert_eq!(values, [Some(b"one".to_vec()), Some(b"two".to_vec()), Some(b"three".to_vec())]);
/// ```
#[derive(Debug)]
pub struct Splitter<'f> {
    options: InputOptions,
    headers: &'f [Header<'f>],
    delimiter: Delimiter,
    key_delimiter: Option<Delimiter>,
    /// The most bytes of a line that are kept.
    line_limit: usize,
    /// The line read last, from 1; 0 before the first.
    line: u64,
    /// The start of a line whose end has not been seen; of one that is too long, only what a delimiter may begin in.
    partial: Vec<u8>,
    /// Bytes of the unfinished line that were thrown away because it is too long.
    dropped: u64,
    /// `partial` was handed out as a whole line and is to be cleared.
    handed_out: bool,
    /// Where escapes and base64 are decoded to.
    scratch: Vec<u8>,
}

/// A complete line.
enum Line {
    /// In the block, from and to (exclusive).
    Block(usize, usize),
    /// In `partial`.
    Partial,
    /// Of so many bytes, more than are kept.
    TooLong(u64),
}

impl<'f> Splitter<'f> {
    /// A splitter at line 1. `headers` (`-H`) come before each record's own.
    #[must_use]
    pub fn new(options: InputOptions, headers: &'f [Header<'f>]) -> Self {
        let line_limit = match options.format {
            InputFormat::Lines => options.max_record + options.key_delimiter.as_ref().map_or(0, Vec::len),
            InputFormat::Ndjson(_) => options.max_record,
            // A byte may be written as `\u0000`; the rest is names, headers and spaces.
            InputFormat::Envelopes => options.max_record.saturating_mul(6).saturating_add(64 * 1024),
        };
        Self {
            delimiter: Delimiter::new(&options.delimiter),
            key_delimiter: options.key_delimiter.as_deref().map(Delimiter::new),
            options,
            headers,
            line_limit,
            line: 0,
            partial: Vec::new(),
            dropped: 0,
            handed_out: false,
            scratch: Vec::new(),
        }
    }

    /// The next record of `block` at or after `*at`, which is moved behind it; `None` when the block is used up
    /// (`*at` is then its length, and the next block may follow).
    ///
    /// # Errors
    /// [`InputError`] about one line; the next call goes on behind it.
    pub fn next_record<'a>(
        &'a mut self,
        block: &'a [u8],
        at: &mut usize,
    ) -> Option<Result<Parsed<'a>, InputError>> {
        self.clear_handed_out();
        let is_whole = self.partial.is_empty() && self.dropped == 0;
        if is_whole && matches!(self.options.format, InputFormat::Lines) && !self.options.skip_empty {
            // The usual line has a way of its own: compiled for size, each value that is moved costs as much as the search.
            let rest = block.get(*at..).unwrap_or_default();
            if let Some(length) = self.delimiter.find(rest)
                && length <= self.line_limit
            {
                *at += length + self.delimiter.len();
                self.line += 1;
                return Some(Ok(self.split(self.line, &rest[..length])));
            }
        }
        loop {
            let line = self.next_line(block, at)?;
            if self.is_left_out(block, &line) {
                continue;
            }
            return Some(self.parse(block, &line));
        }
    }

    /// The last line, if the input did not end with a delimiter. Afterwards the splitter is at line 1 again, for the
    /// next file.
    ///
    /// # Errors
    /// [`InputError`] about that line.
    pub fn finish(&mut self) -> Option<Result<Parsed<'_>, InputError>> {
        self.clear_handed_out();
        let line = if self.dropped > 0 {
            Line::TooLong(self.dropped + self.partial.len() as u64)
        } else if self.partial.is_empty() {
            self.line = 0;
            return None;
        } else if self.partial.len() > self.line_limit {
            Line::TooLong(self.partial.len() as u64)
        } else {
            Line::Partial
        };
        self.dropped = 0;
        self.handed_out = true;
        self.line += 1;
        if self.is_left_out(&[], &line) {
            self.line = 0;
            return None;
        }
        let number = std::mem::take(&mut self.line);
        Some(self.parse_numbered(number, &[], &line))
    }

    /// How many lines were read of this file so far, those that were refused included.
    #[must_use]
    pub fn lines_read(&self) -> u64 {
        self.line
    }

    /// Bytes kept of a line whose end has not been seen yet.
    #[must_use]
    pub fn pending(&self) -> usize {
        if self.handed_out { 0 } else { self.partial.len() }
    }

    fn clear_handed_out(&mut self) {
        if self.handed_out {
            self.handed_out = false;
            self.partial.clear();
        }
    }

    #[inline]
    fn next_line(&mut self, block: &[u8], at: &mut usize) -> Option<Line> {
        self.clear_handed_out();
        let start = *at;
        let rest = block.get(start..).unwrap_or_default();
        if rest.is_empty() {
            return None;
        }
        if !self.partial.is_empty() || self.dropped > 0 {
            return self.complete(rest, at);
        }
        let Some(length) = self.delimiter.find(rest) else {
            *at = block.len();
            self.keep(rest);
            return None;
        };
        *at = start + length + self.delimiter.len();
        self.line += 1;
        if length > self.line_limit {
            return Some(Line::TooLong(length as u64));
        }
        Some(Line::Block(start, start + length))
    }

    /// The end of the line that `partial` begins.
    #[cold]
    fn complete(&mut self, rest: &[u8], at: &mut usize) -> Option<Line> {
        // A delimiter of several bytes may itself straddle the blocks.
        if let Some(length) = self.delimiter.find_across(&self.partial, rest) {
            *at += length + self.delimiter.len() - self.partial.len();
            self.partial.truncate(length);
        } else if let Some(length) = self.delimiter.find(rest) {
            *at += length + self.delimiter.len();
            if self.dropped == 0 && self.partial.len() + length <= self.line_limit {
                self.partial.extend_from_slice(&rest[..length]);
            } else {
                self.dropped += (self.partial.len() + length) as u64;
                self.partial.clear();
            }
        } else {
            *at += rest.len();
            self.keep(rest);
            return None;
        }
        self.line += 1;
        self.handed_out = true;
        let bytes = std::mem::take(&mut self.dropped) + self.partial.len() as u64;
        if bytes > self.line_limit as u64 {
            self.partial = Vec::new();
            return Some(Line::TooLong(bytes));
        }
        Some(Line::Partial)
    }

    /// Keeps `rest`, which has no delimiter, for the next block, or only its end where the line is too long already.
    fn keep(&mut self, rest: &[u8]) {
        let overlap = self.delimiter.len() - 1;
        if self.dropped == 0 && self.partial.len() + rest.len() <= self.line_limit + overlap {
            self.partial.extend_from_slice(rest);
            return;
        }
        let mut tail = std::mem::take(&mut self.partial);
        let from_rest = &rest[rest.len() - overlap.min(rest.len())..];
        let from_tail = tail.len() - (overlap - from_rest.len()).min(tail.len());
        self.dropped += (tail.len() + rest.len()) as u64;
        tail.drain(..from_tail);
        self.partial = Vec::with_capacity(overlap);
        self.partial.extend_from_slice(&tail);
        self.partial.extend_from_slice(from_rest);
        self.dropped -= self.partial.len() as u64;
    }

    /// Lines that hold no record: empty ones where they are not wanted, and blank ones in a JSON format.
    #[inline]
    fn is_left_out(&self, block: &[u8], line: &Line) -> bool {
        if matches!(self.options.format, InputFormat::Lines) && !self.options.skip_empty {
            return false;
        }
        let bytes = match *line {
            Line::Block(from, to) => &block[from..to],
            Line::Partial => &self.partial[..],
            Line::TooLong(_) => return false,
        };
        match self.options.format {
            InputFormat::Lines => bytes.is_empty(),
            InputFormat::Ndjson(_) | InputFormat::Envelopes => bytes.trim_ascii().is_empty(),
        }
    }

    #[inline]
    fn parse<'a>(&'a mut self, block: &'a [u8], line: &Line) -> Result<Parsed<'a>, InputError> {
        self.parse_numbered(self.line, block, line)
    }

    #[inline]
    fn parse_numbered<'a>(
        &'a mut self,
        number: u64,
        block: &'a [u8],
        line: &Line,
    ) -> Result<Parsed<'a>, InputError> {
        let limit = self.options.max_record;
        let bytes = match *line {
            Line::Block(from, to) => &block[from..to],
            Line::Partial => &self.partial[..],
            Line::TooLong(bytes) => {
                return Err(InputError {
                    line: number,
                    refusal: Refusal::TooLarge { bytes, limit },
                });
            }
        };
        let parsed = match &self.options.format {
            InputFormat::Lines => return Ok(self.split(number, bytes)),
            InputFormat::Ndjson(pointer) => ndjson::parse(bytes, pointer, self.headers, &mut self.scratch),
            InputFormat::Envelopes => envelope::parse(bytes, self.headers, &mut self.scratch),
        };
        let refuse = |refusal| InputError {
            line: number,
            refusal,
        };
        let mut parsed = parsed.map_err(refuse)?;
        parsed.line = number;
        let bytes = parsed.key.map_or(0, <[u8]>::len) + parsed.value.map_or(0, <[u8]>::len);
        if bytes > limit {
            return Err(refuse(Refusal::TooLarge {
                bytes: bytes as u64,
                limit,
            }));
        }
        if parsed.key.is_none() {
            parsed.key = self.options.fixed_key.as_deref();
        }
        Ok(parsed)
    }

    /// The record of a line that is neither JSON nor too long.
    #[inline]
    fn split<'a>(&'a self, number: u64, line: &'a [u8]) -> Parsed<'a> {
        let fixed = self.options.fixed_key.as_deref();
        let (key, value) = lines::split(
            line,
            self.key_delimiter.as_ref(),
            fixed,
            self.options.empty_is_null,
        );
        Parsed {
            line: number,
            key,
            value,
            headers: self.headers.into(),
            partition: None,
            timestamp: None,
        }
    }
}
