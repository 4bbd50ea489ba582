//! DeleteGroups (42), versions 0 to 2.

use super::Api;
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::keep::Keep;
use crate::sandbox::wire::{Read, Reader};

pub(crate) const API: Api = Api {
    key: 42,
    name: "DeleteGroups",
    versions: (0, 2),
    flexible: 2,
    answer,
};

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let names = call.reader.array(Reader::string)?;
    let mut w = call.envelope.writer();
    w.i32(call.envelope.throttle);
    w.array(names.iter(), |w, name| {
        w.string(name);
        w.i16(delete(cluster, name));
        w.tags();
    });
    w.tags();
    Ok(Answer::Send(w))
}

fn delete(cluster: &mut Cluster, name: &str) -> i16 {
    match cluster.groups.get(name) {
        None => return code::GROUP_ID_NOT_FOUND,
        Some(group) if !group.members.is_empty() => return code::NON_EMPTY_GROUP,
        Some(_) => {}
    }
    let gone = cluster.groups.remove(name);
    for (topic, partition) in gone.into_iter().flat_map(|group| group.offsets.into_keys()) {
        let (group, committed) = (name.to_owned(), None);
        cluster.keep(Keep::Offset {
            group,
            topic,
            partition,
            committed,
        });
    }
    code::NONE
}
