//! The binary under test.

use std::ffi::OsString;
use std::process::Command;

use crate::support::run::run_command;
use crate::support::{Brokers, Finished, Live};

/// The binary that Cargo built for the tests or, as in CI, the static one that is shipped.
#[allow(clippy::disallowed_methods, reason = "tests have no settings to read it from")]
pub(crate) fn path() -> OsString {
    std::env::var_os("BARNABAS_STATIC").unwrap_or_else(|| env!("CARGO_BIN_EXE_barnabas").into())
}

/// The binary with `args`, and nothing of this process' environment that could be a setting.
pub(crate) fn command(args: &[&str]) -> Command {
    let mut command = Command::new(path());
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
pub(crate) fn produce(kafka: &Brokers, topic: &str, args: &[&str], input: &[u8]) -> Finished {
    barnabas(
        &[&["produce", "-b", &kafka.bootstrap(), "-t", topic], args].concat(),
        input,
    )
}

/// `barnabas consume` from the cluster.
pub(crate) fn consume(kafka: &Brokers, topic: &str, args: &[&str]) -> Finished {
    barnabas(
        &[&["consume", "-b", &kafka.bootstrap(), "-t", topic], args].concat(),
        b"",
    )
}

/// `barnabas produce` or `consume`, left running.
pub(crate) fn live(kafka: &Brokers, verb: &str, topic: &str, args: &[&str]) -> Live {
    Live::start(command(
        &[&[verb, "-b", &kafka.bootstrap(), "-t", topic], args].concat(),
    ))
}
