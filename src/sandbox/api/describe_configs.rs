//! DescribeConfigs (32), versions 1 to 4: of topics all of Kafka's, also those that mean nothing here; of the broker the few that
//! mean something. No documentation of them.

use std::collections::BTreeMap;

use super::Api;
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::{Cluster, NODE};
use crate::sandbox::code;
use crate::sandbox::config::{self, CONFIGS, Source, find};
use crate::sandbox::wire::{Read, Reader, Writer};

pub(crate) const API: Api = Api {
    key: 32,
    name: "DescribeConfigs",
    versions: (1, 4),
    flexible: 4,
    answer,
};

/// Kafka's numbers for what has configurations.
pub(super) const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// Kafka's numbers for where a value comes from.
const OWN: i8 = 1;
const BROKER_FILE: i8 = 4;
const DEFAULT: i8 = 5;

/// Kafka's number for where a topic's value comes from.
pub(super) fn number(source: Source) -> i8 {
    match source {
        Source::Topic => OWN,
        Source::Broker => BROKER_FILE,
        Source::Default => DEFAULT,
    }
}

/// A configuration to be told.
struct Told {
    name: &'static str,
    value: String,
    read_only: bool,
    source: i8,
    kind: i8,
    /// The broker's for topics that have none of their own.
    broker: Option<String>,
    default: Option<&'static str>,
}

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let r = &mut call.reader;
    let resources = r.array(|r| {
        let resource = (r.i8()?, r.string()?, r.maybe_array(Reader::string)?);
        r.tags()?;
        Ok(resource)
    })?;
    let synonyms = r.bool()?;
    let mut w = call.envelope.writer();
    w.i32(call.envelope.throttle);
    w.array(resources.iter(), |w, (kind, name, keys)| {
        let (error, message, mut told) = match *kind {
            TOPIC => topic(cluster, name),
            BROKER if *name == NODE.to_string() || name.is_empty() => (code::NONE, None, broker(cluster)),
            BROKER => (
                code::INVALID_REQUEST,
                Some(format!("The only broker is {NODE}.")),
                Vec::new(),
            ),
            _ => (
                code::INVALID_REQUEST,
                Some("The sandbox has configurations of topics and of its broker only.".to_owned()),
                Vec::new(),
            ),
        };
        told.retain(|told| {
            keys.as_ref()
                .is_none_or(|keys| keys.iter().any(|key| key == told.name))
        });
        w.i16(error);
        w.maybe_string(message.as_deref());
        w.i8(*kind);
        w.string(name);
        w.array(told.iter(), |w, told| write(w, told, version, synonyms));
        w.tags();
    });
    w.tags();
    Ok(Answer::Send(w))
}

fn write(w: &mut Writer, told: &Told, version: i16, synonyms: bool) {
    w.string(told.name);
    w.maybe_string(Some(&told.value));
    w.bool(told.read_only);
    w.i8(told.source);
    w.bool(false);
    let mut known = Vec::new();
    if synonyms {
        if told.source != DEFAULT {
            known.push((told.value.as_str(), told.source));
        }
        if told.source == OWN {
            known.extend(told.broker.as_deref().map(|value| (value, BROKER_FILE)));
        }
        known.extend(told.default.map(|value| (value, DEFAULT)));
    }
    w.array(known.iter(), |w, (value, source)| {
        w.string(told.name);
        w.maybe_string(Some(value));
        w.i8(*source);
        w.tags();
    });
    if version >= 3 {
        w.i8(told.kind);
        w.maybe_string(None);
    }
    w.tags();
}

fn topic(cluster: &Cluster, name: &str) -> (i16, Option<String>, Vec<Told>) {
    let Some(topic) = cluster.topics.get(name) else {
        let why = format!("The topic '{name}' does not exist.");
        return (code::UNKNOWN_TOPIC_OR_PARTITION, Some(why), Vec::new());
    };
    let told = CONFIGS.iter().map(|config| {
        let (value, source) = config::value(config, &topic.configs, &cluster.limits.configs);
        Told {
            name: config.name,
            value: value.to_owned(),
            read_only: false,
            source: number(source),
            broker: cluster.limits.configs.get(config.name).cloned(),
            kind: config.kind.number(),
            default: Some(config.default),
        }
    });
    (code::NONE, None, told.collect())
}

fn broker(cluster: &Cluster) -> Vec<Told> {
    let none = BTreeMap::new();
    let default = |name: &str| {
        find(name)
            .map_or("", |config| {
                config::value(config, &none, &cluster.limits.configs).0
            })
            .to_owned()
    };
    let told = [
        (
            "auto.create.topics.enable",
            cluster.limits.auto_create.to_string(),
            1,
        ),
        ("broker.id", NODE.to_string(), 3),
        ("default.replication.factor", "1".to_owned(), 3),
        ("group.initial.rebalance.delay.ms", "0".to_owned(), 3),
        ("log.cleanup.policy", default("cleanup.policy"), 7),
        ("log.retention.bytes", default("retention.bytes"), 5),
        ("log.retention.ms", default("retention.ms"), 5),
        ("message.max.bytes", default("max.message.bytes"), 3),
        ("min.insync.replicas", default("min.insync.replicas"), 3),
        ("node.id", NODE.to_string(), 3),
        ("num.partitions", cluster.limits.partitions.to_string(), 3),
    ];
    let told = told.into_iter().map(|(name, value, kind)| Told {
        name,
        value,
        read_only: true,
        source: BROKER_FILE,
        kind,
        broker: None,
        default: None,
    });
    told.collect()
}
