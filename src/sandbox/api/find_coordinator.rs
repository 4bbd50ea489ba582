//! FindCoordinator (10), versions 0 to 4: the one broker is every group's and every transaction's.

use super::Api;
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::{Cluster, NODE};
use crate::sandbox::code;
use crate::sandbox::wire::{Read, Reader};

pub(crate) const API: Api = Api {
    key: 10,
    name: "FindCoordinator",
    versions: (0, 4),
    flexible: 3,
    answer,
};

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let r = &mut call.reader;
    let mut keys = if version < 4 {
        vec![r.string()?]
    } else {
        Vec::new()
    };
    let kind = if version >= 1 { r.i8()? } else { 0 };
    if version >= 4 {
        keys = r.array(Reader::string)?;
    }
    // Groups and transactions; of others there is none.
    let error = if (0..=1).contains(&kind) {
        code::NONE
    } else {
        code::INVALID_REQUEST
    };
    let (host, port) = cluster.address(&call.client);
    let mut w = call.envelope.writer();
    if version >= 1 {
        w.i32(call.envelope.throttle);
    }
    if version >= 4 {
        w.array(keys.iter(), |w, key| {
            w.string(key);
            w.i32(NODE);
            w.string(&host);
            w.i32(i32::from(port));
            w.i16(error);
            w.maybe_string(None);
            w.tags();
        });
    } else {
        w.i16(error);
        if version >= 1 {
            w.maybe_string(None);
        }
        w.i32(NODE);
        w.string(&host);
        w.i32(i32::from(port));
    }
    w.tags();
    Ok(Answer::Send(w))
}
