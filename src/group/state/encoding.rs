//! A state as JSON, for snapshots, and its hash.
//!
//! The JSON is canonical: names in order, default values left out. Its hash is compared between members of different
//! builds, so that what is written here may change with the record version only.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;

use serde::{Deserialize, Serialize};

use super::{Mark, MemberInfo, PartitionState, State};
use crate::group::record::wire::field::{
    ByTopic, HeldFields, ProgressFields, by_topic, is_false, is_no_epoch, no_epoch, topic_id, ungroup,
};
use crate::group::record::{MemberId, Position, Token, TopicInfo};

type Text<'a> = Cow<'a, str>;

#[derive(Serialize, Deserialize)]
struct StateBody<'a> {
    level: u32,
    floor: u64,
    version: Position,
    #[serde(default, skip_serializing_if = "is_false")]
    paused: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    pause_seen: Position,
    mark: Option<Position>,
    renewed: i32,
    members: BTreeMap<MemberId, MemberBody<'a>>,
    gone: Vec<MemberId>,
    topics: BTreeMap<Text<'a>, TopicBody>,
    partitions: ByTopic<PartitionBody<'a>>,
}

#[derive(Serialize, Deserialize)]
struct MemberBody<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance: Option<Text<'a>>,
    host: Text<'a>,
    topics: Vec<Text<'a>>,
    session_ms: u64,
    speaks: u32,
    joined: Position,
    beat: Position,
    n: u64,
}

#[derive(Serialize, Deserialize)]
struct TopicBody {
    #[serde(with = "topic_id")]
    id: [u8; 16],
    partitions: i32,
}

#[derive(Serialize, Deserialize)]
struct PartitionBody<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    target: Option<MemberId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kept: Option<Text<'a>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<MemberId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<Token>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
    #[serde(default = "no_epoch", skip_serializing_if = "is_no_epoch")]
    epoch: i32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    done: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    held: Vec<HeldFields>,
    #[serde(default, skip_serializing_if = "is_false")]
    late: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    paused: bool,
    #[serde(default, skip_serializing_if = "is_zero")]
    pause_seen: Position,
}

fn is_zero(position: &Position) -> bool {
    *position == Position::ZERO
}

impl State {
    /// A hash of all of the state, equal on every machine and in every build of the same record version. The hash kept
    /// with the last mark is not part of it. It costs as much as writing the whole state down.
    #[must_use]
    pub fn hash(&self) -> u64 {
        let mut fnv = Fnv::default();
        // Writing into a hash does not fail.
        let _ = serde_json::to_writer(&mut fnv, &body_of(self));
        fnv.0
    }

    /// The state as JSON.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(&body_of(self)).unwrap_or_default()
    }

    /// Reads what [`encode`](Self::encode) wrote of a state as of its last mark; none if it is garbled.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let body: StateBody<'_> = serde_json::from_slice(bytes).ok()?;
        let mut state = state_of(body)?;
        if let Some(Mark { at, .. }) = state.mark {
            let hash = state.hash();
            state.mark = Some(Mark { at, hash });
        }
        Some(state)
    }
}

fn body_of(state: &State) -> StateBody<'_> {
    StateBody {
        level: state.level,
        floor: state.floor,
        version: state.version,
        paused: state.paused,
        pause_seen: state.pause_seen,
        mark: state.mark.map(|mark| mark.at),
        renewed: state.renewed,
        members: state
            .members
            .iter()
            .map(|(id, member)| (id.clone(), member_body(member)))
            .collect(),
        gone: state.gone.iter().cloned().collect(),
        topics: state
            .topics
            .iter()
            .map(|(name, info)| {
                let (id, partitions) = (info.id, info.partitions);
                ((&**name).into(), TopicBody { id, partitions })
            })
            .collect(),
        partitions: by_topic(
            state
                .partitions
                .iter()
                .map(|(id, partition)| (id, partition_body(partition))),
        ),
    }
}

fn member_body(member: &MemberInfo) -> MemberBody<'_> {
    MemberBody {
        instance: member.instance.as_deref().map(Cow::from),
        host: member.host.as_str().into(),
        topics: member.topics.iter().map(|topic| (&**topic).into()).collect(),
        session_ms: member.session_ms,
        speaks: member.speaks,
        joined: member.joined,
        beat: member.beat,
        n: member.n,
    }
}

fn partition_body(partition: &PartitionState) -> PartitionBody<'_> {
    let ProgressFields {
        next,
        epoch,
        done,
        held,
    } = ProgressFields::from(&partition.progress);
    PartitionBody {
        target: partition.target.clone(),
        kept: partition.kept.as_deref().map(Cow::from),
        owner: partition.owner.clone(),
        token: partition.token,
        next,
        epoch,
        done,
        held,
        late: partition.late,
        paused: partition.paused,
        pause_seen: partition.pause_seen,
    }
}

fn state_of(body: StateBody<'_>) -> Option<State> {
    let mut state = State {
        level: body.level,
        floor: body.floor,
        version: body.version,
        paused: body.paused,
        pause_seen: body.pause_seen,
        mark: body.mark.map(|at| Mark { at, hash: 0 }),
        renewed: body.renewed,
        gone: body.gone.into(),
        ..State::default()
    };
    for (id, member) in body.members {
        state.index.joined(&id, member.joined);
        let info = MemberInfo {
            instance: member.instance.map(Cow::into_owned),
            host: member.host.into_owned(),
            topics: member.topics.iter().map(|topic| (&**topic).into()).collect(),
            session_ms: member.session_ms,
            speaks: member.speaks,
            joined: member.joined,
            beat: member.beat,
            n: member.n,
        };
        state.members.insert(id, info);
    }
    for (name, TopicBody { id, partitions }) in body.topics {
        state.topics.insert((&*name).into(), TopicInfo { id, partitions });
    }
    for (id, partition) in ungroup(body.partitions).ok()? {
        let progress = ProgressFields {
            next: partition.next,
            epoch: partition.epoch,
            done: partition.done,
            held: partition.held,
        };
        state.index.owner(&id, None, partition.owner.as_ref());
        state.index.target(&id, None, partition.target.as_ref());
        let partition = PartitionState {
            target: partition.target,
            kept: partition.kept.map(Cow::into_owned),
            owner: partition.owner,
            token: partition.token,
            progress: progress.read().ok()?,
            late: partition.late,
            paused: partition.paused,
            pause_seen: partition.pause_seen,
        };
        state.partitions.insert(id, partition);
    }
    Some(state)
}

/// FNV-1a, 64 bits: the same everywhere, unlike the standard library's hashes, and enough against accidents.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl io::Write for Fnv {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
