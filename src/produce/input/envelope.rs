//! A record per line as a JSON object: our envelopes, and what `consume -J` and `kcat -J` print.

use super::error::text;
use super::json::{self, Piece, offset_in};
use super::{Parsed, Refusal};
use crate::record::Header;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// An unknown name is refused: a misspelt `"valu"` would publish a tombstone.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'l> {
    #[serde(borrow, default)]
    key: Option<&'l RawValue>,
    /// `Some("null")` for null, so that a tombstone is never published by omission.
    #[serde(borrow, default, deserialize_with = "given")]
    value: Option<&'l RawValue>,
    #[serde(borrow, default, deserialize_with = "given")]
    payload: Option<&'l RawValue>,
    #[serde(borrow, default)]
    headers: Option<&'l RawValue>,
    #[serde(borrow, default)]
    partition: Option<&'l RawValue>,
    #[serde(borrow, default)]
    timestamp: Option<&'l RawValue>,
    #[serde(borrow, default)]
    ts: Option<&'l RawValue>,
    // Where the record came from, which says nothing about where it goes.
    #[serde(default, rename = "topic")]
    _topic: Option<IgnoredAny>,
    #[serde(default, rename = "offset")]
    _offset: Option<IgnoredAny>,
    #[serde(default, rename = "tstype")]
    _tstype: Option<IgnoredAny>,
    #[serde(default, rename = "broker")]
    _broker: Option<IgnoredAny>,
}

fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The record that an envelope describes.
pub(super) fn parse<'a>(
    line: &'a [u8],
    fixed: &'a [Header<'a>],
    scratch: &'a mut Vec<u8>,
) -> Result<Parsed<'a>, Refusal> {
    let line = text(line)?;
    let start = line.len() - line.trim_ascii_start().len();
    if !line[start..].starts_with('{') {
        return Err(Refusal::at(
            start,
            "expected an object such as {\"key\":\"k\",\"value\":\"v\"}",
        ));
    }
    let envelope: Envelope<'a> =
        serde_json::from_str(line).map_err(|error| Refusal::json(&error, line, 0))?;
    scratch.clear();
    let value = match (envelope.value, envelope.payload) {
        (Some(value), None) | (None, Some(value)) => value.get(),
        (Some(_), Some(second)) => {
            return Err(Refusal::at(
                offset_in(line, second.get()),
                "both value and payload: give one of them",
            ));
        }
        (None, None) => {
            return Err(Refusal::at(
                start,
                "there is no value (a tombstone has \"value\":null)",
            ));
        }
    };
    let timestamp = match (envelope.timestamp, envelope.ts) {
        (Some(_), Some(second)) => {
            return Err(Refusal::at(
                offset_in(line, second.get()),
                "both timestamp and ts: give one of them",
            ));
        }
        (one, other) => one.or(other),
    };
    let timestamp = timestamp.map(|raw| {
        number::<i64>(raw, |&millis| millis >= -1).ok_or_else(|| {
            Refusal::at(
                offset_in(line, raw.get()),
                "expected milliseconds since the epoch",
            )
        })
    });
    let partition = envelope.partition.map(|raw| {
        number::<i32>(raw, |&partition| partition >= 0)
            .ok_or_else(|| Refusal::at(offset_in(line, raw.get()), "expected the number of a partition"))
    });
    let (timestamp, partition) = (timestamp.transpose()?, partition.transpose()?);
    let key = match envelope.key {
        Some(raw) => json::bytes(line, raw.get(), scratch)?,
        None => None,
    };
    let value = json::bytes(line, value, scratch)?;
    let own = match envelope.headers {
        Some(raw) => headers(line, raw.get(), scratch)?,
        None => Vec::new(),
    };
    let scratch = &scratch[..];
    let all = if own.is_empty() {
        fixed.into()
    } else {
        let own = own
            .iter()
            .map(|(name, value)| (name.bytes(scratch), value.as_ref().map(|v| v.bytes(scratch))));
        fixed
            .iter()
            .copied()
            .chain(own)
            .collect::<Vec<Header<'a>>>()
            .into()
    };
    Ok(Parsed {
        line: 0,
        key: key.map(|key| key.bytes(scratch)),
        value: value.map(|value| value.bytes(scratch)),
        headers: all,
        partition,
        timestamp,
    })
}

fn number<T: std::str::FromStr>(raw: &RawValue, fits: impl Fn(&T) -> bool) -> Option<T> {
    raw.get().parse().ok().filter(fits)
}

type OwnHeader<'l> = (Piece<'l>, Option<Piece<'l>>);

/// Headers as `["name", value, …]`, as `[["name", value], …]` or as `{"name": value, …}`, where an array stands for
/// several values of one name; in their order, doubles kept.
fn headers<'l>(line: &'l str, raw: &'l str, scratch: &mut Vec<u8>) -> Result<Vec<OwnHeader<'l>>, Refusal> {
    let offset = offset_in(line, raw);
    let within = |error: serde_json::Error| Refusal::json(&error, raw, offset);
    let mut headers = Vec::new();
    match raw.as_bytes().first() {
        Some(b'{') => {
            let Pairs(pairs) = serde_json::from_str(raw).map_err(within)?;
            for (name, value) in pairs {
                // A name of an object is a string, and `{"base64":…}` cannot stand there.
                let name_of =
                    |scratch: &mut Vec<u8>| json::string(name.get(), offset_in(line, name.get()), scratch);
                if value.get().starts_with('[') {
                    let List(values) = serde_json::from_str(value.get())
                        .map_err(|error| Refusal::json(&error, value.get(), offset_in(line, value.get())))?;
                    for value in values {
                        headers.push((name_of(scratch)?, json::bytes(line, value.get(), scratch)?));
                    }
                } else {
                    headers.push((name_of(scratch)?, json::bytes(line, value.get(), scratch)?));
                }
            }
        }
        Some(b'[') => {
            let List(items) = serde_json::from_str(raw).map_err(within)?;
            if items.first().is_some_and(|first| first.get().starts_with('[')) {
                for item in items {
                    let List(pair) = serde_json::from_str(item.get())
                        .map_err(|error| Refusal::json(&error, item.get(), offset_in(line, item.get())))?;
                    let [name, value] = pair[..] else {
                        return Err(Refusal::at(
                            offset_in(line, item.get()),
                            "expected a header as [\"name\", value]",
                        ));
                    };
                    headers.push(header(line, name.get(), value.get(), scratch)?);
                }
            } else {
                let pairs = items.chunks_exact(2);
                if let [lone] = pairs.remainder() {
                    return Err(Refusal::at(
                        offset_in(line, lone.get()),
                        "this header has a name but no value",
                    ));
                }
                for pair in pairs {
                    headers.push(header(line, pair[0].get(), pair[1].get(), scratch)?);
                }
            }
        }
        _ => {
            return Err(Refusal::at(
                offset,
                "expected headers as [\"name\", value, …] or {\"name\": value, …}",
            ));
        }
    }
    Ok(headers)
}

fn header<'l>(
    line: &'l str,
    name: &'l str,
    value: &'l str,
    scratch: &mut Vec<u8>,
) -> Result<OwnHeader<'l>, Refusal> {
    let is_name = name.starts_with(['"', '{']);
    match json::bytes(line, name, scratch)? {
        Some(name) if is_name => Ok((name, json::bytes(line, value, scratch)?)),
        _ => Err(Refusal::at(
            offset_in(line, name),
            "expected the name of a header",
        )),
    }
}

/// The elements of an array, unparsed.
struct List<'l>(Vec<&'l RawValue>);

impl<'de> Deserialize<'de> for List<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = List<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(element) = seq.next_element()? {
                    list.push(element);
                }
                Ok(List(list))
            }
        }
        deserializer.deserialize_seq(Elements)
    }
}

/// The names and values of an object, unparsed, in their order.
struct Pairs<'l>(Vec<(&'l RawValue, &'l RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
