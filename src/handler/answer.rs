//! An answer of HTTP/1 as its bytes come, to the last one of its body. Pure: neither socket nor clock.
//!
//! Framing is RFC 9112's (6.3). Where it leaves a choice the strict one is taken: an answer that can be read in two ways is
//! none. Interim answers are passed over. Of the headers only those are kept that somebody asks for.

use std::mem::MaybeUninit;

/// Of an answer's body, as much is read, in bytes; more of it ends the connection.
pub(super) const MAX_BODY: usize = 1 << 20;

/// The largest head of an answer, in bytes; also the most that a chunk's line or the trailers may have.
const MAX_HEAD: usize = 64 << 10;

/// Header lines of an answer at most.
const MAX_HEADERS: usize = 100;

/// The bytes are no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    /// Not HTTP/1.
    #[error("that is no HTTP/1 ({0})")]
    Head(httparse::Error),
    /// [`MAX_HEAD`]
    #[error("its head has more than {} KiB", MAX_HEAD >> 10)]
    TooLarge,
    /// No number, or different ones.
    #[error("its content-length is no number")]
    Length,
    /// A transfer coding without a meaning in its version.
    #[error("its transfer-encoding is none")]
    Coding,
    /// A chunk's size, or what is behind the chunk.
    #[error("a chunk of its body is none")]
    Chunk,
    /// The connection ended within it.
    #[error("the connection ended within it")]
    Ended,
    /// The connection ended before it.
    #[error("the connection ended before it")]
    Nothing,
}

/// A whole answer.
#[derive(Debug, Default)]
pub(super) struct Answered {
    pub(super) status: u16,
    /// `barnabas-outcome`; of several headers with one name the first.
    pub(super) outcome: Option<Vec<u8>>,
    /// `Retry-After`
    pub(super) retry_after: Option<Vec<u8>>,
    /// `Date`
    pub(super) date: Option<Vec<u8>>,
    /// `Location`
    pub(super) location: Option<Vec<u8>>,
    /// At most [`MAX_BODY`].
    pub(super) body: Vec<u8>,
    /// The connection can take another request.
    pub(super) reusable: bool,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Head,
    /// So many bytes of body.
    Length(u64),
    /// Body until the connection ends.
    ToEnd,
    /// A chunk's size.
    Size,
    /// So many bytes of a chunk.
    Chunk(u64),
    /// The line break behind a chunk.
    Break,
    /// Trailers, and the empty line behind them.
    Trailers,
    Whole,
}

/// An answer that is being read.
#[derive(Debug)]
pub(super) struct Reading {
    /// Read, and not looked at for good: less than a head's or a line's size.
    rest: Vec<u8>,
    stage: Stage,
    answer: Answered,
    /// Bytes of trailers.
    trailers: usize,
}

impl Reading {
    /// Of which nothing has come.
    pub(super) fn new() -> Self {
        Self {
            rest: Vec::new(),
            stage: Stage::Head,
            answer: Answered::default(),
            trailers: 0,
        }
    }

    /// What the connection brought; whether the answer is whole. To be asked no more then.
    ///
    /// # Errors
    /// If it cannot be an answer.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<bool, Wrong> {
        // As a rule an answer comes in one piece.
        if self.rest.is_empty() {
            let used = self.read(bytes)?;
            self.rest.extend_from_slice(&bytes[used..]);
        } else {
            let mut all = std::mem::take(&mut self.rest);
            all.extend_from_slice(bytes);
            let used = self.read(&all)?;
            all.drain(..used);
            self.rest = all;
        }
        let whole = self.stage == Stage::Whole;
        if whole && !self.rest.is_empty() {
            // Nobody has asked for that: what it answers is not to be guessed.
            self.answer.reusable = false;
        }
        Ok(whole)
    }

    /// The connection has ended: then the answer is whole.
    ///
    /// # Errors
    /// If more of it had to come.
    pub(super) fn end(&mut self) -> Result<(), Wrong> {
        match self.stage {
            Stage::ToEnd | Stage::Whole => Ok(()),
            Stage::Head if self.rest.is_empty() => Err(Wrong::Nothing),
            _ => Err(Wrong::Ended),
        }
    }

    /// What was read.
    pub(super) fn into_answer(self) -> Answered {
        self.answer
    }

    /// Reads on; how many of the bytes are done with.
    fn read(&mut self, bytes: &[u8]) -> Result<usize, Wrong> {
        let mut at = 0;
        while let Some(used) = self.step(&bytes[at..])? {
            at += used;
        }
        Ok(at)
    }

    /// Takes one part; `None` if not all of it is there, or nothing more is wanted.
    fn step(&mut self, bytes: &[u8]) -> Result<Option<usize>, Wrong> {
        let line = |bytes: &[u8]| {
            if bytes.len() > MAX_HEAD {
                return Err(Wrong::TooLarge);
            }
            Ok(None)
        };
        match self.stage {
            Stage::Whole => Ok(None),
            _ if bytes.is_empty() => Ok(None),
            Stage::Head => match self.head(bytes)? {
                Some(used) => Ok(Some(used)),
                None => line(bytes),
            },
            Stage::Length(left) => Ok(Some(self.body(bytes, left, Stage::Length, Stage::Whole))),
            Stage::Chunk(left) => Ok(Some(self.body(bytes, left, Stage::Chunk, Stage::Break))),
            Stage::ToEnd => Ok(Some(self.body(bytes, u64::MAX, |_| Stage::ToEnd, Stage::ToEnd))),
            Stage::Size => match httparse::parse_chunk_size(bytes).map_err(|_| Wrong::Chunk)? {
                httparse::Status::Partial => line(bytes),
                httparse::Status::Complete((used, size)) => {
                    // A line break alone would pass for a size of nothing.
                    if !bytes[0].is_ascii_hexdigit() {
                        return Err(Wrong::Chunk);
                    }
                    self.stage = if size == 0 {
                        Stage::Trailers
                    } else {
                        Stage::Chunk(size)
                    };
                    Ok(Some(used))
                }
            },
            Stage::Break => match bytes {
                [b'\r', b'\n', ..] => {
                    self.stage = Stage::Size;
                    Ok(Some(2))
                }
                b"\r" => Ok(None),
                _ => Err(Wrong::Chunk),
            },
            Stage::Trailers => {
                let Some(end) = memchr::memchr(b'\n', bytes) else {
                    return line(bytes);
                };
                self.trailers += end + 1;
                if self.trailers > MAX_HEAD {
                    return Err(Wrong::TooLarge);
                }
                if matches!(&bytes[..end], b"" | b"\r") {
                    self.stage = Stage::Whole;
                }
                Ok(Some(end + 1))
            }
        }
    }

    /// Takes bytes of the body, of which so many are left.
    fn body(&mut self, bytes: &[u8], left: u64, more: impl Fn(u64) -> Stage, then: Stage) -> usize {
        let here = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let room = MAX_BODY - self.answer.body.len();
        self.answer.body.extend_from_slice(&bytes[..here.min(room)]);
        if here > room {
            self.stage = Stage::Whole;
            self.answer.reusable = false;
            return bytes.len();
        }
        let left = left - u64::try_from(here).unwrap_or(u64::MAX);
        self.stage = if left == 0 { then } else { more(left) };
        here
    }

    /// Takes a head; `None` if it is not all there.
    fn head(&mut self, bytes: &[u8]) -> Result<Option<usize>, Wrong> {
        let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADERS];
        let mut head = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default()
            .parse_response_with_uninit_headers(&mut head, bytes, &mut lines);
        let httparse::Status::Complete(used) = parsed.map_err(Wrong::Head)? else {
            return Ok(None);
        };
        if used > MAX_HEAD {
            return Err(Wrong::TooLarge);
        }
        let status = head.code.unwrap_or_default();
        if (100..200).contains(&status) && status != 101 {
            return Ok(Some(used));
        }
        let mut said = Framing::new(head.version == Some(1));
        for line in head.headers.iter() {
            said.header(line.name, line.value)?;
            let name = |name: &str| line.name.eq_ignore_ascii_case(name);
            let kept = if name("date") {
                &mut self.answer.date
            } else if name("barnabas-outcome") {
                &mut self.answer.outcome
            } else if name("retry-after") {
                &mut self.answer.retry_after
            } else if name("location") {
                &mut self.answer.location
            } else {
                continue;
            };
            kept.get_or_insert_with(|| line.value.to_vec());
        }
        self.answer.status = status;
        (self.stage, self.answer.reusable) = said.stage(status)?;
        Ok(Some(used))
    }
}

/// What a head says of how its body ends, and the connection.
struct Framing {
    /// HTTP/1.1, not 1.0.
    newer: bool,
    length: Option<u64>,
    /// Whether the last transfer coding is `chunked`, if there is one.
    chunked: Option<bool>,
    close: bool,
    keep_alive: bool,
}

impl Framing {
    const fn new(newer: bool) -> Self {
        Self {
            newer,
            length: None,
            chunked: None,
            close: false,
            keep_alive: false,
        }
    }

    fn header(&mut self, name: &str, value: &[u8]) -> Result<(), Wrong> {
        if name.eq_ignore_ascii_case("content-length") {
            for number in list(value) {
                let digits = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
                let number = std::str::from_utf8(number).ok().filter(|_| digits);
                let number: u64 = number.and_then(|n| n.parse().ok()).ok_or(Wrong::Length)?;
                if self.length.is_some_and(|length| length != number) {
                    return Err(Wrong::Length);
                }
                self.length = Some(number);
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            let last = list(value).last().unwrap_or_default();
            self.chunked = Some(last.eq_ignore_ascii_case(b"chunked"));
        } else if name.eq_ignore_ascii_case("connection") {
            for word in list(value) {
                self.close |= word.eq_ignore_ascii_case(b"close");
                self.keep_alive |= word.eq_ignore_ascii_case(b"keep-alive");
            }
        }
        Ok(())
    }

    /// What follows the head, and whether the connection can be used again afterwards.
    fn stage(&self, status: u16) -> Result<(Stage, bool), Wrong> {
        let stays = !self.close && (self.newer || self.keep_alive);
        Ok(match (status, self.chunked, self.length) {
            (101, ..) => (Stage::Whole, false),
            // Of a 304 it is what a GET would have; a 204 that says there is a body may send it.
            (304, ..) | (204, None, None | Some(0)) => (Stage::Whole, stays),
            (204, ..) => (Stage::Whole, false),
            (_, Some(_), _) if !self.newer => return Err(Wrong::Coding),
            // Beside a length, whoever is between us and the handler may have read it in another way.
            (_, Some(true), length) => (Stage::Size, stays && length.is_none()),
            (_, Some(false), _) | (_, None, None) => (Stage::ToEnd, false),
            (_, None, Some(0)) => (Stage::Whole, stays),
            (_, None, Some(length)) => (Stage::Length(length), stays),
        })
    }
}

/// The parts between commas.
fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests;
