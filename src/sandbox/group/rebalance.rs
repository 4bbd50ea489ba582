//! Joining, generations and assignments. Pure.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{Due, Group, Join, Joined, Member, SESSION, State, Synced, millis, synced_error};
use crate::sandbox::call::Envelope;
use crate::sandbox::code;

impl Group {
    /// A member asks to be in the next generation.
    pub(crate) fn join(&mut self, request: Join, envelope: Envelope, now: u64, due: &mut Vec<Due>) {
        if let Err(error) = self.admit(&request) {
            due.push(Due::Joined(envelope, Joined::refused(error, &request.member)));
            return;
        }
        let by_instance = request
            .instance
            .as_ref()
            .and_then(|instance| self.by_instance(instance));
        let (id, known) = match (request.member.is_empty(), by_instance) {
            (true, Some(old)) => {
                self.replace(&old, &request.fresh, due);
                (request.fresh.clone(), true)
            }
            (true, None) if request.twice && request.instance.is_none() => {
                self.promised
                    .insert(request.fresh.clone(), now + millis(request.session));
                let refused = Joined::refused(code::MEMBER_ID_REQUIRED, &request.fresh);
                due.push(Due::Joined(envelope, refused));
                return;
            }
            (true, None) => (request.fresh.clone(), false),
            (false, Some(holder)) if holder != request.member => {
                due.push(Due::Joined(
                    envelope,
                    Joined::refused(code::FENCED_INSTANCE_ID, &request.member),
                ));
                return;
            }
            (false, _) => {
                let promised = self.promised.remove(&request.member).is_some();
                let known = self.members.contains_key(&request.member);
                if !promised && !known {
                    due.push(Due::Joined(
                        envelope,
                        Joined::refused(code::UNKNOWN_MEMBER_ID, &request.member),
                    ));
                    return;
                }
                (request.member.clone(), known)
            }
        };
        self.take(id, known, request, envelope, now, due);
    }

    fn admit(&self, request: &Join) -> Result<(), i16> {
        if !SESSION.contains(&request.session) {
            return Err(code::INVALID_SESSION_TIMEOUT);
        }
        if request.protocol_type.is_empty() || request.protocols.is_empty() {
            return Err(code::INCONSISTENT_GROUP_PROTOCOL);
        }
        if self.members.is_empty() {
            return Ok(());
        }
        let others = || {
            let instance = request.instance.as_deref();
            let same = move |id: &String, member: &Member| {
                *id == request.member || (instance.is_some() && member.instance.as_deref() == instance)
            };
            self.members
                .iter()
                .filter(move |(id, member)| !same(id, member))
                .map(|(_, member)| member)
        };
        let all_know =
            |name: &String| others().all(|member| member.protocols.iter().any(|(known, _)| known == name));
        let of_one_kind = self.protocol_type.as_ref() == Some(&request.protocol_type);
        if others().next().is_none()
            || (of_one_kind && request.protocols.iter().any(|(name, _)| all_know(name)))
        {
            Ok(())
        } else {
            Err(code::INCONSISTENT_GROUP_PROTOCOL)
        }
    }

    pub(super) fn by_instance(&self, instance: &str) -> Option<String> {
        let found = self
            .members
            .iter()
            .find(|(_, member)| member.instance.as_deref() == Some(instance));
        found.map(|(id, _)| id.clone())
    }

    /// A static member has come back: it gets a new id, and whoever has the old one is fenced.
    fn replace(&mut self, old: &str, fresh: &str, due: &mut Vec<Due>) {
        let Some(mut member) = self.members.remove(old) else {
            return;
        };
        if let Some(envelope) = member.join.take() {
            due.push(Due::Joined(
                envelope,
                Joined::refused(code::FENCED_INSTANCE_ID, old),
            ));
        }
        if let Some(envelope) = member.sync.take() {
            due.push(Due::Synced(envelope, synced_error(code::FENCED_INSTANCE_ID)));
        }
        if self.leader.as_deref() == Some(old) {
            self.leader = Some(fresh.to_owned());
        }
        self.members.insert(fresh.to_owned(), member);
    }

    fn take(
        &mut self,
        id: String,
        known: bool,
        request: Join,
        envelope: Envelope,
        now: u64,
        due: &mut Vec<Due>,
    ) {
        let fresh_instance = known && request.member.is_empty();
        let session = millis(request.session);
        let rebalance = if request.rebalance > 0 {
            millis(request.rebalance)
        } else {
            session
        };
        let before = self.members.get(&id).map(|member| member.protocols.clone());
        let same = before.as_ref() == Some(&request.protocols);
        let member = self.members.entry(id.clone()).or_insert_with(|| Member {
            instance: None,
            client_id: String::new(),
            host: String::new(),
            protocols: Vec::new(),
            assignment: Bytes::new(),
            session,
            rebalance,
            expires: 0,
            join: None,
            sync: None,
        });
        member.instance = request.instance;
        member.client_id = request.client_id;
        member.host = request.host;
        member.protocols = request.protocols;
        (member.session, member.rebalance) = (session, rebalance);
        member.expires = now + session;
        self.protocol_type = Some(request.protocol_type);
        let is_leader = self.leader.as_ref() == Some(&id);
        let go_on = match self.state {
            State::CompletingRebalance => known && same && !fresh_instance,
            // A leader that joins again wants to assign anew.
            State::Stable => known && same && (!is_leader || (fresh_instance && envelope.version >= 9)),
            State::Empty | State::PreparingRebalance => false,
        };
        if go_on {
            let mut joined = self.joined(&id);
            joined.skip = is_leader && self.state == State::Stable;
            due.push(Due::Joined(envelope, joined));
            return;
        }
        if let Some(member) = self.members.get_mut(&id)
            && let Some(earlier) = member.join.replace(envelope)
        {
            // The same member asks again over another connection: only the last one is answered with success.
            due.push(Due::Joined(
                earlier,
                Joined::refused(code::UNKNOWN_MEMBER_ID, &id),
            ));
        }
        self.prepare(now, due);
        self.close_if_complete(now, due);
    }

    /// Begins a rebalance, if none is under way.
    pub(super) fn prepare(&mut self, now: u64, due: &mut Vec<Due>) {
        if self.state == State::PreparingRebalance {
            return;
        }
        for member in self.members.values_mut() {
            if let Some(envelope) = member.sync.take() {
                due.push(Due::Synced(envelope, synced_error(code::REBALANCE_IN_PROGRESS)));
            }
        }
        self.state = State::PreparingRebalance;
        let longest = self.members.values().map(|member| member.rebalance).max();
        self.closes = Some(now + longest.unwrap_or(0));
    }

    pub(super) fn close_if_complete(&mut self, now: u64, due: &mut Vec<Due>) {
        let all = self.members.values().all(|member| member.join.is_some());
        if self.state == State::PreparingRebalance && all && self.promised.is_empty() {
            self.close(now, due);
        }
    }

    /// The next generation begins, with those who have come.
    pub(super) fn close(&mut self, now: u64, due: &mut Vec<Due>) {
        self.closes = None;
        self.members
            .retain(|_, member| member.join.is_some() || member.instance.is_some());
        self.generation = self.generation.wrapping_add(1).max(1);
        if self.members.is_empty() {
            self.state = State::Empty;
            (self.leader, self.protocol) = (None, None);
            return;
        }
        self.state = State::CompletingRebalance;
        let came = |id: &String| self.members.get(id).is_some_and(|member| member.join.is_some());
        if !self.leader.as_ref().is_some_and(came) {
            self.leader = self
                .members
                .iter()
                .find(|(_, member)| member.join.is_some())
                .map(|(id, _)| id.clone());
        }
        self.protocol = self.elect();
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let joined = self.joined(&id);
            if let Some(member) = self.members.get_mut(&id) {
                member.assignment = Bytes::new();
                member.expires = now + member.session;
                if let Some(envelope) = member.join.take() {
                    due.push(Due::Joined(envelope, joined));
                }
            }
        }
    }

    /// The protocol that most members like best, of those that all know.
    fn elect(&self) -> Option<String> {
        let known = |member: &Member| -> BTreeSet<String> {
            member.protocols.iter().map(|(name, _)| name.clone()).collect()
        };
        let common = self
            .members
            .values()
            .map(known)
            .reduce(|a, b| a.intersection(&b).cloned().collect())?;
        let mut votes: BTreeMap<&String, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some((best, _)) = member.protocols.iter().find(|(name, _)| common.contains(name)) {
                *votes.entry(best).or_default() += 1;
            }
        }
        votes
            .into_iter()
            .max_by_key(|(_, count)| *count)
            .map(|(name, _)| name.clone())
    }

    fn joined(&self, id: &str) -> Joined {
        let leader = self.leader.clone().unwrap_or_default();
        let protocol = self.protocol.clone().unwrap_or_default();
        let about = |(id, member): (&String, &Member)| {
            (id.clone(), member.instance.clone(), member.metadata(&protocol))
        };
        Joined {
            error: code::NONE,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            skip: false,
            member: id.to_owned(),
            members: if leader == id {
                self.members.iter().map(about).collect()
            } else {
                Vec::new()
            },
            leader,
        }
    }

    /// A member asks for its assignment; the leader brings all of them.
    pub(crate) fn sync(
        &mut self,
        (id, instance, generation): (&str, Option<&str>, i32),
        assignments: Vec<(String, Bytes)>,
        envelope: Envelope,
        now: u64,
        due: &mut Vec<Due>,
    ) {
        let checked = self.check(id, instance, generation).and(match self.state {
            State::Empty => Err(code::UNKNOWN_MEMBER_ID),
            State::PreparingRebalance => Err(code::REBALANCE_IN_PROGRESS),
            State::CompletingRebalance | State::Stable => Ok(()),
        });
        if let Err(error) = checked {
            due.push(Due::Synced(envelope, synced_error(error)));
            return;
        }
        if let Some(member) = self.members.get_mut(id) {
            member.expires = now + member.session;
            member.sync = Some(envelope);
        }
        if self.state == State::CompletingRebalance && self.leader.as_deref() == Some(id) {
            for (member, assignment) in assignments {
                if let Some(member) = self.members.get_mut(&member) {
                    member.assignment = assignment;
                }
            }
            self.state = State::Stable;
        }
        if self.state == State::Stable {
            for member in self.members.values_mut() {
                if let Some(envelope) = member.sync.take() {
                    member.expires = now + member.session;
                    let synced = Synced {
                        error: code::NONE,
                        protocol_type: self.protocol_type.clone(),
                        protocol: self.protocol.clone(),
                        assignment: member.assignment.clone(),
                    };
                    due.push(Due::Synced(envelope, synced));
                }
            }
        }
    }
}
