//! `produce`.

use std::path::PathBuf;
use std::time::Duration;

use super::{Settings, Usage, choice, values, wrong};
use crate::produce::input::{DEFAULT_MAX_RECORD, InputFormat, InputOptions, Pointer, parse_delimiter};
use crate::produce::partitioner::Strategy;
use crate::produce::reader::Source;
use crate::record::Compression;

/// What `produce` shall do.
#[derive(Debug, Clone)]
pub struct ProduceSettings {
    /// The topic to publish to.
    pub topic: String,
    /// Read one after the other; never empty.
    pub inputs: Vec<Source>,
    /// How records are cut out of an input.
    pub cut: Cut,
    /// `-H`: headers of every record, before those of an envelope; a null value without `=`.
    pub headers: Vec<OwnedHeader>,
    /// `-p`: records go there that do not name their partition themselves.
    pub partition: Option<i32>,
    /// Otherwise this decides.
    pub strategy: Strategy,
    /// When a batch is full.
    pub batching: Batching,
    /// `-z`
    pub compression: Compression,
    /// Bytes of records read and not yet acknowledged, at most (`--max-buffer`).
    pub max_buffer: usize,
    /// A larger record is refused without asking the broker (`message.max.bytes`).
    pub max_record: Option<usize>,
    /// From a record's reading to giving up on it (`delivery.timeout.ms`).
    pub delivery_timeout: Duration,
    /// `-c`: stop after so many records.
    pub count: Option<u64>,
}

/// A header's name, and its value, which may be null.
pub type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);

/// How records are cut out of an input.
#[derive(Debug, Clone)]
pub enum Cut {
    /// By what ends each of them.
    Records(InputOptions),
    /// Not at all (`--whole-file`): each input is the value of one record.
    Whole {
        /// `-k`: the key of every record.
        key: Option<Vec<u8>>,
        /// `-Z`: an empty input is null.
        empty_is_null: bool,
    },
}

/// When a batch goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    /// Its largest size in bytes, before compression (`batch.size`).
    pub bytes: usize,
    /// Its largest number of records (`batch.num.messages`).
    pub records: i32,
    /// How long it waits for more records (`linger.ms`).
    pub linger: Duration,
}

/// librdkafka's names as well: its `consistent` differs from `consistent_random` only for records without a key.
const STRATEGIES: [(&str, Strategy); 8] = [
    ("murmur2", Strategy::Murmur2),
    ("crc32", Strategy::Crc32),
    ("sticky", Strategy::Sticky),
    ("random", Strategy::Random),
    ("murmur2_random", Strategy::Murmur2),
    ("consistent_random", Strategy::Crc32),
    ("murmur2-random", Strategy::Murmur2),
    ("consistent-random", Strategy::Crc32),
];

impl Settings {
    /// What `produce` shall do.
    ///
    /// # Errors
    /// If the topic is missing, a value is not what it should be, or two of them exclude each other.
    pub(crate) fn produce(&self) -> Result<ProduceSettings, Usage> {
        self.must("acks", |text| {
            choice(text, &[("all", ()), ("-1", ())])
                .map_err(|_| "is not possible: barnabas always publishes with acks=all".to_owned())
        })?;
        self.must("enable.idempotence", |text| {
            values::boolean(text).and_then(|on| {
                if on {
                    Ok(())
                } else {
                    Err("is not possible: barnabas is always idempotent".to_owned())
                }
            })
        })?;
        let topic = self
            .text("topic")
            .ok_or_else(|| Usage("no topic: give -t TOPIC or BARNABAS_TOPIC".to_owned()))?;
        check_topic(&topic).map_err(|why| self.wrong("topic", &format!("\"{topic}\" {why}")))?;
        let bytes = self.must("batch-size", |text| least(values::bytes(text)?, 1))?;
        let max_buffer = self.must("max-buffer", |text| least(values::bytes(text)?, 1024))?;
        Ok(ProduceSettings {
            topic,
            inputs: self.inputs(),
            cut: self.cut()?,
            headers: self.headers()?,
            // kcat's -1 means any.
            partition: self
                .maybe("partition", |text| values::number(text, -1, i32::MAX))?
                .filter(|number| *number >= 0),
            strategy: self.must("partitioner", |text| choice(text, &STRATEGIES))?,
            batching: Batching {
                bytes,
                records: self.must("batch.num.messages", |text| values::number(text, 1, i32::MAX))?,
                linger: self.must("linger", values::duration)?,
            },
            compression: self.compression()?,
            max_buffer,
            max_record: self.max_record()?,
            delivery_timeout: self.must("delivery-timeout", values::duration)?,
            count: self.maybe("count", |text| values::number(text, 0, u64::MAX))?,
        })
    }

    fn inputs(&self) -> Vec<Source> {
        let files = self.list("files");
        if files.is_empty() {
            return vec![Source::Stdin];
        }
        files
            .into_iter()
            .map(|file| {
                if file == "-" {
                    Source::Stdin
                } else {
                    Source::File(PathBuf::from(file))
                }
            })
            .collect()
    }

    fn cut(&self) -> Result<Cut, Usage> {
        #[derive(Clone, Copy)]
        enum Format {
            Lines,
            Ndjson,
            Json,
        }
        let choices = [
            ("lines", Format::Lines),
            ("ndjson", Format::Ndjson),
            ("json", Format::Json),
        ];
        let asked = self.maybe("format", |text| choice(text, &choices))?;
        let delimiter = self.must("delimiter", |text| parse_delimiter(text).map_err(wrong))?;
        let key_delimiter = self.maybe("key-delimiter", |text| parse_delimiter(text).map_err(wrong))?;
        let key_field = self.maybe("key-field", |text| text.parse::<Pointer>().map_err(wrong))?;
        let fixed_key = self.text("key").map(String::into_bytes);
        let empty_is_null = self.switch("null")?;
        // Two sources for the key, or a format that has no place for one, is a mistake and no preference.
        let exclude = |a: &str, b: &str| -> Result<(), Usage> {
            if self.given(a) && self.given(b) {
                Err(self.wrong(a, &format!("this and {} exclude each other", self.spelt(b))))
            } else {
                Ok(())
            }
        };
        exclude("key-delimiter", "key")?;
        exclude("key-delimiter", "key-field")?;
        exclude("key-field", "key")?;
        if self.switch("whole-file")? {
            for other in ["format", "key-delimiter", "key-field", "delimiter"] {
                exclude("whole-file", other)?;
            }
            return Ok(Cut::Whole {
                key: fixed_key,
                empty_is_null,
            });
        }
        let format = match (
            asked.unwrap_or(if key_field.is_some() {
                Format::Ndjson
            } else {
                Format::Lines
            }),
            key_field,
        ) {
            (Format::Lines, None) => InputFormat::Lines,
            (Format::Lines, Some(_)) => {
                return Err(self.wrong("key-field", "lines have no fields: --format ndjson is wanted"));
            }
            (Format::Ndjson, None) => {
                return Err(self.wrong(
                    "format",
                    "ndjson needs --key-field /POINTER; without a key, lines will do",
                ));
            }
            (Format::Ndjson, Some(pointer)) => {
                exclude("key-delimiter", "format")?;
                InputFormat::Ndjson(pointer)
            }
            (Format::Json, None) => {
                exclude("key-delimiter", "format")?;
                InputFormat::Envelopes
            }
            (Format::Json, Some(_)) => {
                return Err(self.wrong(
                    "key-field",
                    "an envelope has its key itself: --format ndjson is wanted",
                ));
            }
        };
        Ok(Cut::Records(InputOptions {
            format,
            delimiter,
            key_delimiter,
            fixed_key,
            empty_is_null,
            skip_empty: false,
            max_record: self.max_record()?.unwrap_or(DEFAULT_MAX_RECORD),
        }))
    }

    fn max_record(&self) -> Result<Option<usize>, Usage> {
        self.maybe("message.max.bytes", values::bytes)
    }

    /// How a setting was spelt where it was given.
    fn spelt(&self, name: &str) -> String {
        self.find(name)
            .map_or_else(|| name.to_owned(), |given| given.origin.to_string())
    }

    fn headers(&self) -> Result<Vec<OwnedHeader>, Usage> {
        let read = |text: &String| {
            let (name, value) = text
                .split_once('=')
                .map_or((text.as_str(), None), |(name, value)| (name, Some(value)));
            if name.is_empty() {
                return Err(self.wrong("header", &format!("\"{text}\" has no name; NAME=VALUE is wanted")));
            }
            Ok((
                name.as_bytes().to_vec(),
                value.map(|value| value.as_bytes().to_vec()),
            ))
        };
        self.list("header").iter().map(read).collect()
    }

    fn compression(&self) -> Result<Compression, Usage> {
        let compression = self.must("compression", |text| {
            text.to_ascii_lowercase().parse::<Compression>().map_err(wrong)
        })?;
        let codec = compression.codec();
        // librdkafka's -1 is the codec's default, and it ignores a level where the codec has none.
        if compression.level().is_some() || codec.levels().is_none() {
            return Ok(compression);
        }
        let level = self.maybe("compression.level", |text| {
            let level = values::number(text, -1, i32::MAX)?;
            Compression::new(codec, Some(level).filter(|level| *level >= 0)).map_err(wrong)
        })?;
        Ok(level.unwrap_or(compression))
    }
}

fn least(number: usize, least: usize) -> Result<usize, String> {
    if number < least {
        Err(format!("is less than {least}"))
    } else {
        Ok(number)
    }
}

/// Kafka's own rule for names of topics.
pub(crate) fn check_topic(name: &str) -> Result<(), String> {
    const LONGEST: usize = 249;
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > LONGEST || name == "." || name == ".." || !name.bytes().all(legal) {
        return Err(format!(
            "is not a topic's name: 1 to {LONGEST} of a-z, A-Z, 0-9, . _ -"
        ));
    }
    Ok(())
}
