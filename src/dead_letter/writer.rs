//! Dead letters written: to the partition of their record's number, smaller if the topic does not take them whole, and
//! finished only with the brokers' acknowledgement.

use std::sync::Arc;

use super::envelope::{Failed, Shape, letter_id, seal};
use super::headers::Families;
use super::publish::{Outgoing, publish_one};
use super::topics::{self, Source, TopicError, Usable, Use};
use crate::broker::Cluster;
use crate::broker::error::{Error, ResponseError, Retry};
use crate::produce::producer::Producer;
use crate::record::{Codec, Compression};

/// The dead letters of one topic and one group. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer {
    producer: Producer,
    topic: Arc<str>,
    partitions: i32,
    max_bytes: Option<usize>,
    families: Families,
    warnings: Vec<String>,
}

/// A letter that is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Its id.
    pub id: String,
    /// The partition that it was written to.
    pub partition: i32,
    /// Its offset; −1 if an earlier try was acknowledged without it.
    pub offset: i64,
    /// What is left of it.
    pub shape: Shape,
}

/// A letter that is not in the log, as far as is known: the record is held, and not finished.
#[derive(Debug, Clone, thiserror::Error)]
#[error("dead letter {id} is not written to partition {partition} of topic {topic}")]
pub struct NotWritten {
    /// The letter's id.
    pub id: String,
    /// The topic of dead letters.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Whether trying again is of no use until somebody changes something.
    pub permanent: bool,
    /// Why.
    pub source: Box<Error>,
}

impl Writer {
    /// Checks the topic of dead letters, at the start and not at the first failure; with `create` makes it if there is
    /// none.
    ///
    /// # Errors
    /// There is none, it cannot be made, or letters would vanish from it.
    pub async fn open(
        cluster: &Cluster,
        producer: Producer,
        source: &Source,
        group: &str,
        families: Families,
        create: bool,
    ) -> Result<Self, TopicError> {
        let usable = topics::ensure(cluster, source, group, Use::Dead, create).await?;
        Ok(Self::to(producer, usable, families))
    }

    fn to(producer: Producer, usable: Usable, families: Families) -> Self {
        Self {
            producer,
            topic: Arc::from(usable.topic),
            partitions: usable.partitions.max(1),
            max_bytes: usable.max_message_bytes,
            families,
            warnings: usable.warnings,
        }
    }

    /// The topic of dead letters.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// What is not as it should be.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Writes a letter and waits for its acknowledgement, for the producer's delivery timeout at most. `codec` is that of
    /// the record's batch, `now` in milliseconds since the epoch. Dropping the future gives up waiting; the letter may be
    /// written all the same, and so may a second one, with the same id.
    ///
    /// # Errors
    /// It is not in the log, as far as is known.
    pub async fn write(&self, failed: &Failed<'_>, codec: Codec, now: i64) -> Result<Written, NotWritten> {
        let compression = Compression::new(codec, None).unwrap_or_default();
        let partition = failed.partition.rem_euclid(self.partitions);
        let mut shape = self.first_shape(failed, codec);
        loop {
            let outgoing = Outgoing {
                topic: Arc::clone(&self.topic),
                partition,
                record: seal(failed, self.families, shape),
                compression,
            };
            let id = || letter_id(failed.group, failed.topic_id, failed.partition, failed.offset);
            match publish_one(&self.producer, outgoing, now).await {
                Ok(offset) => {
                    return Ok(Written {
                        id: id(),
                        partition,
                        offset,
                        shape,
                    });
                }
                Err(error) => match shape.smaller().filter(|_| is_too_large(&error)) {
                    Some(smaller) => shape = smaller,
                    None => {
                        return Err(NotWritten {
                            id: id(),
                            topic: self.topic.to_string(),
                            partition,
                            permanent: is_permanent(&error),
                            source: Box::new(error),
                        });
                    }
                },
            }
        }
    }

    /// What is sure to be refused need not be sent: without a codec the size is known beforehand.
    fn first_shape(&self, failed: &Failed<'_>, codec: Codec) -> Shape {
        let mut shape = Shape::Whole;
        let (Some(most), Codec::None) = (self.max_bytes, codec) else {
            return shape;
        };
        while let Some(smaller) = shape.smaller()
            && seal(failed, self.families, shape).size() > most
        {
            shape = smaller;
        }
        shape
    }
}

fn is_too_large(error: &Error) -> bool {
    let too_large = [ResponseError::MessageTooLarge, ResponseError::RecordListTooLarge];
    matches!(error, Error::Unencodable(_)) || error.code().is_some_and(|code| too_large.contains(&code))
}

/// Whether it would fail again. A letter that was not acknowledged in time may be with the next try; what its last try
/// failed of tells.
fn is_permanent(error: &Error) -> bool {
    match error {
        Error::NotAcknowledged { source, .. } => source
            .as_deref()
            .is_some_and(|source| source.code().is_some() && source.retry() == Retry::No),
        Error::Unreachable { .. } | Error::Closed => false,
        error => error.retry() == Retry::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: ResponseError) -> Error {
        Error::Refused {
            what: "publishing".to_owned(),
            code,
            message: None,
        }
    }

    #[test]
    fn what_is_too_large_is_tried_smaller_and_nothing_else() {
        assert!(is_too_large(&refused(ResponseError::MessageTooLarge)));
        assert!(is_too_large(&refused(ResponseError::RecordListTooLarge)));
        assert!(!is_too_large(&refused(ResponseError::InvalidRecord)));
    }

    #[test]
    fn a_missing_right_is_permanent_and_an_outage_is_not() {
        assert!(is_permanent(&refused(ResponseError::TopicAuthorizationFailed)));
        assert!(!is_permanent(&refused(ResponseError::NotEnoughReplicas)));
        assert!(!is_permanent(&Error::Closed));
        let late = |source| Error::NotAcknowledged {
            topic: "t".to_owned(),
            partition: 0,
            within: std::time::Duration::from_secs(1),
            maybe_written: false,
            source,
        };
        assert!(!is_permanent(&late(None)));
        assert!(!is_permanent(&late(Some(Box::new(refused(
            ResponseError::NotEnoughReplicas
        ))))));
    }
}
