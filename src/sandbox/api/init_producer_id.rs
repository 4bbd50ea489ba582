//! InitProducerId (22), versions 0 to 4.

use super::Api;
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::wire::Read;

pub(crate) const API: Api = Api {
    key: 22,
    name: "InitProducerId",
    versions: (0, 4),
    flexible: 2,
    answer,
};

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let r = &mut call.reader;
    let transactional = r.maybe_string()?;
    let timeout = r.i32()?;
    let known = if version >= 3 {
        (r.i64()?, r.i16()?)
    } else {
        (-1, -1)
    };
    let result = match transactional {
        None => Ok((cluster.new_producer(), 0)),
        Some(id) => cluster.init_transactions(&id, timeout, Some(known).filter(|(id, _)| *id >= 0), call.now),
    };
    let (id, epoch) = result.unwrap_or((-1, -1));
    let mut w = call.envelope.writer();
    w.i32(call.envelope.throttle);
    // Fencing has a code of its own from version 4 on.
    w.i16(match result {
        Ok(_) => code::NONE,
        Err(code::PRODUCER_FENCED) if version < 4 => code::INVALID_PRODUCER_EPOCH,
        Err(error) => error,
    });
    w.i64(id);
    w.i16(epoch);
    w.tags();
    Ok(Answer::Send(w))
}
