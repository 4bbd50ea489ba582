//! One consumer at work, and the handler beside it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::input::Input;
use crate::shared::{machine_cpu, process_cpu};
use crate::tally::{Reports, Said};
use crate::world::World;

/// Between two looks whether a process still runs.
const LOOK: Duration = Duration::from_millis(200);
/// For a handler to be there, and for a process to end.
const SHORT: Duration = Duration::from_secs(30);
/// For all events of a run.
const LONG: Duration = Duration::from_secs(180);

/// What one run took, from the moment at which a tenth of the events was there until all were.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    /// Events a second.
    pub(crate) rate: f64,
    /// CPU of the consumer per event, in microseconds.
    pub(crate) cpu: f64,
    /// Largest resident set until the end, in MiB.
    pub(crate) peak: f64,
    /// Share of one core that the handler used.
    pub(crate) handler: f64,
    /// Share of one core that the broker used.
    pub(crate) broker: f64,
    /// Share of the machine that went to none of these, 0 to 1: noise.
    pub(crate) others: f64,
}

/// A process that is killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it says goes to a file.
    pub(crate) fn start(mut command: Command, name: &str, dir: &Path) -> Result<Self, String> {
        let log = dir.join(format!("{}.log", name.replace(' ', "-")));
        let file = File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|error| format!("{}: {error}", command.get_program().display()))?;
        Ok(Self {
            child,
            name: name.to_owned(),
            log,
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// CPU seconds of the processes that it has started, and those have.
    fn children_cpu(&self) -> f64 {
        descendants(self.pid()).into_iter().map(process_cpu).sum()
    }

    /// A line of `/proc/PID/status`, in MiB.
    pub(crate) fn memory(&self, name: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        kib.unwrap_or(f64::NAN) / 1024.0
    }

    /// Fails if it has ended.
    pub(crate) fn runs(&mut self) -> Result<(), String> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("{} has ended: {status}: {}", self.name, self.said())),
            Err(error) => Err(format!("{}: {error}", self.name)),
        }
    }

    /// Waits until it ends by itself.
    pub(crate) fn ends(mut self, limit: Duration) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(format!("{}: {status}: {}", self.name, self.said())),
                Ok(None) if begin.elapsed() < limit => thread::sleep(Duration::from_millis(20)),
                Ok(None) => return Err(format!("{} does not end within {limit:?}", self.name)),
                Err(error) => return Err(format!("{}: {error}", self.name)),
            }
        }
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(self) -> Result<(), String> {
        let sent = Command::new("kill").arg(self.pid().to_string()).status();
        sent.map_err(|error| format!("kill: {error}"))?;
        self.ends(SHORT)
    }

    fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.trim().lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" / ")
    }
}

/// The processes that a process has started, and those have.
fn descendants(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let children: Vec<u32> = tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|text| {
            text.split_whitespace()
                .filter_map(|child| child.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect();
    let further: Vec<u32> = children.iter().flat_map(|child| descendants(*child)).collect();
    [children, further].concat()
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A handler's process that listens.
pub(crate) struct Sink {
    process: Process,
    pub(crate) reports: Reports,
    pub(crate) url: String,
}

impl Sink {
    /// That waits for `expect` different events of `input`, and answers as `answer` says.
    pub(crate) fn start(world: &World, input: Input, expect: u64, answer: &[&str]) -> Result<Self, String> {
        let reports = Reports::open().map_err(|error| error.to_string())?;
        let ids = input.first + input.events;
        let mut command = Command::new(&world.programs.harness);
        command
            .arg("--sink")
            .args(tally_args(&reports, ids, expect))
            .args(answer);
        let process = Process::start(command, "sink", &world.dir)?;
        match reports.next(SHORT)? {
            Some(Said::Port(port)) => Ok(Self {
                process,
                reports,
                url: format!("http://127.0.0.1:{port}/events"),
            }),
            other => Err(format!("the sink said {other:?}")),
        }
    }
}

/// For a handler.
pub(crate) fn tally_args(reports: &Reports, ids: u64, expect: u64) -> Vec<String> {
    let address = reports.address.to_string();
    let (ids, expect) = (ids.to_string(), expect.to_string());
    let args = ["--report", &address, "--ids", &ids, "--expect", &expect];
    args.map(str::to_owned).into()
}

/// A consumer's accounts at a moment.
struct Accounts {
    consumer: f64,
    handler: f64,
    broker: f64,
    all: f64,
}

/// A consumer and what it is measured by.
pub(crate) struct Work<'a> {
    pub(crate) consumer: Process,
    pub(crate) reports: &'a Reports,
    /// The handler, if it is not the consumer's child.
    pub(crate) sink: Option<&'a Sink>,
    pub(crate) expect: u64,
}

impl Work<'_> {
    /// Waits until all events were handled, each once.
    pub(crate) fn finish(&mut self, world: &World) -> Result<Sample, String> {
        let warm = loop {
            match self.wait(LONG)? {
                Said::Warm(at) => break at,
                Said::First => {}
                other => return Err(format!("{}: the handler said {other:?}", self.consumer.name)),
            }
        };
        let before = self.accounts(world);
        let (done, repeats) = match self.wait(LONG)? {
            Said::Done(at, repeats) => (at, repeats),
            other => return Err(format!("{}: the handler said {other:?}", self.consumer.name)),
        };
        let after = self.accounts(world);
        if repeats > 0 {
            return Err(format!("{}: {repeats} events came again", self.consumer.name));
        }
        let seconds = (done - warm) as f64 / 1e9;
        let events = (self.expect - (self.expect / 10).max(1)) as f64;
        let cores = thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let (consumer, handler) = (after.consumer - before.consumer, after.handler - before.handler);
        let broker = after.broker - before.broker;
        let known = consumer + handler + broker;
        Ok(Sample {
            rate: events / seconds,
            cpu: consumer * 1e6 / events,
            peak: self.consumer.memory("VmHWM"),
            handler: handler / seconds,
            broker: broker / seconds,
            others: ((after.all - before.all - known) / (seconds * cores)).clamp(0.0, 1.0),
        })
    }

    fn accounts(&self, world: &World) -> Accounts {
        Accounts {
            consumer: process_cpu(self.consumer.pid()),
            handler: self.sink.map_or_else(
                || self.consumer.children_cpu(),
                |sink| process_cpu(sink.process.pid()),
            ),
            broker: world.kafka.pid(0).map_or(0.0, process_cpu),
            all: machine_cpu(),
        }
    }

    /// The next report, as long as the consumer runs.
    pub(crate) fn wait(&mut self, limit: Duration) -> Result<Said, String> {
        let begin = Instant::now();
        loop {
            if let Some(said) = self.reports.next(LOOK)? {
                return Ok(said);
            }
            self.consumer.runs()?;
            if begin.elapsed() > limit {
                return Err(format!(
                    "{}: no word of the handler within {limit:?}",
                    self.consumer.name
                ));
            }
        }
    }
}
