//! Every error of the brokers, and which can be retried, in one match.

use std::sync::Arc;
use std::time::Duration;

pub use kafka_protocol::error::ResponseError;
use rskafka::messenger::RequestError;

use super::settings::HostPort;

pub use super::peer::PeerProblem;
pub use super::sasl::SaslError;
pub use super::stream::OpenError;
pub use super::tls::TlsSettingsError;
pub use super::token::TokenError;

/// What went wrong between us and the brokers. Messages leave out their source: the chain is printed once.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// No broker was reached in the time given for it.
    #[error(
        "no broker could be reached within {within:?} (tried {tried}); is it running, and are --brokers and the network right?"
    )]
    Unreachable {
        /// `--timeout`
        within: Duration,
        /// The addresses tried, with commas.
        tried: String,
        /// The last try's error.
        source: Box<Error>,
    },
    /// Name, TCP or TLS.
    #[error(transparent)]
    Connect(Arc<OpenError>),
    /// SASL.
    #[error("cannot log in at broker {broker}")]
    Login {
        /// Its address.
        broker: HostPort,
        /// Why.
        source: Arc<SaslError>,
    },
    /// The files for TLS, or this CPU, do not do.
    #[error("cannot use TLS as configured")]
    Tls(#[source] Arc<TlsSettingsError>),
    /// TCP, TLS and SASL together took too long.
    #[error("broker {broker} accepted no connection within {within:?}, which went into {during}")]
    ConnectTimeout {
        /// Its address.
        broker: HostPort,
        /// `socket.connection.setup.timeout.ms`
        within: Duration,
        /// How far it came.
        during: String,
    },
    /// Connected, but not to what was thought: nearly always a setting of ours.
    #[error("no connection to {broker}: {problem}")]
    Peer {
        /// Its address.
        broker: HostPort,
        /// What it is instead.
        problem: PeerProblem,
    },
    /// A request without an answer.
    #[error("broker {broker} did not answer {api} within {within:?}")]
    Timeout {
        /// Its address.
        broker: HostPort,
        /// The request's name.
        api: &'static str,
        /// How long it was waited for.
        within: Duration,
    },
    /// The connection ended, or what came over it made no sense.
    #[error("the connection to broker {broker} broke at {api}")]
    Broken {
        /// Its address.
        broker: HostPort,
        /// The request's name.
        api: &'static str,
        /// Why.
        source: Arc<RequestError>,
    },
    /// A broker too old or too new.
    #[error(
        "broker {broker} does not speak {api} in a version that is known here: barnabas needs Apache Kafka 2.4 or newer"
    )]
    Unspoken {
        /// Its address.
        broker: HostPort,
        /// The request's name.
        api: &'static str,
    },
    /// The broker is not in the cluster's metadata (any more).
    #[error("broker {0} is not known in the cluster")]
    UnknownBroker(i32),
    /// A batch that was given up.
    #[error(
        "not acknowledged by partition {partition} of topic {topic} within {within:?}{}",
        if *maybe_written { "; it may have been written all the same" } else { "" }
    )]
    NotAcknowledged {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// `delivery.timeout.ms`
        within: Duration,
        /// Whether an answer was lost.
        maybe_written: bool,
        /// Why the last try failed.
        source: Option<Box<Error>>,
    },
    /// A batch that could not be made.
    #[error("a batch cannot be encoded: {0}")]
    Unencodable(String),
    /// The handle's task has ended, as at the end of the process.
    #[error("the connections to the cluster are closed")]
    Closed,
    /// An error code in an answer.
    #[error("{what}: {}{}", explain(*code), message.as_deref().map(|m| format!(" ({m})")).unwrap_or_default())]
    Refused {
        /// What was asked, of what.
        what: String,
        /// Kafka's code.
        code: ResponseError,
        /// The broker's own words, if any.
        message: Option<String>,
    },
}

/// What to do after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It would fail again.
    No,
    /// Again after a back-off.
    Again,
    /// Likewise, with new metadata before it.
    Refresh,
}

impl Error {
    /// Whether trying again may help. This match and the one in [`retry_code`] decide it for the whole program.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Connect(source) if source.is_lasting() => Retry::No,
            Self::Peer { problem, .. } if problem.is_lasting() => Retry::No,
            Self::Login { source, .. } if source.is_lasting() => Retry::No,
            Self::Unreachable { .. }
            | Self::Unspoken { .. }
            | Self::Tls(_)
            | Self::Closed
            | Self::NotAcknowledged { .. }
            | Self::Unencodable(_) => Retry::No,
            Self::Broken { source, .. } if !broke_in_transit(source) => Retry::No,
            Self::Connect(_)
            | Self::Peer { .. }
            | Self::Login { .. }
            | Self::ConnectTimeout { .. }
            | Self::Timeout { .. }
            | Self::UnknownBroker(_)
            | Self::Broken { .. } => Retry::Refresh,
            Self::Refused { code, .. } => retry_code(*code),
        }
    }

    /// The error with its causes, for a log line; `main` prints the chain of what ends the process.
    #[must_use]
    pub fn chain(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(self), |cause| cause.source());
        causes.fold(self.to_string(), |text, cause| format!("{text}: {cause}"))
    }

    /// Whether the brokers could not be reached at all (exit code 4).
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Connect(_) | Self::Peer { .. }
        )
    }

    /// Whether the record itself is at fault, and not the brokers, the network or a right.
    #[must_use]
    pub fn is_of_a_record(&self) -> bool {
        matches!(
            self.code(),
            Some(
                ResponseError::MessageTooLarge
                    | ResponseError::RecordListTooLarge
                    | ResponseError::InvalidRecord
                    | ResponseError::InvalidTimestamp
                    | ResponseError::CorruptMessage
            )
        )
    }

    /// Whether an offset was asked for that the partition does not have.
    #[must_use]
    pub fn is_out_of_range(&self) -> bool {
        self.code() == Some(ResponseError::OffsetOutOfRange)
    }

    /// Whether the brokers do not know the topic or partition, which for a moment may be an answer of the past.
    #[must_use]
    pub fn is_unknown_topic(&self) -> bool {
        matches!(
            self.code(),
            Some(ResponseError::UnknownTopicOrPartition | ResponseError::UnknownTopicId)
        )
    }

    /// Whether a right is missing.
    #[must_use]
    pub fn is_unauthorised(&self) -> bool {
        matches!(
            self.code(),
            Some(
                ResponseError::TopicAuthorizationFailed
                    | ResponseError::GroupAuthorizationFailed
                    | ResponseError::ClusterAuthorizationFailed
            )
        )
    }

    /// Kafka's error code, if it was one.
    #[must_use]
    pub fn code(&self) -> Option<ResponseError> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// An error from an answer's code; `None` for 0.
    #[must_use]
    pub fn refused(what: impl FnOnce() -> String, code: i16, message: Option<&str>) -> Option<Self> {
        ResponseError::try_from_code(code).map(|code| Self::Refused {
            what: what(),
            code,
            message: message.filter(|m| !m.is_empty()).map(str::to_owned),
        })
    }
}

/// An answer that cannot be decoded will not get better; a stream that ended may.
pub(crate) fn broke_in_transit(error: &RequestError) -> bool {
    match error {
        RequestError::Poisoned(inner) => broke_in_transit(inner),
        RequestError::IO(_)
        | RequestError::ReadFramedMessageError(_)
        | RequestError::WriteMessageError(_) => true,
        _ => false,
    }
}

/// Whether an error code in an answer may go away: Kafka's own table, and what it says of metadata.
#[must_use]
pub fn retry_code(code: ResponseError) -> Retry {
    use ResponseError as E;
    match code {
        E::UnknownTopicOrPartition
        | E::UnknownTopicId
        | E::InconsistentTopicId
        | E::LeaderNotAvailable
        | E::NotLeaderOrFollower
        | E::ReplicaNotAvailable
        | E::FencedLeaderEpoch
        | E::UnknownLeaderEpoch
        | E::KafkaStorageError
        | E::ListenerNotFound
        | E::NotController
        | E::BrokerNotAvailable
        | E::NetworkException => Retry::Refresh,
        // Whoever asks a coordinator finds it anew for each try.
        E::NotCoordinator | E::CoordinatorNotAvailable | E::CoordinatorLoadInProgress => Retry::Again,
        code if code.is_retriable() => Retry::Again,
        _ => Retry::No,
    }
}

/// An error code for people: what it means, and what to do about it.
#[must_use]
pub fn explain(code: ResponseError) -> String {
    use ResponseError as E;
    let text = match code {
        E::UnknownTopicOrPartition | E::UnknownTopicId => {
            "the topic or partition does not exist (see `barnabas topics list`, `topics create`)"
        }
        E::TopicAuthorizationFailed => "not authorised for this topic; ask for an ACL for this user",
        E::GroupAuthorizationFailed => "not authorised for this group; ask for an ACL for this user",
        E::ClusterAuthorizationFailed => {
            "not authorised for this at the cluster; ask for an ACL for this user"
        }
        E::MessageTooLarge => "larger than the topic takes (max.message.bytes)",
        E::RecordListTooLarge => "larger than a segment of the topic (segment.bytes)",
        E::TopicAlreadyExists => "the topic exists already",
        E::InvalidTopicException => {
            "not a legal topic name: letters, digits, '.', '_' and '-', 249 at most, not '.' or '..'"
        }
        E::LeaderNotAvailable => "the partition has no leader at the moment",
        E::NotEnoughReplicas | E::NotEnoughReplicasAfterAppend => {
            "fewer replicas are in sync than min.insync.replicas asks for; are brokers down?"
        }
        E::InvalidReplicationFactor => "more replicas asked for than there are brokers, or fewer than 1",
        E::InvalidPartitions => "not a possible number of partitions",
        E::InvalidConfig => "a configuration is unknown or has an impossible value",
        E::PolicyViolation => "the brokers' policy forbids it",
        E::OffsetOutOfRange => "the offset is not in the partition (any more)",
        E::UnknownMemberId | E::IllegalGeneration | E::StaleMemberEpoch => {
            "the group has members of its own by Kafka's protocol; an offset can be committed from outside only while it has none"
        }
        E::NonEmptyGroup => "the group has members (by Kafka's own protocol); stop them first",
        E::GroupIdNotFound => "the group does not exist",
        E::InvalidGroupId => "not a legal group name",
        E::NotCoordinator | E::CoordinatorNotAvailable | E::CoordinatorLoadInProgress => {
            "the broker that coordinates the group is not ready at the moment"
        }
        E::OffsetMetadataTooLarge => {
            "the text beside a committed offset is longer than offset.metadata.max.bytes"
        }
        E::TopicDeletionDisabled => "the brokers do not let topics be deleted (delete.topic.enable)",
        E::UnsupportedCompressionType => "the brokers do not take this codec",
        E::InvalidRecord => "the brokers found a record invalid (a null key in a compacted topic?)",
        E::InvalidTimestamp => "the record's time is too far from the broker's",
        other => return other.to_string(),
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: ResponseError) -> Error {
        Error::Refused {
            what: "asking".to_owned(),
            code,
            message: None,
        }
    }

    #[test]
    fn what_new_metadata_may_mend_is_retried_with_it() {
        use ResponseError as E;
        for code in [
            E::UnknownTopicOrPartition,
            E::LeaderNotAvailable,
            E::NotLeaderOrFollower,
            E::FencedLeaderEpoch,
            E::UnknownLeaderEpoch,
            E::KafkaStorageError,
            E::NotController,
        ] {
            assert_eq!(retry_code(code), Retry::Refresh, "{code:?}");
        }
        assert_eq!(Error::UnknownBroker(7).retry(), Retry::Refresh);
    }

    #[test]
    fn what_passes_by_itself_is_retried() {
        use ResponseError as E;
        for code in [
            E::NotEnoughReplicas,
            E::NotEnoughReplicasAfterAppend,
            E::RequestTimedOut,
            E::CoordinatorLoadInProgress,
            E::CoordinatorNotAvailable,
            E::NotCoordinator,
            E::ThrottlingQuotaExceeded,
        ] {
            assert_eq!(retry_code(code), Retry::Again, "{code:?}");
        }
    }

    #[test]
    fn what_would_fail_again_is_not_retried() {
        use ResponseError as E;
        for code in [
            E::TopicAuthorizationFailed,
            E::ClusterAuthorizationFailed,
            E::SaslAuthenticationFailed,
            E::MessageTooLarge,
            E::RecordListTooLarge,
            E::InvalidRecord,
            E::InvalidTopicException,
            E::UnsupportedVersion,
            E::UnsupportedCompressionType,
            E::InvalidTimestamp,
            E::UnknownServerError,
        ] {
            assert_eq!(retry_code(code), Retry::No, "{code:?}");
        }
        assert_eq!(Error::Closed.retry(), Retry::No);
        assert_eq!(Error::Unencodable(String::new()).retry(), Retry::No);
    }

    #[test]
    fn a_stream_that_broke_is_retried_and_an_answer_without_sense_is_not() {
        let broken = |source| Error::Broken {
            broker: HostPort {
                host: "h".to_owned(),
                port: 1,
            },
            api: "Fetch",
            source: Arc::new(source),
        };
        let io = || RequestError::IO(std::io::ErrorKind::ConnectionReset.into());
        assert_eq!(broken(io()).retry(), Retry::Refresh);
        let poisoned = RequestError::Poisoned(Arc::new(io()));
        assert_eq!(broken(poisoned).retry(), Retry::Refresh);
    }

    #[test]
    fn records_at_fault_are_told_from_everything_else() {
        use ResponseError as E;
        for code in [E::MessageTooLarge, E::InvalidRecord, E::InvalidTimestamp] {
            assert!(refused(code).is_of_a_record());
        }
        for code in [E::TopicAuthorizationFailed, E::NotEnoughReplicas] {
            assert!(!refused(code).is_of_a_record());
        }
        assert!(!Error::Closed.is_of_a_record());
    }

    #[test]
    fn code_zero_is_no_error_and_the_brokers_words_are_kept() {
        let what = || "asking".to_owned();
        assert!(Error::refused(what, 0, None).is_none());
        let text = Error::refused(what, 87, Some("because")).unwrap().to_string();
        assert!(
            text.starts_with("asking: ") && text.ends_with("(because)"),
            "{text}"
        );
        let text = Error::refused(what, 87, Some("")).unwrap().to_string();
        assert!(!text.contains("()"), "{text}");
    }
}
