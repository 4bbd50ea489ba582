//! LeaveGroup (13), versions 0 to 5.

use super::Api;
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::wire::Read;

pub(crate) const API: Api = Api {
    key: 13,
    name: "LeaveGroup",
    versions: (0, 5),
    flexible: 4,
    answer,
};

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let r = &mut call.reader;
    let group = r.string()?;
    let members = if version >= 3 {
        r.array(|r| {
            let member = (r.string()?, r.maybe_string()?);
            if version >= 5 {
                r.maybe_string()?;
            }
            r.tags()?;
            Ok(member)
        })?
    } else {
        vec![(r.string()?, None)]
    };
    let mut due = Vec::new();
    let outcomes: Vec<_> = members
        .into_iter()
        .map(|(member, instance)| {
            let error = match cluster.groups.get_mut(&group) {
                Some(group) => group.leave(&member, instance.as_deref(), call.now.mono, &mut due),
                None => code::UNKNOWN_MEMBER_ID,
            };
            (member, instance, error)
        })
        .collect();
    cluster.pay(due, call.now);
    let mut w = call.envelope.writer();
    if version >= 1 {
        w.i32(call.envelope.throttle);
    }
    if version >= 3 {
        w.i16(code::NONE);
        w.array(outcomes.iter(), |w, (member, instance, error)| {
            w.string(member);
            w.maybe_string(instance.as_deref());
            w.i16(*error);
            w.tags();
        });
    } else {
        w.i16(outcomes.first().map_or(code::NONE, |(.., error)| *error));
    }
    w.tags();
    Ok(Answer::Send(w))
}
