//! The requests that the support code sends itself, written out by hand: metadata, to see that brokers and topics are
//! ready, ends of partitions, to see what has arrived, and the creation of topics, for which Java's tool would take two seconds each. Nothing of the client
//! under test is used.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const LIST_OFFSETS: i16 = 2;
const METADATA: i16 = 3;
const CREATE_TOPICS: i16 = 19;
const DELETE_TOPICS: i16 = 20;

/// What a broker knows of the cluster.
#[derive(Debug)]
pub(crate) struct Metadata {
    /// Node ids of the living brokers.
    pub(crate) brokers: Vec<i32>,
    /// Per partition of the topic asked for: its leader's node id (−1: none) and its in-sync replicas.
    pub(crate) partitions: Vec<(i32, Vec<i32>)>,
    /// The topic's error code, 0 if none was asked for.
    pub(crate) error: i16,
}

/// Asks the broker on 127.0.0.1:`port`, about `topic` if one is given.
pub(crate) fn metadata(port: u16, topic: Option<&str>) -> io::Result<Metadata> {
    let mut body = Vec::new();
    put_array(&mut body, topic.as_slice(), |out, topic| put_string(out, topic));
    body.push(0); // no topic is to be made by asking
    let answer = request(port, METADATA, 4, &body)?;
    let mut input = Input(&answer);
    input.int32()?; // throttle time
    let brokers = input.array(|input| {
        let id = input.int32()?;
        input.string()?; // host
        input.int32()?; // port
        input.string()?; // rack
        Ok(id)
    })?;
    input.string()?; // cluster id
    input.int32()?; // controller
    let mut topics = input.array(|input| {
        let error = input.int16()?;
        input.string()?; // name
        input.take(1)?; // is internal
        let mut partitions = input.array(|input| {
            input.int16()?; // error
            let index = input.int32()?;
            let leader = input.int32()?;
            input.array(Input::int32)?; // replicas
            Ok((index, (leader, input.array(Input::int32)?)))
        })?;
        partitions.sort();
        Ok((
            error,
            partitions.into_iter().map(|(_, state)| state).collect::<Vec<_>>(),
        ))
    })?;
    let (error, partitions) = topics.pop().unwrap_or_default();
    Ok(Metadata {
        brokers,
        partitions,
        error,
    })
}

/// The offset behind the partition's last record; `None` while this broker does not lead it, or does not answer.
pub(crate) fn end_offset(port: u16, topic: &str, partition: i32) -> Option<i64> {
    let mut body = Vec::new();
    body.extend((-1_i32).to_be_bytes()); // not a replica
    put_array(&mut body, &[topic], |out, topic| {
        put_string(out, topic);
        put_array(out, &[partition], |out, partition| {
            out.extend(partition.to_be_bytes());
            out.extend((-1_i64).to_be_bytes()); // the end, not a time
        });
    });
    let answer = request(port, LIST_OFFSETS, 1, &body).ok()?;
    let mut input = Input(&answer);
    let topics = input.array(|input| {
        input.string()?;
        input.array(|input| {
            input.int32()?;
            let error = input.int16()?;
            input.int64()?;
            Ok((error, input.int64()?))
        })
    });
    match topics.ok()?.first()?.first()? {
        (0, offset) => Some(*offset),
        _ => None,
    }
}

/// Creates a topic.
///
/// # Panics
/// If the cluster refuses.
pub(crate) fn create_topic(
    port: u16,
    name: &str,
    partitions: i32,
    replication: i16,
    configs: &[(&str, &str)],
) {
    let mut body = Vec::new();
    put_array(&mut body, &[name], |out, name| {
        put_string(out, name);
        out.extend(partitions.to_be_bytes());
        out.extend(replication.to_be_bytes());
        out.extend(0_i32.to_be_bytes()); // no assignment of our own
        put_array(out, configs, |out, (name, value)| {
            put_string(out, name);
            put_string(out, value);
        });
    });
    body.extend(20_000_i32.to_be_bytes());
    body.push(0); // not only a trial
    let answer = request(port, CREATE_TOPICS, 4, &body).expect("a broker that is up answers");
    let mut input = Input(&answer);
    let created = input.int32().and_then(|_throttle| {
        input.array(|input| {
            input.string()?;
            Ok((input.int16()?, input.string()?))
        })
    });
    let created = created.expect("the answer is whole");
    assert!(
        matches!(created.as_slice(), [(0, _)]),
        "topic {name} was not created: {created:?}"
    );
}

/// Deletes a topic; its files go after the broker's `log.segment.delete.delay.ms`.
///
/// # Panics
/// If the cluster refuses.
pub(crate) fn delete_topic(port: u16, name: &str) {
    let mut body = Vec::new();
    put_array(&mut body, &[name], |out, name| put_string(out, name));
    body.extend(20_000_i32.to_be_bytes());
    let answer = request(port, DELETE_TOPICS, 1, &body).expect("a broker that is up answers");
    let mut input = Input(&answer);
    let deleted = input.int32().and_then(|_throttle| {
        input.array(|input| {
            input.string()?;
            input.int16()
        })
    });
    let deleted = deleted.expect("the answer is whole");
    assert_eq!(deleted, [0], "topic {name} was not deleted");
}

/// `version` is one without compact fields.
fn request(port: u16, key: i16, version: i16, body: &[u8]) -> io::Result<Vec<u8>> {
    let mut frame = Vec::new();
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(0_i32.to_be_bytes()); // correlation
    put_string(&mut frame, "barnabas-tests");
    frame.extend(body);
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(
        &i32::try_from(frame.len())
            .map_err(io::Error::other)?
            .to_be_bytes(),
    )?;
    stream.write_all(&frame)?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(size)).map_err(io::Error::other)?];
    stream.read_exact(&mut answer)?;
    Ok(answer.split_off(4)) // behind the correlation id
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.extend(i16::try_from(text.len()).expect("short texts only").to_be_bytes());
    out.extend(text.as_bytes());
}

fn put_array<T>(out: &mut Vec<u8>, items: &[T], mut put: impl FnMut(&mut Vec<u8>, &T)) {
    out.extend(
        i32::try_from(items.len())
            .expect("short lists only")
            .to_be_bytes(),
    );
    for item in items {
        put(out, item);
    }
}

/// What is left of an answer.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> io::Result<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.0 = rest;
        Ok(head)
    }

    fn int16(&mut self) -> io::Result<i16> {
        let bytes = self.take(2)?;
        Ok(i16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn int32(&mut self) -> io::Result<i32> {
        let bytes = self.take(4)?;
        Ok(i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn int64(&mut self) -> io::Result<i64> {
        let high = i64::from(self.int32()?);
        let low = self.take(4)?;
        Ok(high << 32 | i64::from(u32::from_be_bytes([low[0], low[1], low[2], low[3]])))
    }

    fn string(&mut self) -> io::Result<Option<String>> {
        let Ok(len) = usize::try_from(self.int16()?) else {
            return Ok(None);
        };
        Ok(Some(String::from_utf8_lossy(self.take(len)?).into_owned()))
    }

    fn array<T>(&mut self, mut item: impl FnMut(&mut Self) -> io::Result<T>) -> io::Result<Vec<T>> {
        let len = self.int32()?.max(0);
        (0..len).map(|_| item(self)).collect()
    }
}
