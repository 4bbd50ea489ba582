//! A CloudEvent within a record: its attributes from and to the record's headers (binary mode) or from its value (structured mode).
//!
//! A record that is no CloudEvent is read the same way: it is data without attributes. CloudEvents 1.0.2, Kafka and JSON bindings.

use std::borrow::Cow;
use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::record::Header;

/// What the names of attributes begin with in a record's headers.
const PREFIX: &[u8] = b"ce_";

/// The header with the type of the data, or of the whole value in structured mode.
const CONTENT_TYPE: &[u8] = b"content-type";

/// The media type of structured mode without its format: `+json`.
const STRUCTURED: &str = "application/cloudevents";

/// Bytes of the hash that an idempotency key shows, each as two hexadecimal digits.
const KEY_BYTES: usize = 16;

/// A value says that it is an event in structured mode, and is none.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Kafka's binding knows no batches.
    #[error("a batch of CloudEvents in one record (the Kafka binding knows none)")]
    Batch,
    /// Not an object in JSON.
    #[error("its content-type says a CloudEvent in JSON, but it is none: {0}")]
    Json(#[source] serde_json::Error),
    /// An attribute is missing or empty.
    #[error("the CloudEvent has no `{0}`")]
    Missing(&'static str),
    /// An attribute is an object or an array.
    #[error("the CloudEvent's attribute `{0}` is neither text, number nor true or false")]
    Attribute(String),
    /// Two kinds of data, or broken base64.
    #[error("the CloudEvent's data_base64 {0}")]
    Base64(&'static str),
}

/// A name or value that is a part of its record, or was read out of it.
pub type Text<'a> = Cow<'a, [u8]>;

/// An event as it is delivered: a view of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// Names (`[a-z0-9]`, without prefix) and values, each name once, in the record's order. The value should be UTF-8.
    pub attributes: Vec<(Text<'a>, Text<'a>)>,
    /// The type of the data (`datacontenttype`), unchecked.
    pub content_type: Option<Text<'a>>,
    /// The data; `None` is a tombstone.
    pub data: Option<Text<'a>>,
}

impl<'a> Event<'a> {
    /// Of a record's headers and value. Nothing is copied in binary mode. Of headers with one name the last counts.
    ///
    /// # Errors
    /// If the value claims to be an event in structured mode and is none.
    pub fn read(
        headers: impl ExactSizeIterator<Item = Header<'a>>,
        value: Option<&'a [u8]>,
    ) -> Result<Self, EventError> {
        let mut content_type = None;
        let mut attributes: Vec<(Text<'_>, Text<'_>)> = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            if name == CONTENT_TYPE {
                content_type = value;
                continue;
            }
            let (Some(name), Some(value)) = (name.strip_prefix(PREFIX), value) else {
                continue;
            };
            if !is_name(name) || name == b"datacontenttype" {
                continue;
            }
            match attributes.iter_mut().find(|(each, _)| **each == *name) {
                Some((_, old)) => *old = Cow::Borrowed(value),
                None => attributes.push((Cow::Borrowed(name), Cow::Borrowed(value))),
            }
        }
        if let (Some(value), Some(given)) = (value, content_type) {
            match structure(given) {
                Structure::Json => return structured(value),
                Structure::Batch => return Err(EventError::Batch),
                Structure::None => {}
            }
        }
        Ok(Self {
            attributes,
            content_type: content_type.map(Cow::Borrowed),
            data: value.map(Cow::Borrowed),
        })
    }

    /// An attribute's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let found = self
            .attributes
            .iter()
            .find(|(each, _)| **each == *name.as_bytes());
        found.map(|(_, value)| &**value)
    }

    /// Appends the event in the JSON format, on one line: data that is JSON as it is, other text as a string, the rest as `data_base64`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        out.push(b'{');
        for (name, value) in &self.attributes {
            write_name(out, name);
            write_string(out, value);
        }
        if let Some(value) = &self.content_type {
            write_name(out, b"datacontenttype");
            write_string(out, value);
        }
        if let Some(data) = &self.data {
            self.write_data(data, out);
        }
        out.push(b'}');
    }

    fn write_data(&self, data: &[u8], out: &mut Vec<u8>) {
        let kind = self.content_type.as_deref().map(media_type);
        let may_be_json = kind.as_deref().is_none_or(is_json_type);
        let may_be_text = kind.as_deref().is_none_or(|kind| kind.starts_with("text/"));
        if may_be_json && is_json(data) {
            write_name(out, b"data");
            // A line break between JSON's tokens is white space; within its strings there is none.
            out.extend(data.iter().map(|&byte| match byte {
                b'\n' | b'\r' => b' ',
                other => other,
            }));
        } else if may_be_text && std::str::from_utf8(data).is_ok() {
            write_name(out, b"data");
            write_string(out, data);
        } else {
            write_name(out, b"data_base64");
            out.push(b'"');
            out.extend_from_slice(STANDARD.encode(data).as_bytes());
            out.push(b'"');
        }
    }
}

/// Where a record was first published: what identifies it if its event has no id.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// Of its topic; zeros if the brokers do not tell.
    pub topic_id: [u8; 16],
    /// Its topic's name: counts only if the id is unknown.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
}

/// See [`idempotency_key`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdempotencyKey([u8; 2 * KEY_BYTES]);

impl IdempotencyKey {
    /// Its 32 hexadecimal digits.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Digits are UTF-8.
        f.pad(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

/// A key that is equal whenever one event is delivered again, by whomever: a hash of the event's source and id, else of
/// the place of its record.
#[must_use]
pub fn idempotency_key(event: &Event<'_>, origin: &Origin<'_>) -> IdempotencyKey {
    let mut hash = Sha256::new();
    match (event.get("source"), event.get("id")) {
        (Some(source), Some(id)) if !id.is_empty() => {
            hash.update(b"event\0");
            // Its length keeps `a` + `bc` from being `ab` + `c`.
            hash.update(u64::try_from(source.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(source);
            hash.update(id);
        }
        _ => {
            if origin.topic_id == [0; 16] {
                hash.update(b"name\0");
                hash.update(origin.topic.as_bytes());
                hash.update(b"\0");
            } else {
                hash.update(b"topic\0");
                hash.update(origin.topic_id);
            }
            hash.update(origin.partition.to_be_bytes());
            hash.update(origin.offset.to_be_bytes());
        }
    }
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 2 * KEY_BYTES];
    for (pair, byte) in text.chunks_exact_mut(2).zip(hash.finalize()) {
        pair.copy_from_slice(&[byte >> 4, byte & 15].map(|half| DIGITS[usize::from(half)]));
    }
    IdempotencyKey(text)
}

/// Whether it is sound JSON in UTF-8, to its end.
#[must_use]
pub fn is_json(data: &[u8]) -> bool {
    std::str::from_utf8(data).is_ok_and(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok())
}

/// Appends text as a JSON string; what is not UTF-8 becomes U+FFFD.
pub fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    let plain = |byte: &u8| (0x20..0x7f).contains(byte) && !matches!(byte, b'"' | b'\\');
    if text.iter().all(plain) {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
    } else {
        let text = String::from_utf8_lossy(text);
        // Writing a string to memory cannot fail.
        let _ = serde_json::to_writer(out, text.as_ref());
    }
}

/// Appends a member's name, which needs no escaping, and a comma before it unless it is the first.
fn write_name(out: &mut Vec<u8>, name: &[u8]) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name);
    out.extend_from_slice(b"\":");
}

enum Structure {
    None,
    Json,
    Batch,
}

/// Whether a record with this content type holds a whole event in JSON.
pub(crate) fn is_structured(content_type: &[u8]) -> bool {
    matches!(structure(content_type), Structure::Json)
}

fn structure(content_type: &[u8]) -> Structure {
    // Nearly every event is in binary mode: no allocation for those.
    let begins = content_type.get(..STRUCTURED.len());
    if !begins.is_some_and(|begin| begin.eq_ignore_ascii_case(STRUCTURED.as_bytes())) {
        return Structure::None;
    }
    match media_type(content_type).strip_prefix(STRUCTURED) {
        Some("+json") => Structure::Json,
        Some(other) if other.starts_with("-batch") => Structure::Batch,
        _ => Structure::None,
    }
}

/// Without parameters, in lower case.
fn media_type(content_type: &[u8]) -> String {
    let end = memchr::memchr(b';', content_type).unwrap_or(content_type.len());
    String::from_utf8_lossy(&content_type[..end])
        .trim()
        .to_ascii_lowercase()
}

fn is_json_type(media_type: &str) -> bool {
    let subtype = media_type.split_once('/').map_or("", |(_, subtype)| subtype);
    subtype == "json" || subtype.ends_with("+json")
}

fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn structured(value: &[u8]) -> Result<Event<'_>, EventError> {
    let members: BTreeMap<Cow<'_, str>, &RawValue> =
        serde_json::from_slice(value).map_err(EventError::Json)?;
    let mut attributes: Vec<(Text<'_>, Text<'_>)> = Vec::with_capacity(members.len());
    let mut content_type = None;
    for (name, raw) in &members {
        if raw.get() == "null" || !is_name(name.as_bytes()) || name == "data" {
            continue;
        }
        let Some(text) = scalar(raw) else {
            return Err(EventError::Attribute(name.clone().into_owned()));
        };
        if name == "datacontenttype" {
            content_type = Some(Cow::Owned(text.into_bytes()));
        } else {
            attributes.push((into_bytes(name.clone()), Cow::Owned(text.into_bytes())));
        }
    }
    for required in ["specversion", "id", "source", "type"] {
        let has = attributes
            .iter()
            .any(|(name, value)| **name == *required.as_bytes() && !value.is_empty());
        if !has {
            return Err(EventError::Missing(required));
        }
    }
    let present = |name: &str| members.get(name).filter(|raw| raw.get() != "null");
    let data = match (present("data"), present("data_base64")) {
        (Some(_), Some(_)) => return Err(EventError::Base64("stands beside data")),
        (None, Some(raw)) => {
            let text = scalar(raw).unwrap_or_default();
            let decoded = STANDARD.decode(text);
            Cow::Owned(decoded.map_err(|_| EventError::Base64("is not sound base64"))?)
        }
        (Some(raw), None) => {
            let is_json = content_type
                .as_deref()
                .map(media_type)
                .as_deref()
                .is_none_or(is_json_type);
            match serde_json::from_str::<String>(raw.get()) {
                Ok(text) if !is_json => Cow::Owned(text.into_bytes()),
                _ => {
                    content_type.get_or_insert(Cow::Borrowed(b"application/json"));
                    Cow::Borrowed(raw.get().as_bytes())
                }
            }
        }
        (None, None) => Cow::Borrowed(&b""[..]),
    };
    Ok(Event {
        attributes,
        content_type,
        data: Some(data),
    })
}

fn into_bytes(text: Cow<'_, str>) -> Text<'_> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    }
}

/// Text, a number or a truth value, as its text.
fn scalar(raw: &RawValue) -> Option<String> {
    match serde_json::from_str(raw.get()).ok()? {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        serde_json::Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
