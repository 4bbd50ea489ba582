//! Records that are refused by their line number while the rest goes out.

use crate::barnabas_bin::{consume, produce};
use crate::support::Brokers;

/// Bytes that do not compress much.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut byte = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        b'!' + u8::try_from((state >> 40) % 90).expect("below 90")
    };
    (0..len).map(|_| byte()).collect()
}

#[test]
fn a_record_too_large_is_refused_by_line_number_and_the_rest_goes_out() {
    let Some(kafka) = Brokers::any() else { return };
    for codec in ["none", "lz4"] {
        let topic = kafka.topic_with("too-large", 1, &[("max.message.bytes", "10000")]);
        let mut input: Vec<u8> = (1..=6).flat_map(|n| format!("line {n}\n").into_bytes()).collect();
        input.extend(noise(20_000));
        input.push(b'\n');
        input.extend((8..=2_000).flat_map(|n| format!("line {n}\n").into_bytes()));
        produce(kafka, &topic, &["-z", codec], &input)
            .code(3)
            .says("line 7")
            .says(&topic);
        let expected: String = (1..=2_000)
            .filter(|n| *n != 7)
            .map(|n| format!("line {n}\n"))
            .collect();
        assert_eq!(
            consume(kafka, &topic, &["-q", "-e"]).success().text(),
            expected,
            "{codec}"
        );
    }
}

#[test]
fn records_that_only_together_are_too_large_all_go_out() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic_with("together", 1, &[("max.message.bytes", "10000")]);
    let input: Vec<u8> = (0..500)
        .flat_map(|_| [noise(900), b"\n".to_vec()].concat())
        .collect();
    produce(kafka, &topic, &[], &input).code(0);
    assert!(consume(kafka, &topic, &["-q", "-e"]).success().stdout == input);
}

#[test]
fn a_line_of_50_mb_is_refused_where_the_topic_does_not_take_it() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("long-line", 1);
    let input = [&b"before\n"[..], &noise(50_000_000), b"\nafter\n"].concat();
    produce(kafka, &topic, &[], &input)
        .code(3)
        .says("line 2")
        .says("50000000 bytes");
    assert_eq!(
        consume(kafka, &topic, &["-q", "-e"]).success().text(),
        "before\nafter\n"
    );
}

#[test]
fn a_line_of_50_mb_goes_through_where_the_topic_takes_it() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic_with("long-record", 1, &[("max.message.bytes", "60000000")]);
    let input = [&b"before\n"[..], &noise(50_000_000), b"\nafter\n"].concat();
    produce(kafka, &topic, &[], &input).code(0);
    assert!(consume(kafka, &topic, &["-q", "-e"]).success().stdout == input);
}

#[test]
fn lines_that_are_not_json_are_refused_in_json_mode() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("not-json", 1);
    let input =
        b"{\"value\":\"one\"}\n{\"value\":\"\xff\"}\n{\"value\":\"three\"}\nfour\n{\"value\":\"five\"}\n";
    produce(kafka, &topic, &["--format", "json"], input)
        .code(3)
        .says("line 2")
        .says("utf-8")
        .says("line 4")
        .says("json");
    assert_eq!(
        consume(kafka, &topic, &["-q", "-e"]).success().text(),
        "one\nthree\nfive\n"
    );
}

#[test]
fn lines_without_the_key_field_are_refused() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("key-field", 1);
    let input = b"{\"id\":{\"n\":\"a\"}}\n{\"no\":1}\n{\"id\":{\"n\":\"c\"}}\n{\"id\":\xff}\n";
    produce(kafka, &topic, &["--key-field", "/id/n"], input)
        .code(3)
        .says("line 2")
        .says("/id/n")
        .says("line 4");
    let run = consume(kafka, &topic, &["-q", "-e", "-f", "%k %s\\n"]).success();
    assert_eq!(run.text(), "a {\"id\":{\"n\":\"a\"}}\nc {\"id\":{\"n\":\"c\"}}\n");
}

#[test]
fn an_envelope_with_a_partition_out_of_range_is_refused() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("envelope-partition", 1);
    let input = b"{\"value\":\"a\",\"partition\":0}\n{\"value\":\"b\",\"partition\":7}\n{\"value\":\"c\"}\n";
    produce(kafka, &topic, &["--format", "json"], input)
        .code(3)
        .says("line 2")
        .says("7");
    assert_eq!(consume(kafka, &topic, &["-q", "-e"]).success().text(), "a\nc\n");
}

#[test]
fn a_record_that_the_broker_finds_invalid_is_refused_by_line_number_and_the_rest_goes_out() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic_with("keys-wanted", 1, &[("cleanup.policy", "compact")]);
    let input: Vec<String> = (1..=1000)
        .map(|line| {
            if line == 500 {
                "no key".to_owned()
            } else {
                format!("k{line}:v{line}")
            }
        })
        .collect();
    let run = produce(kafka, &topic, &["-K", ":"], input.join("\n").as_bytes()).code(3);
    run.says("line 500: refused").says("999 records acknowledged");
    let printed = consume(kafka, &topic, &["-e", "-q", "-K", ":"]).success();
    let kept: Vec<&String> = input.iter().filter(|line| *line != "no key").collect();
    assert!(printed.text().lines().eq(kept), "{}", printed.text());
}
