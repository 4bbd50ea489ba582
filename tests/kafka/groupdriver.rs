//! Members of a group on real Kafka, in one process: what the driver adds to the pure core.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use barnabas::broker::Cluster;
use barnabas::broker::commits;
use barnabas::clock;
use barnabas::group::driver::{self, Event, Failure, Group, GroupSettings, Lease, StartFrom, Topics};
use barnabas::group::log::{LogError, Outcome, administer, replay, topic_of};
use barnabas::group::mirror::Marker;
use barnabas::group::record::{PartitionId, Record, Token};
use barnabas::progress::Progress;
use tokio::sync::mpsc;

use crate::barnabas_bin::produce;
use crate::grouplog::{block_on, cluster, group};
use crate::support::{Brokers, Kafka, Live, kcat};

const LIMIT: Duration = Duration::from_secs(30);

fn settings(group: &str, topic: &str) -> GroupSettings {
    GroupSettings {
        group: group.to_owned(),
        topics: Topics::Named(vec![Arc::from(topic)]),
        from: StartFrom::Earliest,
        instance: None,
        host: "test".to_owned(),
        session: Duration::from_secs(10),
        report: Duration::from_secs(1),
        drain: Duration::from_secs(10),
        grace: Duration::ZERO,
        read_committed: false,
        rebuild: false,
        tell_reports: false,
    }
}

/// A member that does what it is told and nothing else.
struct Worker {
    group: Group,
    lease: Lease,
    events: mpsc::Receiver<Event>,
    owned: BTreeMap<PartitionId, (Token, Progress)>,
    ready: bool,
    left: bool,
    removed: usize,
}

impl Worker {
    async fn start(cluster: &Cluster, settings: GroupSettings) -> Result<Self, Failure> {
        let (group, events) = driver::start(cluster.clone(), settings).await?;
        Ok(Self {
            lease: group.lease(),
            group,
            events,
            owned: BTreeMap::new(),
            ready: false,
            left: false,
            removed: 0,
        })
    }

    async fn step(&mut self) {
        let Some(event) = self.events.recv().await else {
            // One that has left shall not keep the others from working.
            return std::future::pending().await;
        };
        match event {
            Event::Start {
                partition,
                token,
                progress,
                ..
            } => {
                assert!(self.lease.may_start());
                self.owned.insert(partition, (token, progress));
            }
            Event::Drain { partition, token } | Event::Cancel { partition, token } => {
                if self.owned.get(&partition).is_some_and(|(ours, _)| *ours == token) {
                    self.owned.remove(&partition);
                    self.group.ended(partition, token).await;
                }
            }
            Event::Ready { .. } => self.ready = true,
            Event::Left => self.left = true,
            Event::Failed(failure) => panic!("{failure}"),
            Event::Removed { .. } => self.removed += 1,
            Event::Pause { .. }
            | Event::Unpause { .. }
            | Event::Resumed
            | Event::Skip { .. }
            | Event::Reported { .. } => {}
        }
    }

    async fn report(&mut self, partition: i32, next: i64) {
        let found = self.owned.iter_mut().find(|(id, _)| id.1 == partition);
        let (id, (token, progress)) = found.expect("it is owned");
        progress.next = Some(next);
        self.group.progress(id.clone(), *token, progress.clone()).await;
    }

    fn next(&self, partition: i32) -> Option<i64> {
        let found = self.owned.iter().find(|(id, _)| id.1 == partition);
        found.and_then(|(_, (_, progress))| progress.next)
    }
}

/// Lets all of them work until this holds.
async fn until(workers: &mut [Worker], what: &str, holds: impl Fn(&[Worker]) -> bool) {
    let work = async {
        while !holds(&*workers) {
            let steps = workers.iter_mut().map(|worker| Box::pin(worker.step()));
            futures_util::future::select_all(steps).await;
        }
    };
    tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| {
        let owned: Vec<_> = workers.iter().map(|worker| &worker.owned).collect();
        panic!("not within {LIMIT:?}: {what}; owned: {owned:?}")
    });
}

/// Kafka's own commits of the group, by partition.
async fn committed(cluster: &Cluster, group: &str) -> BTreeMap<i32, (i64, String)> {
    let committed = commits::committed(cluster, group, None)
        .await
        .expect("the coordinator answers");
    committed
        .into_iter()
        .map(|((_, partition), committed)| (partition, (committed.offset, committed.metadata)))
        .collect()
}

/// Waits until Kafka's own group has this commit.
async fn until_committed(cluster: &Cluster, group: &str, partition: i32, offset: i64) {
    let wait = async {
        loop {
            let told = committed(cluster, group).await;
            if told.get(&partition).is_some_and(|(told, _)| *told == offset) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, wait)
        .await
        .unwrap_or_else(|_| panic!("offset {offset} of partition {partition} is not committed"));
}

#[test]
fn members_share_a_topic_hand_over_and_are_seen_by_kafkas_tools() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("shared", 6);
    block_on(async {
        let (cluster, group) = (cluster(kafka), group("share"));
        let mut workers = vec![Worker::start(&cluster, settings(&group, &topic)).await.unwrap()];
        until(&mut workers, "the first has all", |w| {
            w[0].ready && w[0].owned.len() == 6
        })
        .await;
        assert_eq!(workers[0].next(3), Some(0));
        workers[0].report(3, 0).await;
        until_committed(&cluster, &group, 3, 0).await;
        workers.push(Worker::start(&cluster, settings(&group, &topic)).await.unwrap());
        until(&mut workers, "both have half", |w| {
            w[1].ready && w.iter().all(|w| w.owned.len() == 3)
        })
        .await;
        let replayed = replay(&cluster, &group).await.unwrap();
        assert_eq!(replayed.state.members.len(), 2);
        workers[1].group.leave();
        until(&mut workers, "the other has all again", |w| {
            w[1].left && w[0].owned.len() == 6
        })
        .await;
        workers.pop();
        workers[0].report(3, 17).await;
        workers[0].group.leave();
        until(&mut workers, "the last one leaves", |w| w[0].left).await;
        let told = committed(&cluster, &group).await;
        assert_eq!((told.len(), told[&3].0), (6, 17), "{told:?}");
        assert!(
            told.values().all(|(_, text)| text.parse::<Marker>().is_ok()),
            "{told:?}"
        );
    });
}

#[test]
fn a_group_begins_where_it_is_told_to() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("begin", 1);
    produce(kafka, &topic, &[], b"1\n2\n3\n4\n5\n").success();
    block_on(async {
        let cluster = cluster(kafka);
        let id = (Arc::from(topic.as_str()), 0);
        let three = commits::Committed {
            offset: 3,
            leader_epoch: -1,
            metadata: String::new(),
        };
        let native = group("begin-native");
        commits::commit(&cluster, &native, &BTreeMap::from([(id, three)]))
            .await
            .unwrap();
        for (name, from, next) in [
            ("begin-earliest", StartFrom::Earliest, 0),
            ("begin-latest", StartFrom::Latest, 5),
            ("begin-young", StartFrom::Time(i64::MAX / 2), 5),
            ("begin-old", StartFrom::Time(1), 0),
            ("begin-taken", StartFrom::KafkaGroup(native), 3),
        ] {
            let settings = GroupSettings {
                from,
                ..settings(&group(name), &topic)
            };
            let mut workers = [Worker::start(&cluster, settings).await.unwrap()];
            until(&mut workers, name, |w| w[0].ready).await;
            assert_eq!(workers[0].next(0), Some(next), "{name}");
        }
    });
}

#[test]
fn a_reset_moves_a_running_member() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("reset", 1);
    block_on(async {
        let (cluster, group) = (cluster(kafka), group("reset"));
        let mut workers = [Worker::start(&cluster, settings(&group, &topic)).await.unwrap()];
        until(&mut workers, "it works", |w| w[0].ready).await;
        workers[0].report(0, 40).await;
        let id: PartitionId = (Arc::from(topic.as_str()), 0);
        let decide = |state: &barnabas::group::state::State| {
            let seen = state.partitions[&id].seen();
            Ok::<_, LogError>(Some(Record::Reset {
                by: "test".to_owned(),
                why: "to see it".to_owned(),
                partitions: vec![(id.clone(), Some(7), seen)],
            }))
        };
        let outcome = administer(&cluster, &group, decide).await.unwrap();
        assert!(matches!(outcome, Outcome::Held(_)), "{outcome:?}");
        until(&mut workers, "it jumps", |w| w[0].next(0) == Some(7)).await;
        until_committed(&cluster, &group, 0, 7).await;
        // A source that was cut back is a reset as well.
        let (token, _) = workers[0].owned[&id].clone();
        workers[0].group.cut_back(id.clone(), token, 2).await;
        until(&mut workers, "it goes back", |w| w[0].next(0) == Some(2)).await;
    });
}

#[test]
fn a_lost_log_is_founded_anew_only_when_asked_for_and_where_the_group_was() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("lost", 2);
    block_on(async {
        let (cluster, group) = (cluster(kafka), group("lost"));
        let mut workers = [Worker::start(&cluster, settings(&group, &topic)).await.unwrap()];
        until(&mut workers, "it works", |w| w[0].ready).await;
        workers[0].report(0, 11).await;
        workers[0].report(1, 22).await;
        until_committed(&cluster, &group, 0, 11).await;
        until_committed(&cluster, &group, 1, 22).await;
        drop(workers);
        let log = topic_of(&group).unwrap();
        kafka.delete_topic(&log);
        barnabas::broker::admin::wait_until_gone(&cluster, &[&log])
            .await
            .unwrap();
        let forgotten = loop {
            match Worker::start(&cluster, settings(&group, &topic)).await {
                Err(Failure::Log(error @ LogError::Forgotten { .. })) => break error.to_string(),
                // The topic is still being deleted.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                Ok(_) => panic!("it was founded anew"),
            }
        };
        assert!(forgotten.contains("--rebuild-from-native"), "{forgotten}");
        let settings = GroupSettings {
            rebuild: true,
            from: StartFrom::Latest,
            ..settings(&group, &topic)
        };
        let mut workers = [Worker::start(&cluster, settings).await.unwrap()];
        until(&mut workers, "it works again", |w| w[0].ready).await;
        assert_eq!((workers[0].next(0), workers[0].next(1)), (Some(11), Some(22)));
    });
}

#[test]
fn members_by_kafkas_own_protocol_stop_the_mirror_and_not_the_group() {
    let Some(kafka) = Brokers::any() else { return };
    if kcat(&["-V"], b"").is_none() {
        return;
    }
    let topic = kafka.topic("mixed", 1);
    block_on(async {
        let (cluster, group) = (cluster(kafka), group("mixed"));
        let mut native = std::process::Command::new("kcat");
        native.args(["-b", &kafka.bootstrap(), "-G", &group, &topic]);
        let _native = Live::start(native);
        let joined = async {
            loop {
                let described = barnabas::broker::groups::describe(&cluster, &group)
                    .await
                    .unwrap();
                if described.state == "Stable" {
                    return described;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let described = tokio::time::timeout(LIMIT, joined).await.unwrap();
        assert_eq!(described.members.len(), 1);
        let mut workers = [Worker::start(&cluster, settings(&group, &topic)).await.unwrap()];
        until(&mut workers, "it works", |w| w[0].ready).await;
        workers[0].report(0, 5).await;
        let read = async {
            loop {
                let state = replay(&cluster, &group).await.unwrap().state;
                if state
                    .partitions
                    .values()
                    .any(|state| state.progress.next == Some(5))
                {
                    return;
                }
            }
        };
        tokio::time::timeout(LIMIT, read).await.unwrap();
        let told = committed(&cluster, &group).await;
        assert!(
            told.values().all(|(_, text)| text.parse::<Marker>().is_err()),
            "{told:?}"
        );
    });
}

#[test]
fn the_death_of_the_broker_that_leads_the_log_expires_nobody() {
    let Some(kafka) = Kafka::three() else { return };
    let topic = kafka.topic("work", 6);
    block_on(async {
        let (cluster_of_all, group) = (cluster(&kafka), group("broker-death"));
        let mut workers = Vec::new();
        for _ in 0..2 {
            let own = cluster(&kafka);
            workers.push(Worker::start(&own, settings(&group, &topic)).await.unwrap());
        }
        until(&mut workers, "both share", |w| {
            w.iter().all(|w| w.owned.len() == 3)
        })
        .await;
        let leader = kafka.leader(&topic_of(&group).unwrap(), 0);
        kafka.kill(leader);
        // Longer than a session: whoever is to be expired is by then.
        idle(&mut workers, 25).await;
        assert!(workers.iter().all(|w| w.removed == 0 && w.owned.len() == 3));
        assert!(workers.iter().all(|w| w.lease.may_start()));
        kafka.start(leader);
        for worker in &mut workers {
            let partition = worker.owned.keys().next().unwrap().1;
            worker.report(partition, 9).await;
        }
        let seen = async {
            loop {
                let state = replay(&cluster_of_all, &group).await.unwrap().state;
                let nine = state.partitions.values().filter(|p| p.progress.next == Some(9));
                if nine.count() == 2 {
                    return;
                }
                idle(&mut workers, 1).await;
            }
        };
        tokio::time::timeout(LIMIT, seen).await.unwrap();
    });
}

#[test]
fn a_member_that_dies_is_replaced_when_its_session_is_over() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("death", 4);
    block_on(async {
        let group = group("death");
        let quick = || GroupSettings {
            session: Duration::from_secs(2),
            report: Duration::from_millis(500),
            ..settings(&group, &topic)
        };
        let mut workers = Vec::new();
        for _ in 0..2 {
            let own = cluster(kafka);
            workers.push(Worker::start(&own, quick()).await.unwrap());
        }
        until(&mut workers, "both share", |w| {
            w.iter().all(|w| w.owned.len() == 2)
        })
        .await;
        let since = clock::now();
        drop(workers.remove(0));
        until(&mut workers, "the other has all", |w| w[0].owned.len() == 4).await;
        let took = since.elapsed();
        crate::support::loud(&format!("replaced after {took:?}, session 2 s"));
        assert!(took < Duration::from_secs(4), "{took:?}");
    });
}

/// Prints how long joining and leaving take, and what three idle members cost: CPU of this process (their bytes are seen
/// with `ss -tinp` meanwhile).
#[test]
#[ignore = "a measurement"]
fn how_long_a_join_and_a_leave_take_and_what_three_idle_members_cost() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("idle", 12);
    let took = |what: &str, since: std::time::Instant| {
        crate::support::loud(&format!("{what}: {:?}", since.elapsed()));
    };
    block_on(async {
        let group = group("idle");
        let mut workers = Vec::new();
        for _ in 0..3 {
            let since = clock::now();
            // Each with connections of its own, as processes have them.
            let own = cluster(kafka);
            workers.push(Worker::start(&own, settings(&group, &topic)).await.unwrap());
            took("started", since);
            until(&mut workers, "all share", |w| {
                w.iter()
                    .all(|worker| worker.ready && worker.owned.len() == 12 / w.len())
            })
            .await;
            took("all share", since);
        }
        for round in 0..3 {
            let since = clock::now();
            workers[0].group.leave();
            until(&mut workers, "it leaves", |w| w[0].left).await;
            took("left", since);
            until(&mut workers, "the others have all", |w| {
                w[1].owned.len() + w[2].owned.len() == 12
            })
            .await;
            took(&format!("leave {round}: the others have all"), since);
            let since = clock::now();
            workers[0] = Worker::start(&cluster(kafka), settings(&group, &topic))
                .await
                .unwrap();
            until(&mut workers, "all share", |w| {
                w.iter().all(|w| w.owned.len() == 4)
            })
            .await;
            took("all share again", since);
        }
        let since = clock::now();
        // As if its process had died.
        drop(workers.pop());
        until(&mut workers, "the others have all", |w| {
            w.iter().map(|w| w.owned.len()).sum::<usize>() == 12
        })
        .await;
        took("death, session 10 s: the others have all", since);
        workers.push(
            Worker::start(&cluster(kafka), settings(&group, &topic))
                .await
                .unwrap(),
        );
        until(&mut workers, "all share", |w| {
            w.iter().all(|w| w.owned.len() == 4)
        })
        .await;
        idle(&mut workers, 3).await;
        let before = cpu_ticks();
        idle(&mut workers, 30).await;
        let ticks = u32::try_from(cpu_ticks() - before).unwrap();
        let percent = f64::from(ticks) / 30.0;
        crate::support::loud(&format!("3 idle members: {percent:.2} % of a core"));
    });
}

async fn idle(workers: &mut [Worker], seconds: u64) {
    let work = async {
        loop {
            let steps = workers.iter_mut().map(|worker| Box::pin(worker.step()));
            futures_util::future::select_all(steps).await;
        }
    };
    tokio::select! {
        () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
        () = work => {}
    }
}

/// This process' time on the CPU, in hundredths of a second.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |field: usize| fields[field].parse::<u64>().expect("a number");
    ticks(11) + ticks(12)
}
