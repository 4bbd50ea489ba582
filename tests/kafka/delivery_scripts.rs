//! Workers for `--exec` and `--exec-each`: scripts that write down what they get.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use crate::support::dist::installed;
use crate::support::{Brokers, skipped, this_test};

/// What each Python worker begins with: `events()` gives the lines, `note()` writes one down.
const PRELUDE: &str = r#"
import json, os, sys, time
log = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def note(job):
    at = job["record"]
    os.write(log, f'{at["partition"]} {at["offset"]} {job["attempt"]} {os.getpid()}\n'.encode())
def say(**what):
    print(json.dumps(what), flush=True)
def events():
    for line in sys.stdin:
        job = json.loads(line)
        note(job)
        yield job, job["record"]["offset"]
"#;

/// A worker script and what it has written down.
pub(crate) struct Worker {
    script: PathBuf,
    pub(crate) log: PathBuf,
}

impl Worker {
    /// `None`, said aloud, where there is no Python for it.
    pub(crate) fn python(kafka: &Brokers, name: &str, body: &str) -> Option<Self> {
        if !installed("python3", "--version") {
            skipped(
                &this_test(),
                "no `python3` on PATH (Debian: apt-get install python3)",
            );
            return None;
        }
        Some(Self::script(
            kafka,
            &format!("{name}.py"),
            &format!("{PRELUDE}{body}"),
        ))
    }

    pub(crate) fn script(kafka: &Brokers, name: &str, text: &str) -> Self {
        let dir = kafka.scratch("workers");
        let script = dir.join(name);
        fs::write(&script, text).expect("target/ can be written");
        Self {
            log: dir.join(format!("{name}.log")),
            script,
        }
    }

    /// For `--exec`.
    pub(crate) fn command(&self, interpreter: &str) -> String {
        format!("{interpreter} {} {}", self.script.display(), self.log.display())
    }

    /// Offset, attempt and process of each, in order; partitions are not looked at.
    pub(crate) fn seen(&self) -> Vec<(i64, u32, u32)> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let fields = lines.map(|line| {
            let fields: Vec<i64> = line
                .split_whitespace()
                .map(|field| field.parse().expect("a number"))
                .collect();
            let small = |at: usize| u32::try_from(fields[at]).expect("a small number");
            (fields[1], small(2), small(3))
        });
        fields.collect()
    }

    /// How often each offset was seen.
    pub(crate) fn counts(&self) -> BTreeMap<i64, usize> {
        let mut counts = BTreeMap::new();
        for (offset, ..) in self.seen() {
            *counts.entry(offset).or_default() += 1;
        }
        counts
    }
}
