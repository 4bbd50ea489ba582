//! `topics`, judged by Kafka's own tools.

use crate::barnabas_bin::{barnabas, produce};
use crate::support::{Brokers, Finished, Kafka};

/// `barnabas topics VERB` at the cluster.
fn topics(kafka: &Brokers, args: &[&str]) -> Finished {
    let (verb, rest) = args.split_first().expect("a verb");
    barnabas(&[&["topics", verb, "-b", &kafka.bootstrap()], rest].concat(), b"")
}

/// As [`topics`] with `--json`, read.
fn json(kafka: &Brokers, args: &[&str]) -> serde_json::Value {
    let run = topics(kafka, &[args, &["--json"]].concat()).success();
    serde_json::from_str(run.text()).expect("it prints JSON")
}

/// What `kafka-topics --describe` says of a topic; empty if there is none.
fn java_describe(kafka: &Kafka, topic: &str) -> String {
    let run = kafka.java(
        "org.apache.kafka.tools.TopicCommand",
        &[
            "--bootstrap-server",
            &kafka.bootstrap(),
            "--describe",
            "--topic",
            topic,
        ],
        b"",
    );
    String::from_utf8(run.stdout).expect("it prints UTF-8")
}

/// What `kafka-configs --describe` says of a topic's own configuration.
fn java_configs(kafka: &Kafka, topic: &str) -> String {
    let bootstrap = kafka.bootstrap();
    let args = ["--bootstrap-server", &bootstrap, "--describe", "--topic", topic];
    let run = kafka.java("org.apache.kafka.tools.ConfigCommand", &args, b"");
    let run = if run.status.success() {
        run
    } else {
        // Its place until Kafka 4.2.
        kafka.java("kafka.admin.ConfigCommand", &args, b"").success()
    };
    run.text().to_owned()
}

/// A name that no other test has.
fn name(what: &str) -> String {
    format!("{what}-{}", std::process::id())
}

#[test]
fn what_is_created_altered_and_deleted_is_so_for_kafkas_tools() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = name("round-trip");
    let create = ["create", &topic, "--partitions", "3", "--retention", "7d"];
    topics(
        kafka,
        &[&create[..], &["--config", "max.message.bytes=2000000"]].concat(),
    )
    .success()
    .says(&format!("created {topic}: 3 partitions, replication 1"));
    let java = java_describe(kafka, &topic);
    assert!(java.contains("PartitionCount: 3"), "{java}");
    let configs = java_configs(kafka, &topic);
    for part in ["retention.ms=604800000", "max.message.bytes=2000000"] {
        assert!(configs.contains(part), "{configs}");
    }

    let alter = ["alter", &topic, "--partitions", "5", "--retention", "-1"];
    topics(
        kafka,
        &[&alter[..], &["--unset", "max.message.bytes", "--yes"]].concat(),
    )
    .success()
    .says("keys go to other partitions");
    let java = java_describe(kafka, &topic);
    assert!(java.contains("PartitionCount: 5"), "{java}");
    let configs = java_configs(kafka, &topic);
    assert!(configs.contains("retention.ms=-1"), "{configs}");
    assert!(!configs.contains("max.message.bytes=2000000"), "{configs}");
    topics(kafka, &["alter", &topic, "--retention", "-1"])
        .success()
        .says("is so already");

    topics(kafka, &["delete", &topic, "--yes"]).success();
    let java = java_describe(kafka, &topic);
    assert!(!java.contains("PartitionCount"), "{java}");
}

#[test]
fn a_created_topic_takes_records_at_once() {
    let Some(kafka) = Brokers::any() else { return };
    for round in 0..3 {
        let topic = name(&format!("at-once-{round}"));
        topics(kafka, &["create", &topic, "--partitions", "20"]).success();
        produce(kafka, &topic, &["-q"], b"first\n").success();
        topics(kafka, &["delete", &topic, "--yes"]).success();
        topics(kafka, &["create", &topic]).success();
        topics(kafka, &["delete", &topic, "--yes"]).success();
    }
}

#[test]
fn what_java_created_is_described() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = name("from-java");
    let bootstrap = kafka.bootstrap();
    let args = ["--bootstrap-server", &bootstrap, "--create", "--topic", &topic];
    let with = ["--partitions", "2", "--config", "segment.bytes=1048576"];
    kafka
        .java(
            "org.apache.kafka.tools.TopicCommand",
            &[&args[..], &with].concat(),
            b"",
        )
        .success();
    produce(kafka, &topic, &["-p", "1"], b"a\nb\nc\n").success();

    let told = json(kafka, &["describe", &topic]);
    let told = &told["topics"][0];
    assert_eq!(told["name"], *topic);
    assert_eq!(told["records_at_most"], 3);
    assert_eq!(told["replication"], 1);
    let partition = &told["partitions"][1];
    assert_eq!(partition["leader"], 1);
    assert_eq!(partition["isr"], serde_json::json!([1]));
    assert_eq!(
        (&partition["earliest"], &partition["latest"]),
        (&0.into(), &3.into())
    );
    let configs = told["configs"].as_array().expect("a list");
    let config = |name: &str| configs.iter().find(|config| config["name"] == name);
    let segment = config("segment.bytes").expect("it is told");
    assert_eq!(
        (&segment["value"], &segment["source"]),
        (&"1048576".into(), &"topic".into())
    );
    assert_eq!(
        config("retention.ms").expect("it is told")["source"],
        "broker_file"
    );
    assert_eq!(config("cleanup.policy").expect("it is told")["source"], "default");

    let text = topics(kafka, &["describe", &topic]).success();
    for part in [
        "2 partitions, replication 1, at most 3 records",
        "segment.bytes",
        "PARTITION",
    ] {
        assert!(text.text().contains(part), "{}", text.text());
    }
    assert!(!text.text().contains("cleanup.policy"), "{}", text.text());
    let java = java_describe(kafka, &topic);
    let id = told["id"].as_str().expect("a topic has an id");
    assert!(java.contains(&format!("TopicId: {id}")), "{java}");
}

#[test]
fn the_list_is_that_of_kafkas_tools() {
    let Some(kafka) = Kafka::for_test(&crate::support::Options::default()) else {
        return;
    };
    topics(&kafka, &["list"]).success().says("there are no topics");
    for topic in ["b", "a", "c.d_e-f"] {
        topics(&kafka, &["create", topic, "--partitions", "2"]).success();
    }
    let listed = |args: &[&str]| -> Vec<String> {
        let told = json(&kafka, &[&["list"], args].concat());
        let topics = told["topics"].as_array().expect("a list");
        let names = topics
            .iter()
            .map(|topic| topic["name"].as_str().expect("a name").to_owned());
        names.collect()
    };
    assert_eq!(listed(&[]), ["a", "b", "c.d_e-f"]);
    // A group of Kafka's own makes it create a topic of its own.
    crate::support::wait_for(
        "__consumer_offsets is there",
        std::time::Duration::from_secs(60),
        || {
            let group = [
                "--bootstrap-server",
                &kafka.bootstrap(),
                "--topic",
                "a",
                "--group",
                "g",
            ];
            let brief = ["--timeout-ms", "1000"];
            kafka.java(
                "org.apache.kafka.tools.consumer.ConsoleConsumer",
                &[&group[..], &brief].concat(),
                b"",
            );
            listed(&["--internal"])
                .contains(&"__consumer_offsets".to_owned())
                .then_some(())
        },
    );
    assert!(!listed(&[]).contains(&"__consumer_offsets".to_owned()));
    let java = kafka.java(
        "org.apache.kafka.tools.TopicCommand",
        &["--bootstrap-server", &kafka.bootstrap(), "--list"],
        b"",
    );
    let mut java: Vec<String> = java.success().text().lines().map(str::to_owned).collect();
    java.sort();
    assert_eq!(listed(&["--internal"]), java);
}

#[test]
fn refusals_say_why_and_change_nothing() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.topic("refusals", 2);
    let new = name("refused");
    topics(kafka, &["create", &topic]).code(1).says("exists already");
    topics(kafka, &["create", &new, "--replication", "2"])
        .code(1)
        .says("more replicas asked for than there are brokers");
    topics(kafka, &["create", &new, "--config", "no.such=1"])
        .code(1)
        .says("no.such");
    topics(kafka, &["create", &new, "--config", "retention.ms=soon"])
        .code(1)
        .says("retention.ms");
    topics(kafka, &["create", "no spaces"]).code(2).says("no spaces");
    topics(kafka, &["describe", &new])
        .code(1)
        .says(&new)
        .says("does not exist");
    topics(kafka, &["alter", &new, "--retention", "1d"])
        .code(1)
        .says(&new);
    topics(kafka, &["alter", &topic, "--config", "no.such=1"])
        .code(1)
        .says("no.such");
    topics(kafka, &["alter", &topic, "--partitions", "1"])
        .code(1)
        .says("2 partition(s)");
    topics(kafka, &["alter", &topic]).code(2).says("nothing to alter");
    topics(kafka, &["delete", &new, &topic, "--yes"])
        .code(1)
        .says("nothing is deleted");
    // Not one of two changes is made if the other is refused.
    topics(
        kafka,
        &[
            "alter",
            &topic,
            "--config",
            "flush.ms=1000",
            "--partitions",
            "1",
            "--yes",
        ],
    )
    .code(1);
    let java = java_describe(kafka, &topic);
    assert!(
        java.contains("PartitionCount: 2") && !java.contains("flush.ms"),
        "{java}"
    );
    assert!(!java_describe(kafka, &new).contains("PartitionCount"));
}

#[test]
fn the_rest_of_several_topics_is_done_and_told() {
    let Some(kafka) = Kafka::shared() else { return };
    let there = kafka.topic("there", 1);
    let new = name("beside");
    topics(kafka, &["create", &there, &new])
        .code(1)
        .says("exists already")
        .says("1 of 2 topics were not created");
    assert!(java_describe(kafka, &new).contains("PartitionCount: 1"));
    let run = topics(kafka, &["describe", "no-such-topic-at-all", &new]).code(1);
    assert!(run.text().contains(&new), "{}", run.text());
    let told = json(kafka, &["create", &there, "--if-not-exists", "--partitions", "9"]);
    assert_eq!(told["topics"][0]["result"], "exists");
    assert_eq!(told["topics"][0]["partitions"], 1);
}

#[test]
fn without_a_person_to_ask_only_yes_deletes() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("kept", 2);
    produce(kafka, &topic, &[], b"1\n2\n").success();
    topics(kafka, &["delete", &topic]).code(2).says("--yes");
    topics(kafka, &["alter", &topic, "--retention", "1s"])
        .code(2)
        .says("--yes");
    topics(kafka, &["alter", &topic, "--partitions", "3"])
        .code(2)
        .says("--yes");
    let told = json(kafka, &["describe", &topic]);
    assert_eq!(told["topics"][0]["records_at_most"], 2);
    assert_eq!(told["topics"][0]["partitions"].as_array().map(Vec::len), Some(2));
    let longer = topics(kafka, &["alter", &topic, "--config", "retention.ms=-1"]);
    longer.success();
}

#[test]
fn a_dry_run_changes_nothing() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.topic("dry", 2);
    let new = name("dry-new");
    let run = topics(kafka, &["create", &new, "--partitions", "4", "--dry-run"]).success();
    assert_eq!(
        run.text(),
        format!("would create {new}: 4 partitions, replication 1\n")
    );
    let run = topics(
        kafka,
        &[
            "alter",
            &topic,
            "--partitions",
            "4",
            "--config",
            "flush.ms=1000",
            "--dry-run",
        ],
    )
    .success();
    assert!(
        run.text()
            .starts_with(&format!("would alter {topic}: partitions 2 → 4, flush.ms ")),
        "{}",
        run.text()
    );
    let run = topics(kafka, &["delete", &topic, "--dry-run"]).success();
    assert_eq!(run.text(), format!("would delete {topic} (empty)\n"));
    assert_eq!(
        json(kafka, &["delete", &topic, "--dry-run"])["topics"][0]["result"],
        "would_delete"
    );
    let java = java_describe(kafka, &topic);
    assert!(
        java.contains("PartitionCount: 2") && !java.contains("flush.ms"),
        "{java}"
    );
    assert!(!java_describe(kafka, &new).contains("PartitionCount"));
    topics(kafka, &["create", &topic, "--dry-run"])
        .code(1)
        .says("exists already");
}

#[test]
fn three_brokers_are_asked_for_their_own_partitions() {
    let Some(kafka) = Kafka::three() else { return };
    let topic = name("spread");
    topics(
        &kafka,
        &["create", &topic, "--partitions", "6", "--replication", "3"],
    )
    .success();
    let lines: String = (0..600).map(|number| format!("{number}:v\n")).collect();
    produce(&kafka, &topic, &["-K", ":"], lines.as_bytes()).success();
    let told = json(&kafka, &["describe", &topic]);
    let told = &told["topics"][0];
    assert_eq!(told["records_at_most"], 600);
    assert_eq!(told["under_replicated"], 0);
    let partitions = told["partitions"].as_array().expect("a list");
    let mut leaders: Vec<i64> = partitions.iter().filter_map(|p| p["leader"].as_i64()).collect();
    leaders.sort_unstable();
    leaders.dedup();
    assert_eq!(leaders, [1, 2, 3]);

    let single = name("single");
    topics(
        &kafka,
        &["create", &single, "--partitions", "3", "--replication", "1"],
    )
    .success();
    kafka.stop(2);
    let told = json(&kafka, &["describe", &topic]);
    let told = &told["topics"][0];
    assert_eq!(told["records_at_most"], 600, "the others lead now");
    assert_eq!(told["under_replicated"], 6);
    assert_eq!(told["partitions"][0]["offline"], serde_json::json!([3]));

    let started = barnabas::clock::now();
    let run = topics(&kafka, &["describe", &single, "--json"])
        .success()
        .says("1 partition without a leader");
    assert!(
        started.elapsed() < std::time::Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    let told: serde_json::Value = serde_json::from_str(run.text()).expect("it prints JSON");
    let told = &told["topics"][0];
    assert_eq!(told["without_leader"], 1);
    assert!(told["records_at_most"].is_null(), "it is not known: {told}");
}

#[test]
fn who_may_not_is_told_so() {
    let Some(kafka) = Kafka::shared_secured() else {
        return;
    };
    let topic = kafka.topic("forbidden", 1);
    let address = format!("localhost:{}", kafka.secured_ports().sasl_plaintext);
    let as_nobody = |args: &[&str]| {
        let (verb, rest) = args.split_first().expect("a verb");
        let login = [
            "-b",
            &address,
            "-X",
            "security.protocol=sasl_plaintext",
            "-X",
            "sasl.mechanism=PLAIN",
            "-X",
            "sasl.username=nobody",
        ];
        let mut command = crate::barnabas_bin::command(&[&["topics", verb], &login[..], rest].concat());
        command.env("BARNABAS_SASL_PASSWORD", "nobody-secret");
        crate::support::run::run_command(command, b"")
    };
    as_nobody(&["create", &name("forbidden-new")])
        .code(1)
        .says("not authorised");
    as_nobody(&["describe", &topic]).code(1).says("not authorised");
    as_nobody(&["delete", &topic, "--yes"])
        .code(1)
        .says("not authorised");
    let list = as_nobody(&["list"])
        .success()
        .says("none that this user may describe");
    assert!(list.stdout.is_empty());
}

#[test]
fn brokers_that_cannot_be_reached_are_exit_code_4() {
    for args in [
        &["list"][..],
        &["create", "t"],
        &["describe", "t"],
        &["delete", "t", "--yes"],
    ] {
        let address = format!("127.0.0.1:{}", crate::support::ports::free());
        let flags = ["-b", &address, "--timeout", "1s"];
        barnabas(&[&["topics"], args, &flags].concat(), b"")
            .code(4)
            .says(&address);
    }
}
