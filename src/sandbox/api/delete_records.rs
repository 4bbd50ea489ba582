//! DeleteRecords (21), versions 0 to 2.

use super::Api;
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::wire::Read;

pub(crate) const API: Api = Api {
    key: 21,
    name: "DeleteRecords",
    versions: (0, 2),
    flexible: 2,
    answer,
};

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let topics = call.reader.array(|r| {
        let topic = r.string()?;
        let partitions = r.array(|r| {
            let partition = (r.i32()?, r.i64()?);
            r.tags()?;
            Ok(partition)
        })?;
        r.tags()?;
        Ok((topic, partitions))
    })?;
    let mut w = call.envelope.writer();
    w.i32(call.envelope.throttle);
    w.array(topics.iter(), |w, (topic, partitions)| {
        w.string(topic);
        w.array(partitions.iter(), |w, (partition, offset)| {
            let deleted = cluster.delete_records(topic, *partition, *offset);
            w.i32(*partition);
            w.i64(deleted.unwrap_or(-1));
            w.i16(deleted.err().unwrap_or(code::NONE));
            w.tags();
        });
        w.tags();
    });
    w.tags();
    Ok(Answer::Send(w))
}
