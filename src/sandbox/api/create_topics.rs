//! CreateTopics (19), versions 2 to 7. There is one broker: a replication factor of 2 is refused, as Kafka does.

use std::collections::BTreeMap;

use super::{Api, outcome};
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::{Cluster, NODE};
use crate::sandbox::code;
use crate::sandbox::config::{self, CONFIGS};
use crate::sandbox::topics::Refusal;
use crate::sandbox::wire::{Read, Reader};

pub(crate) const API: Api = Api {
    key: 19,
    name: "CreateTopics",
    versions: (2, 7),
    flexible: 5,
    answer,
};

struct New {
    name: String,
    partitions: i32,
    replicas: i16,
    /// Partition and its brokers.
    assignments: Vec<(i32, Vec<i32>)>,
    configs: Vec<(String, Option<String>)>,
}

impl New {
    fn read(r: &mut Reader) -> Read<Self> {
        let name = r.string()?;
        let partitions = r.i32()?;
        let replicas = r.i16()?;
        let assignments = r.array(|r| {
            let assignment = (r.i32()?, r.array(Reader::i32)?);
            r.tags()?;
            Ok(assignment)
        })?;
        let configs = r.array(|r| {
            let config = (r.string()?, r.maybe_string()?);
            r.tags()?;
            Ok(config)
        })?;
        r.tags()?;
        Ok(New {
            name,
            partitions,
            replicas,
            assignments,
            configs,
        })
    }

    /// How many partitions it is to have.
    fn count(&self, default: i32) -> Result<i32, Refusal> {
        if !self.assignments.is_empty() {
            let mut partitions: Vec<i32> = self.assignments.iter().map(|(partition, _)| *partition).collect();
            partitions.sort_unstable();
            let in_a_row = (0i32..)
                .zip(&partitions)
                .all(|(index, partition)| index == *partition);
            if !in_a_row || self.assignments.iter().any(|(_, brokers)| brokers != &[NODE]) {
                let why = format!(
                    "The sandbox has one broker, {NODE}: each partition from 0 on can only be assigned to it."
                );
                return Err((code::INVALID_REPLICA_ASSIGNMENT, why));
            }
            return Ok(i32::try_from(partitions.len()).unwrap_or(i32::MAX));
        }
        let why = match self.replicas {
            -1 | 1 => None,
            ..1 => {
                Some("Replication factor must be larger than 0, or -1 to use the default value.".to_owned())
            }
            // Also that of the directories, which the sandbox has none of: people search for the whole sentence.
            more => Some(format!(
                "Unable to replicate the partition {more} time(s): The target replication factor of {more} cannot be reached because only 1 broker(s) are registered or some brokers have all their log directories cordoned."
            )),
        };
        if let Some(why) = why {
            return Err((code::INVALID_REPLICATION_FACTOR, why));
        }
        Ok(if self.partitions == -1 {
            default
        } else {
            self.partitions
        })
    }
}

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let topics = call.reader.array(New::read)?;
    let _timeout = call.reader.i32()?;
    let only_check = call.reader.bool()?;
    let mut w = call.envelope.writer();
    w.i32(call.envelope.throttle);
    w.array(topics.into_iter(), |w, new| {
        let configs: BTreeMap<String, String> = new
            .configs
            .iter()
            .filter_map(|(name, value)| Some((name.clone(), value.clone()?)))
            .collect();
        let count = new.count(cluster.limits.partitions);
        let result = count
            .clone()
            .and_then(|count| cluster.create_topic(&new.name, count, configs.clone(), only_check, call.now));
        let (error, message) = outcome(result);
        w.string(&new.name);
        if version >= 7 {
            w.uuid(
                cluster
                    .topics
                    .get(&new.name)
                    .filter(|_| error == code::NONE)
                    .map_or(0, |topic| topic.id),
            );
        }
        w.i16(error);
        w.maybe_string(message.as_deref());
        if version >= 5 {
            let created = error == code::NONE;
            w.i32(if created { count.unwrap_or(-1) } else { -1 });
            w.i16(if created { 1 } else { -1 });
            let all = if created { CONFIGS } else { &[] };
            w.array(all.iter(), |w, config| {
                let (value, source) = config::value(config, &configs, &cluster.limits.configs);
                w.string(config.name);
                w.maybe_string(Some(value));
                w.bool(false);
                w.i8(super::describe_configs::number(source));
                w.bool(false);
                w.tags();
            });
        }
        w.tags();
    });
    w.tags();
    Ok(Answer::Send(w))
}
