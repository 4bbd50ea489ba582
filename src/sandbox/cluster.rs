//! A cluster of one broker: topics, groups, transactions, and the requests that wait. Pure: requests and time go in,
//! actions come out.

use std::collections::{BTreeMap, VecDeque};

use bytes::BytesMut;

use super::api;
use super::call::{Action, Answer, Call, Client, Envelope, Now};
use super::config::{self, Rules};
use super::faults::{Faults, Kind};
use super::group::{Due, Group};
use super::keep::{Keep, Kept, KeptTopic, State};
use super::log::Log;
use super::transactions::Transaction;
use super::wire::{Reader, Writer};

/// The one broker's id, as a new Kafka's first.
pub(crate) const NODE: i32 = 1;
/// How often retention and compaction look, in milliseconds.
const CLEANING: u64 = 500;
/// The memory is for so many segments at least: the less, the more goes at once.
const SEGMENTS: usize = 32;

/// How the cluster is to be.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Bytes of records, of all topics.
    pub(crate) max_memory: usize,
    /// Partitions of a topic that nobody says the number of.
    pub(crate) partitions: i32,
    /// Topics come to be when a client asks for them.
    pub(crate) auto_create: bool,
    /// Configurations of topics that have none of their own, checked.
    pub(crate) configs: BTreeMap<String, String>,
    /// There is a folder that is told of each change.
    pub(crate) kept: bool,
    /// Host and port that clients are told, instead of those they came by.
    pub(crate) advertised: Option<(String, u16)>,
    /// Equal seeds give equal ids and faults.
    pub(crate) seed: u64,
}

/// A topic.
#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) id: u128,
    pub(crate) partitions: Vec<Log>,
    pub(crate) configs: BTreeMap<String, String>,
    pub(crate) rules: Rules,
}

impl Topic {
    /// The log of a partition, and the rules for it.
    pub(crate) fn log(&mut self, partition: i32) -> Option<(&mut Log, &Rules)> {
        let index = usize::try_from(partition).ok()?;
        Some((self.partitions.get_mut(index)?, &self.rules))
    }
}

/// A Fetch request for which there is not enough yet.
#[derive(Debug)]
pub(crate) struct WaitingFetch {
    pub(crate) envelope: Envelope,
    pub(crate) request: api::fetch::Request,
    pub(crate) until: u64,
}

/// A cluster of one broker.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(crate) limits: Limits,
    /// Of the cluster, for clients.
    pub(crate) id: String,
    pub(crate) topics: BTreeMap<String, Topic>,
    pub(crate) groups: BTreeMap<String, Group>,
    /// By transactional id.
    pub(crate) transactions: BTreeMap<String, Transaction>,
    pub(crate) next_producer: i64,
    pub(crate) faults: Faults,
    pub(crate) waiting: Vec<WaitingFetch>,
    /// Bytes of records, of all topics.
    pub(crate) memory: usize,
    /// Records came since the waiting were last looked at.
    pub(crate) grown: bool,
    /// The state to be kept has changed.
    changed: bool,
    cleaned: u64,
    /// Answers that a fault holds up.
    held: BTreeMap<(u64, u64), Action>,
    /// What faults do to the answers of requests.
    dooms: BTreeMap<u64, Doom>,
    sequence: u64,
    actions: VecDeque<Action>,
}

impl Cluster {
    /// An empty one, or what was kept.
    pub(crate) fn new(limits: Limits, kept: Kept, now: Now) -> Self {
        let mut faults = Faults::new(limits.seed);
        let id = format!("sandbox-{:016x}", faults.dice.next());
        let mut cluster = Cluster {
            limits,
            id,
            topics: BTreeMap::new(),
            groups: BTreeMap::new(),
            transactions: BTreeMap::new(),
            next_producer: 1,
            faults,
            waiting: Vec::new(),
            memory: 0,
            grown: false,
            changed: true,
            cleaned: now.mono,
            held: BTreeMap::new(),
            dooms: BTreeMap::new(),
            sequence: 0,
            actions: VecDeque::new(),
        };
        cluster.recover(kept, now);
        cluster
    }

    fn recover(&mut self, mut kept: Kept, now: Now) {
        if let Some(state) = kept.state {
            self.id = state.cluster;
            self.next_producer = state.next_producer;
            for (name, topic) in state.topics {
                let id = u128::from_str_radix(&topic.id, 16).unwrap_or_default();
                let logs = (0i32..)
                    .zip(&topic.partitions)
                    .map(|(partition, (start, epoch))| {
                        let segments = kept.segments.remove(&(id, partition)).unwrap_or_default();
                        Log::recovered(segments, *start, *epoch, now.wall)
                    });
                let partitions: Vec<Log> = logs.collect();
                let rules = config::rules(&topic.configs, &self.limits.configs, self.segment_limit());
                let configs = topic.configs;
                self.topics.insert(
                    name,
                    Topic {
                        id,
                        partitions,
                        configs,
                        rules,
                    },
                );
            }
        }
        for ((group, topic, partition), committed) in kept.offsets {
            self.groups
                .entry(group)
                .or_default()
                .offsets
                .insert((topic, partition), committed);
        }
        let logs = || self.topics.values().flat_map(|topic| &topic.partitions);
        self.memory = logs().map(Log::cost).sum();
        let highest = logs().map(Log::highest_producer).max();
        self.next_producer = self.next_producer.max(highest.map_or(0, |id| id + 1));
        self.abort_open_transactions(now);
        self.bound_memory(now);
    }

    /// No transaction outlives the process: what it wrote is void.
    fn abort_open_transactions(&mut self, now: Now) {
        let mut open = Vec::new();
        for (name, topic) in &self.topics {
            for (partition, log) in (0i32..).zip(&topic.partitions) {
                let of = |id| (name.clone(), partition, (id, log.producer_epoch(id).unwrap_or(0)));
                open.extend(log.open_transactions().map(of));
            }
        }
        for (topic, partition, producer) in open {
            self.end_in_partition(&topic, partition, producer, false, now);
        }
    }

    pub(crate) fn segment_limit(&self) -> usize {
        (self.limits.max_memory / SEGMENTS).max(1)
    }

    /// Carries out a request: a frame without its length. Its answer comes with its ticket.
    pub(crate) fn handle(&mut self, ticket: u64, client: &Client, frame: BytesMut, now: Now) {
        let now = self.shifted(now);
        match self.begin(ticket, client, frame, now) {
            Some(Answer::Send(writer)) => self.reply(ticket, writer, now),
            Some(Answer::Silent) => self.actions.push_back(Action::Silence(ticket)),
            Some(Answer::Waits) => {}
            Some(Answer::Close) | None => self.actions.push_back(Action::Close(ticket)),
        }
        self.settle(now);
    }

    /// `None` closes the connection.
    fn begin(&mut self, ticket: u64, client: &Client, frame: BytesMut, now: Now) -> Option<Answer> {
        let size = frame.len();
        let mut reader = Reader::new(frame);
        let key = reader.i16().ok()?;
        let version = reader.i16().ok()?;
        let correlation = reader.i32().ok()?;
        let client_id = reader.client_id().ok()?;
        let api = api::find(key);
        let Some(api) = api.filter(|api| (api.versions.0..=api.versions.1).contains(&version)) else {
            // Kafka closes the connection as well: what the answer to an unknown request looks like is unknown.
            return (key == api::API_VERSIONS)
                .then(|| Answer::Send(api::api_versions::unsupported(correlation)));
        };
        reader.flexible = version >= api.flexible;
        reader.tags().ok()?;
        let mut envelope = Envelope {
            ticket,
            correlation,
            version,
            flexible: reader.flexible,
            // So that a client of any age can read which versions there are.
            flexible_header: reader.flexible && key != api::API_VERSIONS,
            throttle: 0,
        };
        let before = [Kind::Drop, Kind::Disconnect];
        match self.faults.request(&before, api.name, now.mono) {
            Some((Kind::Drop, _)) => return Some(Answer::Waits),
            Some(_) => return None,
            None => {}
        }
        let after = [Kind::Delay, Kind::DisconnectAfter];
        match self.faults.request(&after, api.name, now.mono) {
            Some((Kind::Delay, ms)) => self.dooms.entry(ticket).or_default().delay = ms,
            Some(_) => self.dooms.entry(ticket).or_default().disconnect = true,
            None => {}
        }
        if let Some((_, ms)) = self.faults.request(&[Kind::Throttle], api.name, now.mono) {
            envelope.throttle = i32::try_from(ms).unwrap_or(i32::MAX);
            self.dooms.entry(ticket).or_default().mute = ms;
        }
        let mut call = Call {
            reader,
            envelope,
            client: client.clone(),
            client_id,
            now,
            size,
        };
        let answer = (api.answer)(self, &mut call).ok();
        if !matches!(answer, Some(Answer::Send(_) | Answer::Waits)) {
            self.dooms.remove(&ticket);
        }
        answer
    }

    fn shifted(&self, now: Now) -> Now {
        Now {
            wall: now.wall.saturating_add(self.faults.shift),
            ..now
        }
    }

    fn reply(&mut self, ticket: u64, writer: Writer, now: Now) {
        let doom = self.dooms.remove(&ticket).unwrap_or_default();
        let action = if doom.disconnect {
            Action::Close(ticket)
        } else {
            Action::Reply {
                ticket,
                pieces: writer.finish(),
                mute: doom.mute,
            }
        };
        if doom.delay == 0 {
            self.actions.push_back(action);
        } else {
            self.sequence += 1;
            self.held
                .insert((now.mono.saturating_add(doom.delay), self.sequence), action);
        }
    }

    /// Answers what groups owe.
    pub(crate) fn pay(&mut self, due: Vec<Due>, now: Now) {
        for due in due {
            let (ticket, writer) = match due {
                Due::Joined(envelope, joined) => {
                    (envelope.ticket, api::join_group::write(&envelope, &joined))
                }
                Due::Synced(envelope, synced) => {
                    (envelope.ticket, api::sync_group::write(&envelope, &synced))
                }
            };
            self.reply(ticket, writer, now);
        }
    }

    /// Answers the fetches that have waited for what came, or long enough.
    fn settle(&mut self, now: Now) {
        let grown = std::mem::take(&mut self.grown);
        let mut at = 0;
        while let Some(waiting) = self.waiting.get(at) {
            if waiting.until <= now.mono || (grown && api::fetch::is_enough(self, &waiting.request)) {
                let waiting = self.waiting.swap_remove(at);
                let writer = api::fetch::write(self, &waiting.envelope, &waiting.request, now);
                self.reply(waiting.envelope.ticket, writer, now);
            } else {
                at += 1;
            }
        }
        self.bound_memory(now);
        if std::mem::take(&mut self.changed) && self.limits.kept {
            let state = self.state();
            // Before the answers that tell of it.
            self.actions.push_front(Action::Keep(Keep::State(state)));
        }
    }

    /// Does what time has brought.
    pub(crate) fn tick(&mut self, now: Now) {
        let now = self.shifted(now);
        let mut due = Vec::new();
        for group in self.groups.values_mut() {
            if group.next_event().is_some_and(|at| at <= now.mono) {
                group.expire(now.mono, &mut due);
            }
        }
        self.pay(due, now);
        self.expire_transactions(now);
        if now.mono >= self.cleaned.saturating_add(CLEANING) {
            self.cleaned = now.mono;
            self.clean(now);
        }
        self.settle(now);
        while let Some(entry) = self.held.first_entry()
            && entry.key().0 <= now.mono
        {
            self.actions.push_back(entry.remove());
        }
    }

    /// When [`tick`](Self::tick) has something to do next, by the monotonic clock. An idle sandbox sleeps.
    pub(crate) fn next_event(&self) -> Option<u64> {
        let waiting = self.waiting.iter().map(|waiting| waiting.until);
        let groups = self.groups.values().filter_map(Group::next_event);
        let transactions = self.transactions.values().filter_map(Transaction::expires);
        let held = self.held.keys().map(|(at, _)| *at);
        let cleaning = (self.memory > 0).then_some(self.cleaned.saturating_add(CLEANING));
        waiting
            .chain(groups)
            .chain(transactions)
            .chain(held)
            .chain(cleaning)
            .min()
    }

    /// A request's connection has gone before its answer.
    pub(crate) fn hang_up(&mut self, ticket: u64) {
        self.waiting.retain(|waiting| waiting.envelope.ticket != ticket);
        self.dooms.remove(&ticket);
        for group in self.groups.values_mut() {
            group.hang_up(ticket);
        }
    }

    /// What is to be done, in order.
    pub(crate) fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// To be written, if there is a folder.
    pub(crate) fn keep(&mut self, keep: Keep) {
        if self.limits.kept {
            self.actions.push_back(Action::Keep(keep));
        }
    }

    /// The state to be kept is another one now.
    pub(crate) fn touch(&mut self) {
        self.changed = true;
    }

    fn state(&self) -> State {
        let kept = |topic: &Topic| KeptTopic {
            id: format!("{:032x}", topic.id),
            configs: topic.configs.clone(),
            partitions: topic
                .partitions
                .iter()
                .map(|log| (log.start(), log.epoch()))
                .collect(),
        };
        State {
            cluster: self.id.clone(),
            next_producer: self.next_producer,
            topics: self
                .topics
                .iter()
                .map(|(name, topic)| (name.clone(), kept(topic)))
                .collect(),
        }
    }

    /// The address that a client is told.
    pub(crate) fn address(&self, client: &Client) -> (String, u16) {
        self.limits
            .advertised
            .clone()
            .unwrap_or_else(|| client.reached.clone())
    }

    /// A new member's name.
    pub(crate) fn member_name(&mut self, prefix: &str) -> String {
        let (high, low) = (self.faults.dice.next(), self.faults.dice.next());
        format!("{prefix}-{high:016x}{low:016x}")
    }
}

/// What faults do to an answer.
#[derive(Debug, Clone, Copy, Default)]
struct Doom {
    /// In milliseconds.
    delay: u64,
    /// In milliseconds.
    mute: u64,
    disconnect: bool,
}
