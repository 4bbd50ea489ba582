//! What an event's id is, by which a duplicate is known (`--dedup-id`).

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::dead_letter::replay::Origin;
use crate::delivery::dedup::EventId;
use crate::event;
use crate::record::RecordView;

/// Where an event's id stands. An event without one is no duplicate of any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum IdFrom {
    /// The CloudEvent's `source` and `id`.
    #[default]
    Event,
    /// A header of the record; of several with this name the last.
    Header(String),
    /// A place in the record's value, which is JSON there: names and indices from the outside in. Text or a number.
    Json(Vec<String>),
}

impl IdFrom {
    /// Reads `event`, `header:NAME` or `json:/a/JSON/pointer`.
    ///
    /// # Errors
    /// It is none of them, in words for people.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "event" {
            return Ok(Self::Event);
        }
        if let Some(name) = text.strip_prefix("header:").filter(|name| !name.is_empty()) {
            return Ok(Self::Header(name.to_owned()));
        }
        let pointer = text.strip_prefix("json:").ok_or(
            "is neither event nor header:NAME nor json:POINTER, as in header:order-id or json:/order/id",
        )?;
        let path = pointer
            .strip_prefix('/')
            .ok_or("is no JSON pointer: it has to begin with a slash, as in json:/order/id")?;
        let part = |part: &str| {
            let escapes = part.split('~').skip(1);
            let sound = { escapes }.all(|rest| rest.starts_with(['0', '1']));
            sound.then(|| part.replace("~1", "/").replace("~0", "~"))
        };
        let parts: Option<Vec<String>> = path.split('/').map(part).collect();
        Ok(Self::Json(parts.ok_or(
            "is no JSON pointer: behind ~ comes 0 (for ~ itself) or 1 (for a slash)",
        )?))
    }

    /// The id of a record's event, if it has one. A replayed letter is compared by the letter's.
    pub(super) fn of(&self, record: &RecordView<'_>, replay: bool) -> Option<EventId> {
        let headers = record.headers;
        if replay {
            let origin = Origin::read(headers.iter())?;
            return Some(EventId::replay(origin.id.as_bytes(), origin.replays));
        }
        let (source, id) = match self {
            Self::Event => {
                let (mut source, mut id, mut kind) = (None, None, None);
                for (name, value) in headers.iter() {
                    match name {
                        b"ce_source" => source = value,
                        b"ce_id" => id = value,
                        b"content-type" => kind = value,
                        _ => {}
                    }
                }
                if kind.is_some_and(event::is_structured) {
                    let (source, id) = (
                        text_at(record.value?, &["source"]),
                        text_at(record.value?, &["id"]),
                    );
                    (source, id?)
                } else {
                    (source.map(Cow::Borrowed), Cow::Borrowed(id?))
                }
            }
            Self::Header(wanted) => {
                let named = headers.iter().filter(|(name, _)| *name == wanted.as_bytes());
                (None, Cow::Borrowed(named.last()?.1?))
            }
            Self::Json(path) => (None, text_at(record.value?, path)?),
        };
        (!id.is_empty()).then(|| EventId::event(source.as_deref().unwrap_or_default(), &id))
    }
}

/// The text or number at a place in JSON; none if there is nothing, or anything else.
fn text_at<'j, S: AsRef<str>>(json: &'j [u8], path: &[S]) -> Option<Cow<'j, [u8]>> {
    let path: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
    let mut reader = serde_json::Deserializer::from_slice(json);
    let found = Seek(&path).deserialize(&mut reader).ok()??;
    let raw = found.get();
    match raw.as_bytes().first()? {
        b'"' if memchr::memchr(b'\\', raw.as_bytes()).is_none() => {
            let inner = raw.strip_prefix('"')?.strip_suffix('"')?;
            Some(Cow::Borrowed(inner.as_bytes()))
        }
        b'"' => {
            let text: String = serde_json::from_str(raw).ok()?;
            Some(Cow::Owned(text.into_bytes()))
        }
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(raw.as_bytes())),
        _ => None,
    }
}

/// Looks for a place, and reads the rest without keeping it.
#[derive(Clone, Copy)]
struct Seek<'p>(&'p [&'p str]);

type Found<'de> = Option<&'de RawValue>;

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = Found<'de>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Found<'de>, D::Error> {
        if self.0.is_empty() {
            return <&RawValue>::deserialize(from).map(Some);
        }
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = Found<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found<'de>, A::Error> {
        let (wanted, rest) = self
            .0
            .split_first()
            .map_or(("", self.0), |(wanted, rest)| (*wanted, rest));
        let mut found = None;
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if name == wanted {
                found = map.next_value_seed(Seek(rest))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Found<'de>, A::Error> {
        let (wanted, rest) = self
            .0
            .split_first()
            .map_or(("", self.0), |(wanted, rest)| (*wanted, rest));
        let wanted: Option<usize> = wanted.parse().ok();
        let (mut found, mut at) = (None, 0);
        loop {
            if wanted == Some(at) {
                match list.next_element_seed(Seek(rest))? {
                    Some(value) => found = value,
                    None => return Ok(None),
                }
            } else if list.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            at += 1;
        }
    }

    // Nothing is in these.

    fn visit_bool<E>(self, _: bool) -> Result<Found<'de>, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Found<'de>, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Found<'de>, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Found<'de>, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Found<'de>, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Found<'de>, E> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(json: &str, pointer: &str) -> Option<String> {
        let IdFrom::Json(path) = IdFrom::parse(&format!("json:{pointer}")).expect("a pointer") else {
            panic!("{pointer}")
        };
        text_at(json.as_bytes(), &path).map(|found| String::from_utf8(found.into_owned()).expect("text"))
    }

    #[test]
    fn an_id_is_a_header_or_stands_in_the_value() {
        assert_eq!(IdFrom::parse("event"), Ok(IdFrom::Event));
        assert_eq!(
            IdFrom::parse("header:order-id"),
            Ok(IdFrom::Header("order-id".to_owned()))
        );
        let path = |parts: &[&str]| Ok(IdFrom::Json(parts.iter().map(|&part| part.to_owned()).collect()));
        assert_eq!(IdFrom::parse("json:/order/id"), path(&["order", "id"]));
        assert_eq!(IdFrom::parse("json:/a~1b/~0/"), path(&["a/b", "~", ""]));
        for wrong in [
            "",
            "id",
            "header:",
            "json:",
            "json:order",
            "json:/a~2",
            "json:/a~",
        ] {
            assert!(IdFrom::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn text_and_numbers_are_ids_and_nothing_else_is() {
        let json = r#"{"a":{"b":[1,{"c":"x\u0041"},-2.50]},"s":"plain","n":null,"t":true,"e":""}"#;
        for (pointer, found) in [
            ("/a/b/1/c", Some("xA")),
            ("/a/b/0", Some("1")),
            ("/a/b/2", Some("-2.50")),
            ("/s", Some("plain")),
            ("/e", Some("")),
            ("/a/b/3", None),
            ("/a/b", None),
            ("/a/b/x", None),
            ("/s/x", None),
            ("/n", None),
            ("/n/x", None),
            ("/t", None),
            ("/missing", None),
        ] {
            assert_eq!(at(json, pointer).as_deref(), found, "{pointer}");
        }
        assert_eq!(at("not JSON", "/a"), None);
        assert_eq!(at(r#"{"a":1"#, "/a"), None);
    }

    proptest! {
        #[test]
        fn a_pointer_finds_what_serde_json_finds(
            numbers in prop::collection::vec(0u32..100, 1..5), name in "[a-z~/\"é]{0,4}", index in 0usize..5
        ) {
            let value = serde_json::json!({"x": [1, 2], name.clone(): {"list": numbers, "id": "i"}});
            let escaped = name.replace('~', "~0").replace('/', "~1");
            let pointer = format!("/{escaped}/list/{index}");
            let expected = value.pointer(&pointer).map(ToString::to_string);
            prop_assert_eq!(at(&value.to_string(), &pointer), expected);
        }
    }
}
