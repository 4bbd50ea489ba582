//! A member of a group: a process of `consume --group`, watched while it runs.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::barnabas_bin::command;
use crate::support::{Brokers, run, wait_for};

/// Longest that a test waits for something that should take seconds.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A line, and when it was read.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) at: Instant,
    pub(crate) text: String,
}

/// A running member. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Member {
    child: Child,
    printed: Lines,
    said: Lines,
    readers: Vec<thread::JoinHandle<()>>,
}

/// What a member left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) printed: Vec<Line>,
    pub(crate) said: Vec<String>,
}

/// Lines that come in while they are looked at.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<Line>>>);

impl Lines {
    fn read(&self, from: impl Read + Send + 'static) -> thread::JoinHandle<()> {
        let lines = self.clone();
        thread::spawn(move || {
            for text in BufReader::new(from).lines().map_while(Result::ok) {
                let line = Line {
                    at: barnabas::clock::now(),
                    text,
                };
                lines.0.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        })
    }

    fn all(&self) -> Vec<Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn from(&self, first: usize) -> Vec<Line> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.get(first..).unwrap_or_default().to_vec()
    }

    fn after(&self, at: Instant) -> Vec<Line> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newer = lines.iter().rev().take_while(|line| line.at > at).count();
        lines[lines.len() - newer..].to_vec()
    }

    fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Member {
    /// Starts `barnabas consume --group`. It prints `partition offset value`, or what `args` have it print.
    pub(crate) fn start(kafka: &Brokers, group: &str, args: &[&str]) -> Self {
        let bootstrap = kafka.bootstrap();
        let format: &[&str] = if args.iter().any(|arg| matches!(*arg, "-f" | "-J" | "-K")) {
            &[]
        } else {
            &["-f", "%p %o %s\\n"]
        };
        Self::run(&[&["consume", "-b", &bootstrap, "-g", group][..], format, args].concat())
    }

    /// Starts one that gives its events to a handler: it prints nothing.
    pub(crate) fn handle(kafka: &Brokers, group: &str, args: &[&str]) -> Self {
        let bootstrap = kafka.bootstrap();
        Self::run(&[&["consume", "-b", &bootstrap, "-g", group][..], args].concat())
    }

    fn run(args: &[&str]) -> Self {
        Self::watch(command(args))
    }

    /// Starts any process, to be watched in the same way.
    pub(crate) fn watch(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (printed, said) = (Lines::default(), Lines::default());
        let readers = vec![
            printed.read(child.stdout.take().expect("it is piped")),
            said.read(child.stderr.take().expect("it is piped")),
        ];
        Self {
            child,
            printed,
            said,
            readers,
        }
    }

    /// Waits for its line `ready: group …, 4 of 12 partitions`, and returns it without what is before the numbers.
    #[track_caller]
    pub(crate) fn ready(&mut self) -> String {
        let line = self.says("ready: ");
        line.rsplit_once(", ").expect("it has numbers").1.to_owned()
    }

    /// Waits for a line on standard error with this in it.
    #[track_caller]
    pub(crate) fn says(&mut self, part: &str) -> String {
        wait_for(&format!("stderr has {part:?}"), LIMIT, || {
            let said = self.said.all();
            let found = said.iter().find(|line| line.text.contains(part));
            assert!(
                found.is_some() || !self.ended(),
                "it ended without {part:?}: {said:?}"
            );
            found.map(|line| line.text.clone())
        })
    }

    /// What it has said so far.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.all().into_iter().map(|line| line.text).collect()
    }

    /// What it has printed so far.
    pub(crate) fn printed(&self) -> Vec<Line> {
        self.printed.all()
    }

    /// What it has printed after the first so many lines.
    pub(crate) fn printed_from(&self, first: usize) -> Vec<Line> {
        self.printed.from(first)
    }

    /// What it has printed since then.
    pub(crate) fn printed_after(&self, at: Instant) -> Vec<Line> {
        self.printed.after(at)
    }

    /// How many lines it has printed.
    pub(crate) fn count(&self) -> usize {
        self.printed.count()
    }

    /// Waits until it has printed so many lines.
    #[track_caller]
    pub(crate) fn prints(&mut self, count: usize) -> Vec<String> {
        wait_for(&format!("{count} lines are printed"), LIMIT, || {
            assert!(
                self.count() >= count || !self.ended(),
                "it ended after {} of {count} lines: {:?}",
                self.count(),
                self.said()
            );
            (self.count() >= count).then_some(())
        });
        self.printed().into_iter().map(|line| line.text).collect()
    }

    /// Sends a signal such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        run("kill", &["-s", name, &self.child.id().to_string()], b"").success();
    }

    /// Whether it has ended.
    pub(crate) fn ended(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("a child can be waited for")
            .is_some()
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn finish(mut self) -> Ended {
        wait_for("the member ends", LIMIT, || self.ended().then_some(()));
        for reader in self.readers.drain(..) {
            let _ = reader.join();
        }
        Ended {
            code: self.child.wait().expect("it has ended").code(),
            printed: self.printed.all(),
            said: self.said(),
        }
    }

    /// SIGTERM, and its end, which is to be a good one.
    #[track_caller]
    pub(crate) fn leaves(self) -> Ended {
        self.signal("TERM");
        let ended = self.finish();
        assert_eq!(ended.code, Some(0), "{:?}", ended.said);
        ended
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
