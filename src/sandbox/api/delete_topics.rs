//! DeleteTopics (20), versions 1 to 6.

use super::Api;
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::wire::Read;

pub(crate) const API: Api = Api {
    key: 20,
    name: "DeleteTopics",
    versions: (1, 6),
    flexible: 4,
    answer,
};

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let topics = call.reader.array(|r| {
        if version < 6 {
            return Ok((Some(r.string()?), 0));
        }
        let topic = (r.maybe_string()?, r.uuid()?);
        r.tags()?;
        Ok(topic)
    })?;
    let mut w = call.envelope.writer();
    w.i32(call.envelope.throttle);
    w.array(topics.into_iter(), |w, (name, id)| {
        let by_id = name.is_none();
        let found = |cluster: &Cluster| {
            let mut topics = cluster.topics.iter();
            topics
                .find(|(_, topic)| topic.id == id)
                .map(|(name, _)| name.clone())
        };
        let name = name.or_else(|| found(cluster));
        let id = name
            .as_ref()
            .and_then(|name| cluster.topics.get(name))
            .map_or(id, |topic| topic.id);
        let deleted = match &name {
            Some(name) => cluster.delete_topic(name),
            None => Err(if by_id {
                code::UNKNOWN_TOPIC_ID
            } else {
                code::UNKNOWN_TOPIC_OR_PARTITION
            }),
        };
        if version >= 6 {
            w.maybe_string(name.as_deref());
            w.uuid(id);
        } else {
            w.string(name.as_deref().unwrap_or_default());
        }
        w.i16(deleted.err().unwrap_or(code::NONE));
        if version >= 5 {
            w.maybe_string(None);
        }
        w.tags();
    });
    w.tags();
    Ok(Answer::Send(w))
}
