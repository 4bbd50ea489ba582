//! What a planned join, a planned leave and a kill cost a group: barnabas against librdkafka's three protocols.
//!
//! `cargo bench --bench handover -- [CLIENT…] [--rounds N] [--kills N] [--idle] [--barnabas PATH]`
//!
//! A topic of six partitions gets a record each every 5 ms. Two members share it; a third joins, leaves by SIGTERM,
//! joins again and is killed. Each member prints a line per record, and the harness notes when each came: a
//! partition's pause is the longest time between two of its records, whoever read them, from the cause until the new
//! order is seen. Records seen twice are counted. Clients: `barnabas`, `range`, `cooperative-sticky`, `kip-848`.
//!
//! At the end, what three members cost that have nothing to do (`--idle` for this alone).
//!
//! - [`idle`]: that; [`load`]: the steady stream; [`members`]: the processes and what they read; [`measure`]: pauses out of it.
#![allow(clippy::print_stdout, reason = "a measurement's output")]
#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

mod idle;
mod load;
mod measure;
mod members;
#[path = "../../tests/kafka/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use load::Load;
use measure::{Figures, Pauses};
use members::{Client, Group};
use support::{Jvm, Kafka, loud};

/// Partitions of the topic.
const PARTITIONS: i32 = 6;
/// The new order has to be there by then.
const LIMIT: Duration = Duration::from_secs(90);

struct Options {
    clients: Vec<String>,
    rounds: usize,
    kills: usize,
    barnabas: PathBuf,
    only_idle: bool,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            clients: Vec::new(),
            rounds: 10,
            kills: 3,
            barnabas: PathBuf::from(env!("CARGO_BIN_EXE_barnabas")),
            only_idle: false,
        };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} …"));
            match arg.as_str() {
                "--bench" => {} // from cargo
                "--idle" => options.only_idle = true,
                "--rounds" => options.rounds = value()?.parse().map_err(|_| "--rounds N")?,
                "--kills" => options.kills = value()?.parse().map_err(|_| "--kills N")?,
                "--barnabas" => options.barnabas = value()?.into(),
                flag if flag.starts_with('-') => return Err(format!("{flag}?")),
                client => options.clients.push(client.to_owned()),
            }
        }
        Ok(options)
    }
}

fn main() -> Result<(), String> {
    let options = Options::parse(std::env::args().skip(1))?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = python(root);
    let mut clients = vec![Client::barnabas(&options.barnabas, None)];
    match &python {
        Ok(python) => {
            clients.extend(["range", "cooperative-sticky", "kip-848"].map(|p| Client::librdkafka(python, p)))
        }
        Err(why) => loud(&format!("librdkafka is left out: {why}")),
    }
    let Some(kafka) = Kafka::start_with(&support::Options {
        jvm: Jvm::Full,
        ..support::Options::default()
    }) else {
        return Ok(());
    };
    // As a broker has it that was set up by Kafka's own script; ours says nothing of features.
    let feature = ["upgrade", "--feature", "group.version=1"];
    let bootstrap = kafka.bootstrap();
    let server = ["--bootstrap-server", bootstrap.as_str()];
    kafka
        .java(
            "org.apache.kafka.tools.FeatureCommand",
            &[server.as_slice(), &feature].concat(),
            b"",
        )
        .success();
    println!(
        "{:<20} {:<7} {:>12} {:>12} {:>14} {:>12} {:>12}",
        "client", "cause", "moved: ms", "at most", "others: ms", "at most", "twice/round"
    );
    let wanted = |client: &Client| {
        !options.only_idle && (options.clients.is_empty() || options.clients.contains(&client.name))
    };
    for client in clients.iter().filter(|client| wanted(client)) {
        let topic = kafka.topic(&format!("handover-{}", client.name), PARTITIONS);
        let load = Load::start(&options.barnabas, &kafka.bootstrap(), &topic)?;
        let mut calm = Figures::default();
        let mut joins = Figures::default();
        let mut leaves = Figures::default();
        for round in 0..options.rounds {
            let mut group = Group::start(
                client,
                &kafka.bootstrap(),
                &topic,
                &format!("{}-{round}", client.name),
            )?;
            calm.add(&rest(&mut group)?);
            joins.add(&change(&mut group, Group::join)?);
            leaves.add(&change(&mut group, Group::leave)?);
        }
        calm.print(&client.name, "none");
        joins.print(&client.name, "join");
        leaves.print(&client.name, "leave");
        drop(load);
    }
    if wanted(&clients[0]) {
        for session in ["10s", "2s"] {
            kills(
                &kafka,
                &Client::barnabas(&options.barnabas, Some(session)),
                session,
                &options,
            )?;
        }
    }
    if wanted(&clients[0]) || options.only_idle {
        idle::measure(&kafka, &clients[0], PARTITIONS)?;
    }
    Ok(())
}

/// Pauses without any cause: what the stream, the harness and the machine make.
fn rest(group: &mut Group) -> Result<Pauses, String> {
    group.settle(LIMIT)?;
    let (before, since) = (group.owners(), Instant::now());
    group.settle(LIMIT)?;
    Ok(Pauses::between(group.seen(), since, &before))
}

/// Waits for calm, makes a change, and waits until the new order is seen.
fn change(group: &mut Group, what: fn(&mut Group) -> Result<usize, String>) -> Result<Pauses, String> {
    group.settle(LIMIT)?;
    let before = group.owners();
    let since = Instant::now();
    let members = what(group)?;
    group.balanced(since, members, LIMIT)?;
    group.settle(LIMIT)?;
    Ok(Pauses::between(group.seen(), since, &before))
}

/// How long a killed member's partitions stand still.
fn kills(kafka: &Kafka, client: &Client, session: &str, options: &Options) -> Result<(), String> {
    let topic = kafka.topic(&format!("kill-{session}"), PARTITIONS);
    let load = Load::start(&options.barnabas, &kafka.bootstrap(), &topic)?;
    let mut figures = Figures::default();
    for round in 0..options.kills {
        let mut group = Group::start(
            client,
            &kafka.bootstrap(),
            &topic,
            &format!("kill-{session}-{round}"),
        )?;
        group.settle(LIMIT)?;
        let members = group.join()?;
        group.balanced(Instant::now(), members, LIMIT)?;
        figures.add(&change(&mut group, Group::kill)?);
    }
    figures.print(&client.name, &format!("kill {session}"));
    drop(load);
    Ok(())
}

/// A Python with confluent-kafka, made once under `target/`.
fn python(root: &Path) -> Result<PathBuf, String> {
    let venv = root.join("target/handover/venv");
    let python = venv.join("bin/python");
    let has = |python: &Path| {
        let check = Command::new(python)
            .args(["-c", "import confluent_kafka"])
            .output();
        check.is_ok_and(|output| output.status.success())
    };
    if has(&python) {
        return Ok(python);
    }
    let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).output();
    let installed = made.and_then(|_| {
        Command::new(&python)
            .args(["-m", "pip", "install", "--quiet", "confluent-kafka==2.16.1"])
            .output()
    });
    match installed {
        Ok(_) if has(&python) => Ok(python),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
