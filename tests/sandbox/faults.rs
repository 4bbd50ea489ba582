//! Faults on demand, through the library and through the command.

use std::time::Duration;

use barnabas::sandbox::{Control, Fault, Kind};
use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;

use crate::place::{Process, barnabas, inside};
use crate::wire::{Client, NOBODY, batch, fetch, topic};

const NOT_LEADER: i16 = 6;
const NOT_ENOUGH_REPLICAS: i16 = 19;
const STORAGE_ERROR: i16 = 56;
const FENCED_EPOCH: i16 = 74;

fn fault(kind: Kind) -> Fault {
    Fault {
        kind,
        ms: 0,
        api: None,
        topic: None,
        partition: None,
        chance: 1.0,
        count: None,
        for_ms: None,
    }
}

fn good() -> Vec<u8> {
    batch(&[("k", Some("v"))], barnabas::clock::unix_millis(), NOBODY)
}

#[tokio::test]
async fn a_partition_refuses_as_told_and_as_often() {
    let sandbox = inside(&[("t", 2, &[])]).await;
    let mut client = Client::connect(sandbox.address()).await;
    for (kind, code) in [
        (Kind::NotEnoughReplicas, NOT_ENOUGH_REPLICAS),
        (Kind::FullDisk, STORAGE_ERROR),
        (Kind::LeaderMove, NOT_LEADER),
    ] {
        let told = Fault {
            count: Some(1),
            partition: Some(0),
            topic: Some("t".to_owned()),
            ..fault(kind)
        };
        assert_eq!(sandbox.control(&Control::Fault(told)).await.unwrap(), "\"done\"");
        assert_eq!(
            client.produce("t", 1, None, good()).await.error_code,
            0,
            "{kind:?}"
        );
        assert_eq!(client.produce("t", 0, None, good()).await.error_code, code);
        assert_eq!(
            client.produce("t", 0, None, good()).await.error_code,
            0,
            "{kind:?} is over"
        );
    }
}

#[tokio::test]
async fn after_a_leader_move_the_epoch_is_a_new_one_and_the_old_one_fenced() {
    let sandbox = inside(&[("t", 1, &[])]).await;
    let mut client = Client::connect(sandbox.address()).await;
    client.produce("t", 0, None, good()).await;
    let moved = Fault {
        count: Some(0),
        ..fault(Kind::LeaderMove)
    };
    sandbox.control(&Control::Fault(moved)).await.unwrap();
    let one = MetadataRequestTopic::default().with_name(Some(topic("t")));
    let metadata = client
        .ask(12, MetadataRequest::default().with_topics(Some(vec![one])))
        .await;
    assert_eq!(metadata.topics[0].partitions[0].leader_epoch, 1);
    let mut old = fetch("t", 0, 0, false);
    old.topics[0].partitions[0].current_leader_epoch = 0;
    assert_eq!(
        client.ask(12, old).await.responses[0].partitions[0].error_code,
        FENCED_EPOCH
    );
}

#[tokio::test]
async fn answers_are_late_missing_or_throttled_as_told() {
    let sandbox = inside(&[("t", 1, &[])]).await;
    let mut client = Client::connect(sandbox.address()).await;
    let late = Fault {
        ms: 150,
        count: Some(1),
        api: Some("Metadata".to_owned()),
        ..fault(Kind::Delay)
    };
    sandbox.control(&Control::Fault(late)).await.unwrap();
    let started = barnabas::clock::now();
    client.ask(12, MetadataRequest::default()).await;
    assert!(started.elapsed() >= Duration::from_millis(140));

    let held = Fault {
        ms: 100,
        count: Some(1),
        ..fault(Kind::Throttle)
    };
    sandbox.control(&Control::Fault(held)).await.unwrap();
    assert_eq!(
        client.ask(12, MetadataRequest::default()).await.throttle_time_ms,
        100
    );
    let started = barnabas::clock::now();
    assert_eq!(
        client.ask(12, MetadataRequest::default()).await.throttle_time_ms,
        0
    );
    assert!(
        started.elapsed() >= Duration::from_millis(80),
        "the client was not held back"
    );

    let gone = Fault {
        count: Some(1),
        ..fault(Kind::Disconnect)
    };
    sandbox.control(&Control::Fault(gone)).await.unwrap();
    client.send(12, &MetadataRequest::default()).await;
    assert!(client.receive::<MetadataRequest>(12).await.is_none());

    let mut client = Client::connect(sandbox.address()).await;
    let after = Fault {
        count: Some(1),
        ..fault(Kind::DisconnectAfter)
    };
    sandbox.control(&Control::Fault(after)).await.unwrap();
    client
        .send(
            9,
            &kafka_protocol::messages::ProduceRequest::default().with_acks(1),
        )
        .await;
    assert!(
        client
            .receive::<kafka_protocol::messages::ProduceRequest>(9)
            .await
            .is_none()
    );
}

#[tokio::test]
async fn with_the_clock_ahead_retention_takes_what_is_young() {
    let sandbox = inside(&[("t", 1, &[("retention.ms", "3600000")])]).await;
    let mut client = Client::connect(sandbox.address()).await;
    client.produce("t", 0, None, good()).await;
    sandbox.control(&Control::Shift(7_200_000)).await.unwrap();
    let started = barnabas::clock::now();
    while client.offset("t", -2).await.0 != 1 {
        assert!(started.elapsed() < Duration::from_secs(10));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn the_command_begins_lists_and_ends_faults() {
    let sandbox = Process::start(&[]);
    let tell = |args: &[&str]| {
        barnabas(
            &[&["sandbox", "fault", "-b", &sandbox.address], args].concat(),
            b"",
        )
    };
    tell(&["delay", "--by", "1ms", "--api", "produce", "--chance", "0.5"]).success();
    let listed = tell(&["list"]).success();
    assert!(
        listed.text().contains("\"kind\":\"delay\"") && listed.text().contains("0.5"),
        "{}",
        listed.text()
    );
    tell(&["clear"]).success();
    assert_eq!(
        tell(&["list"]).success().text().trim(),
        r#"{"faults":[],"shift":0}"#
    );
    tell(&["delay", "--by", "1ms", "--api", "Produced"])
        .code(1)
        .says("there is no API Produced: Produce, ");
    tell(&["full-disk", "--topic", "nowhere"])
        .code(1)
        .says("there is no topic nowhere");
    tell(&["delay"]).code(2).says("--by");
}

#[test]
fn our_producer_gets_everything_through_in_order_whatever_goes_wrong() {
    let sandbox = Process::start(&["--seed", "7"]);
    let tell = |args: &[&str]| {
        barnabas(
            &[&["sandbox", "fault", "-b", &sandbox.address], args].concat(),
            b"",
        )
        .success()
    };
    barnabas(&["topics", "create", "-b", &sandbox.address, "t"], b"").success();
    for what in [
        &["disconnect-after", "--chance", "0.1", "--api", "Produce"][..],
        &["disconnect", "--chance", "0.1", "--api", "Produce"],
        &["leader-move", "--chance", "0.1"],
        &["not-enough-replicas", "--chance", "0.1"],
        &["full-disk", "--chance", "0.1"],
    ] {
        tell(&[what, &["--count", "10"]].concat());
    }
    let lines: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    let args = [
        "produce",
        "-b",
        &sandbox.address,
        "-t",
        "t",
        "-X",
        "batch.size=2000",
        "-q",
    ];
    barnabas(&args, lines.as_bytes()).success();
    tell(&["clear"]);
    let read = barnabas(&["consume", "-b", &sandbox.address, "-t", "t", "-e", "-q"], b"").success();
    assert_eq!(read.text(), lines);
}
