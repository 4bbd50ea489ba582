//! Looking at the group from outside, as `barnabas groups describe` and `barnabas dlq list` do: its log, where the topics
//! end, its dead letters. And replaying those, as `barnabas dlq replay` does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::book::Place;
use crate::broker::metadata::PartitionId;
use crate::broker::{Cluster, offsets};
use crate::dead_letter::ledger::State as Standing;
use crate::dead_letter::read::everything;
use crate::dead_letter::redrive::{MAX_CHUNK, Redrive, Way, chunks, is_open, pick, plan};
use crate::dead_letter::topics::{Use, ensure, source};
use crate::dead_letter::{dead_topic, replay_topic};
use crate::group::log::{Log, Tailed};
use crate::group::record::Record;
use crate::group::rules::Rules;
use crate::group::state::State;
use crate::produce::producer::{Producer, ProducerSettings};
use crate::record::Compression;

/// Between two looks at ends and dead letters.
const EVERY: Duration = Duration::from_millis(250);
/// Looks that wait to be taken.
const INBOX: usize = 16;
/// How long a replayed letter may take to be acknowledged.
const REPLAY: Duration = Duration::from_secs(60);

/// What was seen.
#[derive(Debug)]
pub enum Look {
    /// The group's log has grown.
    Group(Group),
    /// Where partitions begin and end now.
    Ends(BTreeMap<PartitionId, (i64, i64)>),
    /// The dead letters: where each event's record is, and whether it was replayed.
    Letters(Vec<(Place, bool)>),
    /// It cannot be looked any more.
    Failed(anyhow::Error),
}

/// The group as its log tells it.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Process ids of the members.
    pub members: Vec<u32>,
    /// The partitions of all its topics.
    pub partitions: BTreeMap<PartitionId, Partition>,
}

/// A partition of the group.
#[derive(Debug, Clone, Default)]
pub struct Partition {
    /// The owner's process id.
    pub owner: Option<u32>,
    /// It is to stay with its owner.
    pub settled: bool,
    /// The first offset that is not finished.
    pub next: Option<i64>,
    /// Offsets behind that which are.
    pub done_ahead: u64,
    /// Records that wait for another try.
    pub held: usize,
}

impl Group {
    fn of(state: &State) -> Self {
        // A member's host is `NAME:PID`.
        let pid = |host: &str| host.rsplit(':').next().and_then(|pid| pid.parse().ok());
        let of_member = |id| state.members.get(id).and_then(|info| pid(&info.host));
        let partitions = state.partitions.iter().map(|(id, now)| {
            let partition = Partition {
                owner: now.owner.as_ref().and_then(of_member),
                settled: now.owner.is_some() && now.owner == now.target,
                next: now.progress.next,
                done_ahead: now.progress.done.iter().map(|(from, to)| to.abs_diff(from)).sum(),
                held: now.progress.held.values().filter(|held| held.tries > 0).count(),
            };
            (id.clone(), partition)
        });
        Self {
            members: state
                .members
                .values()
                .filter_map(|info| pid(&info.host))
                .collect(),
            partitions: partitions.collect(),
        }
    }
}

/// What is looked at, and as whom.
#[derive(Debug, Clone)]
pub struct Watched {
    /// The cluster.
    pub cluster: Cluster,
    /// The group.
    pub group: String,
    /// The topic it consumes.
    pub topic: String,
}

/// The looks. They end when this is dropped.
#[derive(Debug)]
pub struct Watch {
    looks: mpsc::Receiver<Look>,
    /// Dropping it ends the tasks.
    _tasks: JoinSet<()>,
}

impl Watch {
    /// Starts looking. The group's log is made if it is not there, and so is the topic of its dead letters.
    ///
    /// # Errors
    /// The broker refuses one of them.
    pub async fn start(watched: &Watched) -> anyhow::Result<Self> {
        let log = Log::open(&watched.cluster, &watched.group, true).await?;
        let from = source(&watched.cluster, &watched.topic).await?;
        ensure(&watched.cluster, &from, &watched.group, Use::Dead, true).await?;
        let (tell, looks) = mpsc::channel(INBOX);
        let mut tasks = JoinSet::new();
        tasks.spawn(follow(log, tell.clone()));
        tasks.spawn(poll(watched.clone(), tell));
        Ok(Self { looks, _tasks: tasks })
    }

    /// What was seen next.
    pub async fn next(&mut self) -> Look {
        match self.looks.recv().await {
            Some(look) => look,
            None => Look::Failed(anyhow!("the group can no longer be looked at")),
        }
    }
}

/// Follows the group's log.
async fn follow(log: Log, tell: mpsc::Sender<Look>) {
    let mut tail = log.tail_from(0);
    let mut state = State::default();
    loop {
        let look = match tail.next().await {
            Some(Tailed::Read { records, .. }) => {
                for record in &records {
                    if let Ok(read) = Record::decode(&record.payload) {
                        state.apply(Rules::all(), record.at, &read);
                    }
                }
                Look::Group(Group::of(&state))
            }
            Some(Tailed::Lost { .. }) => Look::Failed(anyhow!("the group's log was cut off")),
            Some(Tailed::Failed(error)) => Look::Failed(error.into()),
            None => return,
        };
        let failed = matches!(look, Look::Failed(_));
        if tell.send(look).await.is_err() || failed {
            return;
        }
    }
}

/// Asks for ends and dead letters, again and again.
async fn poll(watched: Watched, tell: mpsc::Sender<Look>) {
    loop {
        for look in [
            ends(&watched).await.map(Look::Ends),
            letters(&watched).await.map(Look::Letters),
        ] {
            let look = look.unwrap_or_else(Look::Failed);
            let failed = matches!(look, Look::Failed(_));
            if tell.send(look).await.is_err() || failed {
                return;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// Where the partitions of the topic end, and those of its replays if there are any.
async fn ends(watched: &Watched) -> anyhow::Result<BTreeMap<PartitionId, (i64, i64)>> {
    let replays = replay_topic(&watched.topic, &watched.group);
    let view = watched
        .cluster
        .refresh(Some(&[watched.topic.as_str(), replays.as_str()]))
        .await?;
    let mut partitions: Vec<PartitionId> = Vec::new();
    for topic in [&watched.topic, &replays] {
        let name: Arc<str> = Arc::from(topic.as_str());
        let found = view.topics.get(topic).filter(|topic| topic.error.is_none());
        let count = found.map_or(0, |topic| topic.partitions.len());
        partitions.extend((0..).take(count).map(|partition| (Arc::clone(&name), partition)));
    }
    let found = offsets::bounds(&watched.cluster, &partitions, true).await?;
    let mut ends = BTreeMap::new();
    for (id, bounds) in partitions.into_iter().zip(found) {
        ends.insert(id, bounds?);
    }
    Ok(ends)
}

/// How many records the topic holds.
///
/// # Errors
/// The broker cannot be asked.
pub async fn held(watched: &Watched) -> anyhow::Result<u64> {
    let ends = ends(watched).await?;
    let of_topic = ends.iter().filter(|((topic, _), _)| **topic == *watched.topic);
    Ok(of_topic
        .map(|(_, (start, end))| end.saturating_sub(*start).unsigned_abs())
        .sum())
}

/// The dead letters: where the record of each is, and whether it was replayed.
///
/// # Errors
/// They cannot be read.
pub async fn letters(watched: &Watched) -> anyhow::Result<Vec<(Place, bool)>> {
    let topic = dead_topic(&watched.topic, &watched.group);
    let all = everything(&watched.cluster, &topic).await?;
    let of = all.ledger.letters().filter_map(|letter| {
        let place = (letter.detail.letter.partition?, letter.detail.letter.offset?);
        Some((place, letter.state != Standing::Open))
    });
    Ok(of.collect())
}

/// Replays all open dead letters. Tells how many.
///
/// # Errors
/// One of them cannot be replayed, with why; the broker refuses.
pub async fn replay(watched: Watched) -> anyhow::Result<usize> {
    let cluster = watched.cluster;
    let dead: Arc<str> = Arc::from(dead_topic(&watched.topic, &watched.group));
    let all = everything(&cluster, &dead).await?;
    let open = all.ledger.letters().filter(is_open);
    let picks = open.map(|letter| pick(&all, &letter)).collect();
    let source = source(&cluster, &watched.topic).await?;
    let usable = ensure(&cluster, &source, &watched.group, Use::Replay, true).await?;
    let way = Way::Group {
        group: watched.group,
        topic: Arc::from(usable.topic),
        source,
    };
    let (planned, refused) = plan(picks, &way);
    if let Some(refused) = refused.first() {
        return Err(anyhow!(
            "letter {} cannot be replayed: {}",
            refused.id,
            refused.why
        ));
    }
    let settings = ProducerSettings {
        delivery_timeout: REPLAY,
        request_timeout: REPLAY,
        compression: Compression::default(),
    };
    let redrive = Redrive {
        cluster: cluster.clone(),
        producer: Producer::start(cluster, settings),
        topic: dead,
        ours: true,
        by: "demo".to_owned(),
        why: "the handler knows the currency now".to_owned(),
    };
    let mut done = 0;
    for chunk in chunks(&planned, MAX_CHUNK) {
        for outcome in redrive
            .replay(chunk)
            .await
            .context("replaying the dead letters")?
        {
            outcome.map_err(|why| anyhow!("a dead letter was not replayed: {why}"))?;
            done += 1;
        }
    }
    Ok(done)
}
