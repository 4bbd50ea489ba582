//! The circumstances of a measurement.

use std::fs;

use crate::input::Input;
use crate::peer::Programs;
use crate::shared::{barnabas_version, circumstances, first_line, mib};
use crate::support::dist;
use crate::targets::{BINARY_MIB, Verdict};

/// Lines about when, where, with what and how.
pub(crate) fn facts(programs: &Programs, input: &Input, runs: &str) -> Vec<String> {
    let franz = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/benches/compare/franz/go.mod"
    ))
    .unwrap_or_default()
    .lines()
    .find_map(|line| line.trim().strip_prefix("github.com/twmb/franz-go v"))
    .unwrap_or("?")
    .to_owned();
    let kcat = first_line("kcat", &["-V"], |line| line.starts_with("Version"));
    let megabytes = input.digest.bytes as f64 / 1e6;
    vec![
        circumstances(),
        format!(
            "Apache Kafka {} on {}; barnabas {}; kcat {}; franz-go {franz} with {}",
            dist::VERSION,
            first_line("java", &["-version"], |_| true).replace('"', ""),
            barnabas_version(&programs.barnabas),
            kcat.trim_start_matches("Version "),
            first_line("go", &["version"], |_| true).replace("go version ", ""),
        ),
        format!(
            "{} records in {megabytes:.1} MB, {:.0} bytes a line; with keys, `customer-NNNNN` and a tab before each",
            input.records,
            megabytes * 1e6 / input.records as f64,
        ),
        format!("{runs}, each program in turn, a new topic for each run that publishes"),
    ]
}

/// The binary's size.
pub(crate) fn size(programs: &Programs) -> Option<Verdict> {
    let seen = mib(fs::metadata(&programs.barnabas).ok()?.len());
    Some(Verdict {
        scenario: "the binary".to_owned(),
        figure: "MiB",
        target: format!("≤ {BINARY_MIB}"),
        seen,
        met: seen <= BINARY_MIB,
    })
}
