use super::*;
use crate::produce::input::{InputFormat, InputOptions, Splitter};
use crate::record::{
    BatchBuilder, BatchOptions, Batches, Compressor, DecodeBuffer, Header, NewRecord, RecordView,
};
use proptest::prelude::*;

const SOURCE: Source<'_> = Source {
    topic: "orders",
    partition: 3,
    broker: 1,
};

/// Passes `records` through a batch, so that they are views as a fetch has them.
fn with_views<T>(records: &[NewRecord<'_>], see: impl FnOnce(&[RecordView<'_>]) -> T) -> T {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    for record in records {
        batch.append(record).unwrap();
    }
    let set = batch.seal().finish(-1, -1, -1, &mut Compressor::new()).unwrap();
    let batch = Batches::new(&set).next().unwrap();
    let mut buffer = DecodeBuffer::new();
    let views: Vec<RecordView<'_>> = batch.records(&mut buffer).unwrap().map(Result::unwrap).collect();
    see(&views)
}

fn print(format: OutputFormat, null_text: bool, records: &[NewRecord<'_>]) -> Vec<u8> {
    with_views(records, |views| {
        let mut printer = Printer::new(format, null_text);
        let mut out = Vec::new();
        for view in views {
            printer.print(SOURCE, view, &mut out);
        }
        out
    })
}

fn template(text: &str, records: &[NewRecord<'_>]) -> Vec<u8> {
    print(OutputFormat::Template(text.parse().unwrap()), false, records)
}

fn json(records: &[NewRecord<'_>]) -> String {
    String::from_utf8(print(
        OutputFormat::Json {
            delimiter: vec![b'\n'],
        },
        false,
        records,
    ))
    .unwrap()
}

fn plain(delimiter: &[u8], key_delimiter: Option<&[u8]>) -> OutputFormat {
    OutputFormat::Plain {
        delimiter: delimiter.to_vec(),
        key_delimiter: key_delimiter.map(<[u8]>::to_vec),
    }
}

const RECORD: NewRecord<'_> = NewRecord {
    key: Some(b"k"),
    value: Some(b"v"),
    headers: &[],
    timestamp: 7,
};
const NULLS: NewRecord<'_> = NewRecord {
    key: None,
    value: None,
    headers: &[],
    timestamp: 7,
};
const EMPTY: NewRecord<'_> = NewRecord {
    key: Some(b""),
    value: Some(b""),
    headers: &[],
    timestamp: 7,
};
const HEADERS: &[Header<'_>] = &[
    (b"a", Some(b"1")),
    (b"b", Some(b"")),
    (b"c", None),
    (b"a", Some(b"2")),
];

#[test]
fn plain_output_is_values_with_delimiters_and_keys_where_wanted() {
    let records = [RECORD, NULLS, EMPTY];
    assert_eq!(print(OutputFormat::default(), false, &records), b"v\n\n\n");
    assert_eq!(
        print(plain(b"||", Some(b": ")), false, &records),
        b"k: v||: ||: ||"
    );
    assert_eq!(print(plain(b"", None), false, &records), b"v");
}

#[test]
fn null_is_printed_as_such_where_wanted_but_not_for_empty() {
    assert_eq!(
        print(plain(b"\n", Some(b":")), true, &[RECORD, NULLS, EMPTY]),
        b"k:v\nNULL:NULL\n:\n"
    );
}

#[test]
fn each_token_prints_what_kcat_prints() {
    // The first line is kcat 1.7.1's own.
    let record = NewRecord {
        headers: HEADERS,
        timestamp: 1_795_564_335_994,
        ..RECORD
    };
    assert_eq!(
        template(r"%o|%K|%k|%S|%s|%h\n", &[record]),
        b"0|1|k|1|v|a=1,b=,c=NULL,a=2\n"
    );
    assert_eq!(
        template(r"%t %p %T %% \x41\t\r\\\0%o,", &[record, record]),
        b"orders 3 1795564335994 % A\t\r\\\x000,orders 3 1795564335994 % A\t\r\\\x001,"
    );
    assert_eq!(template("%K %k %S %s %h|", &[NULLS, EMPTY]), b"-1  -1  |0  0  |");
    assert_eq!(template("%R", &[RECORD, NULLS]), b"\0\0\0\x01\xff\xff\xff\xff");
    assert_eq!(template("", &[RECORD]), b"");
    assert_eq!(template("é%s", &[RECORD]), "év".as_bytes());
}

#[test]
fn an_unknown_token_or_escape_is_refused_with_its_place() {
    let error = |text: &str| text.parse::<Template>().unwrap_err();
    assert_eq!(
        error("é%s%z"),
        BadTemplate::Token {
            token: 'z',
            position: 4
        }
    );
    assert_eq!(
        error("%é"),
        BadTemplate::Token {
            token: 'é',
            position: 1
        }
    );
    assert_eq!(error("a%"), BadTemplate::Unfinished { position: 2 });
    assert_eq!(
        error(r"é\q"),
        BadTemplate::Escape {
            escape: r"\q".into(),
            position: 2
        }
    );
    assert_eq!(
        error(r"\x4"),
        BadTemplate::Escape {
            escape: r"\x".into(),
            position: 1
        }
    );
    assert_eq!(
        error("%z").to_string(),
        "unknown token %z at character 1: known are %s %S %R %k %K %t %p %o %T %h and %%"
    );
}

#[test]
fn json_is_kcats_object_in_its_order() {
    // As kcat 1.7.1 printed them, but for topic and place.
    let head = r#"{"topic":"orders","partition":3,"offset":0,"tstype":"create","ts":7,"broker":1"#;
    assert_eq!(
        json(&[RECORD]),
        format!("{head},\"key\":\"k\",\"payload\":\"v\"}}\n")
    );
    assert_eq!(
        json(&[NULLS]),
        format!("{head},\"key\":null,\"payload\":null}}\n")
    );
    assert_eq!(
        json(&[EMPTY]),
        format!("{head},\"key\":\"\",\"payload\":\"\"}}\n")
    );
    let record = NewRecord {
        key: Some(b"k\""),
        value: Some("q\"\\/\t\x01\x1f\x7f\x08\x0c€,".as_bytes()),
        headers: HEADERS,
        timestamp: 7,
    };
    let rest = ",\"headers\":[\"a\",\"1\",\"b\",\"\",\"c\",null,\"a\",\"2\"],\"key\":\"k\\\"\",\"payload\":\"q\\\"\\\\/\\t\\u0001\\u001F\x7f\\b\\f€,\"}\n";
    assert_eq!(json(&[record]), format!("{head}{rest}"));
}

#[test]
fn json_says_whose_clock_it_was_and_where_it_came_from() {
    let printed = with_views(&[RECORD], |views| {
        let view = RecordView {
            timestamp_type: crate::record::TimestampType::LogAppendTime,
            ..views[0]
        };
        let mut printer = Printer::new(
            OutputFormat::Json {
                delimiter: Vec::new(),
            },
            false,
        );
        let mut out = Vec::new();
        printer.print(SOURCE, &view, &mut out);
        printer.print(
            Source {
                partition: 4,
                ..SOURCE
            },
            &view,
            &mut out,
        );
        printer.print(
            Source {
                topic: "a\"b",
                ..SOURCE
            },
            &view,
            &mut out,
        );
        printer.print(Source { broker: -1, ..SOURCE }, &view, &mut out);
        String::from_utf8(out).unwrap()
    });
    let rest = "\"key\":\"k\",\"payload\":\"v\"}";
    let line = |topic: &str, partition: i32, broker: i32| {
        format!(
            "{{\"topic\":\"{topic}\",\"partition\":{partition},\"offset\":0,\"tstype\":\"logappend\",\"ts\":7,\"broker\":{broker},{rest}"
        )
    };
    let expected = [
        line("orders", 3, 1),
        line("orders", 4, 1),
        line("a\\\"b", 3, 1),
        line("orders", 3, -1),
    ];
    assert_eq!(printed, expected.concat());
}

#[test]
fn bytes_that_are_no_text_are_base64() {
    let headers: &[Header<'_>] = &[(b"\xff", Some(b"\xfe\xfd"))];
    let record = NewRecord {
        key: Some(b"\xff"),
        value: Some(b"\xf0\x9f\x98"),
        headers,
        timestamp: 7,
    };
    let printed = json(&[record]);
    let expected = r#""headers":[{"base64":"/w=="},{"base64":"/v0="}],"key":{"base64":"/w=="},"payload":{"base64":"8J+Y"}}"#;
    assert!(printed.trim_end().ends_with(expected), "{printed}");
}

/// Text of which much needs an escape, of lengths around the blocks it is escaped in.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => "[ -~]{0,40}",
        2 => "[\"\\\\\x00-\x1f\x7f]{0,5}",
        1 => "[a-z]{60,70}",
        1 => ".{0,4}",
    ];
    prop::collection::vec(part, 0..30).prop_map(|parts| parts.concat())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        text().prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..40),
        Just(br#"{"base64":"aGk="}"#.to_vec()),
    ]
}

proptest! {
    #[test]
    fn strings_are_escaped_as_json_wants(value in text()) {
        let printed = json(&[NewRecord { value: Some(value.as_bytes()), ..RECORD }]);
        let parsed: serde_json::Value = serde_json::from_str(&printed).unwrap();
        prop_assert_eq!(parsed["payload"].as_str(), Some(&value[..]));
        let ours = &printed[printed.find("\"payload\":").unwrap() + 10..printed.len() - 2];
        // serde_json writes the same escapes, with small hexadecimal digits.
        prop_assert_eq!(ours.to_ascii_lowercase(), serde_json::to_string(&value).unwrap().to_ascii_lowercase());
    }

    #[test]
    fn what_is_printed_as_json_is_read_back_without_loss(
        key in prop::option::of(bytes()),
        value in prop::option::of(bytes()),
        headers in prop::collection::vec((bytes(), prop::option::of(bytes())), 0..4),
        timestamp in -1..i64::MAX / 2,
    ) {
        let headers: Vec<Header<'_>> = headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
        let record = NewRecord { key: key.as_deref(), value: value.as_deref(), headers: &headers, timestamp };
        let printed = json(&[record]);
        let options = InputOptions { format: InputFormat::Envelopes, ..InputOptions::default() };
        let mut splitter = Splitter::new(options, &[]);
        let parsed = splitter.next_record(printed.as_bytes(), &mut 0).unwrap().unwrap();
        prop_assert_eq!(parsed.key, record.key);
        prop_assert_eq!(parsed.value, record.value);
        prop_assert_eq!(&parsed.headers[..], record.headers);
        prop_assert_eq!(parsed.timestamp, Some(timestamp));
        prop_assert_eq!(parsed.partition, Some(3));
    }

    #[test]
    fn any_template_is_parsed_or_refused(text in "[%\\\\a-zA-Z0-9é]{0,12}") {
        if let Ok(template) = text.parse::<Template>() {
            print(OutputFormat::Template(template), true, &[RECORD, NULLS]);
        }
    }

    #[test]
    fn a_filter_agrees_with_the_obvious_definition(pattern in "[ab*?]{0,8}", key in "[ab]{0,8}") {
        fn matches(pattern: &[u8], key: &[u8]) -> bool {
            match (pattern.split_first(), key.split_first()) {
                (None, _) => key.is_empty(),
                (Some((b'*', rest)), None) => matches(rest, key),
                (Some((b'*', rest)), Some((_, behind))) => matches(rest, key) || matches(pattern, behind),
                (Some((byte, rest)), Some((first, behind))) => (*byte == b'?' || byte == first) && matches(rest, behind),
                (Some(_), None) => false,
            }
        }
        let ours = KeyFilter::new(&pattern).matches(Some(key.as_bytes()));
        prop_assert_eq!(ours, matches(pattern.as_bytes(), key.as_bytes()));
    }
}
