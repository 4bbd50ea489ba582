//! A JSON document per line, its key taken from inside.

use super::error::text;
use super::{Parsed, Refusal, json};
use crate::record::Header;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::str::FromStr;

/// A JSON pointer (RFC 6901), such as `/customer/id`; the empty one points to the whole document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pointer {
    text: String,
    tokens: Vec<String>,
}

/// Text that is no JSON pointer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPointer {
    /// It does not start with a slash.
    #[error("a JSON pointer starts with a slash: /{0}")]
    NoSlash(String),
    /// `~` without 0 or 1 behind it.
    #[error("{0:?}: in a JSON pointer ~0 stands for ~ and ~1 for /")]
    Tilde(String),
}

impl FromStr for Pointer {
    type Err = BadPointer;

    fn from_str(text: &str) -> Result<Self, BadPointer> {
        let mut tokens = Vec::new();
        if !text.is_empty() {
            let rest = text
                .strip_prefix('/')
                .ok_or_else(|| BadPointer::NoSlash(text.to_owned()))?;
            for token in rest.split('/') {
                let bad = token
                    .split('~')
                    .skip(1)
                    .any(|after| !after.starts_with(['0', '1']));
                if bad {
                    return Err(BadPointer::Tilde(token.to_owned()));
                }
                tokens.push(token.replace("~1", "/").replace("~0", "~"));
            }
        }
        Ok(Self {
            text: text.to_owned(),
            tokens,
        })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The line as value, with the key that the pointer finds: a string's text; the JSON text of a number, true or false;
/// the JSON text without spaces of an array or object; no key for null. Where a name occurs twice in an object, the
/// last one counts. Nothing there is an error: keyless records would lose their order silently.
pub(super) fn parse<'a>(
    line: &'a [u8],
    pointer: &Pointer,
    headers: &'a [Header<'a>],
    scratch: &'a mut Vec<u8>,
) -> Result<Parsed<'a>, Refusal> {
    let document = text(line)?;
    let mut deserializer = serde_json::Deserializer::from_str(document);
    let found = Seek(&pointer.tokens)
        .deserialize(&mut deserializer)
        .and_then(|found| deserializer.end().map(|()| found))
        .map_err(|error| Refusal::json(&error, document, 0))?;
    let raw = found
        .ok_or_else(|| Refusal::NoKey {
            pointer: pointer.text.clone(),
        })?
        .get();
    scratch.clear();
    let key = match raw.as_bytes().first() {
        Some(b'n') => None,
        Some(b'"') => Some(json::string(raw, json::offset_in(document, raw), scratch)?),
        Some(b'{' | b'[') => {
            json::compact(raw, scratch);
            Some(json::Piece::Scratch(0, scratch.len()))
        }
        _ => Some(json::Piece::Line(raw.as_bytes())),
    };
    let scratch = &scratch[..];
    Ok(Parsed {
        line: 0,
        key: key.map(|key| key.bytes(scratch)),
        value: Some(line),
        headers: headers.into(),
        partition: None,
        timestamp: None,
    })
}

/// Goes down the tokens without building the document.
struct Seek<'t>(&'t [String]);

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Option<&'de RawValue>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.0.is_empty() {
            return serde::Deserialize::deserialize(deserializer).map(Some);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON document")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        let Some((token, rest)) = self.0.split_first() else {
            return Ok(None);
        };
        while let Some(hit) = map.next_key_seed(Is(token))? {
            if hit {
                found = map.next_value_seed(Seek(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let Some((token, rest)) = self.0.split_first() else {
            return Ok(None);
        };
        // RFC 6901: digits without a leading zero.
        let index = Some(token).filter(|token| token.len() == 1 || !token.starts_with(['0', '+']));
        let index = index.and_then(|token| token.parse::<usize>().ok());
        let mut found = None;
        let mut at = 0;
        loop {
            if Some(at) == index {
                match seq.next_element_seed(Seek(rest))? {
                    Some(value) => found = value,
                    None => return Ok(None),
                }
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            at += 1;
        }
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

/// Whether a name is the one that is looked for, without allocating it.
struct Is<'t>(&'t str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}
