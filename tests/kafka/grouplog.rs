//! A group's log on real Kafka: made, checked, followed through what may happen to it; what Kafka keeps for a group of
//! its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use barnabas::broker::settings::{BrokerSettings, HostPort, Login, SaslSettings};
use barnabas::broker::{Cluster, commits, groups};
use barnabas::clock;
use barnabas::group::log::{Log, LogError, LogRecord, PREFIX, Tail, Tailed};
use barnabas::group::member::Lost;

use crate::support::{Brokers, Kafka};

/// A name that no other test has.
pub(crate) fn group(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

fn settings(bootstrap: &str) -> BrokerSettings {
    let address = |address: &str| {
        let (host, port) = address.rsplit_once(':').expect("HOST:PORT");
        HostPort {
            host: host.to_owned(),
            port: port.parse().expect("a port"),
        }
    };
    BrokerSettings {
        bootstrap: bootstrap.split(',').map(address).collect(),
        client_id: "barnabas-test".to_owned(),
        timeout: Duration::from_secs(10),
        request_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(5),
        tls: None,
        sasl: None,
    }
}

pub(crate) fn cluster(kafka: &Brokers) -> Cluster {
    Cluster::new(settings(&kafka.bootstrap())).expect("no files are needed")
}

/// One thread, as the program has it.
pub(crate) fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(test)
}

/// What comes next that is more than "nothing new".
async fn next(tail: &mut Tail) -> Tailed {
    let news = async {
        loop {
            match tail.next().await {
                Some(Tailed::Read { records, .. }) if records.is_empty() => {}
                Some(news) => return news,
                None => panic!("the tail has ended"),
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), news)
        .await
        .expect("news within 30 s")
}

/// So many records.
async fn records(tail: &mut Tail, count: usize) -> Vec<LogRecord> {
    let mut all = Vec::new();
    while all.len() < count {
        match next(tail).await {
            Tailed::Read { records, .. } => all.extend(records),
            other => panic!("{other:?}"),
        }
    }
    all
}

async fn failure(tail: &mut Tail) -> LogError {
    loop {
        if let Tailed::Failed(error) = next(tail).await {
            return error;
        }
    }
}

#[test]
fn a_new_log_is_made_as_it_should_be_and_found_again() {
    let Some(kafka) = Brokers::any() else { return };
    block_on(async {
        let (cluster, group) = (cluster(kafka), group("new"));
        let missing = Log::open(&cluster, &group, false).await.unwrap_err();
        assert!(matches!(missing, LogError::Missing { .. }), "{missing}");
        let made = Log::open(&cluster, &group, true).await.unwrap();
        assert_eq!(made.warnings(), [] as [String; 0]);
        assert_eq!(made.bounds().await.unwrap(), (0, 0));
        let found = Log::open(&cluster, &group, false).await.unwrap();
        assert_eq!(found.id(), made.id());
        assert_eq!(made.id_text().len(), 22);
    });
}

#[test]
fn a_log_that_would_lose_records_is_refused() {
    let Some(kafka) = Brokers::any() else { return };
    block_on(async {
        let cluster = cluster(kafka);
        for (name, setting, value) in [
            ("compacted", "cleanup.policy", "compact"),
            ("timed", "retention.ms", "60000"),
            ("bounded", "retention.bytes", "1000000"),
        ] {
            let group = wrong_log(kafka, name, &[("retention.ms", "-1"), (setting, value)]);
            let error = Log::open(&cluster, &group, true).await.unwrap_err().to_string();
            assert!(error.contains(setting) && error.contains(value), "{error}");
        }
        let unclean = wrong_log(
            kafka,
            "unclean",
            &[("retention.ms", "-1"), ("unclean.leader.election.enable", "true")],
        );
        let log = Log::open(&cluster, &unclean, true).await.unwrap();
        assert_eq!(log.warnings().len(), 1, "{:?}", log.warnings());
    });
}

/// The group whose log was made by somebody else.
fn wrong_log(kafka: &Brokers, name: &str, configs: &[(&str, &str)]) -> String {
    // Later settings replace earlier ones of the same name.
    let configs: BTreeMap<&str, &str> = configs.iter().copied().collect();
    let configs: Vec<(&str, &str)> = configs.into_iter().collect();
    let topic = kafka.topic_with(&format!("{PREFIX}{name}"), 1, &configs);
    topic.strip_prefix(PREFIX).expect("it was put there").to_owned()
}

#[test]
fn records_are_read_in_order_by_all_who_follow() {
    let Some(kafka) = Brokers::any() else { return };
    block_on(async {
        let cluster = cluster(kafka);
        let log = Log::open(&cluster, &group("order"), true).await.unwrap();
        let mut early = log.tail_from(0);
        for n in 0..20 {
            let offset = log.append(format!("record {n}").as_bytes()).await.unwrap();
            assert_eq!(offset, n);
        }
        let mut late = log.tail_from(0);
        for tail in [&mut early, &mut late] {
            let records = records(tail, 20).await;
            for (n, record) in records.iter().enumerate() {
                assert_eq!(record.payload, format!("record {n}").as_bytes());
                assert_eq!(record.at.offset(), i64::try_from(n).unwrap());
                assert!((clock::unix_millis() - record.timestamp).abs() < 60_000);
            }
        }
        let (all, start, end) = log.read_all().await.unwrap();
        assert_eq!((all.len(), start, end), (20, 0, 20));
    });
}

#[test]
fn who_follows_hears_at_once_and_at_the_pace_that_is_set() {
    let Some(kafka) = Brokers::any() else { return };
    block_on(async {
        let cluster = cluster(kafka);
        let log = Log::open(&cluster, &group("pace"), true).await.unwrap();
        let mut tail = log.tail_from(0);
        log.append(b"first").await.unwrap();
        records(&mut tail, 1).await;
        let (mut slowest, mut answers) = (Duration::ZERO, 0);
        for _ in 0..20 {
            let before = clock::now();
            log.append(b"next").await.unwrap();
            records(&mut tail, 1).await;
            slowest = slowest.max(before.elapsed());
        }
        assert!(slowest < Duration::from_millis(500), "{slowest:?}");
        tail.pace().set(Duration::from_millis(300));
        let before = clock::now();
        for _ in 0..50 {
            log.append(b"many").await.unwrap();
        }
        let mut read = 0;
        while read < 50 {
            if let Tailed::Read { records, .. } = next(&mut tail).await {
                read += records.len();
                answers += 1;
            }
        }
        let most = 2 + before.elapsed().as_millis() / 300;
        assert!(answers <= most, "{answers} answers in {:?}", before.elapsed());
    });
}

#[test]
fn a_reader_that_a_cut_overtook_is_told_where_the_log_begins() {
    let Some(kafka) = Brokers::any() else { return };
    block_on(async {
        let cluster = cluster(kafka);
        let log = Log::open(&cluster, &group("cut"), true).await.unwrap();
        for _ in 0..10 {
            log.append(b"record").await.unwrap();
        }
        log.delete_before(7).await.unwrap();
        assert_eq!(log.bounds().await.unwrap(), (7, 10));
        let mut tail = log.tail_from(3);
        match next(&mut tail).await {
            Tailed::Lost { lost, restart_at } => assert_eq!((lost, restart_at), (Lost::OutOfRange, 7)),
            other => panic!("{other:?}"),
        }
        let rest = records(&mut tail, 3).await;
        assert_eq!(rest[0].at.offset(), 7);
        let mut beyond = log.tail_from(11);
        match next(&mut beyond).await {
            Tailed::Lost { lost, restart_at } => assert_eq!((lost, restart_at), (Lost::OutOfRange, 7)),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_log_that_is_deleted_or_made_anew_ends_its_readers() {
    let Some(kafka) = Brokers::any() else { return };
    block_on(async {
        let cluster = cluster(kafka);
        let group = group("deleted");
        let log = Log::open(&cluster, &group, true).await.unwrap();
        log.append(b"record").await.unwrap();
        let mut tail = log.tail_from(0);
        records(&mut tail, 1).await;
        kafka.delete_topic(log.topic());
        let error = failure(&mut tail).await;
        assert!(matches!(error, LogError::Deleted { .. }), "{error}");

        let log = Log::open(&cluster, &group, true).await.unwrap();
        log.append(b"record").await.unwrap();
        let mut tail = log.tail_from(0);
        records(&mut tail, 1).await;
        kafka.delete_topic(log.topic());
        let anew = loop {
            match Log::open(&cluster, &group, true).await {
                Ok(anew) if anew.id() != log.id() => break anew,
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        };
        let error = failure(&mut tail).await;
        let told = matches!(error, LogError::Recreated { .. } | LogError::Deleted { .. });
        assert!(told, "{error}");
        assert_ne!(anew.id(), log.id());
    });
}

#[test]
fn a_long_poll_for_records_holds_nothing_up() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("idle", 1);
    block_on(async {
        use barnabas::broker::fetch::FetchLimits;
        use barnabas::fetch::cursor::Cursor;
        use barnabas::fetch::fetcher::Fetcher;
        let cluster = cluster(kafka);
        cluster.refresh(Some(&[&topic])).await.unwrap();
        let limits = FetchLimits {
            max_bytes: 1 << 20,
            max_partition_bytes: 1 << 20,
            min_bytes: 1,
            max_wait: Duration::from_secs(20),
        };
        let cursor = Cursor::new(Arc::from(topic.as_str()), 0, 0, None);
        let fetcher = Fetcher::start(cluster.clone(), vec![cursor], limits, false);
        let log = Log::open(&cluster, &group("lanes"), true).await.unwrap();
        let mut tail = log.tail_from(0);
        let before = clock::now();
        for _ in 0..5 {
            log.append(b"record").await.unwrap();
            records(&mut tail, 1).await;
        }
        assert!(
            before.elapsed() < Duration::from_secs(3),
            "{:?}",
            before.elapsed()
        );
        drop(fetcher);
    });
}

#[test]
fn a_leader_that_moves_or_dies_is_followed() {
    let Some(kafka) = Kafka::three() else { return };
    block_on(async {
        let cluster = cluster(&kafka);
        let log = Log::open(&cluster, &group("leader"), true).await.unwrap();
        let mut tail = log.tail_from(0);
        let mut sent = 0;
        for kill in [false, true] {
            log.append(b"before").await.unwrap();
            sent += 1;
            records(&mut tail, 1).await;
            let leader = kafka.leader(log.topic(), 0);
            if kill {
                kafka.kill(leader);
            } else {
                kafka.stop(leader);
            }
            let before = clock::now();
            while let Err(error) = log.append(b"after").await {
                assert!(before.elapsed() < Duration::from_secs(60), "{error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let read = records(&mut tail, 1).await;
            assert!(read[0].at.epoch() > 0);
            // Tries that failed may have been written all the same.
            sent += read.len();
            kafka.start(leader);
        }
        let (all, _, _) = log.read_all().await.unwrap();
        assert!(all.len() >= sent, "{} of {sent}", all.len());
        assert!(all.is_sorted_by_key(|record| record.at));
    });
}

#[test]
fn a_missing_right_is_named() {
    let Some(kafka) = Kafka::shared_secured() else {
        return;
    };
    let as_guest = || {
        let bootstrap = format!("127.0.0.1:{}", kafka.secured_ports().sasl_plaintext);
        let login = Login {
            username: "guest".to_owned(),
            password: "guest-secret".to_owned(),
        };
        BrokerSettings {
            sasl: Some(SaslSettings::Plain(login)),
            ..settings(&bootstrap)
        }
    };
    let group = group("rights");
    let topic = format!("{PREFIX}{group}");
    let grant = |right: &str| {
        let bootstrap = kafka.bootstrap();
        let args = [
            "--bootstrap-server",
            &bootstrap,
            "--add",
            "--allow-principal",
            "User:guest",
            "--operation",
            right,
            "--topic",
            &topic,
        ];
        kafka
            .java("org.apache.kafka.tools.AclCommand", &args, b"")
            .success();
    };
    block_on(async {
        let guest = Cluster::new(as_guest()).unwrap();
        let refused = |error: LogError| {
            let text = error.to_string();
            assert!(matches!(error, LogError::Denied { .. }), "{text}");
            text
        };
        let text = refused(Log::open(&guest, &group, true).await.unwrap_err());
        assert!(text.contains(&topic), "{text}");
        grant("Describe");
        let text = refused(Log::open(&guest, &group, true).await.unwrap_err());
        assert!(text.contains("Create"), "{text}");
        grant("Create");
        let log = Log::open(&guest, &group, true).await.unwrap();
        assert!(
            log.warnings()[0].contains("DescribeConfigs"),
            "{:?}",
            log.warnings()
        );
        let error = log.append(b"record").await.unwrap_err();
        let text = refused(LogError::of_write(error, log.topic()));
        assert!(text.contains("Write"), "{text}");
        let text = refused(failure(&mut log.tail_from(0)).await);
        assert!(text.contains("Read"), "{text}");
        grant("Write");
        grant("Read");
        log.append(b"record").await.unwrap();
        records(&mut log.tail_from(0), 1).await;
        let text = refused(log.delete_before(1).await.unwrap_err());
        assert!(text.contains("Delete"), "{text}");
        grant("Delete");
        log.delete_before(1).await.unwrap();
    });
}

#[test]
fn offsets_are_committed_to_kafkas_own_group_and_seen_by_its_tools() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.topic("committed", 3);
    block_on(async {
        let (cluster, group) = (cluster(kafka), group("native"));
        let name: Arc<str> = Arc::from(topic.as_str());
        let committed = |offset| commits::Committed {
            offset,
            leader_epoch: 0,
            metadata: "barnabas AAAA 7".to_owned(),
        };
        let all = BTreeMap::from([
            ((Arc::clone(&name), 0), committed(0)),
            ((Arc::clone(&name), 2), committed(0)),
        ]);
        let told = commits::commit(&cluster, &group, &all).await.unwrap();
        assert!(told.values().all(Result::is_ok), "{told:?}");
        assert_eq!(commits::committed(&cluster, &group, None).await.unwrap(), all);
        let one = [(Arc::clone(&name), 2), (Arc::clone(&name), 1)];
        let some = commits::committed(&cluster, &group, Some(&one)).await.unwrap();
        assert_eq!(some.len(), 1);

        let described = groups::describe(&cluster, &group).await.unwrap();
        assert_eq!(described.state, "Empty");
        let (listed, silent) = groups::list(&cluster).await.unwrap();
        assert!(silent.is_empty(), "{silent:?}");
        assert!(listed.iter().any(|listed| listed.name == group));
        let bootstrap = kafka.bootstrap();
        let args = ["--bootstrap-server", &bootstrap, "--describe", "--group", &group];
        let seen = kafka
            .java(
                "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
                &args,
                b"",
            )
            .success();
        assert_eq!(seen.text().matches(&topic).count(), 2, "{}", seen.text());

        groups::delete(&cluster, &group).await.unwrap();
        let gone = groups::describe(&cluster, &group).await.unwrap();
        assert_eq!(gone.state, "Dead");
        assert!(
            commits::committed(&cluster, &group, None)
                .await
                .unwrap()
                .is_empty()
        );
    });
}

#[test]
fn a_log_that_was_cut_back_is_told_from_one_that_grew() {
    let Some(kafka) = Kafka::three() else { return };
    block_on(async {
        use barnabas::broker::admin::{NewTopic, create_topics, wait_until_led};
        let (cluster, group) = (cluster(&kafka), group("unclean"));
        let topic = format!("{PREFIX}{group}");
        let configs = [
            ("retention.ms", "-1"),
            ("unclean.leader.election.enable", "true"),
            ("min.insync.replicas", "1"),
        ];
        let new = NewTopic {
            name: topic.clone(),
            partitions: Some(1),
            // Two of three brokers can be down only one after the other: they are the controllers as well.
            replication: Some(2),
            configs: configs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
        };
        create_topics(&cluster, &[new], false)
            .await
            .unwrap()
            .pop()
            .unwrap()
            .unwrap();
        wait_until_led(&cluster, &[(&topic, 1)]).await.unwrap();
        let log = Log::open(&cluster, &group, true).await.unwrap();
        let mut tail = log.tail_from(0);
        let write = async |text: &str| {
            let before = clock::now();
            while let Err(error) = log.append(text.as_bytes()).await {
                assert!(before.elapsed() < Duration::from_secs(90), "{error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        write("kept").await;
        let leader = kafka.leader(&topic, 0);
        let view = cluster.refresh(Some(&[&topic])).await.unwrap();
        let replicas = &view.topics[&topic].partitions[0].replicas;
        let follower = replicas
            .iter()
            .map(|node| usize::try_from(*node).unwrap() - 1)
            .find(|index| *index != leader)
            .unwrap();
        kafka.stop(follower);
        write("lost 1").await;
        write("lost 2").await;
        let read = records(&mut tail, 3).await;
        assert_eq!(read.last().unwrap().payload, "lost 2");
        kafka.kill(leader);
        kafka.start(follower);
        write("new 1").await;
        write("new 2").await;
        write("new 3").await;
        match next(&mut tail).await {
            // It depends on how far the new log has grown when it is asked.
            Tailed::Lost { lost, restart_at } => assert_eq!((lost, restart_at), (Lost::Diverged, 0)),
            other => panic!("{other:?}"),
        }
        let read = records(&mut tail, 4).await;
        assert_eq!(read[0].payload, "kept");
        assert!(read[1].payload.starts_with(b"new") && read[1].at.epoch() > read[0].at.epoch());
    });
}
