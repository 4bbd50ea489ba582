//! How many connections a process holds.

use std::fs;
use std::time::Duration;

use crate::barnabas_bin::{live, produce};
use crate::support::{Brokers, Live, wait_for};

/// Established TCP connections of the process, by the inodes of its sockets.
fn established(process: &Live) -> usize {
    let Ok(files) = fs::read_dir(format!("/proc/{}/fd", process.pid())) else {
        return 0;
    };
    let links = files.flatten().filter_map(|file| fs::read_link(file.path()).ok());
    let sockets: Vec<String> = links
        .filter_map(|link| {
            Some(
                link.to_str()?
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect();
    let tables =
        ["tcp", "tcp6"].map(|table| fs::read_to_string(format!("/proc/{}/net/{table}", process.pid())));
    let lines = tables.iter().flatten().flat_map(|table| table.lines());
    // sl, local, remote, state (01: established), queues, timer, retransmits, uid, timeout, inode
    lines
        .filter(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            fields.get(3) == Some(&"01")
                && fields
                    .get(9)
                    .is_some_and(|inode| sockets.iter().any(|one| one == inode))
        })
        .count()
}

#[test]
fn a_broker_with_200_partitions_gets_at_most_2_connections() {
    let Some(kafka) = Brokers::any() else { return };
    let topic = kafka.topic("partitions-200", 200);
    let mut producer = live(kafka, "produce", &topic, &["-K", ":"]);
    let lines: String = (0..5_000).map(|n| format!("{n}:value\n")).collect();
    producer.write(lines.as_bytes());
    let mut most = 0;
    wait_for("5000 records arrive", Duration::from_secs(30), || {
        most = most.max(established(&producer));
        (kafka.written(&topic) == 5_000).then_some(())
    });
    most = most.max(established(&producer));
    assert!((1..=2).contains(&most), "produce held {most} connections");
    producer.close().success();

    let mut consumer = live(kafka, "consume", &topic, &["-q", "-u"]);
    let lines = consumer.lines();
    let mut most = 0;
    for n in 0..5_000 {
        lines.next();
        if n % 100 == 0 {
            most = most.max(established(&consumer));
        }
    }
    produce(kafka, &topic, &[], b"one more\n").success();
    assert_eq!(lines.next(), "one more");
    most = most.max(established(&consumer));
    assert!((1..=2).contains(&most), "consume held {most} connections");
}
