//! AlterConfigs (33), versions 0 to 2: of topics. What is not named goes back to its default.

use std::collections::BTreeMap;

use super::describe_configs::TOPIC;
use super::{Api, outcome};
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::topics::Refusal;
use crate::sandbox::wire::{Read, Writer};

pub(crate) const API: Api = Api {
    key: 33,
    name: "AlterConfigs",
    versions: (0, 2),
    flexible: 2,
    answer,
};

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let r = &mut call.reader;
    let resources = r.array(|r| {
        let kind = r.i8()?;
        let name = r.string()?;
        let configs = r.array(|r| {
            let config = (r.string()?, r.maybe_string()?);
            r.tags()?;
            Ok(config)
        })?;
        r.tags()?;
        Ok((kind, name, configs))
    })?;
    let only_check = r.bool()?;
    let mut w = call.envelope.writer();
    w.i32(call.envelope.throttle);
    w.array(resources.into_iter(), |w, (kind, name, configs)| {
        let configs: BTreeMap<String, String> = configs
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        let result = topics_only(kind).and_then(|()| cluster.configure(&name, configs, only_check));
        write(w, (kind, &name), result);
    });
    w.tags();
    Ok(Answer::Send(w))
}

/// The broker's configurations are the command's flags.
pub(super) fn topics_only(kind: i8) -> Result<(), Refusal> {
    if kind == TOPIC {
        return Ok(());
    }
    Err((
        code::INVALID_REQUEST,
        "Only topics' configurations can be changed in the sandbox.".to_owned(),
    ))
}

/// The outcome for one resource.
pub(super) fn write(w: &mut Writer, (kind, name): (i8, &str), result: Result<(), Refusal>) {
    let (error, message) = outcome(result);
    w.i16(error);
    w.maybe_string(message.as_deref());
    w.i8(kind);
    w.string(name);
    w.tags();
}
