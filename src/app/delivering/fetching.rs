//! Which records the core gets: what the fetcher brought is kept while the core has no room for it, and fetching stops.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use super::{Deliverer, RETRY, now};
use crate::app::Notice;
use crate::clock;
use crate::delivery::core::Batch;
use crate::delivery::dedup::EventId;
use crate::delivery::{self, Claim};
use crate::fetch::cursor::Cursor;
use crate::fetch::event::{Event as Fetch, Fetched};
use crate::record::{AbortedFilter, Batches, Codec, OwnedRecord, Place, RecordView, Records, Verdict};

/// Where a partition's records come from.
#[derive(Default)]
pub(super) struct Source {
    /// Of the cursor that fetches it; 0 if there is none.
    tag: u64,
    /// Whether that one is left out of requests.
    paused: bool,
    /// Behind what the cursor brought last.
    position: i64,
    /// What was brought and not taken yet.
    rest: VecDeque<Piece>,
    /// The batch that was taken in part, by its first offset, and how far.
    opened: Option<(i64, Place)>,
    /// It could not be read: not before then.
    pub(super) retry: Option<Instant>,
}

enum Piece {
    Records(Fetched),
    /// Offsets that fell off the log's start.
    Gone(Range<i64>),
}

impl Piece {
    fn offsets(&self) -> &Range<i64> {
        match self {
            Self::Records(fetched) => &fetched.offsets,
            Self::Gone(offsets) => offsets,
        }
    }
}

impl Source {
    pub(super) fn is_fetching(&self) -> bool {
        self.tag != 0
    }
}

impl Deliverer {
    pub(super) async fn fetched(&mut self, event: Fetch) {
        match event {
            Fetch::Fetched(parts) => {
                for part in parts {
                    let id = (Arc::clone(&part.topic), part.partition);
                    let tag = part.tag;
                    self.piece(&id, tag, Piece::Records(part)).await;
                }
            }
            Fetch::Moved {
                topic,
                partition,
                tag,
                from,
                to,
            } if to > from => self.piece(&(topic, partition), tag, Piece::Gone(from..to)).await,
            Fetch::Moved {
                topic,
                partition,
                tag,
                from,
                to,
            } => {
                // A reset through the log gives the partition a new token and position; until then it is not fetched.
                let partition = (topic, partition);
                let Some(claim) = self.claim_of(&partition, tag) else {
                    return;
                };
                if let Some(owned) = self.owned.get(&claim) {
                    self.group.cut_back(partition.clone(), owned.token, to).await;
                }
                self.notices.push(Notice::CutBack { partition, from, to });
            }
            Fetch::Recreated {
                topic,
                partition,
                tag,
                from,
            } => {
                // The driver sees it as well, and gives the new topic's partitions new tokens.
                let partition = (topic, partition);
                if self.claim_of(&partition, tag).is_some() {
                    self.notices.push(Notice::Recreated { partition, from });
                }
            }
            Fetch::Failed {
                topic,
                partition,
                tag,
                error,
            } => {
                let partition = (topic, partition);
                let Some(claim) = self.claim_of(&partition, tag) else {
                    return;
                };
                if let Some(owned) = self.owned.get_mut(&claim) {
                    owned.source = Source {
                        retry: Some(clock::now() + RETRY),
                        ..Source::default()
                    };
                }
                self.noting.look();
                self.notices.push(Notice::Unread { partition, error });
            }
        }
    }

    fn claim_of(&self, id: &crate::broker::metadata::PartitionId, tag: u64) -> Option<Claim> {
        let claim = self.claims.get(id).copied()?;
        (self.owned.get(&claim)?.source.tag == tag).then_some(claim)
    }

    async fn piece(&mut self, id: &crate::broker::metadata::PartitionId, tag: u64, piece: Piece) {
        let Some(claim) = self.claim_of(id, tag) else {
            return;
        };
        let Some(owned) = self.owned.get_mut(&claim) else {
            return;
        };
        owned.source.position = piece.offsets().end;
        owned.source.rest.push_back(piece);
        self.steer(claim).await;
    }

    /// Partitions that could not be read are tried again.
    pub(super) async fn retry_sources(&mut self) {
        let now = clock::now();
        let due: Vec<Claim> = self
            .owned
            .iter()
            .filter(|(_, owned)| owned.source.retry.is_some_and(|at| at <= now))
            .map(|(claim, _)| *claim)
            .collect();
        for claim in due {
            if let Some(owned) = self.owned.get_mut(&claim) {
                owned.source.retry = None;
            }
            self.steer(claim).await;
        }
    }

    /// Gives the core what it wants of what is there, and has the rest fetched; or has fetching stop.
    pub(super) async fn steer(&mut self, claim: Claim) {
        loop {
            let Some(owned) = self.owned.get_mut(&claim) else {
                return;
            };
            let source = &mut owned.source;
            if source.retry.is_some() {
                return;
            }
            let Some(from) = self.core.wants(claim) else {
                // What comes next is there by the time it is wanted: one piece is fetched ahead.
                let pause = !source.rest.is_empty() || owned.ending;
                if source.is_fetching() && source.paused != pause {
                    source.paused = pause;
                    if pause {
                        self.partitions.pause(owned.id.clone()).await;
                    } else {
                        self.partitions.resume(owned.id.clone()).await;
                    }
                }
                return;
            };
            while source
                .rest
                .front()
                .is_some_and(|piece| piece.offsets().end <= from)
            {
                source.rest.pop_front();
            }
            match source.rest.pop_front() {
                Some(piece) if piece.offsets().start <= from => {
                    let broken = self.feed(claim, &piece);
                    let wants = self.core.wants(claim);
                    let end = piece.offsets().end;
                    if self.core.position(claim).is_some_and(|at| at < end)
                        && let Some(owned) = self.owned.get_mut(&claim)
                    {
                        owned.source.rest.push_front(piece);
                    }
                    let again = |wants| broken.as_ref().is_some_and(|broken| broken.contains(&wants));
                    if wants == Some(from) || wants.is_some_and(again) {
                        // A batch that cannot be decoded: what follows from that is another action.
                        return;
                    }
                }
                _ => return self.fetch_from(claim, from, false).await,
            }
        }
    }

    async fn fetch_from(&mut self, claim: Claim, from: i64, anew: bool) {
        let Some(owned) = self.owned.get_mut(&claim) else {
            return;
        };
        let source = &mut owned.source;
        if source.is_fetching() && source.position == from && source.rest.is_empty() {
            if std::mem::take(&mut source.paused) {
                self.partitions.resume(owned.id.clone()).await;
            }
            return;
        }
        self.last_tag += 1;
        *source = Source {
            tag: self.last_tag,
            position: from,
            ..Source::default()
        };
        let epoch = self
            .core
            .progress(claim)
            .map_or(-1, |progress| match progress.next {
                Some(next) if next == from => progress.epoch,
                _ => -1,
            });
        let mut cursor = Cursor::owned(Arc::clone(&owned.id.0), owned.id.1, from, epoch, self.last_tag);
        cursor.anew = anew;
        self.partitions.add(cursor).await;
    }

    /// Fetches a batch over a new connection that could not be decoded.
    pub(super) async fn fetch_again(&mut self, claim: Claim, from: i64) {
        if let Some(owned) = self.owned.get_mut(&claim) {
            owned.source = Source::default();
        }
        self.fetch_from(claim, from, true).await;
    }

    /// Gives the core what it wants of a piece, up to a batch that cannot be decoded; tells its offsets.
    fn feed(&mut self, claim: Claim, piece: &Piece) -> Option<Range<i64>> {
        let now = now();
        let fetched = match piece {
            Piece::Gone(offsets) => {
                self.core.lost(claim, offsets.end);
                return None;
            }
            Piece::Records(fetched) => fetched,
        };
        let mut transactions = if self.settings.read_committed {
            AbortedFilter::read_committed(fetched.aborted.iter().copied())
        } else {
            AbortedFilter::read_uncommitted()
        };
        let replay = self.owned.get(&claim).is_some_and(|owned| owned.replays);
        let ids = self
            .settings
            .delivery
            .dedup
            .is_some()
            .then(|| self.settings.dedup_id.clone());
        let max_event = self.settings.max_event;
        let of = |offsets: Range<i64>, epoch: i32, whole: bool| Batch {
            offsets,
            log_end: fetched.high_watermark,
            epoch,
            whole,
        };
        self.note_work();
        for batch in Batches::new(&fetched.set) {
            let seen = transactions.decide(&batch);
            let next = batch.header.next_offset();
            let from = self.core.wants(claim)?;
            if next <= from {
                continue;
            }
            let epoch = batch.header.leader_epoch;
            let broken = batch.header.base_offset..next;
            let codec = batch.header.codec().unwrap_or_default();
            match seen {
                Ok(Verdict::Deliver) => {}
                Ok(Verdict::Aborted | Verdict::Control(_)) => {
                    self.core.fetched(now, claim, of(from..next, epoch, true), []);
                    continue;
                }
                Err(_) => {
                    self.core.undecodable(claim, broken.clone());
                    return Some(broken);
                }
            }
            let base = batch.header.base_offset;
            let opened = self
                .owned
                .get_mut(&claim)
                .and_then(|owned| owned.source.opened.take());
            let sound = match opened.filter(|(opened, _)| *opened == base) {
                Some((_, place)) => batch.records_from(&mut self.buffer, place).ok(),
                // Damage within a batch is looked for first: what the core has taken cannot be taken back.
                None => {
                    let records = batch.records(&mut self.buffer).ok();
                    records.and_then(Records::checked)
                }
            };
            let Some(mut records) = sound else {
                self.core.undecodable(claim, broken.clone());
                return Some(broken);
            };
            // Before the record that was given last, which the core may have left.
            let mut place = records.place();
            let wanted = std::iter::from_fn(|| {
                place = records.place();
                records.next()
            });
            let wanted = wanted
                .map_while(Result::ok)
                .filter(|record| record.offset >= from);
            let records = wanted.map(|record| {
                let id = ids.as_ref().and_then(|ids| ids.of(&record, replay));
                let mut record = of_record(&record, codec, id);
                let bytes = || u32::try_from(record.body.bytes()).unwrap_or(u32::MAX);
                if max_event.is_some_and(|most| bytes() > most) {
                    record.refused = Some(crate::delivery::Reason::Invalid);
                }
                record
            });
            let whole = codec != Codec::None;
            self.core
                .fetched(now, claim, of(from..next, epoch, whole), records);
            if self.core.wants(claim) != Some(next) {
                if let Some(owned) = self.owned.get_mut(&claim) {
                    owned.source.opened = Some((base, place));
                }
                return None;
            }
        }
        // Offsets without a record at the end are done with those before them.
        if let Some(from) = self.core.wants(claim)
            && from < fetched.offsets.end
        {
            self.core
                .fetched(now, claim, of(from..fetched.offsets.end, -1, true), []);
        }
        None
    }
}

/// The record for the core, with the id that it is compared by.
fn of_record(
    record: &RecordView<'_>,
    codec: Codec,
    id: Option<EventId>,
) -> delivery::Fetched<Arc<OwnedRecord>> {
    let body = OwnedRecord::copy(record, codec);
    delivery::Fetched {
        offset: record.offset,
        key: record.key.map(hash),
        id,
        timestamp: record.timestamp,
        size: body.size(),
        body,
        refused: None,
    }
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish()
}
