//! OffsetFetch (9), versions 1 to 8.

use super::Api;
use crate::sandbox::call::{Answer, Call};
use crate::sandbox::cluster::Cluster;
use crate::sandbox::code;
use crate::sandbox::wire::{Read, Reader, Writer};

pub(crate) const API: Api = Api {
    key: 9,
    name: "OffsetFetch",
    versions: (1, 8),
    flexible: 6,
    answer,
};

/// Topics and their partitions, or all that there is.
type Asked = Option<Vec<(String, Vec<i32>)>>;

fn topics(r: &mut Reader) -> Read<Asked> {
    r.maybe_array(|r| {
        let topic = (r.string()?, r.array(Reader::i32)?);
        r.tags()?;
        Ok(topic)
    })
}

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let r = &mut call.reader;
    let groups = if version >= 8 {
        r.array(|r| {
            let group = (r.string()?, topics(r)?);
            r.tags()?;
            Ok(group)
        })?
    } else {
        vec![(r.string()?, topics(r)?)]
    };
    let stable = version >= 7 && r.bool()?;
    let mut w = call.envelope.writer();
    if version >= 3 {
        w.i32(call.envelope.throttle);
    }
    if version >= 8 {
        w.array(groups.iter(), |w, (group, asked)| {
            w.string(group);
            write(cluster, w, version, (group, asked), stable);
            w.i16(code::NONE);
            w.tags();
        });
    } else if let Some((group, asked)) = groups.first() {
        write(cluster, &mut w, version, (group, asked), stable);
        if version >= 2 {
            w.i16(code::NONE);
        }
    }
    w.tags();
    Ok(Answer::Send(w))
}

fn write(cluster: &Cluster, w: &mut Writer, version: i16, (group, asked): (&str, &Asked), stable: bool) {
    let known = cluster.groups.get(group);
    let all = || {
        let mut topics: Vec<(String, Vec<i32>)> = Vec::new();
        for (topic, partition) in known.iter().flat_map(|group| group.offsets.keys()) {
            match topics.last_mut() {
                Some((last, partitions)) if last == topic => partitions.push(*partition),
                _ => topics.push((topic.clone(), vec![*partition])),
            }
        }
        topics
    };
    let asked = asked.clone().unwrap_or_else(all);
    w.array(asked.into_iter(), |w, (topic, partitions)| {
        w.string(&topic);
        w.array(partitions.into_iter(), |w, partition| {
            let key = (topic.clone(), partition);
            let pending = |offsets: &std::collections::BTreeMap<_, _>| offsets.contains_key(&key);
            let unstable = stable
                && cluster
                    .transactions
                    .values()
                    .any(|transaction| transaction.offsets.get(group).is_some_and(pending));
            let committed = known
                .and_then(|known| known.offsets.get(&key))
                .filter(|_| !unstable);
            w.i32(partition);
            w.i64(committed.map_or(-1, |committed| committed.offset));
            if version >= 5 {
                w.i32(committed.map_or(-1, |committed| committed.epoch));
            }
            w.maybe_string(Some(committed.map_or("", |committed| &committed.metadata)));
            w.i16(if unstable {
                code::UNSTABLE_OFFSET_COMMIT
            } else {
                code::NONE
            });
            w.tags();
        });
        w.tags();
    });
}
