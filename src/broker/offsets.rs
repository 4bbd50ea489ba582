//! ListOffsets: where partitions begin and end, and where a moment is in them; told without the protocol's types.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, ListOffsetsRequest, ListOffsetsResponse};

use super::backoff::Backoff;
use super::cluster::{Cluster, Lane, Node};
use super::error::{Error, OpenError, Retry};
use super::metadata::Metadata;
use super::request::topic_name;
use crate::clock;

/// Delays between tries.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// So many fresh answers must say that a partition does not exist until it is believed: brokers learn of a new
/// topic at different times. Not until `--timeout` as for other errors, since nearly always it is misspelt.
const MISSING: u32 = 3;

/// What to look for in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OffsetQuery {
    /// The first offset that is still there.
    Earliest,
    /// The offset behind the last record; with `read_committed` behind the last that no open transaction holds back.
    Latest,
    /// The first record of this time or later, in milliseconds since the epoch.
    At(i64),
    /// The record with the highest timestamp. Needs Kafka 3.0; older brokers take it for the earliest.
    MaxTimestamp,
}

impl OffsetQuery {
    fn timestamp(self) -> i64 {
        match self {
            Self::Latest => -1,
            Self::Earliest => -2,
            Self::MaxTimestamp => -3,
            // Lower numbers have meanings of their own; nothing is older than the epoch.
            Self::At(millis) => millis.max(0),
        }
    }
}

/// A partition, and what to look for in it. The same partition may be asked for more than once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// What to look for.
    pub query: OffsetQuery,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The offset.
    pub offset: i64,
    /// The record's time in milliseconds since the epoch, where a time was asked for.
    pub timestamp: Option<i64>,
    /// The leader epoch of the record, or of the partition's end; -1 if the broker does not tell it.
    pub leader_epoch: i32,
}

/// What came of one question: found, `None` if the partition has no such record, or why it cannot be told.
pub type Outcome = Result<Option<Found>, Error>;

/// Asks the partitions' leaders, all of them at the same time, and follows leaders that move, until `--timeout` is
/// over. The outcomes are in the order of `wanted`.
///
/// # Errors
/// If no broker could be asked for the partitions' leaders. What concerns one partition is in its outcome: a topic
/// or partition that does not exist, a refusal, [`Error::Unreachable`] for a leader that does not answer.
pub async fn list(cluster: &Cluster, wanted: &[Wanted], read_committed: bool) -> Result<Vec<Outcome>, Error> {
    let within = cluster.settings().timeout;
    let deadline = clock::now() + within;
    let mut backoff = Backoff::new(RETRY.0, RETRY.1, clock::random());
    let mut outcomes: Vec<Option<Outcome>> = vec![None; wanted.len()];
    let mut fresh = false;
    let mut refreshes = 0;
    loop {
        let open: Vec<usize> = (0..wanted.len()).filter(|&i| !is_final(&outcomes[i])).collect();
        if open.is_empty() {
            break;
        }
        let mut plan = Plan::new(&cluster.view(), wanted, &open);
        if !plan.leaderless.is_empty() && !fresh {
            refresh(cluster, wanted, &open).await?;
            refreshes += 1;
            plan = Plan::new(&cluster.view(), wanted, &open);
        }
        let told = join_all(
            plan.requests
                .iter()
                .map(|(leader, asked)| ask(cluster, *leader, wanted, asked, read_committed)),
        )
        .await;
        for (index, outcome) in plan.leaderless.into_iter().chain(told.into_iter().flatten()) {
            outcomes[index] = Some(outcome);
        }
        let again = outcomes
            .iter()
            .flatten()
            .filter_map(|outcome| Some(outcome.as_ref().err()?.retry()));
        let again: Vec<Retry> = again.filter(|again| *again != Retry::No).collect();
        let delay = backoff.next().unwrap_or(RETRY.1);
        let late = clock::now() + delay >= deadline;
        let missing = refreshes >= MISSING && outcomes.iter().all(|o| is_final(o) || is_missing(o));
        if again.is_empty() || late || missing {
            break;
        }
        tokio::time::sleep(delay).await;
        fresh = again.contains(&Retry::Refresh);
        if fresh {
            refresh(cluster, wanted, &open).await?;
            refreshes += 1;
        }
    }
    let outcomes = outcomes.into_iter().map(|outcome| {
        outcome
            .unwrap_or(Err(Error::Closed))
            .map_err(|error| lasting(error, within))
    });
    Ok(outcomes.collect())
}

/// Where the log of each partition begins and ends, asked for together.
///
/// # Errors
/// As [`list`].
pub async fn bounds(
    cluster: &Cluster,
    partitions: &[(Arc<str>, i32)],
    read_committed: bool,
) -> Result<Vec<Result<(i64, i64), Error>>, Error> {
    let wanted = |query| {
        partitions.iter().map(move |(topic, partition)| Wanted {
            topic: Arc::clone(topic),
            partition: *partition,
            query,
        })
    };
    let both: Vec<Wanted> = wanted(OffsetQuery::Earliest)
        .chain(wanted(OffsetQuery::Latest))
        .collect();
    let mut starts = list(cluster, &both, read_committed).await?;
    let ends = starts.split_off(partitions.len());
    // The earliest and the latest offset always exist.
    let offset = |outcome: Outcome| outcome.map(|found| found.map_or(0, |found| found.offset));
    let bounds = starts.into_iter().zip(ends);
    Ok(bounds
        .map(|(start, end)| Ok((offset(start)?, offset(end)?)))
        .collect())
}

fn is_final(outcome: &Option<Outcome>) -> bool {
    match outcome {
        None => false,
        Some(Ok(_)) => true,
        Some(Err(error)) => error.retry() == Retry::No,
    }
}

fn is_missing(outcome: &Option<Outcome>) -> bool {
    let code = outcome
        .as_ref()
        .and_then(|outcome| outcome.as_ref().err()?.code());
    code == Some(ResponseError::UnknownTopicOrPartition)
}

/// An error that could have gone away, at the end of the time for that.
fn lasting(error: Error, within: Duration) -> Error {
    if error.retry() == Retry::No {
        return error;
    }
    let tried = match &error {
        Error::Connect(source) => match &**source {
            OpenError::Resolve { broker, .. }
            | OpenError::Connect { broker, .. }
            | OpenError::Name { broker }
            | OpenError::Tls { broker, .. } => broker.to_string(),
        },
        Error::Login { broker, .. }
        | Error::ConnectTimeout { broker, .. }
        | Error::Peer { broker, .. }
        | Error::Timeout { broker, .. }
        | Error::Broken { broker, .. } => broker.to_string(),
        _ => return error,
    };
    Error::Unreachable {
        within,
        tried,
        source: Box::new(error),
    }
}

async fn refresh(cluster: &Cluster, wanted: &[Wanted], open: &[usize]) -> Result<(), Error> {
    let topics: BTreeSet<&str> = open.iter().map(|&index| &*wanted[index].topic).collect();
    let topics: Vec<&str> = topics.into_iter().collect();
    cluster.refresh(Some(&topics)).await.map(|_| ())
}

/// Whom to ask for what; numbers are indices of the wanted.
#[derive(Debug, Default)]
struct Plan {
    /// To which broker which questions go in one request.
    requests: Vec<(i32, Vec<usize>)>,
    /// Those that nobody can be asked for.
    leaderless: Vec<(usize, Outcome)>,
}

impl Plan {
    /// One request per leader; a broker refuses a partition that is twice in a request, so the second time it is
    /// asked for in a second one.
    fn new(view: &Metadata, wanted: &[Wanted], open: &[usize]) -> Self {
        let mut plan = Self::default();
        let mut times: BTreeMap<(&str, i32), usize> = BTreeMap::new();
        let mut requests: BTreeMap<(i32, usize), Vec<usize>> = BTreeMap::new();
        for &index in open {
            let Wanted { topic, partition, .. } = &wanted[index];
            match view.leader(topic, *partition) {
                Some((leader, _)) => {
                    let time = times.entry((topic, *partition)).or_default();
                    requests.entry((leader, *time)).or_default().push(index);
                    *time += 1;
                }
                None => plan
                    .leaderless
                    .push((index, Err(no_leader(view, &wanted[index])))),
            }
        }
        plan.requests = requests
            .into_iter()
            .map(|((leader, _), asked)| (leader, asked))
            .collect();
        plan
    }
}

fn no_leader(view: &Metadata, wanted: &Wanted) -> Error {
    let topic = view.topics.get(&*wanted.topic);
    let known = topic.is_some_and(|topic| {
        usize::try_from(wanted.partition).is_ok_and(|partition| partition < topic.partitions.len())
    });
    let code = match topic.and_then(|topic| topic.error) {
        Some(code) => code,
        None if known => ResponseError::LeaderNotAvailable,
        None => ResponseError::UnknownTopicOrPartition,
    };
    refused(wanted, code)
}

fn refused(wanted: &Wanted, code: ResponseError) -> Error {
    Error::Refused {
        what: what(wanted),
        code,
        message: None,
    }
}

fn what(wanted: &Wanted) -> String {
    format!(
        "finding offsets in partition {} of topic {}",
        wanted.partition, wanted.topic
    )
}

/// One request to one broker, one try.
async fn ask(
    cluster: &Cluster,
    leader: i32,
    wanted: &[Wanted],
    asked: &[usize],
    read_committed: bool,
) -> Vec<(usize, Outcome)> {
    let request = request(&cluster.view(), wanted, asked, read_committed);
    let response = async {
        let connection = cluster.connection(Node::Broker(leader), Lane::Other).await?;
        connection.request(&request, Duration::ZERO).await
    };
    match response.await {
        Ok(response) => answers(&response, wanted, asked),
        Err(error) => asked.iter().map(|&index| (index, Err(error.clone()))).collect(),
    }
}

fn request(view: &Metadata, wanted: &[Wanted], asked: &[usize], read_committed: bool) -> ListOffsetsRequest {
    let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for &index in asked {
        let Wanted {
            topic,
            partition,
            query,
        } = &wanted[index];
        let epoch = view.leader(topic, *partition).map_or(-1, |(_, epoch)| epoch);
        let question = ListOffsetsPartition::default()
            .with_partition_index(*partition)
            .with_current_leader_epoch(epoch)
            .with_timestamp(query.timestamp());
        topics.entry(topic).or_default().push(question);
    }
    let topics = topics.into_iter().map(|(topic, partitions)| {
        ListOffsetsTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(partitions)
    });
    ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_isolation_level(i8::from(read_committed))
        .with_topics(topics.collect())
}

fn answers(response: &ListOffsetsResponse, wanted: &[Wanted], asked: &[usize]) -> Vec<(usize, Outcome)> {
    let mut told = BTreeMap::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            told.insert((topic.name.as_str(), partition.partition_index), partition);
        }
    }
    let answer = |index: usize| {
        let wanted = &wanted[index];
        let Some(partition) = told.get(&(&*wanted.topic, wanted.partition)) else {
            return Err(refused(wanted, ResponseError::UnknownServerError));
        };
        if let Some(error) = Error::refused(|| what(wanted), partition.error_code, None) {
            return Err(error);
        }
        Ok((partition.offset >= 0).then_some(Found {
            offset: partition.offset,
            timestamp: (partition.timestamp >= 0).then_some(partition.timestamp),
            leader_epoch: partition.leader_epoch,
        }))
    };
    asked.iter().map(|&index| (index, answer(index))).collect()
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::list_offsets_response::{
        ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
    };

    use super::super::metadata::{Partition, Topic};
    use super::*;

    fn view(topic: &str, leaders: &[Option<i32>]) -> Metadata {
        let partitions = leaders.iter().map(|leader| Partition {
            leader: *leader,
            leader_epoch: 7,
            ..Partition::default()
        });
        let topic_view = Topic {
            id: [1; 16],
            internal: false,
            error: None,
            partitions: partitions.collect(),
        };
        Metadata {
            topics: BTreeMap::from([(topic.to_owned(), topic_view)]),
            ..Metadata::default()
        }
    }

    fn wanted(topic: &str, partition: i32, query: OffsetQuery) -> Wanted {
        Wanted {
            topic: topic.into(),
            partition,
            query,
        }
    }

    #[test]
    fn each_leader_is_asked_once_and_a_partition_asked_for_twice_is_in_two_requests() {
        use OffsetQuery::{Earliest, Latest};
        let all = [
            wanted("t", 0, Earliest),
            wanted("t", 0, Latest),
            wanted("t", 1, Earliest),
            wanted("t", 2, Latest),
            wanted("t", 1, Latest),
        ];
        let plan = Plan::new(&view("t", &[Some(1), Some(2), Some(1)]), &all, &[0, 1, 2, 3, 4]);
        let requests = [(1, vec![0, 3]), (1, vec![1]), (2, vec![2]), (2, vec![4])];
        assert_eq!(plan.requests, requests);
        assert!(plan.leaderless.is_empty());
    }

    #[test]
    fn a_partition_without_a_leader_is_told_from_one_that_does_not_exist() {
        let all = [
            wanted("t", 0, OffsetQuery::Latest),
            wanted("t", 1, OffsetQuery::Latest),
            wanted("u", 0, OffsetQuery::Latest),
            wanted("t", -1, OffsetQuery::Latest),
        ];
        let plan = Plan::new(&view("t", &[None]), &all, &[0, 1, 2, 3]);
        let codes: Vec<_> = plan
            .leaderless
            .iter()
            .map(|(index, outcome)| (*index, outcome.as_ref().unwrap_err().code().unwrap()))
            .collect();
        let missing = ResponseError::UnknownTopicOrPartition;
        assert_eq!(
            codes,
            [
                (0, ResponseError::LeaderNotAvailable),
                (1, missing),
                (2, missing),
                (3, missing)
            ]
        );
    }

    #[test]
    fn a_request_carries_the_epoch_and_groups_by_topic() {
        let all = [
            wanted("t", 0, OffsetQuery::At(-5)),
            wanted("t", 1, OffsetQuery::MaxTimestamp),
        ];
        let request = request(&view("t", &[Some(1), Some(1)]), &all, &[0, 1], true);
        assert_eq!(request.isolation_level, 1);
        assert_eq!(request.topics.len(), 1);
        let asked: Vec<_> = request.topics[0]
            .partitions
            .iter()
            .map(|p| (p.partition_index, p.current_leader_epoch, p.timestamp))
            .collect();
        assert_eq!(asked, [(0, 7, 0), (1, 7, -3)]);
    }

    #[test]
    fn answers_come_back_to_their_questions() {
        let all = [
            wanted("t", 0, OffsetQuery::At(5)),
            wanted("t", 1, OffsetQuery::At(5)),
            wanted("t", 2, OffsetQuery::At(5)),
            wanted("t", 3, OffsetQuery::At(5)),
        ];
        let partition = |index, offset, timestamp, code| {
            ListOffsetsPartitionResponse::default()
                .with_partition_index(index)
                .with_offset(offset)
                .with_timestamp(timestamp)
                .with_error_code(code)
        };
        let topic = ListOffsetsTopicResponse::default()
            .with_name(topic_name("t"))
            .with_partitions(vec![
                partition(2, -1, -1, 6),
                partition(1, -1, -1, 0),
                partition(0, 42, 6, 0),
            ]);
        let response = ListOffsetsResponse::default().with_topics(vec![topic]);
        let told = answers(&response, &all, &[0, 1, 2, 3]);
        let found = told[0].1.as_ref().unwrap().unwrap();
        assert_eq!((found.offset, found.timestamp), (42, Some(6)));
        assert_eq!(told[1].1.as_ref().unwrap(), &None);
        let codes: Vec<_> = told[2..]
            .iter()
            .map(|(_, o)| o.as_ref().unwrap_err().code())
            .collect();
        assert_eq!(
            codes,
            [
                Some(ResponseError::NotLeaderOrFollower),
                Some(ResponseError::UnknownServerError)
            ]
        );
    }
}
