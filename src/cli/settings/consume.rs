//! `consume`.

use std::time::Duration;

use super::handle::HandleSettings;
use super::join::JoinSettings;
use super::produce::check_topic;
use super::{Settings, Start, Usage, choice, offsets, values, wrong};
use crate::broker::fetch::FetchLimits;
use crate::cli::format::{KeyFilter, OutputFormat, Template};
use crate::produce::input::unescape_bytes;

/// How long a broker holds back the answer to a group's fetch, if nobody says otherwise: a group's members are many
/// and often idle. What comes meanwhile is answered at once.
const GROUP_WAIT: Duration = Duration::from_secs(5);

/// What `consume` shall do.
#[derive(Debug, Clone)]
pub struct ConsumeSettings {
    /// What to read.
    pub reading: Reading,
    /// How to print it.
    pub printing: PrintSettings,
    /// What to do with it instead of printing it.
    pub handling: Option<HandleSettings>,
}

/// What to read.
#[derive(Debug, Clone)]
pub enum Reading {
    /// What these partitions hold.
    Alone(AloneSettings),
    /// What falls to a member of a group.
    Group(JoinSettings),
}

/// What to read without a group.
#[derive(Debug, Clone)]
pub struct AloneSettings {
    /// In the order given; never empty.
    pub topics: Vec<String>,
    /// Only these partitions, in order; all if empty.
    pub partitions: Vec<i32>,
    /// Where to start in each partition.
    pub start: Start,
    /// Stop in each partition before the first record of this time or later, in milliseconds since the epoch.
    pub stop: Option<i64>,
}

/// How records are fetched and printed.
#[derive(Debug, Clone)]
pub struct PrintSettings {
    /// `-c`: exit after so many records.
    pub count: Option<u64>,
    /// `-e`: exit at the end of each partition.
    pub exit_at_end: bool,
    /// How records are printed.
    pub print: OutputFormat,
    /// `-Z`: null is printed as `NULL`.
    pub null_text: bool,
    /// `-u`: write each record out at once.
    pub unbuffered: bool,
    /// Only records with such a key.
    pub key_filter: Option<KeyFilter>,
    /// What of transactions is seen.
    pub isolation: Isolation,
    /// Sizes and times of a fetch.
    pub fetch: FetchLimits,
}

/// What of transactions is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isolation {
    /// Only what was committed.
    ReadCommitted,
    /// Everything.
    ReadUncommitted,
}

impl PrintSettings {
    /// Whether only committed transactions are seen.
    #[must_use]
    pub fn read_committed(&self) -> bool {
        self.isolation == Isolation::ReadCommitted
    }
}

impl Settings {
    /// What `consume` shall do; `now_millis` is the time that `-1h` counts back from.
    ///
    /// # Errors
    /// If the topic is missing, a value is not what it should be, or two of them exclude each other.
    pub(crate) fn consume(&self, now_millis: i64) -> Result<ConsumeSettings, Usage> {
        let reading = match self.text("group") {
            Some(group) => Reading::Group(self.join(group, now_millis)?),
            None => Reading::Alone(self.alone(now_millis)?),
        };
        Ok(ConsumeSettings {
            printing: self.printing(matches!(reading, Reading::Group(_)))?,
            handling: self.handling(matches!(reading, Reading::Group(_)))?,
            reading,
        })
    }

    /// The topics of `-t`, which may be none.
    pub(super) fn topics_to_read(&self) -> Result<Vec<String>, Usage> {
        let mut topics: Vec<String> = Vec::new();
        for topic in self
            .list("topic")
            .iter()
            .flat_map(|text| text.split(','))
            .map(str::trim)
        {
            check_topic(topic).map_err(|why| self.wrong("topic", &format!("\"{topic}\" {why}")))?;
            if !topics.iter().any(|known| known == topic) {
                topics.push(topic.to_owned());
            }
        }
        Ok(topics)
    }

    fn alone(&self, now_millis: i64) -> Result<AloneSettings, Usage> {
        self.refuse_without_group()?;
        let topics = self.topics_to_read()?;
        if topics.is_empty() {
            return Err(Usage("no topic: give -t TOPIC or BARNABAS_TOPIC".to_owned()));
        }
        let partitions = self.list("partition").join(",");
        let partitions = match partitions.as_str() {
            "" => Vec::new(),
            text => values::partitions(text)
                .map_err(|why| self.wrong("partition", &format!("\"{text}\" {why}")))?,
        };
        let offsets = self.list("offset");
        // A variable or a file may name start and stop in one text; no offset has a comma.
        let offsets: Vec<&str> = offsets
            .iter()
            .flat_map(|text| text.split(','))
            .map(str::trim)
            .collect();
        let (start, stop) = offsets::read(&offsets, now_millis).map_err(|why| self.wrong("offset", &why))?;
        Ok(AloneSettings {
            topics,
            partitions,
            start,
            stop,
        })
    }

    fn printing(&self, in_group: bool) -> Result<PrintSettings, Usage> {
        let max_wait = self.must("fetch-wait", values::duration)?;
        Ok(PrintSettings {
            count: self.maybe("count", |text| values::number(text, 0, u64::MAX))?,
            exit_at_end: self.switch("exit")?,
            print: self.print()?,
            null_text: self.switch("null")?,
            unbuffered: self.switch("unbuffered")?,
            key_filter: self.text("key-filter").map(|pattern| KeyFilter::new(&pattern)),
            isolation: self.must("isolation", |text| {
                choice(
                    text,
                    &[
                        ("read_committed", Isolation::ReadCommitted),
                        ("read_uncommitted", Isolation::ReadUncommitted),
                    ],
                )
            })?,
            fetch: FetchLimits {
                max_bytes: self.must("fetch.max.bytes", positive)?,
                max_partition_bytes: self.must("max.partition.fetch.bytes", positive)?,
                min_bytes: self.must("fetch.min.bytes", positive)?,
                max_wait: if in_group && !self.given("fetch-wait") {
                    GROUP_WAIT
                } else {
                    max_wait
                },
            },
        })
    }

    fn print(&self) -> Result<OutputFormat, Usage> {
        // Unlike one that is read, a delimiter that is printed may be empty.
        let read = |text: &str| {
            if text.is_empty() {
                Ok(Vec::new())
            } else {
                unescape_bytes(text).map_err(wrong)
            }
        };
        let delimiter = self.must("delimiter", read)?;
        let key_delimiter = self.maybe("key-delimiter", read)?;
        let template = self.maybe("print", |text| text.parse::<Template>().map_err(wrong))?;
        match (self.switch("json")?, template) {
            (true, Some(_)) => Err(self.wrong("print", "this and --json exclude each other")),
            (true, None) => Ok(OutputFormat::Json { delimiter }),
            (false, Some(template)) => Ok(OutputFormat::Template(template)),
            (false, None) => Ok(OutputFormat::Plain {
                delimiter,
                key_delimiter,
            }),
        }
    }
}

/// A size that fits the protocol's 32 bits.
fn positive(text: &str) -> Result<i32, String> {
    let number = values::bytes(text)?;
    i32::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("is not a size from 1 to {}", i32::MAX))
}
