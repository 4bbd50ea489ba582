//! The snippets of docs/guide.md, taken from the page itself, and what they need to run: page and test cannot drift apart.
//!
//! A snippet is a fenced block with `file=NAME` behind its language. Of its words only those are replaced that name a place: topic, groups, brokers and ports.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use barnabas::handler::process::split;

use crate::barnabas_bin;
use crate::delivery_support::Case;
use crate::group::group_name;
use crate::member::Member;
use crate::support::dist::{installed, target};
use crate::support::run::run_command;
use crate::support::{Brokers, Finished, loud, ports, skipped};

const PAGE: &str = include_str!("../../docs/guide.md");

/// What is set for each `barnabas`, so that a test takes seconds: the commands themselves are the guide's to the letter.
const SHORT: [(&str, &str); 2] = [("BARNABAS_BACKOFF", "20ms..200ms"), ("BARNABAS_SESSION", "2s")];

/// The snippets by their names.
pub(crate) fn snippets() -> BTreeMap<&'static str, &'static str> {
    let blocks = PAGE.split("\n```").skip(1).step_by(2);
    let named = blocks.map(|block| {
        let (info, text) = block.split_once('\n').expect("a block has lines");
        let name = info.split_once(" file=").map(|(_, name)| name.trim());
        let name = name.unwrap_or_else(|| panic!("a block of the guide without a name: {block}"));
        (name, text)
    });
    named.collect()
}

/// Replaces whole words, which are runs of letters, digits, `_`, `.` and `-`.
fn replaced(text: &str, words: &[(&str, &str)]) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = rest.find(|c| is_word(c) != is_word(first));
        let (part, next) = rest.split_at(end.unwrap_or(rest.len()));
        let new = words.iter().find(|(old, _)| *old == part);
        out.push_str(new.map_or(part, |(_, new)| new));
        rest = next;
    }
    out
}

/// A directory with all snippets as files, and a topic, a group and a handler's port for them.
pub(crate) struct Desk<'k> {
    pub(crate) case: Case<'k>,
    pub(crate) dir: PathBuf,
    port: String,
}

impl<'k> Desk<'k> {
    pub(crate) fn new(kafka: &'k Brokers, name: &str) -> Self {
        Self::at(kafka, name, ports::free())
    }

    /// With this port for the handler.
    pub(crate) fn at(kafka: &'k Brokers, name: &str, port: u16) -> Self {
        let mut case = Case::new(kafka, name, 3);
        // `dlq list NAME` would mean a topic of that name.
        case.group = group_name(&format!("{name}-service"));
        let dir = kafka.scratch(&case.group);
        let port = port.to_string();
        for (name, text) in snippets() {
            fs::write(dir.join(name), replaced(text, &[("3000", &port)])).expect("target/ can be written");
        }
        Self { case, dir, port }
    }

    /// A command line of the guide, or several, for this desk.
    pub(crate) fn here(&self, text: &str) -> String {
        let bootstrap = self.case.kafka.bootstrap();
        let text = text
            .replace("localhost:9092", &bootstrap)
            .replace("orders:3000", "127.0.0.1:3000");
        let words = [
            ("3000", self.port.as_str()),
            ("orders", &self.case.topic),
            ("billing", &self.case.group),
            ("mail", &self.case.group),
        ];
        replaced(&text, &words)
    }

    /// Runs lines of the guide in a shell.
    pub(crate) fn sh(&self, text: &str) -> Finished {
        let mut command = Command::new("sh");
        command.args(["-euc", &self.here(text)]);
        self.prepare(&mut command);
        run_command(command, b"").success()
    }

    /// Starts the `barnabas consume …` of a line.
    pub(crate) fn consume(&self, line: &str) -> Member {
        let words = split(line).expect("the line is sound");
        let (program, args) = words.split_first().expect("it has words");
        assert_eq!(program, "barnabas", "{line}");
        self.consume_words(args)
    }

    /// Starts the command of a container: what `command:` or `args:` lists in a file of the guide.
    pub(crate) fn container(&self, file: &str, name: &str) -> Member {
        let text = snippets()[file];
        let list = text.lines().find_map(|line| line.trim().strip_prefix(name));
        let list = list.unwrap_or_else(|| panic!("{file} has no {name}"));
        let args: Vec<String> = serde_json::from_str(list).expect("it is a list in JSON");
        self.consume_words(&args)
    }

    fn consume_words(&self, args: &[String]) -> Member {
        let args: Vec<String> = args.iter().map(|word| self.here(word)).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut command = barnabas_bin::command(&args);
        self.prepare(&mut command);
        Member::watch(command)
    }

    /// Starts a handler of the guide.
    pub(crate) fn serve(&self, program: &str, args: &[&str]) -> Member {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.dir);
        Member::watch(command)
    }

    /// Runs a program in its directory.
    pub(crate) fn run(&self, program: &str, args: &[&str], input: &[u8]) -> Finished {
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.dir);
        run_command(command, input).success()
    }

    /// Its directory, its brokers, and `barnabas` on the path. Of this process' environment nothing that could be a setting, but the rest: the
    /// runtimes of the workers may need it.
    #[expect(
        clippy::disallowed_methods,
        reason = "tests do not pass through cli/settings.rs"
    )]
    fn prepare(&self, command: &mut Command) {
        let ours = |name: &OsString| name.to_string_lossy().starts_with("BARNABAS_");
        let kept = std::env::vars_os().filter(|(name, _)| !ours(name));
        let binary = PathBuf::from(barnabas_bin::path());
        let mut path = binary
            .parent()
            .expect("it is in a directory")
            .as_os_str()
            .to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        command
            .env_clear()
            .envs(kept)
            .env("PATH", path)
            .env("XDG_CONFIG_HOME", "/nonexistent")
            .env("BARNABAS_BROKERS", self.case.kafka.bootstrap())
            .envs(SHORT)
            .current_dir(&self.dir);
    }

    /// Publishes `{"order":"o-N","customer":"K","cents":N,"status":"sN"}` for each N from 0, the keys in turn.
    pub(crate) fn publish_orders(&self, count: usize, customers: usize) {
        let mut lines = Vec::new();
        for n in 0..count {
            let customer = n % customers;
            writeln!(
                lines,
                r#"c{customer}:{{"order":"o-{customer}","customer":"c{customer}","cents":{n},"status":"s{n}"}}"#
            )
            .expect("memory can be written");
        }
        self.case
            .publish(std::str::from_utf8(&lines).expect("it is text"));
    }
}

/// What all the orders of [`Desk::publish_orders`] come to, by customer.
pub(crate) fn balances(count: usize, customers: usize) -> BTreeMap<String, usize> {
    let mut balances = BTreeMap::new();
    for n in 0..count {
        *balances.entry(format!("c{}", n % customers)).or_default() += n;
    }
    balances
}

/// Whether these handlers of the guide can be run; said aloud if not.
pub(crate) fn runs(program: &str, version: &str, debian: &str) -> bool {
    let runs = installed(program, version);
    if !runs {
        let missing = format!("no `{program}` on PATH (Debian: apt-get install {debian})");
        skipped(&format!("the guide's handlers for {program}"), &missing);
    }
    runs
}

/// Node 20 is the oldest that ends idle connections when a server is closed.
pub(crate) fn node_runs() -> bool {
    if !runs("node", "--version", "nodejs") {
        return false;
    }
    let run = run_command(
        {
            let mut command = Command::new("node");
            command.arg("--version");
            command
        },
        b"",
    );
    let version = run.text().trim().to_owned();
    let major = version.trim_start_matches('v').split('.').next();
    let new = major
        .and_then(|major| major.parse::<u32>().ok())
        .is_some_and(|major| major >= 20);
    if !new {
        skipped(
            "the guide's handlers for node",
            &format!("`node` is {version}, and 20 is needed"),
        );
    }
    new
}

/// Has Node find what the guide's NestJS service imports; false, said aloud, where npm is missing.
///
/// # Panics
/// If npm is there but fails: that is a fault to look at, not a missing tool.
pub(crate) fn with_packages(dir: &Path) -> bool {
    static PACKAGES: OnceLock<Option<PathBuf>> = OnceLock::new();
    let Some(packages) = PACKAGES.get_or_init(install) else {
        return false;
    };
    symlink(packages, dir.join("node_modules")).expect("target/ can be written");
    for name in ["tsconfig.json", "postgres.mjs"] {
        fs::copy(source(name), dir.join(name)).expect("target/ can be written");
    }
    true
}

/// A file of tests/guide/.
pub(crate) fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/guide")
        .join(name)
}

/// Installs the packages of tests/guide/package-lock.json, once for each lock file.
fn install() -> Option<PathBuf> {
    if !runs("npm", "--version", "npm") {
        return None;
    }
    let lock = fs::read(source("package-lock.json")).expect("it is there");
    let home = target().join("guide");
    let whole = home.join(format!("packages-{:08x}", crc32fast::hash(&lock)));
    let packages = whole.join("node_modules");
    fs::create_dir_all(&home).expect("target/ can be written");
    // One installs, others wait here. The directory gets its name when it is whole, so the lock is only thrift.
    let guard = File::create(home.join("lock")).expect("target/ can be written");
    guard.lock().expect("files in target/ can be locked");
    if whole.is_dir() {
        return Some(packages);
    }
    loud(&format!(
        "installing the guide's packages into {}",
        whole.display()
    ));
    let part = home.join("packages.part");
    let _ = fs::remove_dir_all(&part);
    fs::create_dir_all(&part).expect("target/ can be written");
    for name in ["package.json", "package-lock.json"] {
        fs::copy(source(name), part.join(name)).expect("target/ can be written");
    }
    let npm = Command::new("npm")
        .args([
            "ci",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--prefer-offline",
        ])
        .current_dir(&part)
        .stdin(Stdio::null())
        .output()
        .expect("npm starts, it was asked for its version above");
    assert!(
        npm.status.success(),
        "npm could not install the guide's packages:\n{}{}",
        String::from_utf8_lossy(&npm.stdout),
        String::from_utf8_lossy(&npm.stderr)
    );
    fs::rename(&part, &whole).expect("a directory of target/ can be renamed");
    Some(packages)
}
