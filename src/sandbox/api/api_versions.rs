//! ApiVersions (18), versions 0 to 3: what is in the table, and nothing else. A later version is answered as version 0 with
//! UNSUPPORTED_VERSION and the table, as Kafka does.

use super::{APIS, Api};
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::wire::{Read, Writer};

pub(crate) const API: Api = Api {
    key: super::API_VERSIONS,
    name: "ApiVersions",
    versions: (0, 3),
    flexible: 3,
    answer,
};

fn table(w: &mut Writer) {
    w.array(APIS.iter(), |w, api| {
        w.i16(api.key);
        w.i16(api.versions.0);
        w.i16(api.versions.1);
        w.tags();
    });
}

fn answer(_: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let mut w = call.envelope.writer();
    w.i16(code::NONE);
    table(&mut w);
    if call.version() >= 1 {
        w.i32(call.envelope.throttle);
    }
    w.tags();
    Ok(Answer::Send(w))
}

/// The answer to a version that there is not.
pub(crate) fn unsupported(correlation: i32) -> Writer {
    let mut w = Writer::new(false);
    w.i32(correlation);
    w.i16(code::UNSUPPORTED_VERSION);
    table(&mut w);
    w
}
