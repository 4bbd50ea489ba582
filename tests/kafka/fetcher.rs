//! The fetcher itself: partitions that come, go and rest while it runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use barnabas::broker::Cluster;
use barnabas::broker::cluster::{Lane, Node};
use barnabas::broker::fetch::FetchLimits;
use barnabas::broker::settings::{BrokerSettings, HostPort};
use barnabas::fetch::cursor::Cursor;
use barnabas::fetch::event::Event;
use barnabas::fetch::fetcher::{Fetcher, Partitions};

use crate::barnabas_bin::produce;
use crate::support::Brokers;

/// How long the broker holds back an answer: what comes sooner did not wait for that.
const WAIT: Duration = Duration::from_secs(20);
/// Longest that anything may take that does not wait for it.
const SOON: Duration = Duration::from_secs(5);

fn on_runtime(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(test);
}

fn cluster(kafka: &Brokers) -> Cluster {
    let port = kafka
        .bootstrap()
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok());
    let cluster = Cluster::new(BrokerSettings {
        bootstrap: vec![HostPort {
            host: "127.0.0.1".to_owned(),
            port: port.expect("one broker"),
        }],
        client_id: "fetcher".to_owned(),
        timeout: Duration::from_secs(10),
        request_timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        tls: None,
        sasl: None,
    });
    cluster.expect("no TLS files")
}

fn open(kafka: &Brokers) -> (Fetcher, Partitions) {
    open_on(cluster(kafka))
}

fn open_on(cluster: Cluster) -> (Fetcher, Partitions) {
    let limits = FetchLimits {
        max_bytes: 1 << 20,
        max_partition_bytes: 1 << 20,
        min_bytes: 1,
        max_wait: WAIT,
    };
    Fetcher::open(cluster, limits, true)
}

fn cursor(topic: &Arc<str>, partition: i32, position: i64, tag: u64) -> Cursor {
    Cursor::owned(Arc::clone(topic), partition, position, -1, tag)
}

/// Partition, tag, and the range of the next records.
async fn next(fetcher: &mut Fetcher) -> (i32, u64, std::ops::Range<i64>) {
    let event = tokio::time::timeout(SOON, fetcher.next()).await;
    match event.expect("records come soon").expect("it runs") {
        Event::Fetched(parts) => {
            assert_eq!(parts.len(), 1, "one partition at a time");
            (parts[0].partition, parts[0].tag, parts[0].offsets.clone())
        }
        other => panic!("{other:?}"),
    }
}

async fn nothing(fetcher: &mut Fetcher) {
    let event = tokio::time::timeout(Duration::from_millis(800), fetcher.next()).await;
    assert!(event.is_err(), "{event:?}");
}

#[test]
fn a_partition_that_comes_does_not_wait_for_the_answer_to_a_request_without_it() {
    let Some(kafka) = Brokers::any() else { return };
    let topic: Arc<str> = Arc::from(kafka.topic("comes", 3));
    produce(kafka, &topic, &["-p", "1"], b"a\nb\n").success();
    on_runtime(async {
        let (mut fetcher, partitions) = open(kafka);
        partitions.add(cursor(&topic, 0, 0, 1)).await;
        // From here on a request is held back by the broker.
        nothing(&mut fetcher).await;
        let came: Instant = barnabas::clock::now();
        partitions.add(cursor(&topic, 1, 0, 2)).await;
        assert_eq!(next(&mut fetcher).await, (1, 2, 0..2));
        crate::support::loud(&format!(
            "a partition that comes is fetched after {:.1?}",
            came.elapsed()
        ));
        // And goes on while the first request is still out.
        produce(kafka, &topic, &["-p", "1"], b"c\n").success();
        assert_eq!(next(&mut fetcher).await, (1, 2, 2..3));
        produce(kafka, &topic, &["-p", "0"], b"d\n").success();
        assert_eq!(next(&mut fetcher).await, (0, 1, 0..1));
        produce(kafka, &topic, &["-p", "1"], b"e\n").success();
        assert_eq!(next(&mut fetcher).await, (1, 2, 3..4));
    });
}

#[test]
fn a_cursor_that_begins_anew_waits_for_nothing_and_goes_over_a_new_connection() {
    let Some(kafka) = Brokers::any() else { return };
    let topic: Arc<str> = Arc::from(kafka.topic("anew", 1));
    produce(kafka, &topic, &[], b"a\nb\n").success();
    on_runtime(async {
        let cluster = cluster(kafka);
        let (mut fetcher, partitions) = open_on(cluster.clone());
        let connection = async || {
            let view = cluster.view();
            let (leader, _) = view.leader(&topic, 0).expect("it has a leader");
            let connection = cluster.connection(Node::Broker(leader), Lane::Fetch).await;
            connection.expect("it is there")
        };
        partitions.add(cursor(&topic, 0, 0, 1)).await;
        assert_eq!(next(&mut fetcher).await, (0, 1, 0..2));
        let first = connection().await;
        assert!(Arc::ptr_eq(&first, &connection().await), "it stays");
        let mut anew = cursor(&topic, 0, 0, 2);
        anew.anew = true;
        // The broker holds back a request over the old one.
        partitions.add(anew).await;
        assert_eq!(next(&mut fetcher).await, (0, 2, 0..2));
        assert!(!Arc::ptr_eq(&first, &connection().await), "it was given up");
    });
}

#[test]
fn a_partition_that_goes_and_comes_back_is_read_under_its_new_tag_only() {
    let Some(kafka) = Brokers::any() else { return };
    let topic: Arc<str> = Arc::from(kafka.topic("goes", 1));
    on_runtime(async {
        let (mut fetcher, partitions) = open(kafka);
        partitions.add(cursor(&topic, 0, 0, 1)).await;
        nothing(&mut fetcher).await;
        partitions.remove((Arc::clone(&topic), 0)).await;
        // The answer to the request under way is for nobody.
        produce(kafka, &topic, &[], b"a\nb\nc\n").success();
        nothing(&mut fetcher).await;
        partitions.add(cursor(&topic, 0, 1, 2)).await;
        assert_eq!(next(&mut fetcher).await, (0, 2, 1..3));
        partitions.add(cursor(&topic, 0, 2, 3)).await;
        assert_eq!(next(&mut fetcher).await, (0, 3, 2..3));
        nothing(&mut fetcher).await;
    });
}

#[test]
fn a_paused_partition_is_not_asked_for_and_the_others_go_on() {
    let Some(kafka) = Brokers::any() else { return };
    let topic: Arc<str> = Arc::from(kafka.topic("pauses", 2));
    on_runtime(async {
        let (mut fetcher, partitions) = open(kafka);
        partitions.add(cursor(&topic, 0, 0, 1)).await;
        partitions.pause((Arc::clone(&topic), 0)).await;
        partitions.add(cursor(&topic, 1, 0, 2)).await;
        produce(kafka, &topic, &["-p", "0"], b"a\n").success();
        produce(kafka, &topic, &["-p", "1"], b"b\n").success();
        assert_eq!(next(&mut fetcher).await, (1, 2, 0..1));
        nothing(&mut fetcher).await;
        partitions.resume((Arc::clone(&topic), 0)).await;
        assert_eq!(next(&mut fetcher).await, (0, 1, 0..1));
    });
}

#[test]
fn a_position_beyond_the_end_stops_a_partition_of_somebody_who_decides_himself() {
    let Some(kafka) = Brokers::any() else { return };
    let topic: Arc<str> = Arc::from(kafka.topic("beyond", 1));
    produce(kafka, &topic, &[], b"a\n").success();
    on_runtime(async {
        let (mut fetcher, partitions) = open(kafka);
        partitions.add(cursor(&topic, 0, 5, 7)).await;
        let told = tokio::time::timeout(SOON, fetcher.next())
            .await
            .expect("it is told");
        assert!(matches!(
            told,
            Some(Event::Moved {
                tag: 7,
                from: 5,
                to: 1,
                ..
            })
        ));
        produce(kafka, &topic, &[], b"b\n").success();
        nothing(&mut fetcher).await;
        partitions.add(cursor(&topic, 0, 1, 8)).await;
        assert_eq!(next(&mut fetcher).await, (0, 8, 1..2));
    });
}
