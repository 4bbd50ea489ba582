//! Records and what they changed, turned into entries.

use std::collections::{BTreeMap, BTreeSet};

use super::{Entry, Event, Jump, Move, Partitions, Place, Who, entry};
use crate::group::record::{MemberId, PartitionId, Position, Record, Report, Topics};
use crate::group::state::{Applied, Change, State};

/// Turns records and what they changed into entries; it remembers what later ones refer to.
#[derive(Debug, Default)]
pub struct Teller {
    /// All the members there ever were.
    roster: BTreeMap<MemberId, Who>,
    /// Who owns a partition, or owned it last.
    owners: BTreeMap<PartitionId, MemberId>,
    /// Since when nobody owns a partition that somebody owned.
    unowned: BTreeMap<PartitionId, i64>,
    /// Since when a partition should be owned by another than it is.
    due: BTreeMap<PartitionId, i64>,
    /// Those that have a position.
    positioned: BTreeSet<PartitionId>,
}

impl Teller {
    /// One that goes on from a snapshot.
    #[must_use]
    pub fn knowing(state: &State) -> Self {
        let mut teller = Self::default();
        for (id, info) in &state.members {
            let who = Who {
                instance: info.instance.clone(),
                host: Some(info.host.clone()),
                ..Who::unknown(id)
            };
            teller.roster.insert(id.clone(), who);
        }
        for (partition, now) in &state.partitions {
            if let Some(owner) = &now.owner {
                teller.owners.insert(partition.clone(), owner.clone());
            }
            if now.progress.next.is_some() {
                teller.positioned.insert(partition.clone());
            }
        }
        teller
    }

    pub(super) fn who(&self, id: &MemberId) -> Who {
        self.roster.get(id).cloned().unwrap_or_else(|| Who::unknown(id))
    }

    /// What there is to tell of the next record of the log; `time` in milliseconds since 1970.
    pub fn tell(&mut self, at: Position, time: i64, record: &Record, applied: &Applied) -> Vec<Entry> {
        let events = match record {
            // It never holds, by what it is.
            Record::Part { mark, n, of, .. } => snapshot(*mark, *n, *of),
            Record::Note { member, .. } => vec![Event::Noted {
                member: self.who(member),
            }],
            _ if !applied.held => vec![Event::Void {
                record: record.kind(),
                by: self.author(record),
                why: applied.void.unwrap_or("it does not hold").to_owned(),
            }],
            _ => self.events(time, record, &applied.changes),
        };
        events.into_iter().map(|event| entry(at, time, event)).collect()
    }

    fn author(&self, record: &Record) -> Option<String> {
        match record {
            Record::Join { member, .. } | Record::Subscribe { member, .. } | Record::Note { member, .. } => {
                Some(self.who(member).to_string())
            }
            Record::Report(report) | Record::Leave(report) => Some(self.who(&report.member).to_string()),
            Record::Expire { by, .. }
            | Record::Assign { by, .. }
            | Record::Renew { by }
            | Record::Mark { by } => Some(self.who(by).to_string()),
            Record::Reset { by, .. }
            | Record::Skip { by, .. }
            | Record::Pause { by, .. }
            | Record::Resume { by, .. }
            | Record::Level { by, .. } => Some(by.clone()),
            Record::Found { .. } | Record::Grow { .. } | Record::Part { .. } => None,
        }
    }

    /// First what the record itself is, then what it brought about.
    fn events(&mut self, time: i64, record: &Record, changes: &[Change]) -> Vec<Event> {
        if let Record::Join {
            member,
            instance,
            host,
            ..
        } = record
        {
            let who = Who {
                instance: instance.clone(),
                host: Some(host.clone()),
                ..Who::unknown(member)
            };
            self.roster.insert(member.clone(), who);
        }
        let mut events: Vec<Event> = self.headline(record, changes).into_iter().collect();
        events.extend(self.topics(record, changes));
        if let Record::Report(report) | Record::Leave(report) = record {
            events.extend(self.progress(report, changes));
        }
        let grants = Grants::of(changes);
        self.note_departures(time, changes);
        events.extend(self.grants(time, &grants));
        self.note_targets(time, changes);
        events
    }

    /// What the record says itself.
    fn headline(&self, record: &Record, changes: &[Change]) -> Option<Event> {
        let topics = |topics: &Topics| topics.keys().map(ToString::to_string).collect::<Vec<_>>();
        Some(match record {
            Record::Found { level, .. } => Event::Founded { level: *level },
            Record::Join {
                member,
                topics: all,
                session_ms,
                ..
            } => Event::Joined {
                member: self.who(member),
                topics: topics(all),
                session_s: seconds(*session_ms),
            },
            Record::Subscribe {
                member, topics: all, ..
            } if all.is_empty() => Event::Leaving {
                member: self.who(member),
            },
            Record::Subscribe {
                member, topics: all, ..
            } => Event::Subscribed {
                member: self.who(member),
                topics: topics(all),
            },
            Record::Leave(report) => Event::Left {
                member: self.who(&report.member),
                freed: freed(changes),
            },
            Record::Expire {
                member, by, after_ms, ..
            } => Event::Expired {
                member: self.who(member),
                by: self.who(by),
                after_s: seconds(*after_ms),
                freed: freed(changes),
            },
            Record::Assign { by, .. } => Event::Assigned {
                by: self.who(by),
                moves: self.moves(changes),
            },
            Record::Reset { by, why, .. } => Event::Reset {
                by: by.clone(),
                why: why.clone(),
                partitions: changes.iter().filter_map(jump).collect(),
            },
            Record::Skip {
                by,
                why,
                partition,
                offset,
                ..
            } => Event::Skipped {
                by: by.clone(),
                why: why.clone(),
                topic: partition.0.to_string(),
                partition: partition.1,
                offset: *offset,
            },
            Record::Pause {
                by, why, partition, ..
            } => Event::Paused {
                by: by.clone(),
                why: why.clone(),
                partitions: partition.iter().collect(),
            },
            Record::Resume {
                by, why, partition, ..
            } => Event::Resumed {
                by: by.clone(),
                why: why.clone(),
                partitions: partition.iter().collect(),
            },
            Record::Level { by, level } => Event::Level {
                by: by.clone(),
                level: *level,
            },
            Record::Renew { by } => Event::Renewed {
                by: self.who(by),
                partitions: changes.iter().filter_map(renewed).collect(),
            },
            Record::Mark { by } => Event::Marked {
                by: self.who(by),
                hash: changes.iter().find_map(mark_hash)?,
            },
            Record::Report(_) | Record::Grow { .. } | Record::Part { .. } | Record::Note { .. } => {
                return None;
            }
        })
    }

    /// The moves of an assignment, those between the same two members together.
    fn moves(&self, changes: &[Change]) -> Vec<Move> {
        let mut moves: BTreeMap<(Option<&MemberId>, Option<&MemberId>), Partitions> = BTreeMap::new();
        for change in changes {
            if let Change::Target { partition, from, to } = change {
                // A partition that nobody should own may still have an owner, or had one.
                let from = from.as_ref().or_else(|| self.owners.get(partition));
                moves.entry((from, to.as_ref())).or_default().add(partition);
            }
        }
        let told = moves.into_iter().map(|((from, to), partitions)| Move {
            from: from.map(|id| self.who(id)),
            to: to.map(|id| self.who(id)),
            partitions,
        });
        told.collect()
    }

    fn topics(&mut self, record: &Record, changes: &[Change]) -> Vec<Event> {
        let mut events = Vec::new();
        for change in changes {
            match change {
                // Those of a join are told with it.
                Change::Grown { from: 0, .. } if matches!(record, Record::Join { .. }) => {}
                Change::Grown { topic, from, to } => events.push(Event::Grown {
                    topic: topic.to_string(),
                    from: *from,
                    to: *to,
                }),
                Change::Recreated { topic } => events.push(Event::Recreated {
                    topic: topic.to_string(),
                }),
                Change::Reset { partition, to, .. } => {
                    if to.is_some() {
                        self.positioned.insert(partition.clone());
                    } else {
                        self.positioned.remove(partition);
                    }
                }
                _ => {}
            }
        }
        events
    }

    /// First positions, losses, and what came too late.
    fn progress(&mut self, report: &Report, changes: &[Change]) -> Vec<Event> {
        let mut moved = BTreeSet::new();
        let mut stale = Partitions::default();
        let mut events = Vec::new();
        for change in changes {
            match change {
                Change::Progress(partition) => {
                    moved.insert(partition);
                }
                Change::Stale { partition, .. } => stale.add(partition),
                Change::Gap { partition, lost } => events.push(Event::Gap {
                    member: self.who(&report.member),
                    topic: partition.0.to_string(),
                    partition: partition.1,
                    from: lost.start,
                    to: lost.end,
                }),
                _ => {}
            }
        }
        let mut positions = Vec::new();
        for entry in report
            .entries
            .iter()
            .filter(|entry| moved.contains(&entry.partition))
        {
            if let Some(offset) = entry.progress.next
                && self.positioned.insert(entry.partition.clone())
            {
                positions.push(Place {
                    topic: entry.partition.0.to_string(),
                    partition: entry.partition.1,
                    offset,
                });
            }
        }
        if !positions.is_empty() {
            let member = self.who(&report.member);
            events.insert(0, Event::Began { member, positions });
        }
        if !stale.is_empty() {
            let (member, partitions) = (self.who(&report.member), stale);
            events.push(Event::Stale { member, partitions });
        }
        events
    }

    fn note_departures(&mut self, time: i64, changes: &[Change]) {
        for change in changes {
            if let Change::Released { partition, .. } | Change::Freed { partition, .. } = change {
                self.unowned.insert(partition.clone(), time);
            }
        }
    }

    /// Who got what, from whom, and how long nobody had it or the hand-over took.
    fn grants(&mut self, time: i64, grants: &Grants<'_>) -> Vec<Event> {
        /// From, to, whether the former owner gave it up itself.
        type Way<'a> = (Option<MemberId>, &'a MemberId, bool);
        let mut ways: BTreeMap<Way<'_>, (Partitions, Option<i64>)> = BTreeMap::new();
        for (partition, to) in &grants.granted {
            let from = self.owners.insert((*partition).clone(), (*to).clone());
            let unowned = self.unowned.remove(*partition);
            let due = self.due.remove(*partition);
            let released = grants.released.contains_key(*partition);
            let since = if released { due } else { unowned };
            let (partitions, longest) = ways.entry((from, to, released)).or_default();
            partitions.add(partition);
            *longest = (*longest).max(since.map(|since| time.saturating_sub(since).max(0)));
        }
        let mut events = Vec::new();
        for ((from, to, released), (partitions, took)) in ways {
            let (from, to) = (from.map(|id| self.who(&id)), self.who(to));
            let took = took.map(|millis| seconds(millis.unsigned_abs()));
            events.push(match from {
                Some(from) if released => Event::HandedOver {
                    from,
                    to,
                    took_s: took,
                    partitions,
                },
                from => Event::Granted {
                    to,
                    from,
                    unowned_s: took,
                    partitions,
                },
            });
        }
        let mut given_up: BTreeMap<&MemberId, Partitions> = BTreeMap::new();
        for (partition, member) in &grants.released {
            if !grants.granted.contains_key(*partition) {
                given_up.entry(member).or_default().add(partition);
            }
        }
        events.extend(given_up.into_iter().map(|(member, partitions)| Event::Released {
            member: self.who(member),
            partitions,
        }));
        events
    }

    /// From when on a partition should be handed over.
    fn note_targets(&mut self, time: i64, changes: &[Change]) {
        for change in changes {
            if let Change::Target { partition, to, .. } = change {
                let owned = self
                    .owners
                    .get(partition)
                    .filter(|_| !self.unowned.contains_key(partition));
                if to.is_some() && owned.is_some() && owned != to.as_ref() {
                    self.due.entry(partition.clone()).or_insert(time);
                } else {
                    self.due.remove(partition);
                }
            }
        }
    }
}

/// What one record gave and took.
struct Grants<'a> {
    granted: BTreeMap<&'a PartitionId, &'a MemberId>,
    released: BTreeMap<&'a PartitionId, &'a MemberId>,
}

impl<'a> Grants<'a> {
    fn of(changes: &'a [Change]) -> Self {
        let granted = changes.iter().filter_map(|change| match change {
            Change::Granted {
                partition, member, ..
            } => Some((partition, member)),
            _ => None,
        });
        let released = changes.iter().filter_map(|change| match change {
            Change::Released {
                partition, member, ..
            } => Some((partition, member)),
            _ => None,
        });
        Self {
            granted: granted.collect(),
            released: released.collect(),
        }
    }
}

/// A snapshot is told with its last piece.
fn snapshot(mark: Position, n: u32, of: u32) -> Vec<Event> {
    if n.checked_add(1) == Some(of) {
        vec![Event::Snapshot {
            mark_offset: mark.offset(),
            pieces: of,
        }]
    } else {
        Vec::new()
    }
}

fn freed(changes: &[Change]) -> Partitions {
    let freed = changes.iter().filter_map(|change| match change {
        Change::Freed { partition, .. } => Some(partition),
        _ => None,
    });
    freed.collect()
}

fn jump(change: &Change) -> Option<Jump> {
    match change {
        Change::Reset {
            partition, from, to, ..
        } => Some(Jump {
            topic: partition.0.to_string(),
            partition: partition.1,
            from: *from,
            to: *to,
        }),
        _ => None,
    }
}

fn renewed(change: &Change) -> Option<&PartitionId> {
    match change {
        Change::Renewed { partition, .. } => Some(partition),
        _ => None,
    }
}

fn mark_hash(change: &Change) -> Option<String> {
    match change {
        Change::Marked(mark) => Some(format!("{:016x}", mark.hash)),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds of a group's life fit")]
fn seconds(millis: u64) -> f64 {
    millis as f64 / 1e3
}
