//! What a group costs that has nothing to do.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use crate::members::{Client, Group};
use crate::support::Kafka;

/// Measured for so long.
const SPAN: Duration = Duration::from_secs(60);
/// From the last change until a group is called idle.
const SETTLE: Duration = Duration::from_secs(10);
/// As Linux counts them on all common machines.
const TICKS_PER_SECOND: f64 = 100.0;

/// Three members of a topic without records: their CPU, and what the loopback device carried more than before them (each
/// byte once, with the headers of TCP and IP).
pub(crate) fn measure(kafka: &Kafka, client: &Client, partitions: i32) -> Result<(), String> {
    let topic = kafka.topic(&format!("idle-{}", client.name), partitions);
    let quiet = bytes_during(SPAN / 2)? / (SPAN / 2).as_secs_f64();
    let name = format!("idle-{}", client.name);
    let group = Group::unseen(client, &kafka.bootstrap(), &topic, &name, 3)?;
    std::thread::sleep(SETTLE);
    let before = group.cpu()?;
    let begin = Instant::now();
    let bytes = bytes_during(SPAN)?;
    let seconds = begin.elapsed().as_secs_f64();
    let after = group.cpu()?;
    let used: f64 = after
        .iter()
        .map(|(pid, cpu)| cpu - before.get(pid).unwrap_or(cpu))
        .sum();
    println!(
        "{:<20} idle, 3 members: {:.2} % of a core, {:.2} KB/s (loopback carried {:.2} KB/s without them)",
        client.name,
        100.0 * used / seconds,
        (bytes / seconds - quiet) / 1000.0,
        quiet / 1000.0,
    );
    Ok(())
}

/// What goes through the loopback device in that time.
fn bytes_during(span: Duration) -> Result<f64, String> {
    let before = carried()?;
    std::thread::sleep(span);
    Ok(carried()? - before)
}

fn carried() -> Result<f64, String> {
    let devices = fs::read_to_string("/proc/net/dev").map_err(|error| error.to_string())?;
    let line = devices.lines().find_map(|line| line.trim().strip_prefix("lo:"));
    let received = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    received.ok_or("no loopback device in /proc/net/dev".to_owned())
}

/// CPU seconds used by each of these processes.
pub(crate) fn cpu(pids: impl Iterator<Item = u32>) -> Result<BTreeMap<u32, f64>, String> {
    pids.map(|pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
            .map_err(|error| format!("process {pid} has ended: {error}"))?;
        // The name, in brackets, may have spaces; utime and stime are the 12th and 13th fields behind it.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks: f64 = fields
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<f64>().ok())
            .sum();
        Ok((pid, ticks / TICKS_PER_SECOND))
    })
    .collect()
}
