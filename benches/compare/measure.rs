//! One process from its start to its end: time, CPU seconds, peak memory, and what else the machine did meanwhile.

use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use wait4::Wait4;

use crate::shared::{machine_cpu, mib, process_cpu};

/// Longest that a process may run; it is killed then.
const LIMIT: Duration = Duration::from_secs(180);

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
