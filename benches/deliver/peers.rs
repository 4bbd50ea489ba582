//! The programs that are compared, and how each is told to do the same.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shared::build_static;
use crate::support::loud;

/// Connections that a peer may have to the handler, and handlers that barnabas runs at once.
pub(crate) const AT_ONCE: &str = "64";

/// A program under comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    Barnabas,
    /// A NestJS microservice.
    Nest,
    /// kafkajs with `eachMessage`.
    EachMessage,
    /// kafkajs with `eachBatch`, posting the events of a batch at once but for those of one key.
    EachBatch,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Barnabas => "barnabas",
            Self::Nest => "NestJS",
            Self::EachMessage => "kafkajs eachMessage",
            Self::EachBatch => "kafkajs eachBatch",
        })
    }
}

/// Where they are.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) barnabas: PathBuf,
    /// This very program: handlers and the steady publisher.
    pub(crate) harness: PathBuf,
    /// The peers' scripts beside their packages; `None` without Node.
    pub(crate) node: Option<PathBuf>,
}

impl Programs {
    /// Builds the static binary, unless `given` is another, and installs the peers' packages.
    pub(crate) fn prepare(root: &Path, dir: &Path, given: Option<PathBuf>) -> Self {
        let node = install(&root.join("benches/deliver/peers"), &dir.join("peers"));
        if let Err(why) = &node {
            loud(&format!("NestJS and kafkajs are left out: {why}"));
        }
        Self {
            barnabas: given.unwrap_or_else(|| build_static(root)),
            harness: std::env::current_exe().unwrap_or_default(),
            node: node.ok(),
        }
    }

    /// `barnabas` with these words and nothing of this environment.
    pub(crate) fn barnabas(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.barnabas);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", "/nonexistent");
        command.args(args);
        command
    }

    /// A group of `peer`'s that posts a topic's events to `url`; `None` if it is not there.
    pub(crate) fn poster(
        &self,
        peer: Peer,
        (bootstrap, group, topic): (&str, &str, &str),
        url: &str,
        flags: &[&str],
    ) -> Option<Command> {
        if peer == Peer::Barnabas {
            let mut command = self.barnabas(&["consume", "-q", "-b", bootstrap, "-g", group, "-t", topic]);
            command.args(["--http", url]).args(flags);
            if !flags.contains(&"--concurrency") {
                command.args(["--concurrency", AT_ONCE]);
            }
            return Some(command);
        }
        let dir = self.node.as_ref()?;
        let mut command = Command::new("node");
        command
            .current_dir(dir)
            .env("NODE_ENV", "production")
            .env("KAFKAJS_NO_PARTITIONER_WARNING", "1");
        match peer {
            Peer::Nest => command.arg("nest.js"),
            Peer::EachMessage => command.args(["kafkajs.js", "each-message"]),
            Peer::EachBatch | Peer::Barnabas => command.args(["kafkajs.js", "each-batch"]),
        };
        command.args([bootstrap, group, topic, url, AT_ONCE]);
        Some(command)
    }

    /// The peers' versions.
    pub(crate) fn versions(&self, root: &Path) -> String {
        let text = fs::read_to_string(root.join("benches/deliver/peers/package.json")).unwrap_or_default();
        let package: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let version = |name: &str| package["dependencies"][name].as_str().unwrap_or("?").to_owned();
        format!(
            "Node {}; @nestjs/microservices {}, kafkajs {}, undici {}",
            crate::shared::first_line("node", &["--version"], |_| true),
            version("@nestjs/microservices"),
            version("kafkajs"),
            version("undici"),
        )
    }
}

/// Copies scripts and lock, and has npm install what the lock says, unless that was done.
fn install(from: &Path, to: &Path) -> Result<PathBuf, String> {
    fs::create_dir_all(to).map_err(|error| error.to_string())?;
    let lock = |dir: &Path| fs::read(dir.join("package-lock.json")).ok();
    let installed = lock(from) == lock(to) && to.join("node_modules").is_dir();
    for entry in fs::read_dir(from).map_err(|error| error.to_string())?.flatten() {
        fs::copy(entry.path(), to.join(entry.file_name())).map_err(|error| error.to_string())?;
    }
    if !installed {
        let npm = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(to)
            .output()
            .map_err(|error| format!("npm: {error}"))?;
        if !npm.status.success() {
            return Err(String::from_utf8_lossy(&npm.stderr).trim().to_owned());
        }
    }
    Ok(to.to_owned())
}
