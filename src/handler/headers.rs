//! What goes to an HTTP handler beside the data: the event's attributes and ours, and from the record nothing else that was not asked for.
//!
//! A head is written as it is sent, line by line: a map of some fifteen headers costs more than all else of a request.

use http::HeaderName;

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

/// A request's head as it is sent. Each line begins with the line break of the one before.
#[derive(Debug, Clone)]
pub struct Head(Vec<u8>);

/// The beginning of a line whose name is known.
macro_rules! line {
    ($name:literal) => {
        concat!("\r\n", $name, ": ").as_bytes()
    };
}

impl Head {
    /// Room for the lines of a usual event, in bytes. With more than 1,032 in all, the allocator would have more work.
    const ROOM: usize = 704;

    /// With who is asked. None of the words may hold a line break.
    #[must_use]
    pub fn new(method: &str, path: &str, host: &str) -> Self {
        Self(
            [method, " ", path, " HTTP/1.1\r\nhost: ", host]
                .concat()
                .into_bytes(),
        )
    }

    /// The same again, with room for an event's lines, and for so many bytes behind them.
    #[must_use]
    pub fn again(&self, behind: usize) -> Self {
        let mut head = Vec::with_capacity(self.0.len() + Self::ROOM + behind);
        head.extend_from_slice(&self.0);
        Self(head)
    }

    /// A line. A value that would break it is left out with its line.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        if value.iter().all(|byte| is_text(*byte)) {
            self.put(&[b"\r\n", name.as_bytes(), b": ", value]);
        }
    }

    /// How many bytes will follow the head.
    pub fn content_length(&mut self, len: usize) {
        self.put(&[line!("content-length")]);
        self.number(len);
    }

    fn put(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.0.extend_from_slice(part);
        }
    }

    fn number(&mut self, number: impl itoa::Integer) {
        self.0
            .extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    /// A line with any bytes as CloudEvents' HTTP binding says (3.1.3.2): space, `"`, `%` and all that is not printable ASCII is
    /// percent-encoded. What is not UTF-8 becomes U+FFFD. `name` is what stands before the value, in parts.
    fn encoded(&mut self, name: &[&[u8]], value: &[u8]) {
        self.put(name);
        if value.iter().all(|byte| PLAIN[usize::from(*byte)]) {
            self.0.extend_from_slice(value);
            return;
        }
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        for byte in String::from_utf8_lossy(value).bytes() {
            if PLAIN[usize::from(byte)] {
                self.0.push(byte);
            } else {
                let [high, low] = [byte >> 4, byte & 15].map(|half| DIGITS[usize::from(half)]);
                self.0.extend_from_slice(&[b'%', high, low]);
            }
        }
    }

    /// Bytes so far.
    fn len(&self) -> usize {
        self.0.len()
    }

    /// All of it, with the empty line.
    #[must_use]
    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"\r\n\r\n");
        self.0
    }
}

/// Bytes that stand for themselves in a value that is percent-encoded.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        plain[byte] = byte != b'"' as usize && byte != b'%' as usize;
        byte += 1;
    }
    plain
};

/// Adds them all.
///
/// # Errors
/// If what comes from the record is too large.
pub fn add(
    head: &mut Head,
    delivery: &Delivery,
    event: &Event<'_>,
    forward: &Forward,
) -> Result<(), TooLarge> {
    let before = head.len();
    for (name, value) in &event.attributes {
        head.encoded(&[b"\r\nce-", name, b": "], value);
    }
    match (&event.content_type, &event.data) {
        (Some(value), _) if is_content_type(value) => head.put(&[line!("content-type"), value]),
        (Some(_), _) => {}
        // Many frameworks read no body without a type, and JSON is what most people mean.
        (None, Some(data)) if looks_like_json(data) => {
            head.put(&[line!("content-type"), b"application/json"]);
        }
        (None, _) => {}
    }
    let passed = pass_on(head, delivery, forward);
    if let Some(key) = delivery.record.key() {
        head.encoded(&[line!("barnabas-key")], key);
    }
    let size = head.len() - before;
    if size > MAX_FROM_RECORD {
        return Err(TooLarge(size));
    }
    if !passed.iter().any(|name| name == "user-agent") {
        let ours = concat!("barnabas/", env!("CARGO_PKG_VERSION"));
        head.put(&[line!("user-agent"), ours.as_bytes()]);
    }
    add_ours(head, delivery, event);
    Ok(())
}

/// Headers of a trace, which are passed on without being asked for.
const TRACE: [&str; 2] = ["traceparent", "tracestate"];

/// Adds the record's own headers that may be passed on, of those with one name the last; tells the names that were asked for.
fn pass_on(head: &mut Head, delivery: &Delivery, forward: &Forward) -> Vec<HeaderName> {
    let mut passed = Vec::new();
    let headers = delivery.record.headers();
    let of_trace = |name: &[u8]| TRACE.iter().position(|trace| trace.as_bytes() == name);
    if forward.0.is_empty() && !headers.iter().any(|(name, _)| of_trace(name).is_some()) {
        return passed;
    }
    let headers: Vec<_> = headers.iter().collect();
    let mut traced = [false; 2];
    for (name, value) in headers.into_iter().rev() {
        let Some(value) = value else { continue };
        if let Some(at) = of_trace(name) {
            // Passed on unchanged or, where that cannot be, not at all.
            let sound = value.iter().all(|byte| matches!(byte, 0x20..=0x7e | b'\t'));
            if sound && !std::mem::replace(&mut traced[at], true) {
                head.add(TRACE[at], value);
            }
        } else if !forward.0.is_empty() {
            let wanted = forward
                .0
                .iter()
                .find(|wanted| wanted.as_str().as_bytes().eq_ignore_ascii_case(name));
            let Some(wanted) = wanted.filter(|wanted| !passed.contains(*wanted)) else {
                continue;
            };
            // In another case, which is another name to Kafka alone.
            let at = of_trace(wanted.as_str().as_bytes());
            if at.is_some_and(|at| std::mem::replace(&mut traced[at], true)) {
                continue;
            }
            passed.push(wanted.clone());
            head.encoded(&[b"\r\n", wanted.as_str().as_bytes(), b": "], value);
        }
    }
    passed
}

fn add_ours(head: &mut Head, delivery: &Delivery, event: &Event<'_>) {
    head.put(&[
        line!("idempotency-key"),
        delivery.idempotency_key(event).as_bytes(),
    ]);
    if delivery.topic.bytes().all(is_text) {
        head.put(&[line!("barnabas-record"), delivery.topic.as_bytes(), b"/"]);
        head.number(delivery.partition);
        head.put(&[b"/"]);
        head.number(delivery.offset);
    }
    head.put(&[line!("barnabas-fence")]);
    head.number(delivery.token);
    head.put(&[b"."]);
    head.number(delivery.attempt);
    if let Some(origin) = &delivery.origin {
        head.put(&[line!("barnabas-replay")]);
        head.number(origin.replays);
    }
    head.put(&[line!("barnabas-attempt")]);
    head.number(delivery.attempt);
    head.put(&[line!("barnabas-deadline-ms")]);
    head.number(delivery.deadline.as_millis());
    if delivery.redelivered {
        head.put(&[line!("barnabas-redelivered"), b"maybe"]);
    }
    if event.data.is_none() {
        head.put(&[line!("barnabas-tombstone"), b"true"]);
    }
}

/// Whether it may stand in a header's value.
const fn is_text(byte: u8) -> bool {
    byte >= 0x20 && byte != 0x7f || byte == b'\t'
}

/// Whether it is a media type: `type/subtype`, parameters in printable ASCII.
fn is_content_type(value: &[u8]) -> bool {
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    let kind = value[..end].trim_ascii();
    let token = |part: &[u8]| {
        let sound = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        !part.is_empty() && part.iter().all(sound)
    };
    let Some(slash) = memchr::memchr(b'/', kind) else {
        return false;
    };
    let printable = value.iter().all(|byte| matches!(byte, 0x20..=0x7e));
    printable && token(&kind[..slash]) && token(&kind[slash + 1..])
}

/// An object or an array in sound JSON.
fn looks_like_json(data: &[u8]) -> bool {
    matches!(data.trim_ascii_start().first(), Some(b'{' | b'[')) && event::is_json(data)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::super::Origin;
    use super::super::tests::{self, delivery, record};
    use super::*;

    /// As a server reads them.
    fn built(delivery: &Delivery, forward: &[&str]) -> Result<HeaderMap, TooLarge> {
        let mut head = Head::new("POST", "/", "localhost");
        let event = delivery.event().unwrap();
        add(
            &mut head,
            delivery,
            &event,
            &Forward::new(forward.iter().copied()).unwrap(),
        )?;
        let bytes = head.end();
        let mut lines = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut lines);
        let parsed = request.parse(&bytes).unwrap();
        assert_eq!(parsed, httparse::Status::Complete(bytes.len()));
        let mut headers = HeaderMap::new();
        for line in request.headers.iter() {
            let name = HeaderName::from_bytes(line.name.as_bytes()).unwrap();
            let twice = headers.insert(name, HeaderValue::from_bytes(line.value).unwrap());
            assert_eq!(twice, None, "{} stands there twice", line.name);
        }
        Ok(headers)
    }

    fn with(name: &str, value: impl AsRef<[u8]>) -> Delivery {
        tests::with(&[(name, Some(value.as_ref()))])
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
            redelivered: true,
            origin: Some(Origin {
                topic: "o".into(),
                topic_id: [3; 16],
                partition: 0,
                offset: 5,
                replays: 2,
            }),
            ..tests::holding(None)
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
    fn of_headers_with_one_name_the_last_is_passed_on_also_instead_of_ours() {
        let many = tests::with(&[
            ("X-Tenant", Some(b"a")),
            ("x-tenant", Some(b"b")),
            ("x-tenant", None),
            ("tracestate", Some(b"a=1")),
            ("tracestate", Some(b"a=2")),
            ("User-Agent", Some(b"shop")),
        ]);
        let headers = built(&many, &["x-tenant", "user-agent"]).unwrap();
        assert_eq!(headers["x-tenant"], "b");
        assert_eq!(headers["tracestate"], "a=2");
        assert_eq!(headers["user-agent"], "shop");
        let ours = concat!("barnabas/", env!("CARGO_PKG_VERSION"));
        assert_eq!(built(&many, &[]).unwrap()["user-agent"], ours);
    }

    #[test]
    fn a_topic_that_would_break_a_line_is_not_told() {
        let strange = Delivery {
            topic: "a\r\nx: y".into(),
            ..delivery()
        };
        assert!(!built(&strange, &[]).unwrap().contains_key("barnabas-record"));
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
        let kind = |value: &str| {
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
                    record: record(Some(&[0xff; 9000]), Some(b"{}"), &[]),
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
                record: record(Some(&key), Some(b"{}"), &[(&name, Some(&value))]),
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
