//! Processes that handlers run in: each leads a group of its own, so that what it starts ends with it.

use std::io;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

/// What is kept of stderr, in bytes.
const MAX_TAIL: usize = 2 << 10;

/// A command line that cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// No word in it.
    #[error("the command is empty")]
    Empty,
    /// An open quote.
    #[error("the command `{0}` lacks a closing quote")]
    Quote(String),
    /// A backslash at the end.
    #[error("the command `{0}` ends with a backslash")]
    Backslash(String),
}

/// Splits a command line into words as a shell does, with `'…'`, `"…"` and backslashes. There is no shell: `$`, `*`, `|`, `>` mean nothing.
///
/// # Errors
/// If there is no word, or an open quote.
pub fn split(line: &str) -> Result<Vec<String>, SplitError> {
    let mut words = Vec::new();
    // `''` is a word too: so a word is there as soon as it has begun.
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('\''), c) => word.get_or_insert_default().push(c),
            (in_quote, '\\') => {
                let Some(next) = chars.next() else {
                    return Err(SplitError::Backslash(line.to_owned()));
                };
                let word = word.get_or_insert_default();
                if in_quote.is_some() && !matches!(next, '"' | '\\' | '$' | '`') {
                    word.push('\\');
                }
                word.push(next);
            }
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(SplitError::Quote(line.to_owned()));
    }
    words.extend(word);
    if words.is_empty() {
        return Err(SplitError::Empty);
    }
    Ok(words)
}

/// A running process and its pipes. Dropping it kills its group.
pub(super) struct Process {
    pub(super) child: Child,
    pub(super) stdin: ChildStdin,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
    pub(super) group: Group,
}

/// Starts a process with pipes, as the leader of a group; `variables` come on top of our own.
///
/// # Errors
/// As the system has it: not found, not executable, no more processes.
pub(super) fn spawn(words: &[String], prepare: impl FnOnce(&mut Command)) -> io::Result<Process> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(io::Error::other("the command is empty"));
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        // Python holds back what it prints into a pipe: answers would come 8 KiB at a time.
        .env("PYTHONUNBUFFERED", "1")
        .kill_on_drop(true);
    prepare(&mut command);
    let mut child = command.spawn()?;
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let group = Group(id.and_then(Pid::from_raw));
    match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
        (Some(stdin), Some(stdout), Some(stderr)) => Ok(Process {
            child,
            stdin,
            stdout,
            stderr,
            group,
        }),
        _ => Err(io::Error::other("it has no pipes")),
    }
}

/// A process group, named by its leader. Dropping it kills what is left of it.
pub(super) struct Group(Option<Pid>);

impl Group {
    /// Asks it to end (SIGTERM).
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Ends it (SIGKILL).
    pub(super) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// Forgets it: its leader has ended, and what it has left behind may stay.
    pub(super) fn release(&mut self) {
        self.0 = None;
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.0 {
            // That it has ended already is what we want.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

/// "exit 3", "signal 9"
pub(super) fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown end".to_owned(),
    }
}

/// The last bytes of what was said.
#[derive(Debug, Default)]
pub(super) struct Tail(Vec<u8>);

impl Tail {
    /// Adds to it.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(MAX_TAIL)..];
        let excess = (self.0.len() + bytes.len()).saturating_sub(MAX_TAIL);
        self.0.drain(..excess);
        self.0.extend_from_slice(bytes);
    }

    /// What it is, without white space around it.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0).trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        split(line).unwrap()
    }

    #[test]
    fn a_command_is_split_as_a_shell_would() {
        assert_eq!(words("node  worker.js\t--x"), ["node", "worker.js", "--x"]);
        assert_eq!(
            words(r#"sh -c 'echo "$1" \n' '' a"b c"d"#),
            ["sh", "-c", r#"echo "$1" \n"#, "", "ab cd"]
        );
        assert_eq!(words(r#"a\ b "c\"d\e" \'"#), ["a b", r#"c"d\e"#, "'"]);
        assert_eq!(
            words("echo $HOME | cat > x"),
            ["echo", "$HOME", "|", "cat", ">", "x"]
        );
    }

    #[test]
    fn an_unfinished_command_is_refused() {
        assert_eq!(split("  "), Err(SplitError::Empty));
        assert!(matches!(split("a 'b"), Err(SplitError::Quote(_))));
        assert!(matches!(split("a \"b"), Err(SplitError::Quote(_))));
        assert!(matches!(split("a \\"), Err(SplitError::Backslash(_))));
    }

    #[test]
    fn a_tail_keeps_the_last_bytes() {
        let mut tail = Tail::default();
        tail.push(&[b'a'; 10_000]);
        tail.push(b"end\n");
        assert_eq!(tail.text().len(), MAX_TAIL - 1);
        assert!(tail.text().ends_with("aend"));
    }

    proptest! {
        #[test]
        fn quoted_words_come_back_whole(words in prop::collection::vec("[^']{0,10}", 1..5)) {
            let line: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            prop_assert_eq!(split(&line.join(" ")).unwrap(), words);
        }
    }
}
