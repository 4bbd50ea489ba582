//! Dead letters on real Kafka: written by the writer, and as Spring writes them; looked at, replayed, discarded, purged.

use std::time::Duration;

use barnabas::clock;
use barnabas::dead_letter::envelope::{Failed, Reason, Shape, letter_id};
use barnabas::dead_letter::headers::Families;
use barnabas::dead_letter::topics::{Source, TopicError, source};
use barnabas::dead_letter::writer::{NotWritten, Writer, Written};
use barnabas::produce::producer::{Producer, ProducerSettings};
use barnabas::record::{Codec, Compression, Header};
use serde_json::{Value, json};

use crate::barnabas_bin::{barnabas, consume, produce};
use crate::grouplog::{block_on, cluster, group};
use crate::support::{Brokers, Finished, Kafka, kcat};

fn dlq(kafka: &Brokers, args: &[&str]) -> Finished {
    let (verb, rest) = args.split_first().expect("a verb");
    barnabas(&[&["dlq", verb, "-b", &kafka.bootstrap()], rest].concat(), b"")
}

/// As [`dlq`] with `--json`, read; any exit code.
fn json_of(kafka: &Brokers, args: &[&str]) -> Value {
    let run = dlq(kafka, &[args, &["--json"]].concat());
    serde_json::from_slice(&run.stdout).unwrap_or_else(|error| panic!("{error}: {}", run.stderr))
}

fn letters(kafka: &Brokers, args: &[&str]) -> Vec<Value> {
    let mut found = json_of(kafka, args);
    found["letters"]
        .as_array_mut()
        .map(std::mem::take)
        .expect("letters")
}

/// What `consume` prints of a whole topic, as objects.
fn records(kafka: &Brokers, topic: &str) -> Vec<Value> {
    let run = consume(kafka, topic, &["-e", "-J"]).success();
    let lines = run
        .text()
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    lines.collect()
}

fn header<'a>(record: &'a Value, name: &str) -> Option<&'a Value> {
    let flat = record["headers"].as_array()?;
    let mut pairs = flat.chunks(2);
    pairs.find(|pair| pair[0] == name).map(|pair| &pair[1])
}

/// A group with a writer of its dead letters.
struct Letters {
    group: String,
    source: Source,
    writer: Writer,
}

impl Letters {
    async fn open(kafka: &Brokers, topic: &str, families: Families) -> Result<Self, TopicError> {
        let cluster = cluster(kafka);
        let group = format!("g-{topic}");
        let source = source(&cluster, topic).await?;
        let settings = ProducerSettings {
            delivery_timeout: Duration::from_secs(20),
            request_timeout: Duration::from_secs(10),
            compression: Compression::default(),
        };
        let producer = Producer::start(cluster.clone(), settings);
        let writer = Writer::open(&cluster, producer, &source, &group, families, true).await?;
        Ok(Self {
            group,
            source,
            writer,
        })
    }

    fn dlq(&self) -> String {
        self.writer.topic().to_owned()
    }

    fn replays(&self) -> String {
        format!("{}.replay.{}", self.source.topic, self.group)
    }

    fn failed<'a>(&'a self, partition: i32, offset: i64, key: &'a str, value: &'a [u8]) -> Failed<'a> {
        const HEADERS: &[Header<'_>] = &[
            (b"ce_type", Some(b"order.placed")),
            (b"odd", Some(b"\xff\x00")),
            (b"null", None),
        ];
        Failed {
            group: &self.group,
            topic: &self.source.topic,
            topic_id: self.source.id,
            partition,
            offset,
            last_offset: None,
            timestamp: 1_700_000_000_000,
            append_time: false,
            key: Some(key.as_bytes()),
            value: Some(value),
            headers: HEADERS,
            reason: Reason::Rejected,
            deliveries: 1,
            message: "422: no such customer",
            status: Some("422"),
            first_failed: Some(1_700_000_001_000),
            last_failed: Some(1_700_000_001_000),
            replays: 0,
        }
    }

    async fn write(&self, failed: &Failed<'_>) -> Result<Written, NotWritten> {
        self.writer.write(failed, Codec::Lz4, clock::unix_millis()).await
    }
}

#[test]
fn letters_are_listed_shown_counted_replayed_discarded_and_purged() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("dlq", 3);
    let (group, dead, replays) = block_on(async {
        let letters = Letters::open(kafka, &topic, Families::default()).await.unwrap();
        assert_eq!(letters.writer.warnings(), [] as [String; 0]);
        for offset in 0..4 {
            let failed = letters.failed(1, offset, "a", b"{\"n\":1}");
            let written = letters.write(&failed).await.unwrap();
            assert_eq!((written.partition, written.shape), (1, Shape::Whole));
        }
        // The same again after a crash, and one that fails of something else.
        letters
            .write(&letters.failed(1, 0, "a", b"{\"n\":1}"))
            .await
            .unwrap();
        let other = Failed {
            reason: Reason::Exhausted,
            status: Some("503"),
            message: "the database\x1b[31m is down",
            deliveries: 10,
            ..letters.failed(2, 7, "b", b"x")
        };
        letters.write(&other).await.unwrap();
        (letters.group.clone(), letters.dlq(), letters.replays())
    });

    // The topic is as designed, and the letters' time is now.
    let described = barnabas(
        &["topics", "describe", "-b", &kafka.bootstrap(), &dead, "--json"],
        b"",
    )
    .success();
    let described: Value = serde_json::from_str(described.text()).unwrap();
    let text = described.to_string();
    for part in ["1209600000", "1114124"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let first = &records(kafka, &dead)[0];
    assert!(
        clock::unix_millis() - first["ts"].as_i64().unwrap() < 60_000,
        "{first}"
    );
    assert_eq!(header(first, "odd"), Some(&json!({"base64": "/wA="})));
    assert_eq!(header(first, "null"), Some(&Value::Null));
    assert_eq!(
        header(first, "__dlq.errors.timestamp"),
        Some(&json!("1700000000000"))
    );

    // List, by group and by topic; the copy is one letter.
    let listed = letters(kafka, &["list", &group]);
    assert_eq!(listed.len(), 5);
    let copied = listed.iter().find(|letter| letter["copies"] == 2).unwrap();
    assert_eq!(
        (&copied["source"]["offset"], &copied["state"]),
        (&json!(0), &json!("open"))
    );
    assert_eq!(copied["type"], "order.placed");
    let text = dlq(kafka, &["list", &dead]).success().says("5 open letters");
    assert!(text.text().contains("no such customer"), "{}", text.text());
    assert!(!text.text().contains('\u{1b}'), "{}", text.text());
    let filtered = |args: &[&str]| letters(kafka, &[&["list", &group], args].concat()).len();
    assert_eq!(filtered(&["--error", "Customer"]), 4);
    assert_eq!(filtered(&["--error", "503"]), 1);
    assert_eq!(filtered(&["--key", "b"]), 1);
    assert_eq!(filtered(&["--type", "order.*"]), 5);
    assert_eq!(filtered(&["--type", "order"]), 0);
    assert_eq!(filtered(&["--outcome", "exhausted"]), 1);
    assert_eq!(filtered(&["--since", "-1h"]), 5);
    assert_eq!(filtered(&["--since", "2100-01-01T00:00:00Z"]), 0);

    let stats = json_of(kafka, &["stats", &dead]);
    let counts = &stats["dlqs"][0];
    assert_eq!((&counts["open"], &counts["letters"]), (&json!(5), &json!(5)));
    assert_eq!(counts["by_outcome"], json!({"rejected": 4, "exhausted": 1}));
    assert_eq!(counts["by_status"], json!({"422": 4, "503": 1}));
    dlq(kafka, &["stats", &dead]).success();

    let id = copied["id"].as_str().unwrap();
    let shown = letters(kafka, &["show", &group, &id[..8]]);
    assert_eq!(
        (&shown[0]["value"], &shown[0]["key"]),
        (&json!("{\"n\":1}"), &json!("a"))
    );
    assert!(
        shown[0]["headers"]
            .as_array()
            .unwrap()
            .contains(&json!(["null", null]))
    );
    let text = dlq(kafka, &["show", &group, id]).success();
    assert!(text.text().contains("the newest of 2 copies"), "{}", text.text());

    // Replay: first only told, and the topic is not made for that.
    let dry = json_of(kafka, &["replay", &group, "--error", "422", "--dry-run"]);
    assert_eq!(
        (&dry["result"], &dry["to"][&replays]),
        (&json!("would_replay"), &json!(4))
    );
    dlq(kafka, &["replay", &group, "--error", "422"])
        .code(2)
        .says("--yes");
    let done = json_of(
        kafka,
        &["replay", &group, "--error", "422", "--yes", "--why", "fixed"],
    );
    assert_eq!(done["letters"].as_array().unwrap().len(), 4, "{done}");
    let replayed = records(kafka, &replays);
    assert_eq!(replayed.len(), 4);
    for (offset, record) in replayed.iter().enumerate() {
        assert_eq!(
            (&record["partition"], &record["payload"]),
            (&json!(1), &json!("{\"n\":1}"))
        );
        assert_eq!(
            header(record, "__dlq.replay.offset"),
            Some(&json!(offset.to_string()))
        );
        assert_eq!(header(record, "__dlq.replay.count"), Some(&json!("1")));
        assert_eq!(header(record, "__dlq.errors.id"), None);
        assert_eq!(header(record, "odd"), Some(&json!({"base64": "/wA="})));
    }
    assert_eq!(letters(kafka, &["list", &group]).len(), 1);
    let all = letters(kafka, &["list", &group, "--all"]);
    let replayed = all.iter().filter(|letter| letter["state"] == "replayed");
    assert_eq!((all.len(), replayed.count()), (5, 4));
    dlq(kafka, &["replay", &group, id, "--yes"])
        .code(1)
        .says("replayed already");
    dlq(kafka, &["list", &group])
        .success()
        .says("4 replayed or discarded");

    // One that fails again is open again; three times at most.
    block_on(async {
        let letters = Letters::open(kafka, &topic, Families::default()).await.unwrap();
        for replays in [1, 3] {
            let offset = i64::from(replays);
            let again = Failed {
                replays,
                ..letters.failed(1, offset, "a", b"again")
            };
            letters.write(&again).await.unwrap();
        }
    });
    assert_eq!(letters(kafka, &["list", &group]).len(), 3);
    let run = dlq(kafka, &["replay", &group, "--key", "a", "--yes"]);
    run.code(3).says("after 3 replays").says("replayed 1 letter");
    assert_eq!(records(kafka, &replays).len(), 5);

    // Purge stops at the open ones; discard; purge the rest.
    let purged = json_of(kafka, &["purge", &group, "--yes"]);
    assert_eq!(purged["open"], 2, "{purged}");
    assert_eq!(letters(kafka, &["list", &group]).len(), 2);
    let run = dlq(kafka, &["discard", &group, "--yes", "--why", "test data"]).success();
    run.says("discarded 2 letters");
    assert_eq!(
        letters(kafka, &["list", &group, "--all"])[0]["state"],
        "discarded"
    );
    dlq(kafka, &["purge", &group, "--dry-run"]).success();
    dlq(kafka, &["purge", &group, "--yes"]).success();
    assert_eq!(letters(kafka, &["list", &group, "--all"]), [] as [Value; 0]);
    dlq(kafka, &["purge", &group, "--yes"])
        .success()
        .says("nothing to purge");
    dlq(kafka, &["replay", &group, "--yes"])
        .success()
        .says("nothing to replay");
}

#[test]
fn a_thousand_letters_are_replayed_once_each_in_order_per_key() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("dlq-many", 4);
    let (group, replays) = block_on(async {
        let letters = Letters::open(kafka, &topic, Families::default()).await.unwrap();
        for offset in 0..1000 {
            let key = format!("key-{}", offset % 52);
            let value = offset.to_string();
            let partition = i32::try_from(offset % 4).unwrap();
            let failed = letters.failed(partition, offset, &key, value.as_bytes());
            letters.write(&failed).await.unwrap();
        }
        (letters.group.clone(), letters.replays())
    });
    let started = clock::now();
    dlq(kafka, &["replay", &group, "--yes"])
        .success()
        .says("replayed 1,000 letters");
    crate::support::loud(&format!("1,000 letters replayed within {:?}", started.elapsed()));
    let found = records(kafka, &replays);
    assert_eq!(found.len(), 1000);
    let mut last = std::collections::BTreeMap::new();
    for record in found {
        let number: i64 = record["payload"].as_str().unwrap().parse().unwrap();
        assert_eq!(record["partition"], number % 4);
        let before = last.insert(record["key"].as_str().unwrap().to_owned(), number);
        assert!(before.is_none_or(|before| before < number), "{record}");
    }
    assert_eq!(letters(kafka, &["list", &group]), [] as [Value; 0]);
}

#[test]
fn a_rate_is_kept_to() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("dlq-rate", 1);
    let group = block_on(async {
        let letters = Letters::open(kafka, &topic, Families::default()).await.unwrap();
        for offset in 0..9 {
            letters
                .write(&letters.failed(0, offset, "k", b"v"))
                .await
                .unwrap();
        }
        letters.group.clone()
    });
    let started = clock::now();
    dlq(kafka, &["replay", &group, "--yes", "--rate", "4"]).success();
    assert!(
        started.elapsed() >= Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}

#[test]
fn kafkas_own_tools_and_kcat_see_the_letters_in_all_families() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.topic("dlq-families", 1);
    let dead = block_on(async {
        let families = Families::read("spring,connect").unwrap();
        let letters = Letters::open(kafka, &topic, families).await.unwrap();
        letters.write(&letters.failed(0, 5, "k", b"v")).await.unwrap();
        letters.dlq()
    });
    let args = [
        "--bootstrap-server",
        &kafka.bootstrap(),
        "--topic",
        &dead,
        "--from-beginning",
        "--max-messages",
        "1",
        "--formatter-property",
        "print.headers=true",
        "--formatter-property",
        "print.key=true",
    ];
    let seen = kafka
        .java("org.apache.kafka.tools.consumer.ConsoleConsumer", &args, b"")
        .success();
    let seen = String::from_utf8_lossy(&seen.stdout);
    for part in [
        &format!("__dlq.errors.topic:{topic}"),
        "__dlq.errors.offset:5",
        "__dlq.errors.message:422: no such customer",
        "__connect.errors.offset:5",
        "kafka_dlt-original-consumer-group:",
    ] {
        assert!(seen.contains(part), "{part}: {}", seen);
    }
    let bootstrap = kafka.bootstrap();
    let args = [
        "-C",
        "-b",
        &bootstrap,
        "-t",
        &dead,
        "-e",
        "-q",
        "-f",
        "%k %s %h\\n",
    ];
    if let Some(seen) = kcat(&args, b"") {
        let seen = String::from_utf8_lossy(&seen.success().stdout).into_owned();
        assert!(
            seen.starts_with("k v ") && seen.contains("__dlq.errors.id="),
            "{}",
            seen
        );
    }
}

#[test]
fn a_letter_that_is_too_large_shrinks_and_its_value_is_replayed_from_the_source() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("dlq-large", 1);
    let name = format!("{topic}.dlq.g-{topic}");
    let bootstrap = kafka.bootstrap();
    let create = [
        "topics",
        "create",
        "-b",
        &bootstrap,
        &name,
        "--partitions",
        "1",
        "--config",
    ];
    barnabas(&[&create[..], &["max.message.bytes=5000"]].concat(), b"").success();
    // What cannot be compressed.
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        b'!' + u8::try_from(state % 90).expect("below 90")
    };
    let value: Vec<u8> = (0..20_000).map(|_| next()).collect();
    produce(kafka, &topic, &["-p", "0", "--key", "k"], &value).success();
    let group = block_on(async {
        let letters = Letters::open(kafka, &topic, Families::default()).await.unwrap();
        assert!(letters.writer.warnings()[0].contains("larger ones are shortened"));
        let text = "x".repeat(1 << 20);
        let shapes = [
            (letters.failed(0, 0, "k", &value), Shape::Reference),
            (letters.failed(0, 1, "k", b"small"), Shape::Whole),
            // Without a codec the size is known beforehand.
            (letters.failed(0, 2, "k", &value[..3800]), Shape::WithoutText),
        ];
        for (failed, shape) in shapes {
            let failed = Failed {
                message: &text,
                ..failed
            };
            let codec = if shape == Shape::Reference {
                Codec::Zstd
            } else {
                Codec::None
            };
            let written = letters.writer.write(&failed, codec, clock::unix_millis()).await;
            let shape = if shape == Shape::Whole {
                Shape::WithoutText
            } else {
                shape
            };
            assert_eq!(written.unwrap().shape, shape);
        }
        // Gone from the source: told, and the letter stays open.
        letters.write(&letters.failed(0, 3, "k", &value)).await.unwrap();
        letters.group.clone()
    });
    let run = dlq(kafka, &["replay", &group, "--yes"]);
    run.code(3)
        .says("too large to be kept")
        .says("replayed 3 letters");
    let found = records(kafka, &format!("{topic}.replay.{group}"));
    assert_eq!(found[0]["payload"], String::from_utf8(value).unwrap());
    assert_eq!(header(&found[0], "__dlq.replay.offset"), Some(&json!("0")));
    assert_eq!(letters(kafka, &["list", &group]).len(), 1);
}

#[test]
fn springs_letters_are_read_and_replayed_to_their_source_alone() {
    let Some(kafka) = Brokers::any() else { return };
    let (topic, compacted) = (
        kafka.topic("dlq-spring", 2),
        kafka.topic_with("dlq-spring-compacted", 1, &[("cleanup.policy", "compact")]),
    );
    let dead = format!("{topic}-dlt");
    let bootstrap = kafka.bootstrap();
    barnabas(
        &["topics", "create", "-b", &bootstrap, &dead, "--partitions", "1"],
        b"",
    )
    .success();
    let letter = |topic: &str, key: &str| {
        json!({"key": key, "payload": "v", "headers": [
            "kafka_dlt-original-topic", topic,
            "kafka_dlt-original-partition", {"base64": "AAAAAQ=="},
            "kafka_dlt-original-offset", {"base64": "AAAAAAAAAAc="},
            "kafka_dlt-original-consumer-group", "billing",
            "kafka_dlt-exception-message", "no such customer",
        ]})
    };
    let input = format!(
        "{}\n{}\n",
        letter(&topic, "a"),
        json!({"key": "b", "payload": "w"})
    );
    produce(kafka, &dead, &["--format", "json"], input.as_bytes()).success();

    let listed = letters(kafka, &["list", &dead]);
    assert_eq!(
        (&listed[0]["id"], &listed[0]["family"]),
        (&json!("0:0"), &json!("spring"))
    );
    assert_eq!(listed[0]["source"]["topic"], topic);
    assert_eq!(
        (&listed[0]["source"]["partition"], &listed[0]["source"]["offset"]),
        (&json!(1), &json!(7))
    );
    assert_eq!(
        (&listed[0]["error"], &listed[1]["family"]),
        (&json!("no such customer"), &json!("unknown"))
    );
    dlq(kafka, &["discard", &dead, "--yes"])
        .code(1)
        .says("is not one of barnabas'");
    dlq(kafka, &["purge", &dead, "--yes"])
        .code(1)
        .says("is not one of barnabas'");
    dlq(kafka, &["replay", &dead, "--yes"])
        .code(1)
        .says("--to-source");
    let run = dlq(kafka, &["replay", &dead, "--to-source", "--yes"]).code(3);
    run.says("do not say where it came from")
        .says("replayed 1 letter")
        .says("stay open");
    let back = records(kafka, &topic);
    assert_eq!(
        (back.len(), &back[0]["partition"], &back[0]["key"]),
        (1, &json!(1), &json!("a"))
    );

    produce(
        kafka,
        &dead,
        &["--format", "json"],
        format!("{}\n", letter(&compacted, "c")).as_bytes(),
    )
    .success();
    dlq(kafka, &["replay", &dead, "--to-source", "--key", "c", "--yes"])
        .code(1)
        .says("is compacted");
    assert_eq!(records(kafka, &compacted).len(), 0);
}

#[test]
fn a_topic_that_would_lose_letters_or_is_not_there_is_told_at_the_start() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("dlq-unfit", 1);
    let group = group("billing");
    let bootstrap = kafka.bootstrap();
    let name = format!("{topic}.dlq.{group}");
    block_on(async {
        let cluster = cluster(kafka);
        let found = source(&cluster, &topic).await.unwrap();
        let settings = ProducerSettings {
            delivery_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            compression: Compression::default(),
        };
        let producer = Producer::start(cluster.clone(), settings);
        let open = || {
            Writer::open(
                &cluster,
                producer.clone(),
                &found,
                &group,
                Families::default(),
                false,
            )
        };
        let missing = open().await.unwrap_err().to_string();
        assert!(
            missing.contains(&format!("barnabas topics create {name}")),
            "{missing}"
        );
        let create = [
            "topics",
            "create",
            "-b",
            &bootstrap,
            &name,
            "--partitions",
            "1",
            "--config",
        ];
        barnabas(&[&create[..], &["cleanup.policy=compact"]].concat(), b"").success();
        let compacted = open().await.unwrap_err().to_string();
        assert!(compacted.contains("cleanup.policy is compact"), "{compacted}");
        let missing = source(&cluster, "dlq-nowhere").await.unwrap_err();
        assert!(matches!(missing, TopicError::Missing { .. }), "{missing}");
    });
    dlq(kafka, &["list", &group.replace("billing", "biling")])
        .code(1)
        .says(&format!("did you mean {group}"));
}

#[test]
fn a_letter_that_nobody_may_write_is_named() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("dlq-gone", 1);
    block_on(async {
        let letters = Letters::open(kafka, &topic, Families::default()).await.unwrap();
        kafka.delete_topic(&letters.dlq());
        let failed = letters.failed(0, 4, "k", b"v");
        let error = letters.write(&failed).await.unwrap_err();
        assert_eq!(error.id, letter_id(&letters.group, letters.source.id, 0, 4));
        assert!(error.to_string().contains(&letters.dlq()), "{error}");
    });
}
