//! What all cases share: the broker, topics that are filled once, programs, names.

use std::collections::BTreeMap;
use std::io::BufWriter;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use crate::input::Input;
use crate::peers::{Peer, Programs};
use crate::support::{self, Jvm, Kafka, wait_for};

pub(crate) struct World {
    pub(crate) kafka: Kafka,
    pub(crate) programs: Programs,
    /// Under `target/`.
    pub(crate) dir: PathBuf,
    filled: BTreeMap<Input, String>,
    groups: u32,
}

impl World {
    /// `None`, said aloud, where Java or Maven is missing.
    pub(crate) fn start(programs: Programs, dir: PathBuf) -> Option<Self> {
        let kafka = Kafka::start_with(&support::Options {
            jvm: Jvm::Full,
            properties: vec![("log.segment.delete.delay.ms".to_owned(), "500".to_owned())],
            ..support::Options::default()
        })?;
        Some(Self {
            kafka,
            programs,
            dir,
            filled: BTreeMap::new(),
            groups: 0,
        })
    }

    /// A group that nobody has been in.
    pub(crate) fn new_group(&mut self) -> String {
        self.groups += 1;
        format!("group-{}", self.groups)
    }

    /// A topic that holds these events, published by `barnabas produce`.
    pub(crate) fn filled(&mut self, input: Input) -> Result<String, String> {
        if let Some(topic) = self.filled.get(&input) {
            return Ok(topic.clone());
        }
        let topic = self.fill(input)?;
        self.filled.insert(input, topic.clone());
        Ok(topic)
    }

    /// A new topic that holds these events.
    pub(crate) fn fill(&self, input: Input) -> Result<String, String> {
        let topic = self
            .kafka
            .topic_with("deliver", input.partitions, &[("retention.ms", "-1")]);
        let bootstrap = self.kafka.bootstrap();
        let args = [
            "produce", "-q", "--format", "json", "-b", &bootstrap, "-t", &topic,
        ];
        let mut child = self
            .programs
            .barnabas(&args)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| format!("barnabas: {error}"))?;
        let stdin = child.stdin.take().ok_or("no stdin")?;
        let mut lines = BufWriter::with_capacity(1 << 16, stdin);
        let written = input.write(&mut lines);
        drop(lines);
        let status = child.wait().map_err(|error| error.to_string())?;
        written.map_err(|error| format!("barnabas produce: {error}"))?;
        if !status.success() {
            return Err(format!("barnabas produce: {status}"));
        }
        // Who comes at once would wait for the high watermark.
        let wanted = i64::try_from(input.events + input.poison).map_err(|error| error.to_string())?;
        wait_for("the topic is whole", Duration::from_secs(10), || {
            (self.kafka.written(&topic) == wanted).then_some(())
        });
        Ok(topic)
    }

    /// Deletes the topic of dead letters that a group of barnabas' has made: tens of them would slow the broker down.
    pub(crate) fn forget(&self, peer: Peer, topic: &str, group: &str) {
        if peer != Peer::Barnabas {
            return;
        }
        self.kafka.delete_topic(&format!("{topic}.dlq.{group}"));
    }
}
