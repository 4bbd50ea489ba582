//! `consume -J`: kcat's object, and the way back.

use serde_json::Value;

use crate::barnabas_bin::{consume, produce};
use crate::judge::{CODECS, Record, difficult_records, java_reads, java_writes};
use crate::support::{Kafka, kcat};

fn objects(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn what_consume_prints_as_json_is_published_again_losslessly() {
    let Some(kafka) = Kafka::shared() else { return };
    let from = kafka.topic("json-from", 3);
    java_writes(kafka, &from, "none", &difficult_records());
    let first = consume(kafka, &from, &["-q", "-e", "-J"]).success();
    assert_eq!(first.text().lines().count(), difficult_records().len());
    for (codec, _) in CODECS {
        let to = kafka.topic(&format!("json-to-{codec}"), 3);
        produce(kafka, &to, &["--format", "json", "-z", codec], &first.stdout).success();
        assert_eq!(java_reads(kafka, &to), java_reads(kafka, &from), "{codec}");
        let second = consume(kafka, &to, &["-q", "-e", "-J"]).success();
        let without_topic = |text: &str| {
            let mut objects = objects(text);
            for object in &mut objects {
                object.as_object_mut().expect("an object").remove("topic");
            }
            objects.sort_by_key(|object| (object["partition"].as_i64(), object["offset"].as_i64()));
            objects
        };
        assert_eq!(
            without_topic(second.text()),
            without_topic(first.text()),
            "{codec}"
        );
    }
}

#[test]
fn envelopes_by_their_own_names_are_published() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.topic("envelopes", 2);
    let lines = r#"{"key":"k","value":"v","headers":["a","1","a",null],"partition":1,"timestamp":1700000000123}
{"key":null,"value":{"base64":"/wA="},"partition":1,"timestamp":1700000000124}
"#;
    produce(kafka, &topic, &["--format", "json"], lines.as_bytes()).success();
    let mut first = Record::new(Some(b"k"), Some(b"v"))
        .header("a", Some(b"1"))
        .header("a", None);
    (first.partition, first.timestamp) = (1, 1_700_000_000_123);
    let mut second = Record::new(None, Some(&[0xff, 0]));
    (second.partition, second.timestamp) = (1, 1_700_000_000_124);
    assert_eq!(java_reads(kafka, &topic), [first, second]);
}

#[test]
fn text_records_are_the_same_objects_as_kcats() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.topic("json-kcat", 1);
    let text = |bytes: &Option<Vec<u8>>| {
        bytes
            .as_ref()
            .is_none_or(|bytes| std::str::from_utf8(bytes).is_ok())
    };
    let mut records = difficult_records();
    records.retain(|record| {
        let headers = record.headers.iter().all(|(_, value)| text(value));
        text(&record.key) && text(&record.value) && headers
    });
    for record in &mut records {
        record.partition = 0;
    }
    java_writes(kafka, &topic, "none", &records);
    let ours = consume(kafka, &topic, &["-q", "-e", "-J"]).success();
    let args = ["-C", "-b", &kafka.bootstrap(), "-t", &topic, "-q", "-e", "-J"];
    let Some(kcat) = kcat(&args, b"") else { return };
    assert_eq!(objects(ours.text()), objects(kcat.success().text()));
}
