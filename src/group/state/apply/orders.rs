//! What operators order, and what keeps the log itself in order.

use super::super::{Change, MARK_DISTANCE, Mark};
use super::{Step, Void};
use crate::group::record::{PartitionId, Position, Token};
use crate::group::rules::Rule;
use crate::progress::Progress;

const NO_PARTITION: Void = "there is no such partition";
const ANOTHER_TOKEN: Void = "the partition has another token by now";

impl Step<'_> {
    pub(super) fn reset(&mut self, entries: &[(PartitionId, Option<i64>, Token)]) -> Result<(), Void> {
        let mut void = "it names no partition";
        let mut any = false;
        for (partition, to, seen) in entries {
            match self.reset_one(partition, *to, *seen) {
                Ok(()) => any = true,
                Err(why) => void = why,
            }
        }
        if any { Ok(()) } else { Err(void) }
    }

    fn reset_one(&mut self, partition: &PartitionId, to: Option<i64>, seen: Token) -> Result<(), Void> {
        let state = self.state.partitions.get_mut(partition).ok_or(NO_PARTITION)?;
        if self.rules.has(Rule::CasReset) && state.seen() != seen {
            return Err(ANOTHER_TOKEN);
        }
        let from = state.progress.next;
        let mut progress = to.map_or_else(Progress::default, |to| Progress::at(to, -1));
        if self.rules.has(Rule::ResetToken) {
            state.token = Some(self.token);
        } else if to.is_some() {
            progress.done = std::mem::take(&mut state.progress.done);
            progress.normalise();
        }
        state.progress = progress;
        self.changes.push(Change::Reset {
            partition: partition.clone(),
            from,
            to,
            token: state.seen(),
        });
        Ok(())
    }

    pub(super) fn skip(&mut self, partition: &PartitionId, offset: i64, seen: Token) -> Result<(), Void> {
        let state = self.state.partitions.get_mut(partition).ok_or(NO_PARTITION)?;
        if self.rules.has(Rule::CasReset) && state.seen() != seen {
            return Err(ANOTHER_TOKEN);
        }
        if state.progress.next.is_none() {
            return Err("the partition has no position yet");
        }
        if state.progress.is_finished(offset) {
            return Err("the record is finished already");
        }
        state.progress.finish(offset);
        self.changes.push(Change::Skipped {
            partition: partition.clone(),
            offset,
        });
        Ok(())
    }

    pub(super) fn pause(
        &mut self,
        partition: Option<&PartitionId>,
        seen: Position,
        pause: bool,
    ) -> Result<(), Void> {
        let (paused, pause_seen) = match partition {
            None => (&mut self.state.paused, &mut self.state.pause_seen),
            Some(partition) => {
                let state = self.state.partitions.get_mut(partition).ok_or(NO_PARTITION)?;
                (&mut state.paused, &mut state.pause_seen)
            }
        };
        if self.rules.has(Rule::CasPause) && *pause_seen != seen {
            return Err("another pause or resume came first");
        }
        if *paused && pause {
            return Err("it is paused already");
        }
        // A resume of what is not paused changes nothing here; but members hear of it, whose fuse may have blown.
        if *paused != pause {
            *paused = pause;
            *pause_seen = self.at;
        }
        let change = if pause { Change::Paused } else { Change::Resumed };
        self.changes.push(change(partition.cloned()));
        Ok(())
    }

    pub(super) fn level(&mut self, level: u32) -> Result<(), Void> {
        if level <= self.state.level {
            return Err("the group's record version is as high already");
        }
        if self.state.members.values().any(|member| member.speaks < level) {
            return Err("a living member does not speak that record version");
        }
        self.state.level = level;
        self.changes.push(Change::Level(level));
        Ok(())
    }

    pub(super) fn renew(&mut self) -> Result<(), Void> {
        if self.at.epoch() <= self.state.renewed {
            return Err("the owners were renewed in this epoch");
        }
        self.state.renewed = self.at.epoch();
        for (partition, state) in &mut self.state.partitions {
            if let Some(owner) = &state.owner {
                state.token = Some(self.token);
                self.changes.push(Change::Renewed {
                    partition: partition.clone(),
                    member: owner.clone(),
                    token: self.token,
                });
            }
        }
        Ok(())
    }

    pub(super) fn mark(&mut self) -> Result<(), Void> {
        let since = |mark: Mark| self.at.offset().saturating_sub(mark.at.offset());
        if self.state.mark.is_some_and(|mark| since(mark) < MARK_DISTANCE) {
            return Err("the last mark is too near");
        }
        self.state.mark = Some(Mark { at: self.at, hash: 0 });
        let mark = Mark {
            at: self.at,
            hash: self.state.hash(),
        };
        self.state.mark = Some(mark);
        self.changes.push(Change::Marked(mark));
        Ok(())
    }
}
