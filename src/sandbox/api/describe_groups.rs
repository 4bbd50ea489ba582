//! DescribeGroups (15), versions 0 to 5. A group that is not there is "Dead", as Kafka says up to version 5.

use super::{Api, NOT_ASKED};
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::wire::{Read, Reader};

pub(crate) const API: Api = Api {
    key: 15,
    name: "DescribeGroups",
    versions: (0, 5),
    flexible: 5,
    answer,
};

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let names = call.reader.array(Reader::string)?;
    let mut w = call.envelope.writer();
    if version >= 1 {
        w.i32(call.envelope.throttle);
    }
    w.array(names.iter(), |w, name| {
        let group = cluster.groups.get(name);
        let protocol = group.and_then(|group| group.protocol.clone()).unwrap_or_default();
        w.i16(code::NONE);
        w.string(name);
        w.string(group.map_or("Dead", |group| group.state.name()));
        w.string(
            group
                .and_then(|group| group.protocol_type.as_deref())
                .unwrap_or_default(),
        );
        w.string(&protocol);
        let members: Vec<_> = group.iter().flat_map(|group| &group.members).collect();
        w.array(members.iter(), |w, (id, member)| {
            w.string(id);
            if version >= 4 {
                w.maybe_string(member.instance.as_deref());
            }
            w.string(&member.client_id);
            w.string(&format!("/{}", member.host));
            w.bytes(&member.metadata(&protocol));
            w.bytes(&member.assignment);
            w.tags();
        });
        if version >= 3 {
            w.i32(NOT_ASKED);
        }
        w.tags();
    });
    w.tags();
    Ok(Answer::Send(w))
}
