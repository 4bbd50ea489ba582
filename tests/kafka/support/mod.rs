//! Real Apache Kafka for tests, benchmarks and work by hand: fetched once through Maven into `target/`, started on
//! free ports of 127.0.0.1, killed with the process that started it.
//!
//! Other targets take it with `#[path = "../tests/kafka/support/mod.rs"] mod support;`.
//!
//! - [`brokers`]: [`Brokers`]: what a test sees of a broker that may be real Kafka or the sandbox, as `BARNABAS_TEST_ON` says;
//! - [`dist`]: the fetched jars, and what is missing on this machine;
//! - [`cluster`]: [`Kafka`]: one broker, three, or one with every kind of listener;
//! - [`broker`]: one JVM, its watchdog and its files;
//! - [`properties`]: what `server.properties` says;
//! - [`certificates`]: an authority, certificates for broker and client;
//! - [`files`]: directories that go with their process;
//! - [`wire`]: the two requests that the support code itself sends;
//! - [`run`]: child processes with bounded time, kcat and the Java tools.
#![allow(dead_code, reason = "each target that includes this uses another part of it")]
#![allow(
    unused_imports,
    reason = "each target that includes this uses another part of it"
)]

pub(crate) mod broker;
pub(crate) mod brokers;
pub(crate) mod certificates;
pub(crate) mod cluster;
pub(crate) mod dist;
pub(crate) mod files;
pub(crate) mod ports;
pub(crate) mod properties;
pub(crate) mod run;
pub(crate) mod wire;

pub(crate) use brokers::Brokers;
pub(crate) use cluster::{Jvm, Kafka, Options};
pub(crate) use run::{Finished, Live, kcat, run};

use std::io::Write;
use std::time::Duration;

/// Asks `condition` every 10 ms until it gives a value; panics with `what` after `limit`.
pub(crate) fn wait_for<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let started = barnabas::clock::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(started.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A line on stderr that the test harness does not capture.
pub(crate) fn loud(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The name of the test whose thread this is.
pub(crate) fn this_test() -> String {
    std::thread::current().name().unwrap_or("a test").to_owned()
}

/// Says that this test is not run since nobody wants it to be.
pub(crate) fn left_out(why: &str) {
    loud(&format!("LEFT OUT {}: {why}", this_test()));
}

/// Says that something was skipped for want of a tool; where `CI=true` that is an error.
///
/// # Panics
/// If the environment says `CI=true`: there, everything is to be installed.
pub(crate) fn skipped(what: &str, missing: &str) {
    #[expect(
        clippy::disallowed_methods,
        reason = "tests do not pass through cli/settings.rs"
    )]
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(
        !ci,
        "{what} cannot run, and CI=true allows no skipping: {missing}"
    );
    loud(&format!("SKIPPED {what}: {missing}"));
}
