//! What measurements share: numbers, the kernel's accounts, the circumstances, and a document's measured part.
#![allow(dead_code, reason = "each measurement uses another part of it")]

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::support::loud;

/// Linux counts in hundredths of a second in `/proc`, on every machine this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Bytes in MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The middle one; of an even number, the mean of both.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => f64::NAN,
        (len, half) if len % 2 == 1 => values[half],
        (_, half) => f64::midpoint(values[half - 1], values[half]),
    }
}

/// Smallest and largest.
pub(crate) fn spread(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    values
        .into_iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        })
}

/// CPU seconds that the process has used, without its children.
pub(crate) fn process_cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name, in brackets, may have spaces; utime and stime are the 12th and 13th fields behind it.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: f64 = fields
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum();
    ticks / TICKS_PER_SECOND
}

/// CPU seconds that all cores have spent busy, or were taken by the host.
pub(crate) fn machine_cpu() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // user nice system idle iowait irq softirq steal
    let ticks = fields
        .take(8)
        .enumerate()
        .filter(|(index, _)| !matches!(index, 3 | 4));
    ticks
        .filter_map(|(_, field)| field.parse::<f64>().ok())
        .sum::<f64>()
        / TICKS_PER_SECOND
}

/// When and on which machine.
pub(crate) fn circumstances() -> String {
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
    format!(
        "{}, {cores} cores of {model}, {:.0} GiB, Linux {}, broker and client on the same machine; load before the start {load}",
        first_line("date", &["-u", "+%Y-%m-%d %H:%M UTC"], |_| true),
        kib as f64 / f64::from(1 << 20),
        first_line("uname", &["-r"], |_| true),
    )
}

/// The version of that binary, and whether it is the static one.
pub(crate) fn barnabas_version(binary: &Path) -> String {
    let ldd = Command::new("ldd").arg(binary).output();
    let is_static = ldd.is_ok_and(|ldd| String::from_utf8_lossy(&ldd.stdout).contains("statically linked"));
    let version = first_line(&binary.display().to_string(), &["--version"], |_| true);
    format!(
        "{}{}",
        version.trim_start_matches("barnabas "),
        if is_static { " (static)" } else { "" }
    )
}

/// The first line that is wanted of what a program says, wherever it says it.
pub(crate) fn first_line(program: &str, args: &[&str], wanted: fn(&str) -> bool) -> String {
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

/// The static binary, built now; if it cannot be, the one that Cargo built for the benchmark.
pub(crate) fn build_static(root: &Path) -> PathBuf {
    let output = Command::new(root.join("scripts/build-static"))
        .current_dir(root)
        .output();
    match output {
        Ok(output) if output.status.success() => {
            PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end())
        }
        _ => {
            loud("scripts/build-static failed: the dynamically linked binary is measured");
            PathBuf::from(env!("CARGO_BIN_EXE_barnabas"))
        }
    }
}

/// Puts the result between the marks in the document.
pub(crate) fn write_between(document: &Path, (begin, end): (&str, &str), result: &str) -> io::Result<()> {
    let text = fs::read_to_string(document)?;
    let parts = text.split_once(begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(end)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or_else(|| io::Error::other(format!("no {begin} … {end}")))?;
    fs::write(document, format!("{before}{begin}\n{result}{end}{after}"))
}
