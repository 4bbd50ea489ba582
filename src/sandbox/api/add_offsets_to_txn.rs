//! AddOffsetsToTxn (25), versions 0 to 3.

use super::Api;
use super::add_partitions_to_txn::fenced;
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::wire::Read;

pub(crate) const API: Api = Api {
    key: 25,
    name: "AddOffsetsToTxn",
    versions: (0, 3),
    flexible: 3,
    answer,
};

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let r = &mut call.reader;
    let id = r.string()?;
    let producer = (r.i64()?, r.i16()?);
    let group = r.string()?;
    let result = cluster.add_to_transaction(&id, producer, &[], Some(&group), call.now);
    let mut w = call.envelope.writer();
    w.i32(call.envelope.throttle);
    w.i16(fenced(
        result.err().unwrap_or(code::NONE),
        call.envelope.version,
        2,
    ));
    w.tags();
    Ok(Answer::Send(w))
}
