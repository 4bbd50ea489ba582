//! The binary under test.

use std::process::Command;

use crate::support::run::run_command;
use crate::support::{Finished, Kafka, Live};

/// The binary with `args`, and nothing of this process' environment that could be a setting.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_barnabas"));
    command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/nonexistent");
    command
}

/// Runs it to its end.
pub(crate) fn barnabas(args: &[&str], input: &[u8]) -> Finished {
    run_command(command(args), input)
}

/// `barnabas produce` to the cluster.
pub(crate) fn produce(kafka: &Kafka, topic: &str, args: &[&str], input: &[u8]) -> Finished {
    barnabas(
        &[&["produce", "-b", &kafka.bootstrap(), "-t", topic], args].concat(),
        input,
    )
}

/// `barnabas consume` from the cluster.
pub(crate) fn consume(kafka: &Kafka, topic: &str, args: &[&str]) -> Finished {
    barnabas(
        &[&["consume", "-b", &kafka.bootstrap(), "-t", topic], args].concat(),
        b"",
    )
}

/// `barnabas produce` or `consume`, left running.
pub(crate) fn live(kafka: &Kafka, verb: &str, topic: &str, args: &[&str]) -> Live {
    Live::start(command(
        &[&[verb, "-b", &kafka.bootstrap(), "-t", topic], args].concat(),
    ))
}
