//! DescribeCluster (60), versions 0 and 1.

use super::{Api, NOT_ASKED};
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::{Cluster, NODE};
use crate::sandbox::code;
use crate::sandbox::wire::Read;

pub(crate) const API: Api = Api {
    key: 60,
    name: "DescribeCluster",
    versions: (0, 1),
    flexible: 0,
    answer,
};

/// Kafka's number for brokers, as endpoints.
const BROKERS: i8 = 1;

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let _operations = call.reader.bool()?;
    let endpoint = if version >= 1 { call.reader.i8()? } else { BROKERS };
    let (host, port) = cluster.address(&call.client);
    let error = if endpoint == BROKERS {
        code::NONE
    } else {
        code::UNSUPPORTED_ENDPOINT_TYPE
    };
    let mut w = call.envelope.writer();
    w.i32(call.envelope.throttle);
    w.i16(error);
    w.maybe_string(None);
    if version >= 1 {
        w.i8(BROKERS);
    }
    w.string(&cluster.id);
    w.i32(NODE);
    w.array([NODE].iter(), |w, node| {
        w.i32(*node);
        w.string(&host);
        w.i32(i32::from(port));
        w.maybe_string(None);
        w.tags();
    });
    w.i32(NOT_ASKED);
    w.tags();
    Ok(Answer::Send(w))
}
