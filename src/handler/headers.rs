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

/// A request's head as it is sent.
#[derive(Debug)]
pub struct Head(Vec<u8>);

impl Head {
    /// Room for the head of a usual event, in bytes, and for small data behind it. With more than 1,032 the allocator would have more
    /// work.
    const ROOM: usize = 960;

    /// With who is asked and who asks. None of the words may hold a line break.
    #[must_use]
    pub fn new(method: &str, path: &str, host: &str) -> Self {
        let mut head = Vec::with_capacity(Self::ROOM + path.len());
        for part in [method, " ", path, " HTTP/1.1\r\nhost: ", host, "\r\n"] {
            head.extend_from_slice(part.as_bytes());
        }
        Self(head)
    }

    /// A line. A value that would break it is left out with its line.
    pub fn add(&mut self, name: &str, value: &[u8]) {
        if value.iter().all(|byte| is_text(*byte)) {
            self.begin(name);
            self.0.extend_from_slice(value);
            self.0.extend_from_slice(b"\r\n");
        }
    }

    /// A line with numbers, and a separator before each but the first.
    pub fn numbers(&mut self, name: &str, numbers: &[u64], separator: u8) {
        self.begin(name);
        for (index, number) in numbers.iter().enumerate() {
            if index > 0 {
                self.0.push(separator);
            }
            digits(&mut self.0, *number);
        }
        self.0.extend_from_slice(b"\r\n");
    }

    /// A line with any bytes as CloudEvents' HTTP binding says (3.1.3.2): space, `"`, `%` and all that is not printable ASCII is
    /// percent-encoded. What is not UTF-8 becomes U+FFFD.
    fn encoded(&mut self, name: &[&str], value: &[u8]) {
        for part in name {
            self.0.extend_from_slice(part.as_bytes());
        }
        self.0.extend_from_slice(b": ");
        let plain = |byte: u8| matches!(byte, 0x21..=0x7e) && byte != b'"' && byte != b'%';
        if value.iter().all(|&byte| plain(byte)) {
            self.0.extend_from_slice(value);
        } else {
            const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
            for byte in String::from_utf8_lossy(value).bytes() {
                if plain(byte) {
                    self.0.push(byte);
                } else {
                    let [high, low] = [byte >> 4, byte & 15].map(|half| DIGITS[usize::from(half)]);
                    self.0.extend_from_slice(&[b'%', high, low]);
                }
            }
        }
        self.0.extend_from_slice(b"\r\n");
    }

    fn begin(&mut self, name: &str) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
    }

    /// Bytes so far.
    fn len(&self) -> usize {
        self.0.len()
    }

    /// All of it, with the empty line.
    #[must_use]
    pub fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"\r\n");
        self.0
    }
}

/// Adds them all.
///
/// # Errors
/// If what comes from the record is too large.
pub fn add(head: &mut Head, delivery: &Delivery, event: &Event, forward: &Forward) -> Result<(), TooLarge> {
    let before = head.len();
    for (name, value) in &event.attributes {
        // A name is of `[a-z0-9]`, which is UTF-8.
        let name = std::str::from_utf8(name).unwrap_or_default();
        head.encoded(&["ce-", name], value);
    }
    match (&event.content_type, &event.data) {
        (Some(value), _) if is_content_type(value) => head.add("content-type", value),
        (Some(_), _) => {}
        // Many frameworks read no body without a type, and JSON is what most people mean.
        (None, Some(data)) if looks_like_json(data) => head.add("content-type", b"application/json"),
        (None, _) => {}
    }
    let passed = pass_on(head, delivery, forward);
    if let Some(key) = &delivery.key {
        head.encoded(&["barnabas-key"], key);
    }
    let size = head.len() - before;
    if size > MAX_FROM_RECORD {
        return Err(TooLarge(size));
    }
    if !passed.iter().any(|name| name == "user-agent") {
        head.add(
            "user-agent",
            concat!("barnabas/", env!("CARGO_PKG_VERSION")).as_bytes(),
        );
    }
    add_ours(head, delivery, event);
    Ok(())
}

/// Adds the record's own headers that may be passed on, of those with one name the last; tells the names that were asked for.
fn pass_on(head: &mut Head, delivery: &Delivery, forward: &Forward) -> Vec<HeaderName> {
    let mut passed = Vec::new();
    let mut traced = [false; 2];
    for (name, value) in delivery.headers.iter().rev() {
        let Some(value) = value else { continue };
        let trace = ["traceparent", "tracestate"];
        if let Some(at) = trace.iter().position(|trace| trace.as_bytes() == name.as_ref()) {
            // Passed on unchanged or, where that cannot be, not at all.
            let sound = value.iter().all(|byte| matches!(byte, 0x20..=0x7e | b'\t'));
            if sound && !std::mem::replace(&mut traced[at], true) {
                head.add(trace[at], value);
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
            let at = trace.iter().position(|trace| *trace == wanted.as_str());
            if at.is_some_and(|at| std::mem::replace(&mut traced[at], true)) {
                continue;
            }
            passed.push(wanted.clone());
            head.encoded(&[wanted.as_str()], value);
        }
    }
    passed
}

fn add_ours(head: &mut Head, delivery: &Delivery, event: &Event) {
    let Delivery {
        partition, offset, ..
    } = delivery;
    head.add("idempotency-key", delivery.idempotency_key(event).as_bytes());
    let mut record = Vec::with_capacity(delivery.topic.len() + 24);
    record.extend_from_slice(delivery.topic.as_bytes());
    for number in [i64::from(*partition), *offset] {
        record.push(b'/');
        digits(&mut record, u64::try_from(number).unwrap_or(0));
    }
    head.add("barnabas-record", &record);
    let attempt = u64::from(delivery.attempt);
    head.numbers("barnabas-fence", &[delivery.token, attempt], b'.');
    if let Some(origin) = &delivery.origin {
        head.numbers("barnabas-replay", &[u64::from(origin.replays)], b' ');
    }
    head.numbers("barnabas-attempt", &[attempt], b' ');
    let deadline = u64::try_from(delivery.deadline.as_millis()).unwrap_or(u64::MAX);
    head.numbers("barnabas-deadline-ms", &[deadline], b' ');
    if delivery.redelivered {
        head.add("barnabas-redelivered", b"maybe");
    }
    if event.data.is_none() {
        head.add("barnabas-tombstone", b"true");
    }
}

/// Whether it may stand in a header's value.
const fn is_text(byte: u8) -> bool {
    byte >= 0x20 && byte != 0x7f || byte == b'\t'
}

/// Appends a number.
fn digits(out: &mut Vec<u8>, mut number: u64) {
    let mut text = [0; 20];
    let mut at = text.len();
    while at > 0 {
        at -= 1;
        // The remainder is a digit.
        text[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
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
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};
    use proptest::prelude::*;

    use super::super::Origin;
    use super::super::tests::delivery;
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
    fn of_headers_with_one_name_the_last_is_passed_on_also_instead_of_ours() {
        let many = Delivery {
            headers: vec![
                ("X-Tenant".into(), Some("a".into())),
                ("x-tenant".into(), Some("b".into())),
                ("x-tenant".into(), None),
                ("tracestate".into(), Some("a=1".into())),
                ("tracestate".into(), Some("a=2".into())),
                ("User-Agent".into(), Some("shop".into())),
            ],
            ..delivery()
        };
        let headers = built(&many, &["x-tenant", "user-agent"]).unwrap();
        assert_eq!(headers["x-tenant"], "b");
        assert_eq!(headers["tracestate"], "a=2");
        assert_eq!(headers["user-agent"], "shop");
        let ours = concat!("barnabas/", env!("CARGO_PKG_VERSION"));
        assert_eq!(built(&many, &[]).unwrap()["user-agent"], ours);
    }

    #[test]
    fn numbers_are_written_to_the_last_digit() {
        for number in [0, 9, 10, 1_000_000_007, u64::MAX] {
            let mut out = Vec::new();
            digits(&mut out, number);
            assert_eq!(String::from_utf8(out).unwrap(), number.to_string());
        }
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
