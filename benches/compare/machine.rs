//! The circumstances of a measurement.

use std::fs;
use std::process::Command;
use std::thread;

use crate::input::Input;
use crate::measure::mib;
use crate::peer::Programs;
use crate::support::dist;
use crate::targets::{BINARY_MIB, Verdict};

/// Lines about when, where, with what and how.
pub(crate) fn facts(programs: &Programs, input: &Input, runs: &str) -> Vec<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("a processor", |(_, model)| model.trim());
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib: u64 = memory
        .split_whitespace()
        .nth(1)
        .and_then(|kib| kib.parse().ok())
        .unwrap_or(0);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split_whitespace().next().unwrap_or("?");
    let cores = thread::available_parallelism().map_or(0, std::num::NonZero::get);
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
        format!(
            "{}, {cores} cores of {model}, {:.0} GiB, Linux {}, broker and client on the same machine; load before the start {load}",
            first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"], |_| true),
            kib as f64 / f64::from(1 << 20),
            first_line("uname", &["-r"], |_| true),
        ),
        format!(
            "Apache Kafka {} on {}; barnabas {}{}; kcat {}; franz-go {franz} with {}",
            dist::VERSION,
            first_line("java", &["-version"], |_| true).replace('"', ""),
            first_line(&programs.barnabas.display().to_string(), &["--version"], |_| true)
                .trim_start_matches("barnabas "),
            if is_static(programs) { " (static)" } else { "" },
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

fn is_static(programs: &Programs) -> bool {
    let ldd = Command::new("ldd").arg(&programs.barnabas).output();
    ldd.is_ok_and(|ldd| String::from_utf8_lossy(&ldd.stdout).contains("statically linked"))
}

/// The first line that is wanted of what a program says, wherever it says it.
fn first_line(program: &str, args: &[&str], wanted: fn(&str) -> bool) -> String {
    let Ok(output) = Command::new(program).args(args).output() else {
        return format!("(no {program})");
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines()
        .find(|line| wanted(line))
        .unwrap_or("?")
        .trim()
        .to_owned()
}
