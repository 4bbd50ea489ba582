//! CreatePartitions (37), versions 0 to 3. Assignments are not looked at: there is one broker.

use super::{Api, outcome};
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::wire::{Read, Reader};

pub(crate) const API: Api = Api {
    key: 37,
    name: "CreatePartitions",
    versions: (0, 3),
    flexible: 2,
    answer,
};

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let r = &mut call.reader;
    let topics = r.array(|r| {
        let topic = (r.string()?, r.i32()?);
        r.maybe_array(|r| {
            r.array(Reader::i32)?;
            r.tags()
        })?;
        r.tags()?;
        Ok(topic)
    })?;
    let _timeout = r.i32()?;
    let only_check = r.bool()?;
    let mut w = call.envelope.writer();
    w.i32(call.envelope.throttle);
    w.array(topics.iter(), |w, (topic, count)| {
        let (error, message) = outcome(cluster.grow_topic(topic, *count, only_check, call.now));
        w.string(topic);
        w.i16(error);
        w.maybe_string(message.as_deref());
        w.tags();
    });
    w.tags();
    Ok(Answer::Send(w))
}
