//! The names of dead-letter headers: ours are those of Kafka's share groups (KIP-1191) and more of the same kind; Spring's
//! and Connect's are written if asked for, and read like those of Kafka Streams.

/// Ours: UTF-8 each, numbers in decimal, times in milliseconds since the epoch.
pub mod ours {
    /// What each begins with.
    pub const PREFIX: &[u8] = b"__dlq.errors.";
    /// The record's topic.
    pub const TOPIC: &str = "__dlq.errors.topic";
    /// The topic's id, as Kafka prints it.
    pub const TOPIC_ID: &str = "__dlq.errors.topic.id";
    /// The record's partition.
    pub const PARTITION: &str = "__dlq.errors.partition";
    /// The record's offset; a batch's first.
    pub const OFFSET: &str = "__dlq.errors.offset";
    /// The last offset, of a batch that could not be decoded.
    pub const LAST_OFFSET: &str = "__dlq.errors.last.offset";
    /// What the value is, if it is not the record's own: [`BATCH`].
    pub const CONTENT: &str = "__dlq.errors.content";
    /// A whole record batch as it is in the log, in Kafka's format.
    pub const BATCH: &str = "record-batch";
    /// The group that could not process it.
    pub const GROUP: &str = "__dlq.errors.group";
    /// How often it was tried.
    pub const DELIVERIES: &str = "__dlq.errors.delivery.count";
    /// Why it failed the last time.
    pub const MESSAGE: &str = "__dlq.errors.message";
    /// The record's own timestamp.
    pub const TIMESTAMP: &str = "__dlq.errors.timestamp";
    /// Why it is here: [`super::super::envelope::Reason`].
    pub const OUTCOME: &str = "__dlq.errors.outcome";
    /// When it failed first.
    pub const FIRST_FAILED: &str = "__dlq.errors.first.failed";
    /// When it failed last.
    pub const LAST_FAILED: &str = "__dlq.errors.last.failed";
    /// The same for each copy of the letter.
    pub const ID: &str = "__dlq.errors.id";
    /// The last answer's status.
    pub const STATUS: &str = "__dlq.errors.status";
    /// How often it was replayed before.
    pub const REPLAYS: &str = "__dlq.errors.replays";
    /// Other families that were written too, with commas.
    pub const FAMILIES: &str = "__dlq.errors.families";
    /// SHA-256 of the value that was too large to be kept, in hex.
    pub const VALUE_SHA256: &str = "__dlq.errors.value.sha256";
    /// Its size in bytes.
    pub const VALUE_SIZE: &str = "__dlq.errors.value.size";
    /// SHA-256 of the key, if that was too large as well, in hex.
    pub const KEY_SHA256: &str = "__dlq.errors.key.sha256";
}

/// Of a record that is replayed: where it comes from.
pub mod origin {
    /// What each begins with.
    pub const PREFIX: &[u8] = b"__dlq.replay.";
    /// The group.
    pub const GROUP: &str = "__dlq.replay.group";
    /// The topic that it came from.
    pub const TOPIC: &str = "__dlq.replay.topic";
    /// That topic's id, as Kafka prints it.
    pub const TOPIC_ID: &str = "__dlq.replay.topic.id";
    /// The partition.
    pub const PARTITION: &str = "__dlq.replay.partition";
    /// The offset.
    pub const OFFSET: &str = "__dlq.replay.offset";
    /// The record's own timestamp.
    pub const TIMESTAMP: &str = "__dlq.replay.timestamp";
    /// The dead letter's id.
    pub const ID: &str = "__dlq.replay.id";
    /// 1 for the first replay.
    pub const COUNT: &str = "__dlq.replay.count";
}

/// Of the record that says that a letter is dealt with.
pub mod resolution {
    /// The letter's id.
    pub const ID: &str = "__dlq.resolution.id";
    /// `replayed` or `discarded`.
    pub const KIND: &str = "__dlq.resolution.kind";
    /// Copies of the letter that were replayed no more often than this are dealt with.
    pub const REPLAYS: &str = "__dlq.resolution.replays";
    /// Who did it.
    pub const BY: &str = "__dlq.resolution.by";
    /// Why.
    pub const WHY: &str = "__dlq.resolution.why";
    /// The topic that it was written to.
    pub const TO: &str = "__dlq.resolution.to";
}

/// Spring for Apache Kafka: numbers in big-endian, 4 or 8 bytes.
pub mod spring {
    /// The topic.
    pub const TOPIC: &str = "kafka_dlt-original-topic";
    /// The partition, 4 bytes.
    pub const PARTITION: &str = "kafka_dlt-original-partition";
    /// The offset, 8 bytes.
    pub const OFFSET: &str = "kafka_dlt-original-offset";
    /// The record's timestamp, 8 bytes.
    pub const TIMESTAMP: &str = "kafka_dlt-original-timestamp";
    /// `CreateTime` or `LogAppendTime`.
    pub const TIMESTAMP_TYPE: &str = "kafka_dlt-original-timestamp-type";
    /// The group.
    pub const GROUP: &str = "kafka_dlt-original-consumer-group";
    /// The exception's class.
    pub const EXCEPTION: &str = "kafka_dlt-exception-fqcn";
    /// The class of its cause.
    pub const CAUSE: &str = "kafka_dlt-exception-cause-fqcn";
    /// Its message.
    pub const MESSAGE: &str = "kafka_dlt-exception-message";
    /// The message where the key could not be read.
    pub const KEY_MESSAGE: &str = "kafka_dlt-key-exception-message";
    /// How often it was tried, 4 bytes.
    pub const ATTEMPTS: &str = "retry_topic-attempts";
    /// The timestamp that it had before its retries, 8 bytes.
    pub const RETRY_TIMESTAMP: &str = "retry_topic-original-timestamp";
    /// Those that are written.
    pub const WRITTEN: [&str; 8] = [
        TOPIC,
        PARTITION,
        OFFSET,
        TIMESTAMP,
        TIMESTAMP_TYPE,
        GROUP,
        EXCEPTION,
        MESSAGE,
    ];
}

/// Kafka Connect: UTF-8 each.
pub mod connect {
    /// The topic.
    pub const TOPIC: &str = "__connect.errors.topic";
    /// The partition.
    pub const PARTITION: &str = "__connect.errors.partition";
    /// The offset.
    pub const OFFSET: &str = "__connect.errors.offset";
    /// The connector, which is what a group is there.
    pub const CONNECTOR: &str = "__connect.errors.connector.name";
    /// Where in the connector it failed.
    pub const STAGE: &str = "__connect.errors.stage";
    /// The exception's class.
    pub const EXCEPTION: &str = "__connect.errors.exception.class.name";
    /// Its message.
    pub const MESSAGE: &str = "__connect.errors.exception.message";
    /// Those that are written.
    pub const WRITTEN: [&str; 7] = [TOPIC, PARTITION, OFFSET, CONNECTOR, STAGE, EXCEPTION, MESSAGE];
}

/// Kafka Streams: UTF-8 each.
pub mod streams {
    /// The topic.
    pub const TOPIC: &str = "__streams.errors.topic";
    /// The partition.
    pub const PARTITION: &str = "__streams.errors.partition";
    /// The offset.
    pub const OFFSET: &str = "__streams.errors.offset";
    /// The exception's class.
    pub const EXCEPTION: &str = "__streams.errors.exception";
    /// Its message.
    pub const MESSAGE: &str = "__streams.errors.message";
}

/// Families that are written beside ours.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Families {
    /// Spring's.
    pub spring: bool,
    /// Connect's.
    pub connect: bool,
}

impl Families {
    /// Reads names with commas: `spring`, `connect`; nothing for ours alone.
    ///
    /// # Errors
    /// A name that is neither.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut families = Self::default();
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match name {
                "spring" => families.spring = true,
                "connect" => families.connect = true,
                other => return Err(format!("{other} is neither spring nor connect")),
            }
        }
        Ok(families)
    }

    /// The names with commas.
    #[must_use]
    pub fn names(self) -> &'static str {
        match (self.spring, self.connect) {
            (false, false) => "",
            (true, false) => "spring",
            (false, true) => "connect",
            (true, true) => "spring,connect",
        }
    }

    /// Whether a header of this name is written for one of them.
    #[must_use]
    pub fn write(self, name: &[u8]) -> bool {
        let in_it = |names: &[&str]| names.iter().any(|written| written.as_bytes() == name);
        self.spring && in_it(&spring::WRITTEN) || self.connect && in_it(&connect::WRITTEN)
    }
}

/// Whether a header of this name belongs to a dead letter or to a replay and not to the record: a record that comes with
/// one cannot pass for a letter.
#[must_use]
pub fn is_ours(name: &[u8]) -> bool {
    name.starts_with(ours::PREFIX) || name.starts_with(origin::PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_read_by_name() {
        for text in ["", "spring", "connect", "spring,connect"] {
            assert_eq!(Families::read(text).unwrap().names(), text);
        }
        assert_eq!(
            Families::read(" connect , spring ").unwrap().names(),
            "spring,connect"
        );
        assert!(Families::read("spring,camel").unwrap_err().starts_with("camel"));
    }
}
