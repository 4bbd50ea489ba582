//! The programs that are compared, and how each is told to do the same.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::scenario::{Scenario, Sink, Work};
use crate::shared::build_static;
use crate::support::loud;

/// A program under comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Barnabas,
    Kcat,
    FranzGo,
}

pub(crate) const PEERS: [Peer; 3] = [Peer::Barnabas, Peer::Kcat, Peer::FranzGo];

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Barnabas => "barnabas",
            Self::Kcat => "kcat",
            Self::FranzGo => "franz-go",
        })
    }
}

/// Where they are.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) barnabas: PathBuf,
    pub(crate) franz: PathBuf,
}

impl Programs {
    /// Builds what is to be built: the static binary, unless `given` is another; the Go program.
    pub(crate) fn build(root: &Path, given: Option<PathBuf>) -> Self {
        let franz = root.join("target/compare/franz");
        let go = Command::new("go")
            .args(["build", "-o"])
            .arg(&franz)
            .arg(".")
            .current_dir(root.join("benches/compare/franz"))
            .status();
        if !go.is_ok_and(|status| status.success()) {
            loud("franz-go is left out: `go build` in benches/compare/franz failed");
        }
        Self {
            barnabas: given.unwrap_or_else(|| build_static(root)),
            franz,
        }
    }

    /// How `peer` does the scenario's work; `None` if it cannot, or is not to be compared there.
    pub(crate) fn command(
        &self,
        peer: Peer,
        scenario: &Scenario,
        bootstrap: &str,
        topic: &str,
        input: &Path,
    ) -> Option<Command> {
        let mut command = Command::new(match peer {
            Peer::Barnabas => self.barnabas.as_path(),
            Peer::Kcat => Path::new("kcat"),
            Peer::FranzGo => self.franz.as_path(),
        });
        // No setting, no proxy, no GOGC of this environment.
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", "/nonexistent");
        let partitions = scenario.partitions.to_string();
        let address = ["-b", bootstrap, "-t", topic];
        match (peer, scenario.work) {
            (Peer::Barnabas, Work::Produce { codec, keyed }) => {
                command.arg("produce").args(address).args(["-z", codec]);
                command
                    .args(if keyed { &["-K", "\t"][..] } else { &[] })
                    .arg(input);
            }
            (Peer::Kcat, Work::Produce { codec, keyed }) => {
                command.arg("-P").args(address).args(["-z", codec]);
                command.args(["-X", "linger.ms=5", "-X", "acks=all"]);
                command
                    .args(if keyed { &["-K", "\t"][..] } else { &[] })
                    .arg("-l")
                    .arg(input);
            }
            (Peer::FranzGo, Work::Produce { codec, keyed }) => {
                command.arg("produce").args(address).args(["-z", codec]);
                command
                    .args(if keyed { &["-K", "\t"][..] } else { &[] })
                    .arg(input);
            }
            (Peer::Barnabas, Work::Consume { sink, .. }) => {
                command.arg("consume").args(address).args(["-e", "-q"]);
                command.args((sink == Sink::Json).then_some("-J"));
            }
            (Peer::Kcat, Work::Consume { sink, .. }) => {
                command.arg("-C").args(address).args(["-e", "-q"]);
                command.args((sink == Sink::Json).then_some("-J"));
            }
            (Peer::FranzGo, Work::Consume { sink: Sink::Json, .. }) => return None,
            (Peer::FranzGo, Work::Consume { .. }) => {
                command.arg("consume").args(address).args(["-p", &partitions]);
            }
            (Peer::Barnabas, Work::PublishOne) => {
                command.arg("produce").args(address).arg("-q").arg(input);
            }
            (Peer::Kcat, Work::PublishOne) => {
                command.arg("-P").args(address);
                command
                    .args(["-X", "linger.ms=5", "-X", "acks=all", "-l"])
                    .arg(input);
            }
            (Peer::FranzGo, Work::PublishOne) => {
                command.arg("produce").args(address).arg(input);
            }
            (Peer::Barnabas, Work::PrintOne) => {
                command.arg("consume").args(address).args(["-c", "1", "-e", "-q"]);
            }
            (Peer::Kcat, Work::PrintOne) => {
                command.arg("-C").args(address).args(["-c", "1", "-e", "-q"]);
            }
            (Peer::FranzGo, Work::PrintOne) => {
                command.arg("consume").args(address).args(["-c", "1"]);
            }
            (Peer::Barnabas, Work::Start) => {
                command.arg("--version");
            }
            (Peer::Kcat, Work::Start) => {
                command.arg("-V");
            }
            (Peer::FranzGo, Work::Start) => return None,
        }
        Some(command)
    }
}
