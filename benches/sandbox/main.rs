//! What the sandbox takes and does: its start, its memory, and records per second through it. `cargo bench --bench sandbox`;
//! see `docs/performance.md`.
//!
//! `cargo bench --bench sandbox -- [--runs N] [--records N] [--write] [--barnabas PATH]`
//!
//! No Kafka is needed. Sandbox and clients are processes of the one binary, which is the static one unless `--barnabas` says
//! another. It fails if a target is missed, or if what comes out is not what went in.
#![allow(missing_docs, clippy::print_stdout, reason = "a program, not a library")]
#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

#[path = "../compare/input.rs"]
#[allow(dead_code, reason = "shared with `compare`, which uses all of it")]
mod input;
#[path = "../compare/shared.rs"]
mod shared;
#[path = "../../tests/kafka/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use input::Input;
use shared::{median, process_cpu, spread};
use support::files::Temporary;
use support::run::run_within;

/// Starts that are measured.
const STARTS: usize = 10;
/// Longest that anything may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How long the sandbox has had nothing to do before its memory is looked at.
const IDLE: Duration = Duration::from_secs(2);
const MARKS: (&str, &str) = (
    "<!-- sandbox: written by `cargo bench --bench sandbox -- --write` -->",
    "<!-- /sandbox -->",
);

/// `ApiVersions`, version 0, of a client without a name: length, API, version, correlation, name.
const QUESTION: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];

/// A sandbox; killed when dropped.
struct Sandbox {
    child: Child,
    address: String,
}

impl Sandbox {
    /// Returns when it says that it is ready.
    fn start(barnabas: &Path) -> Self {
        let mut child = Command::new(barnabas)
            .env_clear()
            .args(["sandbox", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("barnabas starts");
        let mut line = String::new();
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        stderr.read_line(&mut line).expect("it says that it is ready");
        let address = line
            .strip_prefix("ready: sandbox on ")
            .and_then(|rest| rest.split(',').next())
            .unwrap_or_else(|| panic!("it says {line:?}"));
        let address = address.to_owned();
        // What it says later must not fill the pipe.
        std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
        Self { child, address }
    }

    /// Asks which APIs there are; the answer's bytes.
    fn ask(&self) -> usize {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        stream.write_all(&QUESTION).expect("it reads");
        let mut length = [0; 4];
        stream.read_exact(&mut length).expect("it answers");
        let mut answer = vec![0; usize::try_from(u32::from_be_bytes(length)).expect("short")];
        stream.read_exact(&mut answer).expect("it answers");
        assert_eq!(answer[..4], QUESTION[8..12], "the answer is another one's");
        answer.len()
    }

    /// A figure of `/proc/PID/status`, in MiB.
    fn status_mib(&self, name: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find(|line| line.starts_with(name)).expect("Linux");
        let kib = line
            .split_whitespace()
            .nth(1)
            .and_then(|kib| kib.parse::<f64>().ok());
        kib.expect("a number") / 1024.0
    }

    fn barnabas(&self, barnabas: &Path, args: &[&str], out: Option<&Path>) {
        let mut command = Command::new(barnabas);
        command.env_clear().args(args).args(["-b", &self.address]);
        let ran = match out {
            None => run_within(command, b"", LIMIT).status,
            Some(path) => {
                let file = File::create(path).expect("target/ can be written");
                command
                    .stdin(Stdio::null())
                    .stdout(file)
                    .status()
                    .expect("barnabas starts")
            }
        };
        assert!(ran.success(), "{args:?}: {ran}");
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Records in and out once: seconds, CPU seconds of the sandbox, its peak in MiB.
struct Through {
    wall: [f64; 2],
    cpu: [f64; 2],
    peak: f64,
}

fn through(barnabas: &Path, input: &Input, out: &Path) -> Through {
    let sandbox = Sandbox::start(barnabas);
    sandbox.barnabas(barnabas, &["topics", "create", "orders"], None);
    let file = input.plain.display().to_string();
    let pid = sandbox.child.id();
    let measure = |args: &[&str], out: Option<&Path>| {
        let (cpu, began) = (process_cpu(pid), Instant::now());
        sandbox.barnabas(barnabas, args, out);
        let wall = began.elapsed().as_secs_f64();
        (wall, process_cpu(pid) - cpu)
    };
    let publish = measure(&["produce", "-q", "-t", "orders", &file], None);
    let print = measure(&["consume", "-q", "-e", "-t", "orders"], Some(out));
    assert!(
        input::equal(&input.plain, out).expect("both are there"),
        "what came out is not what went in"
    );
    Through {
        wall: [publish.0, print.0],
        cpu: [publish.1, print.1],
        peak: sandbox.status_mib("VmHWM"),
    }
}

/// The rows of a table, and whether all targets are met.
struct Table(String, bool);

impl Table {
    fn row(&mut self, figure: &str, target: Option<(&str, f64, bool)>, values: &[f64], unit: &str) {
        let seen = median(values.iter().copied());
        let (low, high) = spread(values.iter().copied());
        let number = |value: f64| {
            if value >= 1000.0 {
                format!("{value:.0}")
            } else {
                format!("{value:.2}")
            }
        };
        let (wanted, verdict) = match target {
            Some((sign, limit, least)) => {
                let met = if least { seen >= limit } else { seen <= limit };
                self.1 &= met;
                let word = if met { "yes" } else { "**no**" };
                (format!("{sign} {limit}"), word)
            }
            None => ("–".to_owned(), "–"),
        };
        let _ = writeln!(
            self.0,
            "| {figure}, {unit} | {wanted} | {} | {} to {} | {verdict} |",
            number(seen),
            number(low),
            number(high)
        );
    }
}

fn main() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut runs, mut records, mut write, mut barnabas) = (3_usize, 1_000_000_u64, false, None);
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or(format!("{arg}: a value is missing"));
        match arg.as_str() {
            "--runs" => runs = value()?.parse().map_err(|_| "--runs N")?,
            "--records" => records = value()?.parse().map_err(|_| "--records N")?,
            "--barnabas" => barnabas = Some(PathBuf::from(value()?)),
            "--write" => write = true,
            "--bench" => {} // from cargo
            other => {
                return Err(format!(
                    "{other}? [--runs N] [--records N] [--write] [--barnabas PATH]"
                ));
            }
        }
    }
    let barnabas = barnabas.unwrap_or_else(|| shared::build_static(root));
    let facts = shared::circumstances();
    let files = Temporary::new("bench-sandbox");
    let input = Input::write(files.path(), records).map_err(|error| format!("writing the input: {error}"))?;
    let out = files.path().join("out");

    let starts: Vec<f64> = (0..STARTS)
        .map(|_| {
            let began = Instant::now();
            let sandbox = Sandbox::start(&barnabas);
            sandbox.ask();
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    let idle: Vec<f64> = (0..runs)
        .map(|_| {
            let sandbox = Sandbox::start(&barnabas);
            sandbox.ask();
            sandbox.barnabas(&barnabas, &["topics", "create", "orders"], None);
            std::thread::sleep(IDLE);
            sandbox.status_mib("VmRSS")
        })
        .collect();
    let all: Vec<Through> = (0..runs).map(|_| through(&barnabas, &input, &out)).collect();
    let each = |pick: &dyn Fn(&Through) -> f64| all.iter().map(pick).collect::<Vec<_>>();
    let rate = |index: usize| each(&|run| records as f64 / run.wall[index]);
    let cpu = |index: usize| each(&|run| run.cpu[index]);

    let mut table = Table(String::new(), true);
    let most = |limit| Some(("≤", limit, false));
    let least = |limit| Some(("≥", limit, true));
    table.row("start to the first answered request", most(50.0), &starts, "ms");
    table.row(
        "resident, with a topic and nothing to do",
        most(15.0),
        &idle,
        "MiB",
    );
    table.row(
        "in: `barnabas produce`, from start to exit",
        least(500_000.0),
        &rate(0),
        "records/s",
    );
    table.row(
        "out: `barnabas consume -e`, from start to exit",
        least(500_000.0),
        &rate(1),
        "records/s",
    );
    table.row("the sandbox's CPU while all go in", None, &cpu(0), "s");
    table.row("the sandbox's CPU while all go out", None, &cpu(1), "s");
    table.row(
        "its peak, holding all of them",
        None,
        &each(&|run| run.peak),
        "MiB",
    );
    let megabytes = input.digest.bytes as f64 / 1e6;
    let text = format!(
        "- {facts}\n- barnabas {}\n- {records} records in {megabytes:.1} MB, {:.0} bytes a line, one partition, no compression; each run has a sandbox of its own; what came out is compared with what went in, byte for byte\n- medians, smallest and largest of {STARTS} starts and of {runs} runs\n\n| figure | target | median | from, to | met |\n| --- | ---: | ---: | ---: | --- |\n{}",
        shared::barnabas_version(&barnabas),
        megabytes * 1e6 / records as f64,
        table.0
    );
    println!("{text}");
    if write {
        let document = root.join("docs/performance.md");
        shared::write_between(&document, MARKS, &text).map_err(|error| error.to_string())?;
    }
    if table.1 {
        Ok(())
    } else {
        Err("not all targets are met".to_owned())
    }
}
