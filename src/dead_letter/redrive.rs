//! Dead letters replayed, discarded and purged.
//!
//! A letter is published first and marked as replayed with that acknowledged: a crash in between makes it come twice, and
//! the other order would lose it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::envelope::{Envelope, letter_id, sha256};
use super::ledger::{Place, Standing, State};
use super::letter::Letter;
use super::publish::{Outgoing, publish};
use super::read::{Detail, Everything, ReadError, Stored, records};
use super::replay::{MAX_REPLAYS, Origin, address, restore};
use super::resolution::{Kind, Resolution};
use super::topics::Source;
use crate::broker::records::delete_before;
use crate::broker::{Cluster, Error};
use crate::clock;
use crate::produce::producer::Producer;
use crate::record::{Codec, Compression};

/// Letters that are read, published and marked together at most.
pub const MAX_CHUNK: usize = 256;
/// Their bytes at most, beyond the first one.
const MAX_CHUNK_BYTES: usize = 16 << 20;

/// A letter that was chosen.
#[derive(Debug, Clone)]
pub struct Pick {
    /// Its id.
    pub id: String,
    /// Its newest copy.
    pub place: Place,
    /// What its headers say.
    pub letter: Letter,
    /// Bytes of it.
    pub size: usize,
    /// The partitions that get its resolution.
    pub resolve_in: Vec<i32>,
    /// Where it goes, if it is replayed.
    pub to: Option<Target>,
}

/// Where a letter goes.
#[derive(Debug, Clone)]
pub struct Target {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// Where it came from, on a topic of replays.
    pub origin: Option<Origin>,
}

/// A letter that cannot be replayed, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Its id.
    pub id: String,
    /// Why.
    pub why: String,
}

/// How to replay.
#[derive(Debug, Clone)]
pub enum Way {
    /// To the group's topic of replays.
    Group {
        /// The group.
        group: String,
        /// The topic of replays.
        topic: Arc<str>,
        /// What the letters' topic is now.
        source: Source,
    },
    /// To the topics that the letters came from, of which these exist.
    Source(BTreeMap<String, Source>),
}

/// A chosen letter as one to be discarded.
#[must_use]
pub fn pick(all: &Everything, standing: &Standing<'_, Detail>) -> Pick {
    Pick {
        id: standing.id.to_owned(),
        place: standing.place,
        letter: standing.detail.letter.clone(),
        size: standing.detail.size,
        resolve_in: all.ledger.partitions_of(standing.id),
        to: None,
    }
}

/// Decides where each of the picks goes, in the order of the source: a key's letters are replayed in their order.
#[must_use]
pub fn plan(picks: Vec<Pick>, way: &Way) -> (Vec<Pick>, Vec<Refused>) {
    let (mut planned, mut refused) = (Vec::new(), Vec::new());
    for mut pick in picks {
        match target(&pick, way) {
            Ok(target) => {
                pick.to = Some(target);
                planned.push(pick);
            }
            Err(why) => refused.push(Refused { id: pick.id, why }),
        }
    }
    let order = |pick: &Pick| {
        let topic = pick.letter.topic.clone();
        (topic, pick.letter.partition, pick.letter.offset, pick.place)
    };
    planned.sort_by_cached_key(order);
    (planned, refused)
}

fn target(pick: &Pick, way: &Way) -> Result<Target, String> {
    let letter = &pick.letter;
    if letter.is_batch() {
        return Err("it is a batch that cannot be decoded, and nobody can process it".to_owned());
    }
    let unknown = || "its headers do not say where it came from".to_owned();
    let (Some(from), Some(partition), Some(offset)) = (&letter.topic, letter.partition, letter.offset) else {
        return Err(unknown());
    };
    let source = match way {
        Way::Group { source, .. } if source.topic != *from => {
            return Err(format!("its headers say that it came from topic {from}"));
        }
        Way::Group { source, .. } => source,
        Way::Source(sources) => sources
            .get(from)
            .ok_or_else(|| format!("there is no topic {from} any more"))?,
    };
    if partition >= source.partitions {
        return Err(format!(
            "it came from partition {partition}, and topic {from} has {} now",
            source.partitions
        ));
    }
    let topic_id = letter.topic_id.unwrap_or(source.id);
    match way {
        Way::Source(_) => Ok(Target {
            topic: Arc::from(from.as_str()),
            partition,
            origin: None,
        }),
        Way::Group { .. } if letter.replays >= MAX_REPLAYS => Err(format!(
            "it failed again after {MAX_REPLAYS} replays: mend what it fails of, then --to-source, or discard it"
        )),
        Way::Group { group, topic, .. } => Ok(Target {
            topic: Arc::clone(topic),
            partition,
            origin: Some(Origin {
                group: group.clone(),
                topic: from.clone(),
                topic_id,
                partition,
                offset,
                timestamp: letter.timestamp.unwrap_or(-1),
                // One of another family gets the id that ours would have.
                id: letter
                    .id
                    .clone()
                    .unwrap_or_else(|| letter_id(group, topic_id, partition, offset)),
                replays: letter.replays + 1,
            }),
        }),
    }
}

/// Divides picks into chunks that fit into memory, of `most` letters each.
#[must_use]
pub fn chunks(picks: &[Pick], most: usize) -> Vec<&[Pick]> {
    let most = most.clamp(1, MAX_CHUNK);
    let mut chunks = Vec::new();
    let (mut from, mut bytes) = (0, 0_usize);
    for (index, pick) in picks.iter().enumerate() {
        // Of a value that is not here the size is known.
        let value = pick.letter.value_size.and_then(|size| usize::try_from(size).ok());
        let size = pick.size.saturating_add(value.unwrap_or(0));
        if index > from && (index - from >= most || bytes.saturating_add(size) > MAX_CHUNK_BYTES) {
            chunks.push(&picks[from..index]);
            (from, bytes) = (index, 0);
        }
        bytes = bytes.saturating_add(size);
    }
    if from < picks.len() {
        chunks.push(&picks[from..]);
    }
    chunks
}

/// Works on a topic of dead letters.
#[derive(Debug)]
pub struct Redrive {
    /// The cluster.
    pub cluster: Cluster,
    /// What publishes.
    pub producer: Producer,
    /// The topic of dead letters.
    pub topic: Arc<str>,
    /// Whether it is one of ours: others get no resolutions, which nobody there would understand.
    pub ours: bool,
    /// Who does it.
    pub by: String,
    /// Why; may be empty.
    pub why: String,
}

/// What came of one pick: done, or why not.
pub type Outcome = Result<(), String>;

impl Redrive {
    /// Publishes letters to where they go, and marks those that were acknowledged. Tells of each, in order.
    ///
    /// # Errors
    /// The letters cannot be read; nothing was published.
    pub async fn replay(&self, picks: &[Pick]) -> Result<Vec<Outcome>, ReadError> {
        let wanted: BTreeSet<Place> = picks.iter().map(|pick| pick.place).collect();
        let mut letters = records(&self.cluster, &self.topic, &wanted).await?;
        self.fetch_values(picks, &mut letters).await?;
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(picks.len());
        let (mut outgoing, mut sent) = (Vec::new(), Vec::new());
        for (index, pick) in picks.iter().enumerate() {
            let made = letters
                .get(&pick.place)
                .ok_or_else(|| "it is not there any more: retention, or a purge, was faster".to_owned())
                .and_then(|stored| record(pick, stored));
            match (made, &pick.to) {
                (Ok((record, codec)), Some(to)) => {
                    outgoing.push(Outgoing {
                        topic: Arc::clone(&to.topic),
                        partition: to.partition,
                        record,
                        compression: Compression::new(codec, None).unwrap_or_default(),
                    });
                    sent.push(index);
                    outcomes.push(Ok(()));
                }
                (Ok(_), None) => outcomes.push(Err("it is not known where to".to_owned())),
                (Err(why), _) => outcomes.push(Err(why)),
            }
        }
        let results = publish(&self.producer, outgoing, clock::unix_millis()).await;
        let mut done = Vec::new();
        for (index, result) in sent.into_iter().zip(results) {
            match result {
                Ok(_) => done.push(index),
                Err(error) => outcomes[index] = Err(error.chain()),
            }
        }
        self.resolve(picks, &done, Kind::Replayed, &mut outcomes).await;
        Ok(outcomes)
    }

    /// Marks letters as discarded. Tells of each, in order.
    pub async fn discard(&self, picks: &[Pick]) -> Vec<Outcome> {
        let mut outcomes = vec![Ok(()); picks.len()];
        let all: Vec<usize> = (0..picks.len()).collect();
        self.resolve(picks, &all, Kind::Discarded, &mut outcomes).await;
        outcomes
    }

    /// Takes the place of letters without a value: what the source still has.
    async fn fetch_values(
        &self,
        picks: &[Pick],
        letters: &mut BTreeMap<Place, Stored>,
    ) -> Result<(), ReadError> {
        let mut by_topic: BTreeMap<&str, Vec<(&Pick, Place)>> = BTreeMap::new();
        for pick in picks.iter().filter(|pick| pick.letter.is_reference()) {
            let letter = &pick.letter;
            if let (Some(topic), Some(partition), Some(offset)) =
                (&letter.topic, letter.partition, letter.offset)
            {
                let at = Place { partition, offset };
                by_topic.entry(topic).or_default().push((pick, at));
            }
        }
        for (topic, wanted) in by_topic {
            let places = wanted.iter().map(|(_, place)| *place).collect();
            // A topic that is gone has nothing; what is missing is told letter by letter.
            let mut found = match records(&self.cluster, topic, &places).await {
                Ok(found) => found,
                Err(error) if error.is_unreachable() => return Err(error),
                Err(_) => BTreeMap::new(),
            };
            for (pick, place) in wanted {
                let source = found.remove(&place).filter(|source| {
                    let hash = source.value.as_deref().map(sha256);
                    hash == pick.letter.value_sha256
                });
                match source {
                    Some(source) => drop(letters.insert(pick.place, source)),
                    None => {
                        if let Some(letter) = letters.get_mut(&pick.place) {
                            letter.value = None;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes resolutions of the picks with these indices.
    async fn resolve(&self, picks: &[Pick], done: &[usize], kind: Kind, outcomes: &mut [Outcome]) {
        if !self.ours {
            return;
        }
        let (mut outgoing, mut of) = (Vec::new(), Vec::new());
        for &index in done {
            let pick = &picks[index];
            let resolution = Resolution {
                id: pick.id.clone(),
                kind,
                replays: pick.letter.replays,
                by: self.by.clone(),
                why: self.why.clone(),
                to: pick.to.as_ref().map(|to| to.topic.to_string()),
            };
            for &partition in &pick.resolve_in {
                outgoing.push(Outgoing {
                    topic: Arc::clone(&self.topic),
                    partition,
                    record: resolution.seal(),
                    compression: Compression::default(),
                });
                of.push(index);
            }
        }
        let results = publish(&self.producer, outgoing, clock::unix_millis()).await;
        for (index, result) in of.into_iter().zip(results) {
            if let Err(error) = result {
                let what = match kind {
                    Kind::Replayed => "it was replayed, but cannot be marked as that, and stays open",
                    Kind::Discarded => "it cannot be marked",
                };
                outcomes[index] = Err(format!("{what}: {}", error.chain()));
            }
        }
    }
}

/// What to publish of a letter: as it was before, and where it came from.
fn record<'a>(pick: &Pick, stored: &'a Stored) -> Result<(Envelope<'a>, Codec), String> {
    if pick.letter.is_reference() && stored.value.is_none() {
        return Err(format!(
            "its value was too large to be kept, and topic {} does not have it any more",
            pick.letter.topic.as_deref().unwrap_or("(unknown)")
        ));
    }
    let mut record = restore(
        &pick.letter,
        stored.key.as_deref(),
        stored.value.as_deref(),
        stored.headers(),
    );
    if let Some(origin) = pick.to.as_ref().and_then(|to| to.origin.as_ref()) {
        address(&mut record, origin);
    }
    Ok((record, stored.codec))
}

/// Whether a letter is open.
#[must_use]
pub fn is_open(standing: &Standing<'_, Detail>) -> bool {
    standing.state == State::Open
}

/// What a purge of one partition does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purge {
    /// The partition.
    pub partition: i32,
    /// Where it begins.
    pub from: i64,
    /// Where it will begin.
    pub to: i64,
    /// Where it ends.
    pub end: i64,
}

/// Up to where the partitions can be deleted: those in which that changes nothing are left out.
#[must_use]
pub fn purges(all: &Everything) -> Vec<Purge> {
    let ends = all.bounds.iter().map(|(partition, (_, end))| (*partition, *end));
    let points = all.ledger.purge_points(&ends.collect());
    let purge = |(partition, (from, end)): (&i32, &(i64, i64))| {
        let to = *points.get(partition)?;
        (to > *from).then_some(Purge {
            partition: *partition,
            from: *from,
            to,
            end: *end,
        })
    };
    all.bounds.iter().filter_map(purge).collect()
}

/// Deletes a partition's beginning; tells where it begins now.
///
/// # Errors
/// The brokers' word.
pub async fn purge(cluster: &Cluster, topic: &str, purge: &Purge) -> Result<i64, Error> {
    delete_before(cluster, topic, purge.partition, purge.to).await
}
