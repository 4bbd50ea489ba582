//! One process from its start to its end: time, CPU seconds, peak memory, and what else the machine did meanwhile.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use wait4::Wait4;

/// Longest that a process may run; it is killed then.
const LIMIT: Duration = Duration::from_secs(180);

/// Linux counts in hundredths of a second in `/proc`, on every machine this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// What one run took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    /// Seconds from before the start until the end was seen.
    pub(crate) wall: f64,
    /// CPU seconds of the process in its own code.
    pub(crate) user: f64,
    /// CPU seconds of the process in the kernel.
    pub(crate) system: f64,
    /// Largest resident set, in MiB.
    pub(crate) peak: f64,
    /// CPU seconds of the broker meanwhile.
    pub(crate) broker: f64,
    /// Share of the machine's CPU time that went to others meanwhile, 0 to 1: noise.
    pub(crate) others: f64,
    /// MiB in the broker's segments afterwards; 0 where nothing is published.
    pub(crate) stored: f64,
}

impl Sample {
    pub(crate) fn cpu(&self) -> f64 {
        self.user + self.system
    }
}

/// Runs `command`, its output as it says, its stderr kept for the error.
pub(crate) fn run(mut command: Command, broker: Option<u32>) -> Result<Sample, String> {
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let (broker_before, all_before) = (broker.map_or(0.0, process_cpu), machine_cpu());
    let begin = Instant::now();
    let mut child = command
        .spawn()
        .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
    let (ended, end) = mpsc::channel::<()>();
    let pid = child.id().to_string();
    let watchdog = thread::spawn(move || {
        if end.recv_timeout(LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-9", &pid]).status();
        }
    });
    let used = child.wait4().map_err(|error| format!("wait4: {error}"))?;
    let wall = begin.elapsed().as_secs_f64();
    let (broker_after, all_after) = (broker.map_or(0.0, process_cpu), machine_cpu());
    drop(ended);
    let _ = watchdog.join();
    let mut talk = Vec::new();
    if let Some(mut stderr) = child.stderr.take() {
        let _ = stderr.read_to_end(&mut talk);
    }
    if !used.status.success() {
        let talk = String::from_utf8_lossy(&talk);
        return Err(format!("{command:?}: {}: {}", used.status, talk.trim()));
    }
    let (user, system) = (used.rusage.utime.as_secs_f64(), used.rusage.stime.as_secs_f64());
    let broker = broker_after - broker_before;
    let cores = thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    Ok(Sample {
        wall,
        user,
        system,
        peak: mib(used.rusage.maxrss),
        broker,
        others: ((all_after - all_before - user - system - broker) / (wall * cores)).clamp(0.0, 1.0),
        stored: 0.0,
    })
}

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

/// CPU seconds that the process has used.
fn process_cpu(pid: u32) -> f64 {
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
fn machine_cpu() -> f64 {
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
