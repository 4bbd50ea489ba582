//! Child processes that end within bounded time.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::dist::installed;
use super::{skipped, wait_for};

/// Longest that a child process of a test may run.
const LIMIT: Duration = Duration::from_secs(120);

/// What a child process left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Program and arguments, for messages.
    pub(crate) command: String,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Finished {
    /// Itself if the exit code was 0.
    ///
    /// # Panics
    /// If not, with what it said.
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        assert!(
            self.status.success(),
            "{}: {}\n{}",
            self.command,
            self.status,
            self.talk()
        );
        self
    }

    /// Itself if it ended with this exit code.
    ///
    /// # Panics
    /// If not, with what it said.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "{}: {}\n{}",
            self.command,
            self.status,
            self.talk()
        );
        self
    }

    /// Itself if stderr contains `part`, whatever the case.
    ///
    /// # Panics
    /// If not, with what it said.
    #[track_caller]
    pub(crate) fn says(self, part: &str) -> Self {
        let found = self.stderr.to_lowercase().contains(&part.to_lowercase());
        assert!(
            found,
            "{}: {}: stderr has no {part:?}\n{}",
            self.command,
            self.status,
            self.talk()
        );
        self
    }

    /// What it printed, as text.
    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("the output is UTF-8")
    }

    fn talk(&self) -> String {
        let head = &self.stdout[..self.stdout.len().min(2000)];
        format!(
            "stderr: {}\nstdout ({} bytes): {}",
            self.stderr,
            self.stdout.len(),
            String::from_utf8_lossy(head)
        )
    }
}

/// Runs `program` to its end with `input` as its stdin.
///
/// # Panics
/// If it cannot be started or runs longer than two minutes.
pub(crate) fn run(program: &str, args: &[&str], input: &[u8]) -> Finished {
    let mut command = Command::new(program);
    command.args(args);
    run_command(command, input)
}

/// As [`run`], of a command.
pub(crate) fn run_command(command: Command, input: &[u8]) -> Finished {
    run_within(command, input, LIMIT)
}

/// As [`run_command`].
///
/// # Panics
/// If it cannot be started or runs longer than `limit`, with what it is and what it said.
pub(crate) fn run_within(mut command: Command, input: &[u8], limit: Duration) -> Finished {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let name = format!("{command:?}");
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    // It may end before it has read all: that is its affair.
    let input = input.to_vec();
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let finished = finish_within(child, name, limit);
    let _ = writer.join();
    finished
}

/// Waits for a child whose stdout and stderr are piped.
///
/// # Panics
/// If it runs longer than two minutes; it is killed then.
pub(crate) fn finish(child: Child, command: String) -> Finished {
    finish_within(child, command, LIMIT)
}

fn finish_within(mut child: Child, command: String, limit: Duration) -> Finished {
    let mut out = child.stdout.take();
    let mut err = child.stderr.take();
    let out = thread::spawn(move || read_all(out.as_mut()));
    let err = thread::spawn(move || read_all(err.as_mut()));
    let started = barnabas::clock::now();
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            break status;
        }
        if started.elapsed() > limit {
            let _ = child.kill();
            let _ = child.wait();
            let stderr =
                String::from_utf8_lossy(&err.join().expect("the reader does not panic")).into_owned();
            panic!("{command}: still running after {limit:?}; it said:\n{stderr}");
        }
        thread::sleep(Duration::from_millis(2));
    };
    let stdout = out.join().expect("the reader does not panic");
    let stderr = String::from_utf8_lossy(&err.join().expect("the reader does not panic")).into_owned();
    Finished {
        command,
        status,
        stdout,
        stderr,
    }
}

fn read_all(from: Option<&mut impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        let _ = from.read_to_end(&mut bytes);
    }
    bytes
}

/// A child to talk with while it runs. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Live {
    command: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<thread::JoinHandle<Vec<u8>>>,
}

impl Live {
    /// Starts it. Nobody reads its stdout until [`Self::take_stdout`] or [`Self::finish`].
    pub(crate) fn start(mut command: Command) -> Self {
        let name = format!("{command:?}");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name}: {error}"));
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut stderr = child.stderr.take();
        let stderr = Some(thread::spawn(move || read_all(stderr.as_mut())));
        Self {
            command: name,
            child,
            stdin,
            stdout,
            stderr,
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its stdin, to be written by another thread; dropped there, it is at its end.
    pub(crate) fn take_stdin(&mut self) -> ChildStdin {
        self.stdin.take().expect("stdin is still open")
    }

    /// Writes to its stdin, which stays open.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.stdin
            .as_mut()
            .expect("stdin is still open")
            .write_all(bytes)
            .expect("the child reads");
    }

    /// Its stdout, to be read elsewhere; dropped there, the pipe is closed.
    pub(crate) fn take_stdout(&mut self) -> ChildStdout {
        self.stdout.take().expect("stdout is still open")
    }

    /// Its stdout line by line, each within bounded time.
    pub(crate) fn lines(&mut self) -> Lines {
        let stdout = BufReader::new(self.take_stdout());
        let (sender, received) = mpsc::sync_channel(1);
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Lines(received)
    }

    /// Sends a signal such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        run("kill", &["-s", name, &self.pid().to_string()], b"").success();
    }

    /// Whether it has ended.
    pub(crate) fn ended(&mut self) -> bool {
        self.child
            .try_wait()
            .expect("a child can be waited for")
            .is_some()
    }

    /// Waits for its end; stdin stays open if it is.
    ///
    /// # Panics
    /// If that takes longer than two minutes.
    pub(crate) fn finish(mut self) -> Finished {
        let mut stdout = self.stdout.take();
        let stdout = thread::spawn(move || read_all(stdout.as_mut()));
        wait_for(&format!("{} ends", self.command), LIMIT, || {
            self.ended().then_some(())
        });
        let status = self.child.wait().expect("it has ended");
        let stderr = self
            .stderr
            .take()
            .expect("taken here only")
            .join()
            .expect("the reader does not panic");
        Finished {
            command: std::mem::take(&mut self.command),
            status,
            stdout: stdout.join().expect("the reader does not panic"),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Closes its stdin and waits for its end.
    pub(crate) fn close(mut self) -> Finished {
        drop(self.stdin.take());
        self.finish()
    }
}

/// Lines of a child that runs.
#[derive(Debug)]
pub(crate) struct Lines(mpsc::Receiver<String>);

impl Lines {
    /// The next line.
    ///
    /// # Panics
    /// If there is none within half a minute.
    #[track_caller]
    pub(crate) fn next(&self) -> String {
        self.0
            .recv_timeout(Duration::from_secs(30))
            .expect("a line within 30 s")
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs kcat; `None`, said aloud, where it is not installed.
pub(crate) fn kcat(args: &[&str], input: &[u8]) -> Option<Finished> {
    if !installed("kcat", "-V") {
        skipped(
            &format!("{}: comparison with kcat", super::this_test()),
            "no `kcat` on PATH (Debian: apt-get install kcat)",
        );
        return None;
    }
    Some(run("kcat", args, input))
}
