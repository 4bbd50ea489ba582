//! Heartbeat (12), versions 0 to 4.

use super::Api;
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::wire::Read;

pub(crate) const API: Api = Api {
    key: 12,
    name: "Heartbeat",
    versions: (0, 4),
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
    let error = match cluster.groups.get_mut(&group) {
        Some(group) => group.heartbeat(&member, instance.as_deref(), generation, call.now.mono),
        None => code::UNKNOWN_MEMBER_ID,
    };
    let mut w = call.envelope.writer();
    if version >= 1 {
        w.i32(call.envelope.throttle);
    }
    w.i16(error);
    w.tags();
    Ok(Answer::Send(w))
}
