//! What is said to a worker and what it says back: a JSON object per line.
//!
//! To it: `{"id":7,"attempt":1,"deadline_ms":30000,"idempotency_key":"…","fence":"9.1","record":{…},"event":{…}}`. From it: `{"id":7,"ok":true}`,
//! `{"id":7,"skip":"why"}`, `{"id":7,"retry":"why","after_ms":500}` or `{"id":7,"reject":"why"}`.

use std::io::Write as _;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{Answer, Delivery, Outcome, Sign};
use crate::event::{EventError, write_string};

/// The longest line that a worker may write, in bytes.
pub const MAX_LINE: usize = 1 << 20;

/// What an answer begins with.
const ANSWER: &[u8] = b"{\"id\"";

/// Appends the line for a delivery.
///
/// # Errors
/// If the record claims to be a structured event and is none.
pub fn write_delivery(out: &mut Vec<u8>, id: u64, delivery: &Delivery) -> Result<(), EventError> {
    let event = delivery.event()?;
    // Writing to memory cannot fail.
    let _ = write!(
        out,
        r#"{{"id":{id},"attempt":{},"deadline_ms":{},"idempotency_key":"{}","fence":"{}""#,
        delivery.attempt,
        delivery.deadline.as_millis(),
        delivery.idempotency_key(&event),
        delivery.fence(),
    );
    if delivery.redelivered {
        out.extend_from_slice(br#","redelivered":"maybe""#);
    }
    if event.data.is_none() {
        out.extend_from_slice(br#","tombstone":true"#);
    }
    if let Some(origin) = &delivery.origin {
        let _ = write!(out, r#","replay":{}"#, origin.replays);
    }
    out.extend_from_slice(br#","record":{"topic":"#);
    write_string(out, delivery.topic.as_bytes());
    let Delivery {
        partition,
        offset,
        record,
        ..
    } = delivery;
    let timestamp = record.timestamp;
    let _ = write!(
        out,
        r#","partition":{partition},"offset":{offset},"timestamp":{timestamp}"#
    );
    if let Some(key) = record.key() {
        if std::str::from_utf8(key).is_ok() {
            out.extend_from_slice(br#","key":"#);
            write_string(out, key);
        } else {
            use base64::Engine;
            let key = base64::engine::general_purpose::STANDARD.encode(key);
            let _ = write!(out, r#","key_base64":"{key}""#);
        }
    }
    out.extend_from_slice(br#"},"event":"#);
    event.write_json(out);
    out.extend_from_slice(b"}\n");
    Ok(())
}

/// A line of a worker's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// An answer.
    Answer {
        /// To which delivery.
        id: u64,
        /// What it means.
        answer: Answer,
    },
    /// Something else: for the log.
    Talk(String),
    /// It means to be an answer and is none: the worker cannot be trusted any more.
    Broken(String),
}

/// Reads a line, without its line break.
#[must_use]
pub fn read(line: &[u8]) -> Line {
    #[derive(Deserialize)]
    struct Said {
        id: u64,
        ok: Option<Value>,
        skip: Option<Value>,
        retry: Option<Value>,
        after_ms: Option<Value>,
        reject: Option<Value>,
    }
    let line = line.trim_ascii();
    // Most lines are this one.
    if let Some(id) = plain_ok(line) {
        return Line::Answer {
            id,
            answer: Answer::done(),
        };
    }
    let Ok(said) = serde_json::from_slice::<Said>(line) else {
        let shown = shown(line);
        return if line.starts_with(ANSWER) {
            Line::Broken(format!("it wrote a broken answer: {shown}"))
        } else {
            Line::Talk(shown)
        };
    };
    let retry = |why: &str, text: String| {
        let after = said.after_ms.as_ref().and_then(Value::as_u64);
        let outcome = Outcome::Retry {
            sign: Sign::Own,
            after: after.map(Duration::from_millis),
            pause: None,
        };
        (outcome, why.to_owned(), text)
    };
    let (outcome, status, excerpt) = match said {
        Said {
            reject: Some(why), ..
        } => (Outcome::Reject, "reject".to_owned(), text(&why)),
        Said {
            retry: Some(ref why), ..
        } => retry("retry", text(why)),
        Said { skip: Some(why), .. } => (Outcome::Skip, "skip".to_owned(), text(&why)),
        Said {
            ok: Some(Value::Bool(true)),
            ..
        } => {
            return Line::Answer {
                id: said.id,
                answer: Answer::done(),
            };
        }
        // No word that we know is no consent.
        Said { .. } => retry(
            "unclear",
            format!("neither ok, skip, retry nor reject: {}", shown(line)),
        ),
    };
    let answer = Answer {
        outcome,
        status: Some(status.into()),
        excerpt: super::bounded(excerpt),
    };
    Line::Answer { id: said.id, answer }
}

/// The id in exactly `{"id":7,"ok":true}`, with spaces behind colons and the comma or without.
fn plain_ok(line: &[u8]) -> Option<u64> {
    let rest = line.strip_prefix(b"{\"id\":")?.trim_ascii_start();
    let end = rest.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = rest.split_at(end);
    let rest = rest.strip_prefix(b",")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"ok\":")?.trim_ascii_start();
    if rest != b"true}" || digits.is_empty() || digits.len() > 19 || (digits[0] == b'0' && digits.len() > 1) {
        return None;
    }
    digits.iter().try_fold(0_u64, |id, digit| {
        id.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(200)]).into_owned()
}

/// Bytes that become lines.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Up to here it has been given out.
    start: usize,
    /// Up to here there is no line break that was not given out.
    searched: usize,
}

impl Lines {
    /// Adds bytes as they come.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line, without its line break.
    ///
    /// # Errors
    /// If it is longer than [`MAX_LINE`], be it whole or not.
    #[expect(clippy::should_implement_trait, reason = "it lends from the buffer")]
    pub fn next(&mut self) -> Result<Option<&[u8]>, LineTooLong> {
        let found = memchr::memchr(b'\n', &self.buffer[self.searched..]);
        let end = found.map_or(self.buffer.len(), |at| self.searched + at);
        if end - self.start > MAX_LINE {
            return Err(LineTooLong);
        }
        if found.is_none() {
            self.searched = end;
            return Ok(None);
        }
        let line = &self.buffer[self.start..end];
        self.start = end + 1;
        self.searched = self.start;
        Ok(Some(line))
    }
}

/// A line without an end in sight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it wrote a line over 1 MiB")]
pub struct LineTooLong;

#[cfg(test)]
mod tests;
