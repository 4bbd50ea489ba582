//! Sandboxes to test: in this process, or the binary.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use barnabas::sandbox::{self, NewTopic, Options, Running};

use crate::support::Finished;
use crate::support::run::run_command;

/// A topic's name, partitions and configurations.
type Topic<'a> = (&'a str, i32, &'a [(&'a str, &'a str)]);

/// A sandbox in this process' runtime.
pub(crate) async fn inside(topics: &[Topic<'_>]) -> Running {
    let topics = topics.iter().map(|(name, partitions, configs)| NewTopic {
        name: (*name).to_owned(),
        partitions: Some(*partitions),
        configs: configs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    });
    let options = Options {
        topics: topics.collect(),
        ..Options::default()
    };
    sandbox::start(options).await.unwrap()
}

/// The binary, as `barnabas sandbox`; killed when dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: String,
}

impl Process {
    /// On a free port, with these arguments more. Returns when it is ready.
    pub(crate) fn start(args: &[&str]) -> Self {
        let mut child = command(&[&["sandbox", "--listen", "127.0.0.1:0"], args].concat())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let address = loop {
            let line = lines
                .next()
                .unwrap_or_else(|| panic!("not ready: {said:?}"))
                .unwrap();
            if let Some(rest) = line.strip_prefix("ready: sandbox on ") {
                break rest.split(',').next().unwrap().to_owned();
            }
            said.push(line);
        };
        // What it says later is not looked at, and must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Process { child, address }
    }

    /// One that cannot start: what it says.
    pub(crate) fn start_failing(args: &[&str]) -> String {
        let ran = barnabas(&[&["sandbox", "--listen", "127.0.0.1:0"], args].concat(), b"");
        ran.code(1).stderr
    }

    /// Creates a topic, as publishing with ours does not.
    pub(crate) fn create(&self, topic: &str) {
        barnabas(&["topics", "create", "-b", &self.address, topic], b"").success();
    }

    /// Ends it without a chance to tidy up.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The child's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary with `args`, and nothing of this process' environment that could be a setting.
pub(crate) fn command(args: &[&str]) -> Command {
    let path = std::env::var_os("BARNABAS_STATIC").unwrap_or_else(|| env!("CARGO_BIN_EXE_barnabas").into());
    let mut command = Command::new(path);
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
