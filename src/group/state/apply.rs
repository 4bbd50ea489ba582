//! One record applied: whether it holds, and what it changes.
//!
//! Each kind of record has a method of [`Step`] that checks all that can make it void before it changes anything. A
//! record costs what it names, and the removal of a member what that owned; only a renew walks all partitions.

mod members;
mod orders;
mod topics;
mod work;

use super::{Applied, Change, PartitionState, State};
use crate::group::record::{MemberId, PartitionId, Position, Record, Token};
use crate::group::rules::{Rule, Rules};

pub use work::{MAX_DONE, MAX_DONE_OF_ALL, bound};

/// Why a record does not hold.
type Void = &'static str;

const NOT_FOUNDED: Void = "the log is not founded";
const GONE: Void = "the member is gone";

impl State {
    /// Applies the record at a position of the log. Records have to come in the log's order.
    pub fn apply(&mut self, rules: Rules, at: Position, record: &Record) -> Applied {
        let mut step = Step {
            token: Token::granted(self.floor, at),
            state: self,
            rules,
            at,
            changes: Vec::new(),
            freed: Vec::new(),
        };
        match step.take(record) {
            Ok(()) => {
                step.settle();
                Applied {
                    held: true,
                    void: None,
                    changes: step.changes,
                }
            }
            Err(void) => Applied {
                held: false,
                void: Some(void),
                changes: Vec::new(),
            },
        }
    }
}

/// The application of one record.
struct Step<'a> {
    state: &'a mut State,
    rules: Rules,
    at: Position,
    /// The token of what this record grants.
    token: Token,
    changes: Vec<Change>,
    /// Partitions that may be free and have a target. Before the record there was none such, so that these are all.
    freed: Vec<PartitionId>,
}

impl Step<'_> {
    fn take(&mut self, record: &Record) -> Result<(), Void> {
        if self.state.level == 0 && !matches!(record, Record::Found { .. }) {
            return Err(NOT_FOUNDED);
        }
        match record {
            Record::Found { floor, level } => self.found(*floor, *level),
            Record::Join {
                member,
                instance,
                host,
                topics,
                session_ms,
                speaks,
                read,
            } => {
                let info = super::MemberInfo {
                    instance: instance.clone(),
                    host: host.clone(),
                    topics: topics.keys().cloned().collect(),
                    session_ms: *session_ms,
                    speaks: *speaks,
                    joined: self.at,
                    beat: self.at,
                    n: 0,
                };
                self.join(member, info, topics, *read)
            }
            Record::Report(report) => self.report(report),
            Record::Leave(report) => self.leave(report),
            Record::Expire { member, seen, by, .. } => self.expire(member, *seen, by),
            Record::Assign { basis, changes, .. } => self.assign(*basis, changes),
            Record::Subscribe { member, n, topics } => self.subscribe(member, *n, topics),
            Record::Grow {
                topic,
                id,
                partitions,
                was,
            } => match was {
                None => self.grow(topic, *id, *partitions),
                Some(was) => self.recreate(topic, *was, *id, *partitions),
            },
            Record::Reset { partitions, .. } => self.reset(partitions),
            Record::Skip {
                partition,
                offset,
                seen,
                ..
            } => self.skip(partition, *offset, *seen),
            Record::Pause { partition, seen, .. } => self.pause(partition.as_ref(), *seen, true),
            Record::Resume { partition, seen, .. } => self.pause(partition.as_ref(), *seen, false),
            Record::Level { level, .. } => self.level(*level),
            Record::Renew { .. } => self.renew(),
            Record::Mark { .. } => self.mark(),
            Record::Part { .. } => Err("a piece of a snapshot changes nothing"),
            // Nor may it ever: builds that do not know it must have the same state.
            Record::Note { .. } => Err("a note changes nothing"),
        }
    }

    fn found(&mut self, floor: u64, level: u32) -> Result<(), Void> {
        if self.state.level != 0 {
            return Err("the log was founded before");
        }
        if level == 0 {
            return Err("record versions begin at 1");
        }
        self.state.floor = floor;
        self.state.level = level;
        self.state.renewed = self.at.epoch();
        self.changes.push(Change::Founded);
        Ok(())
    }

    /// Gives each free partition with a target to it.
    fn settle(&mut self) {
        for partition in std::mem::take(&mut self.freed) {
            let Some(state) = self.state.partitions.get(&partition) else {
                continue;
            };
            let (None, Some(target)) = (&state.owner, state.target.clone()) else {
                continue;
            };
            if self.may_be_target(&target, &partition) {
                self.grant(&partition, target);
            }
        }
    }

    fn may_be_target(&self, member: &MemberId, (topic, _): &PartitionId) -> bool {
        !self.rules.has(Rule::LiveTarget) || self.state.subscribes(member, topic)
    }

    fn grant(&mut self, partition: &PartitionId, member: MemberId) {
        let token = self.token;
        if let Some(state) = self.set_owner(partition, Some(member.clone())) {
            state.token = Some(token);
            self.changes.push(Change::Granted {
                partition: partition.clone(),
                member,
                token,
            });
        }
    }

    /// The only way to set an owner.
    fn set_owner(&mut self, partition: &PartitionId, owner: Option<MemberId>) -> Option<&mut PartitionState> {
        let state = self.state.partitions.get_mut(partition)?;
        self.state
            .index
            .owner(partition, state.owner.as_ref(), owner.as_ref());
        state.owner = owner;
        Some(state)
    }

    /// The only way to set a target. It tells of it if it is another one.
    fn set_target(&mut self, partition: &PartitionId, to: Option<MemberId>) {
        let Some(state) = self.state.partitions.get_mut(partition) else {
            return;
        };
        if state.target == to {
            return;
        }
        self.state
            .index
            .target(partition, state.target.as_ref(), to.as_ref());
        let from = std::mem::replace(&mut state.target, to.clone());
        self.changes.push(Change::Target {
            partition: partition.clone(),
            from,
            to,
        });
    }
}
