//! `done` as text: base64 of varint run lengths.
//!
//! From `next` on: how many offsets are not finished, how many then are, how many then are not … Each length is a
//! varint, seven bits a byte, the lowest first; each is at least 1, as ranges neither touch `next` nor each other.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;

use super::{Progress, Ranges};

/// Text that is no encoded `done`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the finished ranges above `next` are garbled: {0}")]
pub struct Garbled(&'static str);

impl Progress {
    /// `done` as text of at most `max_bytes`. What does not fit is left out from the top only: a hole lower down would
    /// have a record done again after its key's later ones. Empty without a `next`.
    #[must_use]
    pub fn encode_done(&self, max_bytes: usize) -> String {
        let Some(next) = self.next else {
            return String::new();
        };
        let mut bytes = Vec::new();
        let mut at = next;
        for (start, end) in self.done.iter() {
            let before = bytes.len();
            push_varint(&mut bytes, start.abs_diff(at));
            push_varint(&mut bytes, end.abs_diff(start));
            if text_len(bytes.len()) > max_bytes {
                bytes.truncate(before);
                break;
            }
            at = end;
        }
        BASE64_STANDARD_NO_PAD.encode(bytes)
    }

    /// Reads what [`encode_done`](Self::encode_done) wrote, for a given `next`.
    ///
    /// # Errors
    /// When it is not base64, a length is zero, too long or cut off, or a range ends behind the last possible offset.
    pub fn decode_done(next: i64, text: &str) -> Result<Ranges, Garbled> {
        let bytes = BASE64_STANDARD_NO_PAD
            .decode(text)
            .map_err(|_| Garbled("it is not base64"))?;
        let mut rest = bytes.as_slice();
        let mut done = Ranges::default();
        let mut at = next;
        while !rest.is_empty() {
            let start = advance(at, &mut rest)?;
            at = advance(start, &mut rest)?;
            done.insert_range(start..at);
        }
        Ok(done)
    }

    /// Leaves out of `done` what [`encode_done`](Self::encode_done) would leave out: the topmost ranges.
    pub fn cut_top(&mut self, max_bytes: usize) {
        if let Some(cut) = self.first_that_does_not_fit(max_bytes) {
            self.done.remove_from(cut);
        }
    }

    /// The wrong way to make room, to show in a test what it breaks: the lowest ranges go.
    #[cfg(test)]
    pub(crate) fn cut_bottom(&mut self, max_bytes: usize) {
        while self.first_that_does_not_fit(max_bytes).is_some() {
            let Some((_, end)) = self.done.iter().next() else {
                return;
            };
            self.done.remove_below(end);
        }
    }

    /// The start of the first range without room in `max_bytes` of text.
    fn first_that_does_not_fit(&self, max_bytes: usize) -> Option<i64> {
        // The usual case at the price of a comparison: a range takes at most two varints of ten bytes.
        if text_len(self.done.len().saturating_mul(20)) <= max_bytes {
            return None;
        }
        let mut at = self.next?;
        let mut bytes = 0;
        for (start, end) in self.done.iter() {
            bytes += varint_len(start.abs_diff(at)) + varint_len(end.abs_diff(start));
            if text_len(bytes) > max_bytes {
                return Some(start);
            }
            at = end;
        }
        None
    }
}

/// Characters of unpadded base64 for that many bytes.
fn text_len(bytes: usize) -> usize {
    bytes.saturating_mul(4).div_ceil(3)
}

fn varint_len(value: u64) -> usize {
    (64 - value.max(1).leading_zeros()).div_ceil(7) as usize
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Reads a length and goes so far from `at`.
fn advance(at: i64, rest: &mut &[u8]) -> Result<i64, Garbled> {
    let mut value = 0_u64;
    for shift in (0..63).step_by(7) {
        let (&byte, tail) = rest.split_first().ok_or(Garbled("it is cut off"))?;
        *rest = tail;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            if value == 0 {
                return Err(Garbled("it has an empty run"));
            }
            return at
                .checked_add_unsigned(value)
                .ok_or(Garbled("it goes behind the last offset"));
        }
    }
    Err(Garbled("it has a run longer than any partition"))
}
