//! Fetch (1), versions 4 to 12.
//!
//! Deviations: sessions are refused (each request is a full one, which the protocol allows for); a follower's fields and
//! the last fetched epoch are not looked at, as nothing is ever cut off a log's end.

use super::{Api, check_epoch};
use crate::sandbox::call::{Answer, Call, Envelope, Now};
use crate::sandbox::cluster::{Cluster, WaitingFetch};
use crate::sandbox::code;
use crate::sandbox::faults::Kind;
use crate::sandbox::log::Log;
use crate::sandbox::wire::{Read, Writer};

pub(crate) const API: Api = Api {
    key: 1,
    name: "Fetch",
    versions: (4, 12),
    flexible: 12,
    answer,
};

/// The most bytes of records in an answer, whatever the client asks for.
const MAX_BYTES: usize = 64 << 20;

#[derive(Debug)]
struct Part {
    partition: i32,
    epoch: i32,
    offset: i64,
    max_bytes: usize,
    /// A fault has hit it.
    fault: bool,
}

/// A Fetch request.
#[derive(Debug)]
pub(crate) struct Request {
    min_bytes: usize,
    max_bytes: usize,
    committed: bool,
    session: i32,
    topics: Vec<(String, Vec<Part>)>,
}

fn answer(cluster: &mut Cluster, call: &mut Call) -> Read<Answer> {
    let version = call.version();
    let r = &mut call.reader;
    let _replica = r.i32()?;
    let max_wait = u64::try_from(r.i32()?).unwrap_or(0);
    let min_bytes = usize::try_from(r.i32()?).unwrap_or(0);
    let max_bytes = usize::try_from(r.i32()?).unwrap_or(0);
    let committed = r.i8()? == 1;
    let (session, _epoch) = if version >= 7 {
        (r.i32()?, r.i32()?)
    } else {
        (0, 0)
    };
    let topics = r.array(|r| {
        let topic = r.string()?;
        let parts = r.array(|r| {
            let partition = r.i32()?;
            let epoch = if version >= 9 { r.i32()? } else { -1 };
            let offset = r.i64()?;
            if version >= 12 {
                r.i32()?;
            }
            if version >= 5 {
                r.i64()?;
            }
            let max_bytes = usize::try_from(r.i32()?).unwrap_or(0);
            r.tags()?;
            Ok(Part {
                partition,
                epoch,
                offset,
                max_bytes,
                fault: false,
            })
        })?;
        r.tags()?;
        Ok((topic, parts))
    })?;
    let mut request = Request {
        min_bytes,
        max_bytes: max_bytes.min(MAX_BYTES),
        committed,
        session,
        topics,
    };
    for (topic, parts) in &mut request.topics {
        for part in parts {
            let hit = cluster
                .faults
                .partition(&[Kind::LeaderMove], topic, part.partition, call.now.mono);
            part.fault = hit.is_some();
        }
    }
    if max_wait == 0 || request.topics.is_empty() || is_enough(cluster, &request) {
        return Ok(Answer::Send(write(cluster, &call.envelope, &request, call.now)));
    }
    cluster.waiting.push(WaitingFetch {
        envelope: call.envelope,
        request,
        until: call.now.mono.saturating_add(max_wait),
    });
    Ok(Answer::Waits)
}

fn find<'a>(cluster: &'a Cluster, topic: &str, part: &Part) -> Result<&'a Log, i16> {
    let index = usize::try_from(part.partition).map_err(|_| code::UNKNOWN_TOPIC_OR_PARTITION)?;
    let topic = cluster
        .topics
        .get(topic)
        .ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
    let log = topic
        .partitions
        .get(index)
        .ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
    if part.fault {
        return Err(code::NOT_LEADER_OR_FOLLOWER);
    }
    check_epoch(log, part.epoch)?;
    if (log.start()..=log.end()).contains(&part.offset) {
        Ok(log)
    } else {
        Err(code::OFFSET_OUT_OF_RANGE)
    }
}

/// Whether a request is to be answered now: there are as many bytes as it wants, or an error to tell.
pub(crate) fn is_enough(cluster: &Cluster, request: &Request) -> bool {
    let mut bytes = 0;
    for (topic, parts) in &request.topics {
        for part in parts {
            match find(cluster, topic, part) {
                Ok(log) => bytes += log.available(part.offset, request.min_bytes.max(1), request.committed),
                Err(_) => return true,
            }
            if bytes >= request.min_bytes {
                return true;
            }
        }
    }
    request.session != 0
}

/// The answer as things are now.
pub(crate) fn write(cluster: &Cluster, envelope: &Envelope, request: &Request, _now: Now) -> Writer {
    let version = envelope.version;
    let mut left = request.max_bytes;
    let mut nothing_yet = true;
    let mut w = envelope.writer();
    w.i32(envelope.throttle);
    if version >= 7 {
        // There are no sessions: a client that thinks it has one is told so.
        w.i16(if request.session == 0 {
            code::NONE
        } else {
            code::FETCH_SESSION_ID_NOT_FOUND
        });
        w.i32(0);
    }
    let topics = if request.session == 0 {
        &request.topics[..]
    } else {
        &[]
    };
    w.array(topics.iter(), |w, (topic, parts)| {
        w.string(topic);
        w.array(parts.iter(), |w, part| {
            w.i32(part.partition);
            let found = find(cluster, topic, part);
            let (error, ends) = match &found {
                Ok(log) => (code::NONE, (log.end(), log.stable_end(), log.start())),
                Err(error) => (*error, (-1, -1, -1)),
            };
            w.i16(error);
            w.i64(ends.0);
            w.i64(ends.1);
            if version >= 5 {
                w.i64(ends.2);
            }
            let batches = match &found {
                Ok(log) => log.read(
                    part.offset,
                    part.max_bytes.min(left),
                    nothing_yet,
                    request.committed,
                ),
                Err(_) => Vec::new(),
            };
            let bytes: usize = batches.iter().map(bytes::Bytes::len).sum();
            left = left.saturating_sub(bytes);
            nothing_yet &= batches.is_empty();
            match found.ok().filter(|_| request.committed) {
                Some(log) => {
                    let to = batches.last().map_or(part.offset, |last| {
                        crate::record::Batches::new(last)
                            .next()
                            .map_or(part.offset, |batch| batch.header.next_offset())
                    });
                    w.array(log.aborted(part.offset, to).iter(), |w, aborted| {
                        w.i64(aborted.producer_id);
                        w.i64(aborted.first);
                        w.tags();
                    });
                }
                None => w.null_array(),
            }
            if version >= 11 {
                w.i32(-1);
            }
            w.records(&batches);
            w.tags();
        });
        w.tags();
    });
    w.tags();
    w
}
