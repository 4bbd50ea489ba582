//! A consumer group by Kafka's classic protocol: members, generations, assignments. Pure: time is an argument.
//!
//! As Kafka's coordinator does it, but for: no initial delay before a rebalance (`group.initial.rebalance.delay.ms` is 0),
//! session timeouts from 100 ms on, and no limit of the members.

mod rebalance;

use std::collections::BTreeMap;

use bytes::Bytes;

use super::call::Envelope;
use super::code;

/// Session timeouts allowed, in milliseconds.
const SESSION: std::ops::RangeInclusive<i32> = 100..=1_800_000;

/// As DescribeGroups names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Empty,
    PreparingRebalance,
    CompletingRebalance,
    Stable,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

/// What a consumer committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    /// -1 for none.
    pub(crate) epoch: i32,
    pub(crate) metadata: String,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) host: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
    pub(crate) assignment: Bytes,
    session: u64,
    rebalance: u64,
    /// When it is taken for dead.
    expires: u64,
    join: Option<Envelope>,
    sync: Option<Envelope>,
}

impl Member {
    /// What it said about itself under a protocol.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let found = self.protocols.iter().find(|(name, _)| name == protocol);
        found.map_or_else(Bytes::new, |(_, metadata)| metadata.clone())
    }
}

/// A JoinGroup request.
#[derive(Debug)]
pub(crate) struct Join {
    pub(crate) member: String,
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) host: String,
    /// In milliseconds.
    pub(crate) session: i32,
    /// In milliseconds.
    pub(crate) rebalance: i32,
    pub(crate) protocol_type: String,
    pub(crate) protocols: Vec<(String, Bytes)>,
    /// Whether a new member is to come again with the id that it is given.
    pub(crate) twice: bool,
    /// A name for a new member.
    pub(crate) fresh: String,
}

/// The answer to a JoinGroup request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) error: i16,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) leader: String,
    /// The leader has nothing to assign.
    pub(crate) skip: bool,
    pub(crate) member: String,
    /// For the leader only: id, instance, metadata.
    pub(crate) members: Vec<(String, Option<String>, Bytes)>,
}

impl Joined {
    fn refused(error: i16, member: &str) -> Self {
        Joined {
            error,
            generation: -1,
            member: member.to_owned(),
            ..Joined::default()
        }
    }
}

/// The answer to a SyncGroup request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Synced {
    pub(crate) error: i16,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) assignment: Bytes,
}

/// An answer that is due to a request, maybe an earlier one.
#[derive(Debug)]
pub(crate) enum Due {
    Joined(Envelope, Joined),
    Synced(Envelope, Synced),
}

/// A group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) state: State,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) members: BTreeMap<String, Member>,
    pub(crate) offsets: BTreeMap<(String, i32), Committed>,
    leader: Option<String>,
    /// Ids that were given out, and when they lapse.
    promised: BTreeMap<String, u64>,
    /// When a rebalance goes on without those who have not come.
    closes: Option<u64>,
}

impl Default for Group {
    fn default() -> Self {
        Group {
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            members: BTreeMap::new(),
            offsets: BTreeMap::new(),
            leader: None,
            promised: BTreeMap::new(),
            closes: None,
        }
    }
}

impl Group {
    /// The earliest moment at which [`expire`](Self::expire) has something to do.
    pub(crate) fn next_event(&self) -> Option<u64> {
        let waiting = |member: &&Member| member.join.is_none() && member.sync.is_none();
        let expiries = self.members.values().filter(waiting).map(|member| member.expires);
        expiries
            .chain(self.promised.values().copied())
            .chain(self.closes)
            .min()
    }

    /// Whether a request comes from a member of this generation.
    fn check(&self, id: &str, instance: Option<&str>, generation: i32) -> Result<(), i16> {
        if let Some(holder) = instance.and_then(|instance| self.by_instance(instance))
            && holder != id
        {
            return Err(code::FENCED_INSTANCE_ID);
        }
        if !self.members.contains_key(id) {
            return Err(code::UNKNOWN_MEMBER_ID);
        }
        if generation != self.generation {
            return Err(code::ILLEGAL_GENERATION);
        }
        Ok(())
    }

    /// A member is alive. Returns the error code for it.
    pub(crate) fn heartbeat(&mut self, id: &str, instance: Option<&str>, generation: i32, now: u64) -> i16 {
        if let Err(error) = self.check(id, instance, generation) {
            return error;
        }
        if let Some(member) = self.members.get_mut(id) {
            member.expires = now + member.session;
        }
        if self.state == State::PreparingRebalance {
            code::REBALANCE_IN_PROGRESS
        } else {
            code::NONE
        }
    }

    /// A member goes, by its id or its instance's name. Returns the error code.
    pub(crate) fn leave(&mut self, id: &str, instance: Option<&str>, now: u64, due: &mut Vec<Due>) -> i16 {
        let id = match instance.map(|instance| self.by_instance(instance)) {
            Some(None) => return code::UNKNOWN_MEMBER_ID,
            Some(Some(holder)) if !id.is_empty() && holder != id => return code::FENCED_INSTANCE_ID,
            Some(Some(holder)) => holder,
            None => id.to_owned(),
        };
        if self.promised.remove(&id).is_some() {
            self.close_if_complete(now, due);
            return code::NONE;
        }
        if self.remove(&id, now, due) {
            code::NONE
        } else {
            code::UNKNOWN_MEMBER_ID
        }
    }

    fn remove(&mut self, id: &str, now: u64, due: &mut Vec<Due>) -> bool {
        let Some(member) = self.members.remove(id) else {
            return false;
        };
        if let Some(envelope) = member.join {
            due.push(Due::Joined(
                envelope,
                Joined::refused(code::UNKNOWN_MEMBER_ID, id),
            ));
        }
        if let Some(envelope) = member.sync {
            due.push(Due::Synced(envelope, synced_error(code::UNKNOWN_MEMBER_ID)));
        }
        self.prepare(now, due);
        self.close_if_complete(now, due);
        true
    }

    /// A connection has gone, and the requests that waited on it.
    pub(crate) fn hang_up(&mut self, ticket: u64) {
        for member in self.members.values_mut() {
            let gone = |envelope: &mut Envelope| envelope.ticket == ticket;
            // The member stays until its session ends: it may come back over another connection. It counts as one that
            // has not joined.
            let _ = member.join.take_if(gone);
            let _ = member.sync.take_if(gone);
        }
    }

    /// Does what time has brought: members that are dead, a rebalance that has waited long enough.
    pub(crate) fn expire(&mut self, now: u64, due: &mut Vec<Due>) {
        self.promised.retain(|_, lapses| *lapses > now);
        let dead = |member: &Member| member.join.is_none() && member.sync.is_none() && member.expires <= now;
        let ids: Vec<String> = self
            .members
            .iter()
            .filter(|(_, member)| dead(member))
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            self.remove(&id, now, due);
        }
        self.close_if_complete(now, due);
        if self.closes.is_some_and(|closes| closes <= now) {
            self.close(now, due);
        }
    }

    /// Whether a commit is allowed.
    ///
    /// # Errors
    /// Kafka's error code.
    pub(crate) fn may_commit(&self, id: &str, instance: Option<&str>, generation: i32) -> Result<(), i16> {
        if generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        if generation < 0 && id.is_empty() && instance.is_none() {
            return Err(code::UNKNOWN_MEMBER_ID);
        }
        self.check(id, instance, generation)?;
        if self.state == State::CompletingRebalance {
            Err(code::REBALANCE_IN_PROGRESS)
        } else {
            Ok(())
        }
    }
}

fn synced_error(error: i16) -> Synced {
    Synced {
        error,
        ..Synced::default()
    }
}

fn millis(millis: i32) -> u64 {
    u64::try_from(millis).unwrap_or(0)
}
