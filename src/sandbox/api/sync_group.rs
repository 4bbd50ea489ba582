//! SyncGroup (14), versions 0 to 5. What a group makes of it: [`crate::sandbox::group`].

use super::Api;
use crate::sandbox::call::{Answer, Call, Envelope};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::group::Synced;
use crate::sandbox::wire::{Read, Writer};

pub(crate) const API: Api = Api {
    key: 14,
    name: "SyncGroup",
    versions: (0, 5),
    flexible: 4,
    answer,
};

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let r = &mut call.reader;
    let group = r.string()?;
    let generation = r.i32()?;
    let member = r.string()?;
    let instance = if version >= 3 { r.maybe_string()? } else { None };
    let (kind, protocol) = if version >= 5 {
        (r.maybe_string()?, r.maybe_string()?)
    } else {
        (None, None)
    };
    let assignments = r.array(|r| {
        let assignment = (r.string()?, r.bytes()?);
        r.tags()?;
        Ok(assignment)
    })?;
    let refused = |error| Synced {
        error,
        ..Synced::default()
    };
    let Some(group) = cluster.groups.get_mut(&group) else {
        return Ok(Answer::Send(write(
            &call.envelope,
            &refused(code::UNKNOWN_MEMBER_ID),
        )));
    };
    let other = |asked: &Option<String>, held: &Option<String>| asked.is_some() && asked != held;
    if other(&kind, &group.protocol_type) || other(&protocol, &group.protocol) {
        return Ok(Answer::Send(write(
            &call.envelope,
            &refused(code::INCONSISTENT_GROUP_PROTOCOL),
        )));
    }
    let mut due = Vec::new();
    let who = (member.as_str(), instance.as_deref(), generation);
    group.sync(who, assignments, call.envelope, call.now.mono, &mut due);
    cluster.pay(due, call.now);
    Ok(Answer::Waits)
}

/// The answer, now or later.
pub(crate) fn write(envelope: &Envelope, synced: &Synced) -> Writer {
    let version = envelope.version;
    let mut w = envelope.writer();
    if version >= 1 {
        w.i32(envelope.throttle);
    }
    w.i16(synced.error);
    if version >= 5 {
        w.maybe_string(synced.protocol_type.as_deref());
        w.maybe_string(synced.protocol.as_deref());
    }
    w.bytes(&synced.assignment);
    w.tags();
    w
}
