//! What holds this member's work back, told to the driver, which writes it to the group's log for `groups why`.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::letters::split_why;
use super::{Deliverer, Owned, now};
use crate::broker::metadata::PartitionId;
use crate::clock;
use crate::delivery::core::Waits;
use crate::delivery::{Claim, Now};
use crate::group::record::{Holds, Last, MAX_TOLD, Note, Open, Waiting, plain};

/// How soon after something happened it is looked what that means.
const SOON: Duration = Duration::from_secs(1);
/// Between two looks: each goes through all that is not finished, if something may be wrong.
const BETWEEN: Duration = Duration::from_secs(4);
/// A handler that has an event for so many milliseconds may be what is waited for.
const LONG: i64 = 10_000;
/// What has failed for the first time since so many milliseconds is not told yet: as a rule it succeeds with the next try.
const YOUNG: i64 = 3_000;
/// A shorter pause that the handler asked for is not worth telling, in milliseconds.
const SHORT: i64 = 5_000;

/// When it is looked again, and what was told.
#[derive(Debug, Default)]
pub(super) struct Noting {
    at: Option<Instant>,
    last: Option<Instant>,
    told: Note,
}

impl Noting {
    /// Something happened: it is looked soon what holds things back now.
    pub(super) fn look(&mut self) {
        let last = self.last;
        self.at.get_or_insert_with(|| {
            let soon = clock::now() + SOON;
            last.map_or(soon, |last| soon.max(last + BETWEEN))
        });
    }

    pub(super) fn at(&self) -> Option<Instant> {
        self.at
    }
}

impl Deliverer {
    /// Tells the driver, if it is another thing than before. Where all is well and was before, that costs next to nothing.
    pub(super) async fn note(&mut self) {
        self.noting.at = None;
        self.noting.last = Some(clock::now());
        let (note, again) = self.held_back(now());
        let note = note.bounded();
        if note != self.noting.told {
            self.noting.told = note.clone();
            self.group.note(note).await;
        }
        if again || !self.running.is_empty() {
            // A handler that does not end would not be heard of.
            self.noting.look();
        }
    }

    /// What holds it back; and whether there will be more to say soon, with nothing happening until then.
    fn held_back(&self, now: Now) -> (Note, bool) {
        let mut again = false;
        let mut held: BTreeMap<Claim, Vec<Waits>> = BTreeMap::new();
        let blown = self.core.blown_by();
        let unwritten = self.owned.values().any(|owned| !owned.unwritten.is_empty());
        if self.core.holds_back() || unwritten {
            for waits in self.core.waiting(now) {
                let stuck = blown.is_some() || waits.dead.is_some() && self.is_unwritten(&waits);
                let old = |first: i64| now.unix.saturating_sub(first) >= YOUNG;
                if !stuck && !waits.first_failed.is_some_and(old) {
                    again |= waits.first_failed.is_some();
                    continue;
                }
                let held = held.entry(waits.claim).or_default();
                if held.len() < MAX_TOLD {
                    held.push(waits);
                }
            }
        }
        let mut note = Note {
            breaker: self.core.outage(now).map(|outage| Open {
                since: outage.since,
                probe: outage.probe,
                by: outage.why.as_deref().map(last),
            }),
            fuse: blown,
            pause: self
                .core
                .paused_until(now)
                .filter(|until| until - now.unix >= SHORT),
            partitions: BTreeMap::new(),
        };
        for (claim, owned) in self.owned.iter().filter(|(_, owned)| !owned.ending) {
            let longest = if self.running.is_empty() {
                None
            } else {
                self.core.longest(now, *claim)
            };
            let running = longest.filter(|(_, since)| now.unix - since >= LONG);
            let held = held.remove(claim).unwrap_or_default();
            let unread = owned.source.retry.is_some();
            if held.is_empty() && running.is_none() && !unread {
                continue;
            }
            let stopped = if unread {
                Some("it could not be read; it is tried again every 30 s".to_owned())
            } else {
                self.core.stopped(*claim)
            };
            let holds = Holds {
                token: owned.token,
                stopped,
                running,
                held: held.iter().map(|waits| waiting(owned, waits)).collect(),
            };
            note.partitions.insert(owned.id.clone(), holds);
        }
        (note, again)
    }

    fn is_unwritten(&self, waits: &Waits) -> bool {
        let owned = self.owned.get(&waits.claim);
        owned.is_some_and(|owned| owned.unwritten.contains_key(&waits.offset))
    }

    /// A dead letter was written, or not.
    pub(super) fn note_letter(&mut self, id: &PartitionId, offset: i64, why: Option<&String>) {
        let claim = self.claims.get(id);
        let Some(owned) = claim.and_then(|claim| self.owned.get_mut(claim)) else {
            return;
        };
        owned.unwritten.remove(&offset);
        if let Some(why) = why
            && owned.unwritten.len() < MAX_TOLD
        {
            owned.unwritten.insert(offset, plain(why));
        }
    }
}

fn waiting(owned: &Owned, waits: &Waits) -> Waiting {
    Waiting {
        offset: waits.offset,
        last: waits.why.as_deref().map(last),
        dead: waits.dead.map(|reason| reason.name().to_owned()),
        unwritten: owned.unwritten.get(&waits.offset).cloned(),
    }
}

fn last(why: &str) -> Last {
    let (outcome, status, excerpt) = split_why(why);
    Last {
        outcome: outcome.to_owned(),
        status: status.map(plain),
        excerpt: plain(excerpt),
    }
}
