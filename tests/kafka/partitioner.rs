//! Which partition a key's records land on.

use std::collections::BTreeMap;

use crate::barnabas_bin::{consume, produce};
use crate::judge::java_partitions;
use crate::support::{Brokers, Kafka, kcat};

/// Keys of all lengths modulo 4, since murmur2 reads four bytes at a time; some beyond ASCII.
fn keys() -> Vec<String> {
    (0..300).map(|n| format!("{}{n}ß", "k".repeat(n % 9))).collect()
}

fn lines() -> String {
    keys().iter().map(|key| format!("{key}\tv\n")).collect()
}

fn placed(kafka: &Brokers, topic: &str) -> BTreeMap<String, i32> {
    let read = consume(kafka, topic, &["-q", "-e", "-f", "%p %k\\n"]).success();
    let lines = read.text().lines();
    lines
        .map(|line| {
            let (partition, key) = line.split_once(' ').expect("both");
            (key.to_owned(), partition.parse().expect("a number"))
        })
        .collect()
}

#[test]
fn keys_land_where_the_java_client_puts_them() {
    let Some(kafka) = Kafka::shared() else { return };
    let topic = kafka.topic("murmur2", 7);
    produce(kafka, &topic, &["-K", "\t"], lines().as_bytes()).success();
    let java: BTreeMap<_, _> = keys()
        .into_iter()
        .zip(java_partitions(kafka, &keys(), 7))
        .collect();
    assert_eq!(placed(kafka, &topic), java);
}

#[test]
fn with_crc32_keys_land_where_kcat_puts_them() {
    let Some(kafka) = Brokers::any() else { return };
    let (ours, theirs) = (kafka.topic("crc32", 7), kafka.topic("crc32-kcat", 7));
    let args = ["-P", "-b", &kafka.bootstrap(), "-t", &theirs, "-K", "\t"];
    let Some(kcat) = kcat(&args, lines().as_bytes()) else {
        return;
    };
    kcat.success();
    produce(
        kafka,
        &ours,
        &["-K", "\t", "--partitioner", "crc32"],
        lines().as_bytes(),
    )
    .success();
    assert_eq!(placed(kafka, &ours), placed(kafka, &theirs));
}

#[test]
fn a_partition_that_is_asked_for_gets_all() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("asked-for", 3);
    produce(kafka, &topic, &["-K", "\t", "-p", "2"], lines().as_bytes()).success();
    assert!(placed(kafka, &topic).values().all(|partition| *partition == 2));
}
