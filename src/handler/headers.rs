//! What goes to an HTTP handler beside the data: the event's attributes and ours, and from the record nothing else that was not asked for.

use bytes::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};

use super::Delivery;
use crate::event::{self, Event};

/// Names and values from the record together, in bytes as sent.
pub const MAX_FROM_RECORD: usize = 16 << 10;

/// What a record can never set, whatever `--forward-headers` says: how the connection works, who we are, what we say ourselves.
const NEVER: [&str; 21] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "idempotency-key",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

/// Beginnings of names that a record can never set.
const NEVER_BEGINNING: [&str; 4] = ["barnabas-", "ce-", "x-forwarded-", "proxy-"];

/// The names of headers that are passed on (`--forward-headers`).
#[derive(Debug, Clone, Default)]
pub struct Forward(Vec<HeaderName>);

/// A name that cannot be passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ForwardError {
    /// Not allowed.
    #[error("the header `{0}` is never passed on from a record")]
    Never(String),
    /// Not a name.
    #[error("`{0}` is no name of an HTTP header")]
    NoName(String),
}

impl Forward {
    /// Of names in any case.
    ///
    /// # Errors
    /// Names the one that is refused.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, ForwardError> {
        let checked = names.into_iter().map(|text| {
            let name =
                HeaderName::from_bytes(text.as_bytes()).map_err(|_| ForwardError::NoName(text.to_owned()))?;
            let begins = NEVER_BEGINNING
                .iter()
                .any(|begin| name.as_str().starts_with(begin));
            if begins || NEVER.contains(&name.as_str()) {
                return Err(ForwardError::Never(text.to_owned()));
            }
            Ok(name)
        });
        Ok(Self(checked.collect::<Result<_, _>>()?))
    }
}

/// The record's headers are too large to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event's attributes and headers take {0} bytes, over the {MAX_FROM_RECORD} that are sent")]
pub struct TooLarge(usize);

/// Adds them all.
///
/// # Errors
/// If what comes from the record is too large.
pub fn add(
    headers: &mut HeaderMap,
    delivery: &Delivery,
    event: &Event,
    forward: &Forward,
) -> Result<(), TooLarge> {
    let mut size = 0;
    let mut set = |headers: &mut HeaderMap, name: HeaderName, value: HeaderValue| {
        size += name.as_str().len() + value.len();
        headers.insert(name, value);
    };
    for (name, value) in &event.attributes {
        if let Some(name) = attribute(name) {
            set(headers, name, encoded(value));
        }
    }
    match (&event.content_type, &event.data) {
        (Some(value), _) => {
            if let Some(value) = content_type(value) {
                set(headers, CONTENT_TYPE, value);
            }
        }
        // Many frameworks read no body without a type, and JSON is what most people mean.
        (None, Some(data)) if looks_like_json(data) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        _ => {}
    }
    for (name, value) in &delivery.headers {
        let Some(value) = value else { continue };
        match name.as_ref() {
            b"traceparent" | b"tracestate" => {
                // Passed on unchanged or, where that cannot be, not at all.
                let name = HeaderName::from_bytes(name);
                let value = HeaderValue::from_maybe_shared(value.clone());
                if let (Ok(name), Ok(value)) = (name, value)
                    && value.to_str().is_ok()
                {
                    set(headers, name, value);
                }
            }
            _ if forward.0.is_empty() => {}
            other => {
                let wanted = forward
                    .0
                    .iter()
                    .find(|name| name.as_str().as_bytes().eq_ignore_ascii_case(other));
                if let Some(name) = wanted {
                    set(headers, name.clone(), encoded(value));
                }
            }
        }
    }
    if let Some(key) = &delivery.key {
        set(headers, HeaderName::from_static("barnabas-key"), encoded(key));
    }
    if size > MAX_FROM_RECORD {
        return Err(TooLarge(size));
    }
    add_ours(headers, delivery, event);
    Ok(())
}

fn add_ours(headers: &mut HeaderMap, delivery: &Delivery, event: &Event) {
    let mut set = |name: &'static str, value: String| {
        // Digits, dots, slashes and topic names: nothing that a header cannot hold.
        if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(value)) {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    let Delivery {
        topic,
        partition,
        offset,
        ..
    } = delivery;
    set("idempotency-key", delivery.idempotency_key(event));
    set("barnabas-record", format!("{topic}/{partition}/{offset}"));
    set("barnabas-fence", delivery.fence());
    if let Some(origin) = &delivery.origin {
        set("barnabas-replay", origin.replays.to_string());
    }
    headers.insert(
        HeaderName::from_static("barnabas-attempt"),
        HeaderValue::from(delivery.attempt),
    );
    let deadline = u64::try_from(delivery.deadline.as_millis()).unwrap_or(u64::MAX);
    headers.insert(
        HeaderName::from_static("barnabas-deadline-ms"),
        HeaderValue::from(deadline),
    );
    if delivery.redelivered {
        headers.insert(
            HeaderName::from_static("barnabas-redelivered"),
            HeaderValue::from_static("maybe"),
        );
    }
    if event.data.is_none() {
        headers.insert(
            HeaderName::from_static("barnabas-tombstone"),
            HeaderValue::from_static("true"),
        );
    }
}

/// The header of an attribute.
fn attribute(name: &[u8]) -> Option<HeaderName> {
    Some(HeaderName::from_static(match name {
        b"id" => "ce-id",
        b"source" => "ce-source",
        b"specversion" => "ce-specversion",
        b"type" => "ce-type",
        b"time" => "ce-time",
        b"subject" => "ce-subject",
        b"dataschema" => "ce-dataschema",
        b"traceparent" => "ce-traceparent",
        other => {
            let name = [b"ce-", other].concat();
            return HeaderName::from_bytes(&name).ok();
        }
    }))
}

/// As CloudEvents' HTTP binding says (3.1.3.2): space, `"`, `%` and all that is not printable ASCII is percent-encoded. What is not UTF-8 becomes U+FFFD.
fn encoded(value: &Bytes) -> HeaderValue {
    let plain = |byte: u8| matches!(byte, 0x21..=0x7e) && byte != b'"' && byte != b'%';
    if value.iter().all(|&byte| plain(byte))
        && let Ok(value) = HeaderValue::from_maybe_shared(value.clone())
    {
        return value;
    }
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let text = String::from_utf8_lossy(value);
    let mut out = Vec::with_capacity(text.len() + 32);
    for byte in text.bytes() {
        if plain(byte) {
            out.push(byte);
        } else {
            out.extend_from_slice(&[
                b'%',
                DIGITS[usize::from(byte >> 4)],
                DIGITS[usize::from(byte & 15)],
            ]);
        }
    }
    HeaderValue::from_maybe_shared(Bytes::from(out)).unwrap_or(HeaderValue::from_static(""))
}

/// A media type that is one: `type/subtype`, parameters in printable ASCII.
fn content_type(value: &Bytes) -> Option<HeaderValue> {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let kind = value[..end].trim_ascii();
    let token = |part: &[u8]| {
        let sound = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        !part.is_empty() && part.iter().all(sound)
    };
    let slash = memchr::memchr(b'/', kind)?;
    let printable = value.iter().all(|byte| matches!(byte, 0x20..=0x7e));
    (printable && token(&kind[..slash]) && token(&kind[slash + 1..]))
        .then(|| HeaderValue::from_maybe_shared(value.clone()).ok())?
}

/// An object or an array in sound JSON.
fn looks_like_json(data: &[u8]) -> bool {
    matches!(data.trim_ascii_start().first(), Some(b'{' | b'[')) && event::is_json(data)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Origin;
    use super::super::tests::delivery;
    use super::*;

    fn built(delivery: &Delivery, forward: &[&str]) -> Result<HeaderMap, TooLarge> {
        let mut headers = HeaderMap::new();
        let event = delivery.event().unwrap();
        add(
            &mut headers,
            delivery,
            &event,
            &Forward::new(forward.iter().copied()).unwrap(),
        )?;
        Ok(headers)
    }

    fn with(name: &'static str, value: impl Into<Bytes>) -> Delivery {
        Delivery {
            headers: vec![(Bytes::from(name), Some(value.into()))],
            ..delivery()
        }
    }

    #[test]
    fn our_own_headers_are_always_there() {
        let headers = built(&delivery(), &[]).unwrap();
        assert_eq!(headers["barnabas-attempt"], "2");
        assert_eq!(headers["barnabas-fence"], "9.2");
        assert_eq!(headers["barnabas-deadline-ms"], "30000");
        assert_eq!(headers["barnabas-record"], "orders/3/12");
        assert_eq!(headers["barnabas-key"], "k%201");
        assert_eq!(headers["idempotency-key"].len(), 32);
        assert_eq!(headers["content-type"], "application/json");
        for absent in ["barnabas-redelivered", "barnabas-tombstone", "barnabas-replay"] {
            assert!(!headers.contains_key(absent), "{absent}");
        }
    }

    #[test]
    fn tombstones_repeats_and_replays_are_marked() {
        let marked = Delivery {
            value: None,
            redelivered: true,
            origin: Some(Origin {
                topic: "o".into(),
                topic_id: [3; 16],
                partition: 0,
                offset: 5,
                replays: 2,
            }),
            ..delivery()
        };
        let headers = built(&marked, &[]).unwrap();
        assert_eq!(headers["barnabas-redelivered"], "maybe");
        assert_eq!(headers["barnabas-tombstone"], "true");
        assert_eq!(headers["barnabas-replay"], "2");
        // The key is the original's.
        let elsewhere = built(&Delivery { offset: 99, ..marked }, &[]).unwrap();
        assert_eq!(headers["idempotency-key"], elsewhere["idempotency-key"]);
    }

    #[test]
    fn values_are_percent_encoded_so_that_no_line_can_be_added() {
        let headers = built(&with("ce_subject", "a\r\nX: 1 \"é%"), &[]).unwrap();
        assert_eq!(headers["ce-subject"], "a%0D%0AX:%201%20%22%C3%A9%25");
        let headers = built(&with("ce_subject", &b"\xff"[..]), &[]).unwrap();
        assert_eq!(headers["ce-subject"], "%EF%BF%BD");
    }

    #[test]
    fn other_headers_of_the_record_stay_behind_unless_asked_for() {
        let given = with("X-Tenant", "a b");
        assert!(!built(&given, &[]).unwrap().contains_key("x-tenant"));
        assert_eq!(built(&given, &["x-tenant"]).unwrap()["x-tenant"], "a%20b");
    }

    #[test]
    fn some_headers_cannot_even_be_asked_for() {
        for name in [
            "Host",
            "content-length",
            "Authorization",
            "cookie",
            "transfer-encoding",
            "barnabas-fence",
            "Idempotency-Key",
            "forwarded",
            "x-forwarded-for",
            "proxy-x",
            "ce-id",
            "connection",
        ] {
            assert_eq!(
                Forward::new([name]).unwrap_err(),
                ForwardError::Never(name.into())
            );
        }
        assert!(matches!(Forward::new(["a b"]), Err(ForwardError::NoName(_))));
    }

    #[test]
    fn trace_headers_pass_unchanged_or_not_at_all() {
        let state = "a=1, b=%2";
        assert_eq!(
            built(&with("tracestate", state), &[]).unwrap()["tracestate"],
            state
        );
        assert!(
            !built(&with("traceparent", "0\r\nX: 1"), &[])
                .unwrap()
                .contains_key("traceparent")
        );
    }

    #[test]
    fn a_content_type_that_is_none_is_left_out() {
        let kind = |value: &'static str| {
            built(&with("content-type", value), &[])
                .unwrap()
                .get("content-type")
                .cloned()
        };
        assert_eq!(
            kind("text/plain; charset=utf-8").unwrap(),
            "text/plain; charset=utf-8"
        );
        for wrong in ["", "json", "/", "a/b\r\nX: 1", "a /b", "a/b;\u{e9}"] {
            assert_eq!(kind(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn what_is_over_16_kib_together_is_refused() {
        let large = with("ce_subject", vec![b'x'; MAX_FROM_RECORD]);
        assert!(
            built(&large, &[])
                .unwrap_err()
                .to_string()
                .contains("over the 16384")
        );
        assert!(
            built(
                &Delivery {
                    key: Some(vec![0xff; 9000].into()),
                    ..delivery()
                },
                &[]
            )
            .is_err()
        );
    }

    proptest! {
        #[test]
        fn no_record_can_break_the_head(name in "(ce_)?[a-z0-9]{1,9}|traceparent|tracestate|content-type|x-a", value in prop::collection::vec(any::<u8>(), 0..60), key in prop::collection::vec(any::<u8>(), 0..20)) {
            let delivery = Delivery {
                headers: vec![(Bytes::from(name), Some(Bytes::from(value)))],
                key: Some(key.into()),
                ..delivery()
            };
            if delivery.event().is_ok() {
                for value in built(&delivery, &["x-a"]).unwrap().values() {
                    prop_assert!(value.as_bytes().iter().all(|b| matches!(b, 0x20..=0x7e | b'\t')));
                }
            }
        }
    }
}
