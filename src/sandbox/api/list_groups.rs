//! ListGroups (16), versions 0 to 5. All groups are of the type "Classic".

use super::Api;
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::wire::{Read, Reader};

pub(crate) const API: Api = Api {
    key: 16,
    name: "ListGroups",
    versions: (0, 5),
    flexible: 3,
    answer,
};

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let r = &mut call.reader;
    let states = if version >= 4 {
        r.array(Reader::string)?
    } else {
        Vec::new()
    };
    let types = if version >= 5 {
        r.array(Reader::string)?
    } else {
        Vec::new()
    };
    let one_of = |names: &[String], name: &str| {
        names.is_empty() || names.iter().any(|one| one.eq_ignore_ascii_case(name))
    };
    let groups: Vec<_> = cluster
        .groups
        .iter()
        .filter(|(_, group)| one_of(&states, group.state.name()) && one_of(&types, "classic"))
        .collect();
    let mut w = call.envelope.writer();
    if version >= 1 {
        w.i32(call.envelope.throttle);
    }
    w.i16(code::NONE);
    w.array(groups.iter(), |w, (name, group)| {
        w.string(name);
        w.string(group.protocol_type.as_deref().unwrap_or_default());
        if version >= 4 {
            w.string(group.state.name());
        }
        if version >= 5 {
            w.string("Classic");
        }
        w.tags();
    });
    w.tags();
    Ok(Answer::Send(w))
}
