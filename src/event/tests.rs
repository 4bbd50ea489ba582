use proptest::prelude::*;

use super::*;

fn header(name: &'static str, value: &'static str) -> Header<'static> {
    (name.as_bytes(), Some(value.as_bytes()))
}

fn read<'a>(headers: &'a [Header<'a>], value: Option<&'a [u8]>) -> Result<Event<'a>, EventError> {
    Event::read(headers.iter().copied(), value)
}

fn binary() -> Vec<Header<'static>> {
    vec![
        header("ce_specversion", "1.0"),
        header("ce_id", "7"),
        header("ce_source", "/orders"),
        header("ce_type", "order.completed"),
        header("content-type", "application/json"),
    ]
}

fn json(event: &Event<'_>) -> serde_json::Value {
    let mut out = Vec::new();
    event.write_json(&mut out);
    assert!(!out.contains(&b'\n') && !out.contains(&b'\r'));
    serde_json::from_slice(&out).unwrap()
}

const PLACE: Origin<'static> = Origin {
    topic_id: [1; 16],
    topic: "orders",
    partition: 3,
    offset: 12,
};

#[test]
fn binary_mode_is_read_as_it_is() {
    let headers = binary();
    let event = read(&headers, Some(b"{}")).unwrap();
    assert_eq!(event.get("type").unwrap(), b"order.completed");
    let attributes: Vec<_> = event
        .attributes
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let given: [(&[u8], &[u8]); 4] = [
        (b"specversion", b"1.0"),
        (b"id", b"7"),
        (b"source", b"/orders"),
        (b"type", b"order.completed"),
    ];
    assert_eq!(attributes, given);
    assert_eq!(event.content_type.unwrap(), &b"application/json"[..]);
    assert_eq!(event.data.unwrap(), &b"{}"[..]);
}

#[test]
fn of_headers_with_one_name_the_last_counts() {
    let headers = [header("ce_id", "1"), header("ce_id", "2")];
    let event = read(&headers, None).unwrap();
    assert_eq!(event.attributes.len(), 1);
    assert_eq!(event.get("id").unwrap(), b"2");
}

#[test]
fn names_outside_the_alphabet_and_missing_values_are_no_attributes() {
    let headers = [
        header("ce_Foo", "1"),
        header("ce_a-b", "1"),
        header("ce_", "1"),
        header("other", "1"),
        (b"ce_null", None),
    ];
    assert!(read(&headers, None).unwrap().attributes.is_empty());
}

const STRUCTURED_JSON: [Header<'static>; 1] = [(b"content-type", Some(b"application/cloudevents+json"))];

#[test]
fn structured_mode_is_read_into_the_same_event() {
    let value = br#"{"specversion":"1.0","id":"7","source":"/orders","type":"order.completed","n":5,"up":true,"gone":null,"data":{ "a": [1] }}"#;
    let headers = [header(
        "content-type",
        "application/CloudEvents+json; charset=utf-8",
    )];
    let event = read(&headers, Some(value)).unwrap();
    assert_eq!(event.get("n").unwrap(), b"5");
    assert_eq!(event.get("up").unwrap(), b"true");
    assert_eq!(event.get("gone"), None);
    assert_eq!(event.data.unwrap(), &br#"{ "a": [1] }"#[..]);
    assert_eq!(event.content_type.unwrap(), &b"application/json"[..]);
}

#[test]
fn structured_data_that_is_not_json_is_unwrapped() {
    let data = |rest: &str| -> Result<Vec<u8>, EventError> {
        let value = format!(r#"{{"specversion":"1.0","id":"7","source":"s","type":"t",{rest}}}"#);
        let event = read(&STRUCTURED_JSON, Some(value.as_bytes()))?;
        Ok(event.data.unwrap().into_owned())
    };
    let text = data(r#""datacontenttype":"text/plain","data":"a\nb""#).unwrap();
    assert_eq!(text, b"a\nb");
    assert_eq!(data(r#""data_base64":"AAE=""#).unwrap(), [0, 1]);
    assert_eq!(data(r#""data":"x""#).unwrap(), br#""x""#);
    assert!(matches!(
        data(r#""data":1,"data_base64":"AAE=""#),
        Err(EventError::Base64(_))
    ));
    assert!(matches!(data(r#""data_base64":"*""#), Err(EventError::Base64(_))));
    assert!(matches!(data(r#""x":{}"#), Err(EventError::Attribute(_))));
}

#[test]
fn a_structured_event_without_an_id_is_none() {
    let value = br#"{"specversion":"1.0","source":"s","type":"t"}"#;
    let error = read(&STRUCTURED_JSON, Some(value)).unwrap_err();
    assert_eq!(error.to_string(), "the CloudEvent has no `id`");
    assert!(matches!(
        read(&STRUCTURED_JSON, Some(b"[]")),
        Err(EventError::Json(_))
    ));
    let batch = [header("content-type", "application/cloudevents-batch+json")];
    assert!(matches!(read(&batch, Some(b"[]")), Err(EventError::Batch)));
}

#[test]
fn json_data_stands_in_the_json_event_as_it_is_and_on_one_line() {
    let headers = binary();
    let event = read(&headers, Some(b"{\r\n \"a\": 1\n}")).unwrap();
    assert_eq!(json(&event)["data"]["a"], 1);
    assert_eq!(json(&event)["datacontenttype"], "application/json");
}

#[test]
fn data_that_only_claims_to_be_json_is_base64() {
    let headers = binary();
    let event = read(&headers, Some(b"{\"a\":1}}")).unwrap();
    assert_eq!(json(&event)["data_base64"], STANDARD.encode("{\"a\":1}}"));
}

#[test]
fn data_without_a_type_is_json_text_or_base64() {
    let of = |value: &'static [u8]| json(&read(&[], Some(value)).unwrap());
    assert_eq!(of(b"[1]")["data"][0], 1);
    assert_eq!(of(b"hello")["data"], "hello");
    assert_eq!(of(b"\xff")["data_base64"], "/w==");
    assert_eq!(json(&read(&[], None).unwrap()), serde_json::json!({}));
}

#[test]
fn an_idempotency_key_is_of_source_and_id_and_of_nothing_else() {
    let key = |headers: &[Header<'_>], value: &str, place: &Origin<'_>| {
        idempotency_key(&read(headers, Some(value.as_bytes())).unwrap(), place)
    };
    let first = key(&binary(), "{}", &PLACE);
    let elsewhere = Origin { offset: 99, ..PLACE };
    assert_eq!(first.to_string().len(), 32);
    assert_eq!(first, key(&binary(), "{ }", &elsewhere));
    assert_ne!(
        key(&[header("ce_source", "a"), header("ce_id", "bc")], "", &PLACE),
        key(&[header("ce_source", "ab"), header("ce_id", "c")], "", &PLACE)
    );
}

#[test]
fn an_event_without_an_id_is_known_by_its_place() {
    let event = read(&[], None).unwrap();
    let key = |place: &Origin<'_>| idempotency_key(&event, place);
    assert_eq!(
        key(&PLACE),
        key(&Origin {
            topic: "renamed",
            ..PLACE
        })
    );
    assert_ne!(key(&PLACE), key(&Origin { offset: 13, ..PLACE }));
    assert_ne!(
        key(&PLACE),
        key(&Origin {
            topic_id: [2; 16],
            ..PLACE
        })
    );
    let unknown = Origin {
        topic_id: [0; 16],
        ..PLACE
    };
    assert_ne!(
        key(&unknown),
        key(&Origin {
            topic: "other",
            ..unknown
        })
    );
}

proptest! {
    #[test]
    fn whatever_a_record_holds_its_json_is_one_sound_line(
        headers in prop::collection::vec(("(ce_)?[a-zA-Z0-9]{0,8}|content-type", prop::option::of(prop::collection::vec(any::<u8>(), 0..40))), 0..8),
        value in prop::option::of(prop::collection::vec(any::<u8>(), 0..200)),
    ) {
        let headers: Vec<Header<'_>> = headers
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_deref()))
            .collect();
        if let Ok(event) = read(&headers, value.as_deref()) {
            json(&event);
            prop_assert_eq!(idempotency_key(&event, &PLACE).to_string().len(), 32);
        }
    }

    #[test]
    fn a_hostile_structured_event_is_an_error_and_no_panic(text in "\\{?(\"(id|data|data_base64|source)\":(\"[^\"]{0,5}\"|1|\\{\\}|null),?){0,5}\\}?") {
        let _ = read(&STRUCTURED_JSON, Some(text.as_bytes()));
    }
}
