//! JoinGroup (11), versions 0 to 9. What a group makes of it: [`crate::sandbox::group`].

use super::Api;
use crate::sandbox::call::{Answer, Call, Envelope};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::group::{Due, Join, Joined};
use crate::sandbox::wire::{Read, Writer};

pub(crate) const API: Api = Api {
    key: 11,
    name: "JoinGroup",
    versions: (0, 9),
    flexible: 6,
    answer,
};

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let r = &mut call.reader;
    let group = r.string()?;
    let session = r.i32()?;
    let rebalance = if version >= 1 { r.i32()? } else { -1 };
    let member = r.string()?;
    let instance = if version >= 5 { r.maybe_string()? } else { None };
    let protocol_type = r.string()?;
    let protocols = r.array(|r| {
        let protocol = (r.string()?, r.bytes()?);
        r.tags()?;
        Ok(protocol)
    })?;
    if group.is_empty() {
        let refused = Joined {
            error: code::INVALID_GROUP_ID,
            generation: -1,
            member,
            ..Joined::default()
        };
        return Ok(Answer::Send(write(&call.envelope, &refused)));
    }
    let fresh = cluster.member_name(instance.as_deref().unwrap_or(&call.client_id));
    let join = Join {
        member,
        instance,
        client_id: call.client_id.clone(),
        host: call.client.host.clone(),
        session,
        rebalance,
        protocol_type,
        protocols,
        twice: version >= 4,
        fresh,
    };
    let mut due: Vec<Due> = Vec::new();
    cluster
        .groups
        .entry(group)
        .or_default()
        .join(join, call.envelope, call.now.mono, &mut due);
    cluster.pay(due, call.now);
    Ok(Answer::Waits)
}

/// The answer, now or later.
pub(crate) fn write(envelope: &Envelope, joined: &Joined) -> Writer {
    let version = envelope.version;
    let mut w = envelope.writer();
    if version >= 2 {
        w.i32(envelope.throttle);
    }
    w.i16(joined.error);
    w.i32(joined.generation);
    if version >= 7 {
        w.maybe_string(joined.protocol_type.as_deref());
    }
    let protocol = joined.protocol.as_deref();
    w.maybe_string(if version >= 7 {
        protocol
    } else {
        Some(protocol.unwrap_or_default())
    });
    w.string(&joined.leader);
    if version >= 9 {
        w.bool(joined.skip);
    }
    w.string(&joined.member);
    w.array(joined.members.iter(), |w, (id, instance, metadata)| {
        w.string(id);
        if version >= 5 {
            w.maybe_string(instance.as_deref());
        }
        w.bytes(metadata);
        w.tags();
    });
    w.tags();
    w
}
