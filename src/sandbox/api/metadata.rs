//! Metadata (3), versions 0 to 12. One broker, which leads everything; its address is the one that the client came by,
//! unless another is advertised. A topic that is created because it was asked for is there in the same answer.

use super::{Api, NOT_ASKED};
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::{Cluster, NODE};
use crate::sandbox::code;
use crate::sandbox::topics::check_name;
use crate::sandbox::wire::Read;

pub(crate) const API: Api = Api {
    key: 3,
    name: "Metadata",
    versions: (0, 12),
    flexible: 9,
    answer,
};

/// What is told of a topic: an error code, and names as far as they are known.
struct Told {
    error: i16,
    name: Option<String>,
    id: u128,
}

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let r = &mut call.reader;
    let asked = r.maybe_array(|r| {
        let id = if version >= 10 { r.uuid()? } else { 0 };
        let name = if version >= 10 {
            r.maybe_string()?
        } else {
            Some(r.string()?)
        };
        r.tags()?;
        Ok((id, name))
    })?;
    let may_create = version < 4 || r.bool()?;
    let told: Vec<Told> = match asked {
        Some(asked) if !(asked.is_empty() && version == 0) => asked
            .into_iter()
            .map(|(id, name)| tell(cluster, call, id, name, may_create))
            .collect(),
        _ => {
            let all = cluster.topics.iter().map(|(name, topic)| Told {
                error: code::NONE,
                name: Some(name.clone()),
                id: topic.id,
            });
            all.collect()
        }
    };
    let (host, port) = cluster.address(&call.client);
    let mut w = call.envelope.writer();
    if version >= 3 {
        w.i32(call.envelope.throttle);
    }
    w.array([NODE].iter(), |w, node| {
        w.i32(*node);
        w.string(&host);
        w.i32(i32::from(port));
        if version >= 1 {
            w.maybe_string(None);
        }
        w.tags();
    });
    if version >= 2 {
        w.maybe_string(Some(&cluster.id));
    }
    if version >= 1 {
        w.i32(NODE);
    }
    w.array(told.iter(), |w, told| {
        w.i16(told.error);
        let name = told.name.as_deref();
        w.maybe_string(if version >= 12 {
            name
        } else {
            Some(name.unwrap_or_default())
        });
        if version >= 10 {
            w.uuid(told.id);
        }
        if version >= 1 {
            w.bool(false);
        }
        let topic = name
            .filter(|_| told.error == code::NONE)
            .and_then(|name| cluster.topics.get(name));
        let epochs: Vec<i32> = topic
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|log| log.epoch()))
            .collect();
        w.array(
            (0i32..).zip(&epochs).collect::<Vec<_>>().iter(),
            |w, (partition, epoch)| {
                w.i16(code::NONE);
                w.i32(*partition);
                w.i32(NODE);
                if version >= 7 {
                    w.i32(**epoch);
                }
                w.array([NODE].iter(), |w, node| w.i32(*node));
                w.array([NODE].iter(), |w, node| w.i32(*node));
                if version >= 5 {
                    w.array([0i32; 0].iter(), |w, node| w.i32(*node));
                }
                w.tags();
            },
        );
        if version >= 8 {
            w.i32(NOT_ASKED);
        }
        w.tags();
    });
    if (8..=10).contains(&version) {
        w.i32(NOT_ASKED);
    }
    w.tags();
    Ok(Answer::Send(w))
}

fn tell(cluster: &mut Cluster, call: &Call, id: u128, name: Option<String>, may_create: bool) -> Told {
    let Some(name) = name else {
        let found = cluster.topics.iter().find(|(_, topic)| topic.id == id);
        let name = found.map(|(name, _)| name.clone());
        let error = if name.is_some() {
            code::NONE
        } else {
            code::UNKNOWN_TOPIC_ID
        };
        return Told { error, name, id };
    };
    let error = if cluster.topics.contains_key(&name) {
        code::NONE
    } else if let Err((error, _)) = check_name(&name) {
        error
    } else if may_create && cluster.limits.auto_create {
        let partitions = cluster.limits.partitions;
        let created = cluster.create_topic(
            &name,
            partitions,
            std::collections::BTreeMap::new(),
            false,
            call.now,
        );
        created.map_or_else(|(error, _)| error, |()| code::NONE)
    } else {
        code::UNKNOWN_TOPIC_OR_PARTITION
    };
    let id = cluster.topics.get(&name).map_or(0, |topic| topic.id);
    Told {
        error,
        name: Some(name),
        id,
    }
}
