//! IncrementalAlterConfigs (44), versions 0 and 1: of topics.

use std::collections::BTreeMap;

use super::Api;
use super::alter_configs::{topics_only, write};
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::config::{self, Kind};
use crate::sandbox::topics::Refusal;
use crate::sandbox::wire::Read;

pub(crate) const API: Api = Api {
    key: 44,
    name: "IncrementalAlterConfigs",
    versions: (0, 1),
    flexible: 1,
    answer,
};

/// Kafka's numbers for what to do.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

struct Change {
    name: String,
    what: i8,
    value: Option<String>,
}

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let r = &mut call.reader;
    let resources = r.array(|r| {
        let kind = r.i8()?;
        let name = r.string()?;
        let changes = r.array(|r| {
            let (name, what, value) = (r.string()?, r.i8()?, r.maybe_string()?);
            r.tags()?;
            Ok(Change { name, what, value })
        })?;
        r.tags()?;
        Ok((kind, name, changes))
    })?;
    let only_check = r.bool()?;
    let mut w = call.envelope.writer();
    w.i32(call.envelope.throttle);
    w.array(resources.into_iter(), |w, (kind, name, changes)| {
        let mut configs = cluster
            .topics
            .get(&name)
            .map(|topic| topic.configs.clone())
            .unwrap_or_default();
        let result = topics_only(kind)
            .and_then(|()| {
                changes
                    .into_iter()
                    .try_for_each(|change| apply(&mut configs, change))
            })
            .and_then(|()| cluster.configure(&name, configs, only_check));
        write(w, (kind, &name), result);
    });
    w.tags();
    Ok(Answer::Send(w))
}

fn apply(configs: &mut BTreeMap<String, String>, change: Change) -> Result<(), Refusal> {
    let Change { name, what, value } = change;
    let Some(known) = config::find(&name) else {
        return Err((code::INVALID_CONFIG, format!("Unknown topic config name: {name}")));
    };
    match (what, value) {
        (DELETE, _) => {
            configs.remove(&name);
        }
        (SET, Some(value)) => {
            configs.insert(name, value);
        }
        (APPEND | SUBTRACT, Some(value)) if matches!(known.kind, Kind::List(_)) => {
            let held = configs
                .get(&name)
                .map_or(known.default, String::as_str)
                .to_owned();
            let named = |part: &&str| value.split(',').any(|one| one == *part);
            let mut parts: Vec<&str> = held
                .split(',')
                .filter(|part| !part.is_empty() && !named(part))
                .collect();
            if what == APPEND {
                parts.extend(value.split(','));
            }
            configs.insert(name, parts.join(","));
        }
        (SET, None) => return Err((code::INVALID_REQUEST, format!("{name} has no value to be set to"))),
        _ => {
            let why = format!("{name} is no list: a value cannot be appended to it or taken from it");
            return Err((code::INVALID_CONFIG, why));
        }
    }
    Ok(())
}
