//! What can be wrong with a group's log, in words for people.

use crate::broker::Error;
use crate::record::BatchError;

/// What a group's members need at its log, for messages.
const RIGHTS: &str = "a member needs Read, Write, Describe and DescribeConfigs on the log's topic, Create unless the topic was made beforehand, and Delete for the log to be kept short";

/// Something that is done with the log's topic, and what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Finding it.
    Describe,
    /// Making it.
    Create,
    /// Reading it.
    Read,
    /// Writing to it.
    Write,
    /// Deleting its beginning.
    Delete,
}

impl Right {
    fn doing(self) -> &'static str {
        match self {
            Self::Describe => "be found",
            Self::Create => "be created",
            Self::Read => "be read",
            Self::Write => "be written to",
            Self::Delete => "be cut at its beginning",
        }
    }

    fn acl(self) -> &'static str {
        match self {
            Self::Describe => "Describe",
            Self::Create => "Create (on this topic or on the cluster)",
            Self::Read => "Read",
            Self::Write => "Write",
            Self::Delete => "Delete",
        }
    }
}

/// Why a group's log cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// No topic can be called so.
    #[error(
        "{group:?} cannot be a group's name: its log is the topic barnabas.group.NAME, so NAME has letters, digits, '.', '_' and '-', and at most {most} of them"
    )]
    Name {
        /// The name.
        group: String,
        /// Its longest.
        most: usize,
    },
    /// There is no such group.
    #[error("there is no group {group}: topic {topic}, which would be its log, does not exist")]
    Missing {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
    },
    /// The topic is there and cannot be a log.
    #[error("topic {topic} cannot be a group's log: {why}")]
    Unfit {
        /// The topic.
        topic: String,
        /// Why.
        why: String,
    },
    /// A right is missing.
    #[error(
        "topic {topic}, the group's log, cannot {}: this user has no right to it; grant {} on topic {topic} (in all, {RIGHTS})",
        right.doing(), right.acl()
    )]
    Denied {
        /// The topic.
        topic: String,
        /// The right.
        right: Right,
        /// The brokers' word.
        source: Error,
    },
    /// The topic was deleted.
    #[error(
        "topic {topic}, the group's log, is no more: with it went who owns what and how far it has got; start with --rebuild-from-native to go on from the offsets that Kafka itself keeps for the group"
    )]
    Deleted {
        /// The topic.
        topic: String,
    },
    /// Another topic of the same name.
    #[error(
        "topic {topic}, the group's log, was deleted and made anew: with it went who owns what and how far it has got; start with --rebuild-from-native to go on from the offsets that Kafka itself keeps for the group"
    )]
    Recreated {
        /// The topic.
        topic: String,
    },
    /// The log is new, and the group is not.
    #[error(
        "topic {topic}, the group's log, is empty, yet Kafka keeps offsets that barnabas committed for group {group} (log {log}): was the log deleted? Start with --rebuild-from-native to go on from these offsets, or delete them (kafka-consumer-groups --delete --group {group}) to begin as a new group"
    )]
    Forgotten {
        /// The group.
        group: String,
        /// The topic.
        topic: String,
        /// The id of the log that is no more.
        log: String,
    },
    /// Its beginning was deleted, and there is no snapshot of it.
    #[error(
        "topic {topic}, the group's log, begins at offset {start} and holds no usable snapshot of what was before it: delete the topic, and start with --rebuild-from-native to go on from the offsets that Kafka itself keeps for the group"
    )]
    NoSnapshot {
        /// The topic.
        topic: String,
        /// Where it begins.
        start: i64,
    },
    /// Bytes that are no records.
    #[error("topic {topic}, the group's log, cannot be read at offset {offset}")]
    Unreadable {
        /// The topic.
        topic: String,
        /// Where.
        offset: i64,
        /// Why.
        source: BatchError,
    },
    /// A cut that overtook a reader, or an unclean election.
    #[error("topic {topic}, the group's log, was cut off where it was being read: try again")]
    Cut {
        /// The topic.
        topic: String,
    },
    /// An administrator's record that was not read back.
    #[error("what was written to topic {topic} was not read back from it within {within:?}")]
    NotReadBack {
        /// The topic.
        topic: String,
        /// `--timeout`
        within: std::time::Duration,
    },
    /// The brokers' word.
    #[error("the group's log cannot be used")]
    Broker(#[from] Error),
}

impl LogError {
    /// A broker's error at that; a missing right says which.
    pub(super) fn of(error: Error, right: Right, topic: &str) -> Self {
        if error.is_unauthorised() {
            return Self::Denied {
                topic: topic.to_owned(),
                right,
                source: error,
            };
        }
        Self::Broker(error)
    }

    /// A write that was refused for good.
    #[must_use]
    pub fn of_write(error: Error, topic: &str) -> Self {
        Self::of(error, Right::Write, topic)
    }

    /// Whether the brokers could not be reached at all (exit code 4).
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Broker(error) if error.is_unreachable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::error::ResponseError;

    #[test]
    fn a_missing_right_is_named_and_so_are_all_that_are_needed() {
        let error = Error::Refused {
            what: "writing".to_owned(),
            code: ResponseError::TopicAuthorizationFailed,
            message: None,
        };
        let text = LogError::of(error, Right::Write, "barnabas.group.g").to_string();
        for part in ["barnabas.group.g", "grant Write", "DescribeConfigs"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
