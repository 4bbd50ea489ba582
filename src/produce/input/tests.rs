use super::*;
use crate::record::Header;
use proptest::prelude::*;

/// A record or a refusal, owned.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Record {
        line: u64,
        key: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
        partition: Option<i32>,
        timestamp: Option<i64>,
    },
    Refused(InputError),
}

impl From<Result<Parsed<'_>, InputError>> for Seen {
    fn from(result: Result<Parsed<'_>, InputError>) -> Self {
        match result {
            Ok(parsed) => Seen::Record {
                line: parsed.line,
                key: parsed.key.map(<[u8]>::to_vec),
                value: parsed.value.map(<[u8]>::to_vec),
                headers: parsed
                    .headers
                    .iter()
                    .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
                    .collect(),
                partition: parsed.partition,
                timestamp: parsed.timestamp,
            },
            Err(error) => Seen::Refused(error),
        }
    }
}

fn split_blocks(options: &InputOptions, headers: &[Header<'_>], blocks: &[&[u8]]) -> Vec<Seen> {
    let mut splitter = Splitter::new(options.clone(), headers);
    let mut seen = Vec::new();
    for block in blocks {
        let mut at = 0;
        while let Some(result) = splitter.next_record(block, &mut at) {
            seen.push(Seen::from(result));
        }
        assert_eq!(at, block.len());
    }
    seen.extend(splitter.finish().map(Seen::from));
    assert!(splitter.finish().is_none());
    seen
}

fn split(options: &InputOptions, input: &[u8]) -> Vec<Seen> {
    split_blocks(options, &[], &[input])
}

/// Keys and values as text, `~` for null; refusals as they are shown.
fn show(options: &InputOptions, input: &[u8]) -> Vec<String> {
    let text = |bytes: Option<Vec<u8>>| {
        bytes.map_or("~".into(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    split(options, input)
        .into_iter()
        .map(|seen| match seen {
            Seen::Record { line, key, value, .. } => format!("{line} {} {}", text(key), text(value)),
            Seen::Refused(error) => error.to_string(),
        })
        .collect()
}

fn envelopes() -> InputOptions {
    InputOptions {
        format: InputFormat::Envelopes,
        ..InputOptions::default()
    }
}

fn ndjson(pointer: &str) -> InputOptions {
    InputOptions {
        format: InputFormat::Ndjson(pointer.parse().unwrap()),
        ..InputOptions::default()
    }
}

#[test]
fn lines_keep_carriage_returns_and_emptiness() {
    let options = InputOptions::default();
    assert_eq!(
        show(&options, b"a\n\nb\r\n\nlast"),
        ["1 ~ a", "2 ~ ", "3 ~ b\r", "4 ~ ", "5 ~ last"]
    );
    assert_eq!(show(&options, b""), Vec::<String>::new());
    assert_eq!(show(&options, b"\n"), ["1 ~ "]);
}

#[test]
fn empty_lines_are_left_out_where_wanted_and_still_counted() {
    let options = InputOptions {
        skip_empty: true,
        ..InputOptions::default()
    };
    assert_eq!(show(&options, b"\na\n\nb\n\n"), ["2 ~ a", "4 ~ b"]);
}

#[test]
fn a_key_ends_at_the_first_delimiter_as_in_kcat() {
    let options = InputOptions {
        key_delimiter: Some(b":".to_vec()),
        ..InputOptions::default()
    };
    let expected = ["1 k v", "2  v", "3 k ", "4  ", "5 ~ nokey", "6 k v:w"];
    assert_eq!(show(&options, b"k:v\n:v\nk:\n:\nnokey\nk:v:w\n"), expected);
    let options = InputOptions {
        key_delimiter: Some(b"||".to_vec()),
        ..InputOptions::default()
    };
    assert_eq!(show(&options, b"a|b||c||d"), ["1 a|b c||d"]);
}

#[test]
fn empty_is_null_and_a_fixed_key_fills_in_as_in_kcat() {
    let options = InputOptions {
        key_delimiter: Some(b":".to_vec()),
        empty_is_null: true,
        fixed_key: Some(b"fixed".to_vec()),
        ..InputOptions::default()
    };
    let expected = ["1 k v", "2 fixed v", "3 k ~", "4 fixed ~", "5 fixed nokey"];
    assert_eq!(show(&options, b"k:v\n:v\nk:\n:\nnokey\n"), expected);
    let options = InputOptions {
        empty_is_null: true,
        ..InputOptions::default()
    };
    assert_eq!(show(&options, b"\nx\n"), ["1 ~ ~", "2 ~ x"]);
}

#[test]
fn fixed_headers_are_on_each_record_before_its_own() {
    let fixed: [Header<'_>; 2] = [(b"a", Some(b"1")), (b"n", None)];
    let owned = |headers: &[Header<'_>]| -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        headers
            .iter()
            .map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)))
            .collect()
    };
    let headers_of =
        |options: &InputOptions, input: &[u8]| match split_blocks(options, &fixed, &[input]).remove(0) {
            Seen::Record { headers, .. } => headers,
            Seen::Refused(error) => panic!("{error}"),
        };
    assert_eq!(headers_of(&InputOptions::default(), b"x"), owned(&fixed));
    assert_eq!(headers_of(&ndjson(""), b"1"), owned(&fixed));
    let expected = owned(&[fixed[0], fixed[1], (b"a", Some(b"2")), (b"b", None)]);
    assert_eq!(
        headers_of(&envelopes(), br#"{"value":"x","headers":["a","2","b",null]}"#),
        expected
    );
}

#[test]
fn a_line_of_fifty_megabytes_is_refused_without_being_kept() {
    for delimiter in [b"\n".to_vec(), b"<end>".to_vec()] {
        let options = InputOptions {
            delimiter: delimiter.clone(),
            max_record: 1000,
            ..InputOptions::default()
        };
        let mut splitter = Splitter::new(options, &[]);
        let block = vec![b'x'; 50_000];
        for _ in 0..1000 {
            let mut at = 0;
            assert!(splitter.next_record(&block, &mut at).is_none());
            assert!(splitter.pending() <= 1010);
        }
        let end = [b"yz", &delimiter[..], b"next", &delimiter[..]].concat();
        let mut at = 0;
        let refused = splitter.next_record(&end, &mut at).unwrap().unwrap_err();
        let refusal = Refusal::TooLarge {
            bytes: 50_000_002,
            limit: 1000,
        };
        assert_eq!(refused, InputError { line: 1, refusal });
        assert_eq!(
            splitter.next_record(&end, &mut at).unwrap().unwrap().value,
            Some(&b"next"[..])
        );
    }
}

#[test]
fn the_limit_is_exact_and_the_rest_goes_on() {
    let options = InputOptions {
        max_record: 4,
        key_delimiter: Some(b":".to_vec()),
        ..InputOptions::default()
    };
    let refused = "3: 6 bytes are more than the 4 that a record may have";
    assert_eq!(
        show(&options, b"ab:cd\n1234\nab:cde\nok")[..2],
        ["1 ab cd", "2 ~ 1234"]
    );
    assert!(show(&options, b"ab:cd\n1234\nab:cde\nok")[2].ends_with(refused));
    assert_eq!(
        show(&options, b"123456")[0],
        "line 1: 6 bytes are more than the 4 that a record may have"
    );
}

#[test]
fn envelopes_may_be_longer_than_the_record_they_describe() {
    let options = InputOptions {
        max_record: 5,
        ..envelopes()
    };
    let shown = show(
        &options,
        b"{\"key\":\"\\u0061\\u0061\",\"value\":\"\\u0062\\u0062\\u0062\"}\n{\"value\":\"123456\"}",
    );
    assert_eq!(
        shown,
        [
            "1 aa bbb",
            "line 2: 6 bytes are more than the 5 that a record may have"
        ]
    );
}

#[test]
fn a_file_starts_at_line_one_again() {
    let mut splitter = Splitter::new(InputOptions::default(), &[]);
    for _ in 0..2 {
        let mut at = 0;
        assert_eq!(splitter.next_record(b"a\nb", &mut at).unwrap().unwrap().line, 1);
        assert!(splitter.next_record(b"a\nb", &mut at).is_none());
        assert_eq!(splitter.finish().unwrap().unwrap().line, 2);
    }
}

#[test]
fn the_key_of_a_document_is_what_the_pointer_finds() {
    let of = |pointer: &str, line: &str| show(&ndjson(pointer), line.as_bytes()).remove(0);
    assert_eq!(
        of("/id", r#" {"a":[1,{}], "id":"x" } "#),
        r#"1 x  {"a":[1,{}], "id":"x" } "#
    );
    assert_eq!(
        of("/id", r#"{"id":"\u00e9\ud83d\ude00\n\/"}"#),
        "1 é😀\n/ {\"id\":\"\\u00e9\\ud83d\\ude00\\n\\/\"}"
    );
    assert_eq!(of("/id", r#"{"id":-1.50e3}"#), r#"1 -1.50e3 {"id":-1.50e3}"#);
    assert_eq!(of("/id", r#"{"id":true}"#), r#"1 true {"id":true}"#);
    assert_eq!(of("/id", r#"{"id":null}"#), r#"1 ~ {"id":null}"#);
    assert_eq!(
        of("/id", r#"{"id": {"a b" : [1, "\" x"]}}"#),
        r#"1 {"a b":[1,"\" x"]} {"id": {"a b" : [1, "\" x"]}}"#
    );
    assert_eq!(of("/id", r#"{"id":1,"id":2}"#), r#"1 2 {"id":1,"id":2}"#);
    assert_eq!(
        of("/a/1/b", r#"{"a":[0,{"b":"x"},2]}"#),
        r#"1 x {"a":[0,{"b":"x"},2]}"#
    );
    assert_eq!(
        of("/a~1b/c~0d", r#"{"a/b":{"c~d":7}}"#),
        r#"1 7 {"a/b":{"c~d":7}}"#
    );
    assert_eq!(of("", "7"), "1 7 7");
    assert_eq!(of("/", r#"{"":7}"#), r#"1 7 {"":7}"#);
}

#[test]
fn a_document_without_the_key_is_refused_by_line_and_pointer() {
    for line in [
        "{}",
        "[]",
        "7",
        "\"id\"",
        "null",
        "true",
        "1.5",
        "-3",
        r#"{"x":{"id":1}}"#,
    ] {
        assert_eq!(
            show(&ndjson("/id"), line.as_bytes()),
            ["line 1: there is nothing at /id to take the key from"]
        );
    }
    for (pointer, line) in [
        ("/id/x", r#"{"id":"x"}"#),
        ("/3", "[0,1,2]"),
        ("/01", "[0,1]"),
        ("/-", "[0]"),
    ] {
        assert!(
            show(&ndjson(pointer), line.as_bytes())[0].contains("nothing at"),
            "{pointer} {line}"
        );
    }
}

#[test]
fn what_is_no_json_is_refused_by_line_and_column_and_the_rest_goes_on() {
    let shown = show(
        &ndjson("/id"),
        b"{\"id\":1}\n{\"id\":1,}\n\n{\"id\":\"\xff\"}\n{\"id\":2}\n{\"id\":3} x\n{\"id\":\"\\ud800\"}\n",
    );
    assert_eq!(shown[0], r#"1 1 {"id":1}"#);
    assert_eq!(shown[1], "line 2: trailing comma at byte 9");
    assert_eq!(shown[2], "line 4: not UTF-8 at byte 8");
    assert_eq!(shown[3], r#"5 2 {"id":2}"#);
    assert_eq!(shown[4], "line 6: trailing characters at byte 10");
    assert!(
        shown[5].starts_with("line 7: half a surrogate pair"),
        "{}",
        shown[5]
    );
    assert_eq!(shown.len(), 6);
}

#[test]
fn pointers_are_checked() {
    assert_eq!("id".parse::<Pointer>(), Err(BadPointer::NoSlash("id".into())));
    assert_eq!(
        "id".parse::<Pointer>().unwrap_err().to_string(),
        "a JSON pointer starts with a slash: /id"
    );
    assert_eq!("/a~b".parse::<Pointer>(), Err(BadPointer::Tilde("a~b".into())));
    assert_eq!("/a~1b".parse::<Pointer>().unwrap().to_string(), "/a~1b");
}

#[test]
fn what_kcat_prints_is_an_envelope() {
    // Printed by kcat 1.7.1.
    let line = br#"{"topic":"fmtkcat4","partition":2,"offset":0,"tstype":"create","ts":1795564335994,"broker":1,"headers":["a","1","b","","c",null,"a","2"],"key":"k\"","payload":"q\"\\/\t\u0001\u001F\b\f"}"#;
    let header = |name: &[u8], value: Option<&[u8]>| (name.to_vec(), value.map(<[u8]>::to_vec));
    let expected = Seen::Record {
        line: 1,
        key: Some(b"k\"".to_vec()),
        value: Some(b"q\"\\/\t\x01\x1f\x08\x0c".to_vec()),
        headers: vec![
            header(b"a", Some(b"1")),
            header(b"b", Some(b"")),
            header(b"c", None),
            header(b"a", Some(b"2")),
        ],
        partition: Some(2),
        timestamp: Some(1_795_564_335_994),
    };
    assert_eq!(split(&envelopes(), line), [expected]);
}

#[test]
fn values_that_are_no_strings_are_their_json_text() {
    let of = |line: &str| show(&envelopes(), line.as_bytes()).remove(0);
    assert_eq!(of(r#"{"key":7,"value":{"a": [1, 2]}}"#), r#"1 7 {"a": [1, 2]}"#);
    assert_eq!(of(r#"{"key":null,"value":null}"#), "1 ~ ~");
    assert_eq!(of(r#"{"value":[true]}"#), "1 ~ [true]");
    assert_eq!(
        of(r#"{"key":{"base64":"aGk="},"value":{ "base64" : "aGk" }}"#),
        "1 hi hi"
    );
    assert_eq!(
        of(r#"{"value":{"base64":"aGk=","more":1}}"#),
        r#"1 ~ {"base64":"aGk=","more":1}"#
    );
    assert_eq!(of(r#"{"value":{"base64":7}}"#), r#"1 ~ {"base64":7}"#);
}

#[test]
fn headers_are_taken_in_each_shape() {
    let of = |headers: &str| match split(
        &envelopes(),
        format!(r#"{{"value":"","headers":{headers}}}"#).as_bytes(),
    )
    .remove(0)
    {
        Seen::Record { headers, .. } => headers
            .into_iter()
            .map(|(name, value)| {
                format!(
                    "{}={}",
                    String::from_utf8_lossy(&name),
                    value.map_or("~".into(), |v| String::from_utf8_lossy(&v).into_owned())
                )
            })
            .collect::<Vec<_>>()
            .join(" "),
        Seen::Refused(error) => error.to_string(),
    };
    assert_eq!(of("null"), "");
    assert_eq!(of("[]"), "");
    assert_eq!(of("{}"), "");
    assert_eq!(of(r#"["a","1","a",null,"n",7]"#), "a=1 a=~ n=7");
    assert_eq!(of(r#"[["a","1"],["a",null]]"#), "a=1 a=~");
    assert_eq!(
        of(r#"{"z":"1","a":{"base64":"aGk="},"z":"2","m":["x",null],"base64":"b"}"#),
        "z=1 a=hi z=2 m=x m=~ base64=b"
    );
    assert_eq!(of(r#"[{"base64":"aGk="},"1"]"#), "hi=1");
    assert_eq!(
        of(r#"["a"]"#),
        "line 1: this header has a name but no value at byte 24"
    );
    assert_eq!(
        of(r#"[["a"]]"#),
        r#"line 1: expected a header as ["name", value] at byte 24"#
    );
    assert_eq!(
        of(r#"[7,"a"]"#),
        "line 1: expected the name of a header at byte 24"
    );
    assert!(of("7").starts_with("line 1: expected headers as"));
}

#[test]
fn a_bad_envelope_is_refused_with_its_place() {
    let of = |line: &str| show(&envelopes(), line.as_bytes()).remove(0);
    assert!(of(r#"{"key":"k","valu":"v"}"#).starts_with("line 1: unknown field `valu`, expected one of"));
    assert!(of(r#"{"key":"k"}"#).starts_with("line 1: there is no value"));
    assert!(of(r#"{"value":1,"payload":2}"#).starts_with("line 1: both value and payload"));
    assert!(of(r#"{"value":1,"ts":1,"timestamp":2}"#).starts_with("line 1: both timestamp and ts"));
    assert!(of(r#"{"value":1,"value":2}"#).starts_with("line 1: duplicate field `value`"));
    assert_eq!(
        of(r#"{"value":1,"partition":-1}"#),
        "line 1: expected the number of a partition at byte 24"
    );
    assert_eq!(
        of(r#"{"value":1,"ts":1.5}"#),
        "line 1: expected milliseconds since the epoch at byte 17"
    );
    assert!(of(r#"{"value":{"base64":"!"}}"#).starts_with("line 1: bad base64"));
    assert!(of("[1]").starts_with("line 1: expected an object"));
    assert!(of(r#"{"value":"a"#).starts_with("line 1: EOF while parsing a string at byte"));
    assert!(of(r#"{"value":"\ud800"}"#).starts_with("line 1: half a surrogate pair"));
    assert_eq!(
        show(&envelopes(), b"{\"value\":\"\xc3\"}"),
        ["line 1: not UTF-8 at byte 11"]
    );
}

#[test]
fn delimiters_are_unescaped() {
    assert_eq!(parse_delimiter(r"\n"), Ok(b"\n".to_vec()));
    assert_eq!(
        parse_delimiter(r"a\x1f\t\\\0é"),
        Ok("a\x1f\t\\\0é".as_bytes().to_vec())
    );
    assert_eq!(parse_delimiter(""), Err(BadDelimiter::Empty));
    assert_eq!(unescape_bytes(""), Ok(Vec::new()));
    assert_eq!(
        parse_delimiter(r"é\q"),
        Err(BadDelimiter::Escape {
            escape: r"\q".into(),
            position: 2
        })
    );
    assert!(parse_delimiter(r"\x1").is_err());
    assert!(parse_delimiter(r"\xé").is_err());
    assert!(parse_delimiter("\\").is_err());
}

fn all_options() -> impl Strategy<Value = InputOptions> {
    let format = prop_oneof![
        Just(InputFormat::Lines),
        Just(InputFormat::Ndjson("/a".parse().unwrap())),
        Just(InputFormat::Envelopes)
    ];
    let delimiter = prop::sample::select(vec![&b"\n"[..], b"aa", b"aba", b"\n\r\n"]);
    let key_delimiter = prop_oneof![Just(None), Just(Some(b":".to_vec())), Just(Some(b"::".to_vec()))];
    (format, delimiter, key_delimiter, any::<[bool; 2]>(), 0..40_usize).prop_map(
        |(format, delimiter, key_delimiter, [empty_is_null, skip_empty], max_record)| InputOptions {
            format,
            delimiter: delimiter.to_vec(),
            key_delimiter,
            fixed_key: None,
            empty_is_null,
            skip_empty,
            max_record,
        },
    )
}

/// Bytes of which many are delimiters, quotes and braces.
fn garbage() -> impl Strategy<Value = Vec<u8>> {
    let part = prop_oneof![
        prop::sample::select(&b"ab:\n\r\"{}[],\\ u0"[..]).prop_map(|byte| vec![byte]),
        prop::sample::select(vec![
            r#"{"a":"#,
            r#"{"value":"#,
            r#""headers":["#,
            r#"{"base64":""#,
            "null",
            "\n{"
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop::collection::vec(part, 0..60).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn where_blocks_end_makes_no_difference(options in all_options(), input in garbage()) {
        let whole = split(&options, &input);
        for at in 0..=input.len() {
            let (left, right) = input.split_at(at);
            prop_assert_eq!(&split_blocks(&options, &[], &[left, right]), &whole);
        }
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        prop_assert_eq!(&split_blocks(&options, &[], &bytes), &whole);
        let threes: Vec<&[u8]> = input.chunks(3).collect();
        prop_assert_eq!(&split_blocks(&options, &[], &threes), &whole);
    }

    #[test]
    fn no_byte_of_a_line_is_lost(input in garbage()) {
        let mut joined = Vec::new();
        for seen in split(&InputOptions::default(), &input) {
            if let Seen::Record { value, .. } = seen {
                joined.extend(value.unwrap());
                joined.push(b'\n');
            }
        }
        let mut expected = input.clone();
        if !input.is_empty() && !input.ends_with(b"\n") {
            expected.push(b'\n');
        }
        prop_assert_eq!(joined, expected);
    }

    #[test]
    fn a_key_field_is_what_serde_json_finds(id in any::<String>(), other in any::<String>()) {
        let line = serde_json::json!({"x": other, "a": {"id": id}, "y": [other]}).to_string();
        let Seen::Record { key, value, .. } = split(&ndjson("/a/id"), line.as_bytes()).remove(0) else {
            panic!("refused");
        };
        prop_assert_eq!(key, Some(id.into_bytes()));
        prop_assert_eq!(value, Some(line.into_bytes()));
    }
}
