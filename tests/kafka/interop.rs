//! What we publish, others read; what others publish, we read: every codec, nulls, headers.

use crate::barnabas_bin::{consume, produce};
use crate::judge::{
    CODECS, Record, console_consumer, console_producer, difficult_records, java_reads, java_writes,
};
use crate::support::{Finished, Kafka, kcat};

/// Lines `key<TAB>value` of many lengths, over 64 KiB together, which is the lz4 block's size.
fn keyed_lines() -> String {
    let line = |n: usize| format!("key-{}\tvalue {n} ünïcødé {}\n", n % 17, "abc".repeat(n % 101));
    (0..2_000).map(line).collect()
}

/// What was printed, with bytes that are no text escaped, line by line.
fn lines(run: &Finished) -> Vec<String> {
    run.stdout
        .split(|byte| *byte == b'\n')
        .map(|line| line.escape_ascii().to_string())
        .collect()
}

/// The codec that the first batch on disk has.
fn codec_on_disk(kafka: &Kafka, topic: &str) -> u8 {
    kafka.segment(topic, 0)[22] & 7
}

#[test]
fn kcat_and_java_read_every_codec_of_ours() {
    let Some(kafka) = Kafka::shared() else { return };
    let lines = keyed_lines();
    for (codec, number) in CODECS {
        let topic = kafka.topic(&format!("ours-{codec}"), 1);
        produce(kafka, &topic, &["-K", "\t", "-z", codec], lines.as_bytes()).success();
        assert_eq!(codec_on_disk(kafka, &topic), number, "{codec}");
        let java = console_consumer(kafka, &topic, 2_000);
        assert_eq!(java.text(), lines, "Java's console consumer, {codec}");
        let args = [
            "-b",
            &kafka.bootstrap(),
            "-C",
            "-q",
            "-e",
            "-t",
            &topic,
            "-f",
            "%k\t%s\n",
        ];
        if let Some(kcat) = kcat(&args, b"") {
            assert_eq!(kcat.success().text(), lines, "kcat, {codec}");
        }
        let ours = consume(kafka, &topic, &["-q", "-e", "-f", "%k\\t%s\\n"]).success();
        assert_eq!(ours.text(), lines, "ourselves, {codec}");
    }
}

#[test]
fn every_codec_of_kcat_is_read() {
    let Some(kafka) = Kafka::shared() else { return };
    let lines = keyed_lines();
    for (codec, number) in CODECS {
        let topic = kafka.topic(&format!("kcat-{codec}"), 1);
        let args = [
            "-b",
            &kafka.bootstrap(),
            "-P",
            "-t",
            &topic,
            "-K",
            "\t",
            "-z",
            codec,
            "-X",
            "linger.ms=100",
        ];
        let Some(kcat) = kcat(&args, lines.as_bytes()) else {
            return;
        };
        kcat.success();
        assert_eq!(codec_on_disk(kafka, &topic), number, "{codec}");
        let ours = consume(kafka, &topic, &["-q", "-e", "-f", "%k\\t%s\\n"]).success();
        assert_eq!(ours.text(), lines, "{codec}");
    }
}

#[test]
fn every_codec_of_java_is_read() {
    let Some(kafka) = Kafka::shared() else { return };
    let lines = keyed_lines();
    for (codec, number) in CODECS {
        let topic = kafka.topic(&format!("java-{codec}"), 1);
        console_producer(kafka, &topic, codec, &lines);
        assert_eq!(codec_on_disk(kafka, &topic), number, "{codec}");
        let ours = consume(kafka, &topic, &["-q", "-e", "-f", "%k\\t%s\\n"]).success();
        assert_eq!(ours.text(), lines, "{codec}");
    }
}

#[test]
fn nulls_and_headers_of_ours_reach_java_as_they_are() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.topic("our-nulls", 1);
    let headers = [
        "-H", "z=1", "-H", "a=2", "-H", "z=3", "-H", "null", "-H", "empty=",
    ];
    produce(
        kafka,
        &topic,
        &[&["-Z", "-K", ":"][..], &headers].concat(),
        b"k:v\nk:\n:v\n:\nno delimiter\n",
    )
    .success();
    produce(kafka, &topic, &["-K", ":"], b"k:\n:v\n").success();
    let expected = |key: Option<&[u8]>, value: Option<&[u8]>| {
        Record::new(key, value)
            .header("z", Some(b"1"))
            .header("a", Some(b"2"))
            .header("z", Some(b"3"))
            .header("null", None)
            .header("empty", Some(b""))
    };
    let mut read = java_reads(kafka, &topic);
    for record in &mut read {
        record.timestamp = 1_700_000_000_000; // Record::new's
    }
    let expected = [
        expected(Some(b"k"), Some(b"v")),
        expected(Some(b"k"), None),
        expected(None, Some(b"v")),
        expected(None, None),
        expected(None, Some(b"no delimiter")),
        Record::new(Some(b"k"), Some(b"")),
        Record::new(Some(b""), Some(b"v")),
    ];
    assert_eq!(read, expected);
}

#[test]
fn nulls_and_headers_of_java_and_kcat_are_printed_as_kcat_prints_them() {
    const FORMAT: &str = "%p %o %T [%k] %K [%s] %S [%h]\\n";
    let Some(kafka) = Kafka::shared() else { return };
    let mut records = difficult_records();
    for (_, value) in records.iter_mut().flat_map(|record| &mut record.headers) {
        // kcat prints a header's value up to its first NUL only.
        value.iter_mut().for_each(|value| value.retain(|byte| *byte != 0));
    }
    for (codec, _) in CODECS {
        let topic = kafka.topic(&format!("nulls-{codec}"), 3);
        java_writes(kafka, &topic, codec, &records);
        let kcat_args = [
            "-b",
            &kafka.bootstrap(),
            "-P",
            "-t",
            &topic,
            "-p",
            "0",
            "-Z",
            "-K",
            ":",
            "-z",
            codec,
        ];
        let headers = ["-H", "null", "-H", "b=1", "-H", "a=2", "-H", "b=3"];
        if let Some(kcat) = kcat(&[&kcat_args[..], &headers].concat(), b"k:v\nk:\n:v\n:\n") {
            kcat.success();
        }
        for partition in ["0", "1", "2"] {
            for null in [&[][..], &["-Z"]] {
                let flags = [&["-q", "-e", "-p", partition, "-f", FORMAT][..], null].concat();
                let ours = consume(kafka, &topic, &flags).success();
                let bootstrap = kafka.bootstrap();
                let args = [&["-C", "-b", &bootstrap, "-t", &topic][..], &flags].concat();
                let Some(theirs) = kcat(&args, b"") else { return };
                let (mut ours, mut theirs) = (lines(&ours), lines(&theirs.success()));
                if !null.is_empty() {
                    // Here kcat takes an empty value for null; we do not.
                    theirs.retain(|line| !line.contains("[NULL] 0 "));
                    ours.retain(|line| !line.contains("[] 0 "));
                }
                assert_eq!(ours, theirs, "{codec} {flags:?}");
            }
        }
    }
}
