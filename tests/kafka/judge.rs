//! The judges: records as the Java client sees them, kcat and Java's console tools as functions.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::support::{Finished, Kafka};

/// Every codec by the name that all clients know it by, with its number in a batch's attributes.
pub(crate) const CODECS: [(&str, u8); 5] = [("none", 0), ("gzip", 1), ("snappy", 2), ("lz4", 3), ("zstd", 4)];

/// A record to the byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Record {
    pub(crate) partition: i32,
    /// Milliseconds since the epoch.
    pub(crate) timestamp: i64,
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Record {
    /// A record of partition 0 at some time.
    pub(crate) fn new(key: Option<&[u8]>, value: Option<&[u8]>) -> Self {
        Self {
            partition: 0,
            timestamp: 1_700_000_000_000,
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: Vec::new(),
        }
    }

    /// With one more header.
    pub(crate) fn header(mut self, name: &str, value: Option<&[u8]>) -> Self {
        self.headers.push((name.to_owned(), value.map(<[u8]>::to_vec)));
        self
    }

    fn line(&self) -> String {
        let mut line = format!(
            "{}\t{}\t{}\t{}",
            self.partition,
            self.timestamp,
            field(&self.key),
            field(&self.value)
        );
        for (name, value) in &self.headers {
            line.push_str(&format!(
                "\t{}\t{}",
                field(&Some(name.as_bytes().to_vec())),
                field(value)
            ));
        }
        line.push('\n');
        line
    }

    fn from_line(line: &str) -> Self {
        let mut fields = line.split('\t');
        let mut next = || fields.next().expect("the judge prints whole records");
        let (partition, timestamp) = (next(), next());
        let (key, value) = (bytes(next()), bytes(next()));
        let rest: Vec<_> = fields.map(bytes).collect();
        let headers = rest.chunks(2).map(|pair| {
            let name = pair[0].clone().expect("names are not null");
            (String::from_utf8(name).expect("names are UTF-8"), pair[1].clone())
        });
        Self {
            partition: partition.parse().expect("a number"),
            timestamp: timestamp.parse().expect("a number"),
            key,
            value,
            headers: headers.collect(),
        }
    }
}

fn field(bytes: &Option<Vec<u8>>) -> String {
    bytes
        .as_ref()
        .map_or_else(|| "-".to_owned(), |bytes| BASE64_STANDARD.encode(bytes))
}

fn bytes(field: &str) -> Option<Vec<u8>> {
    (field != "-").then(|| BASE64_STANDARD.decode(field).expect("the judge prints base64"))
}

/// Records that have broken clients: nulls, empties, bytes that are no text, doubled headers in an order that sorting
/// would change, over three partitions.
pub(crate) fn difficult_records() -> Vec<Record> {
    let all_bytes: Vec<u8> = (0..=255).collect();
    let mut records = vec![
        Record::new(Some(b"key"), Some(b"value")),
        Record::new(None, Some(b"no key")),
        Record::new(Some(b"tombstone"), None),
        Record::new(None, None),
        Record::new(Some(b""), Some(b"")),
        Record::new(Some(&all_bytes), Some(&all_bytes)),
        Record::new(Some(b"a\nb\tc:d"), Some(b"line\r\nbreak\x00\"quoted\" \\ back")),
        Record::new(
            Some("ключ".as_bytes()),
            Some("значение 🦀 \u{2028}\u{7f}".as_bytes()),
        ),
        Record::new(Some(b"{\"base64\":\"AA==\"}"), Some(b"{\"base64\": \"/w==\"}")),
        Record::new(Some(b"nulls"), Some(b"v"))
            .header("null", None)
            .header("empty", Some(b"")),
        Record::new(Some(b"doubles"), Some(b"v"))
            .header("z", Some(b"1"))
            .header("a", Some(b"2"))
            .header("z", Some(b"3"))
            .header("z", None)
            .header("", Some(b"without a name")),
        Record::new(None, None)
            .header("binary", Some(&all_bytes))
            .header("имя", Some("ü".as_bytes())),
        Record::new(Some(b"long"), Some(&b"0123456789".repeat(20_000))),
    ];
    for (index, record) in records.iter_mut().enumerate() {
        record.partition = i32::try_from(index % 3).expect("below 3");
        record.timestamp += i64::try_from(index).expect("few") * 1_234;
    }
    records
}

/// The Java producer writes `records`.
pub(crate) fn java_writes(kafka: &Kafka, topic: &str, codec: &str, records: &[Record]) {
    let lines: String = records.iter().map(Record::line).collect();
    kafka
        .java_source(
            "Judge.java",
            &["write", &kafka.bootstrap(), topic, codec],
            lines.as_bytes(),
        )
        .success();
}

/// What the Java consumer reads, partition by partition.
pub(crate) fn java_reads(kafka: &Kafka, topic: &str) -> Vec<Record> {
    let read = kafka
        .java_source(
            "Judge.java",
            &["read", &kafka.bootstrap(), topic, "read_committed"],
            b"",
        )
        .success();
    read.text().lines().map(Record::from_line).collect()
}

/// The partition of `count` that the Java client chooses for each key.
pub(crate) fn java_partitions(kafka: &Kafka, keys: &[String], count: i32) -> Vec<i32> {
    let lines: String = keys
        .iter()
        .map(|key| BASE64_STANDARD.encode(key) + "\n")
        .collect();
    let run = kafka
        .java_source("Judge.java", &["partition", &count.to_string()], lines.as_bytes())
        .success();
    run.text()
        .lines()
        .map(|line| line.parse().expect("a number"))
        .collect()
}

/// Java's console producer publishes lines, keys before a tab.
pub(crate) fn console_producer(kafka: &Kafka, topic: &str, codec: &str, lines: &str) -> Finished {
    let bootstrap = kafka.bootstrap();
    let args = [
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        topic,
        "--compression-codec",
        codec,
    ];
    let reader = ["--reader-property", "parse.key=true"];
    kafka
        .java(
            "org.apache.kafka.tools.ConsoleProducer",
            &[&args[..], &reader].concat(),
            lines.as_bytes(),
        )
        .success()
}

/// Java's console consumer prints the first `count` records as key, tab, value.
pub(crate) fn console_consumer(kafka: &Kafka, topic: &str, count: usize) -> Finished {
    let (bootstrap, count) = (kafka.bootstrap(), count.to_string());
    let args = [
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        topic,
        "--from-beginning",
        "--max-messages",
        &count,
    ];
    let formatter = ["--formatter-property", "print.key=true", "--timeout-ms", "30000"];
    kafka
        .java(
            "org.apache.kafka.tools.consumer.ConsoleConsumer",
            &[&args[..], &formatter].concat(),
            b"",
        )
        .success()
}
