//! The members' processes, and what each has read when.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::PARTITIONS;

/// All partitions are read within this time in calm.
const CALM: Duration = Duration::from_millis(500);
/// For so long nothing may have changed.
const SETTLED: Duration = Duration::from_secs(3);

/// A kind of client.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) name: String,
    program: PathBuf,
    session: Option<String>,
}

impl Client {
    pub(crate) fn barnabas(program: &Path, session: Option<&str>) -> Self {
        Self {
            name: "barnabas".to_owned(),
            program: program.to_owned(),
            session: session.map(str::to_owned),
        }
    }

    pub(crate) fn librdkafka(python: &Path, protocol: &str) -> Self {
        Self {
            name: protocol.to_owned(),
            program: python.to_owned(),
            session: None,
        }
    }

    fn command(&self, bootstrap: &str, topic: &str, group: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear();
        if self.name == "barnabas" {
            command.args(["consume", "-q", "-f", "%p %o\\n", "--from", "earliest"]);
            command.args(["-b", bootstrap, "-t", topic, "-g", group]);
            if let Some(session) = &self.session {
                command.args(["--session", session]);
            }
        } else {
            command.arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/benches/handover/consumer.py"
            ));
            command.args([bootstrap, group, topic, &self.name, "10000"]);
        }
        command
    }
}

/// A record that a member printed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) member: usize,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

/// A group of members.
pub(crate) struct Group {
    client: Client,
    bootstrap: String,
    topic: String,
    name: String,
    members: Vec<Option<Child>>,
    tell: mpsc::Sender<Seen>,
    hear: mpsc::Receiver<Seen>,
    seen: Vec<Seen>,
}

impl Group {
    /// Two members.
    pub(crate) fn start(client: &Client, bootstrap: &str, topic: &str, name: &str) -> Result<Self, String> {
        let since = Instant::now();
        let mut group = Self::unseen(client, bootstrap, topic, name, 2)?;
        group.balanced(since, 2, crate::LIMIT)?;
        Ok(group)
    }

    /// So many members, which nobody waits for.
    pub(crate) fn unseen(
        client: &Client,
        bootstrap: &str,
        topic: &str,
        name: &str,
        members: usize,
    ) -> Result<Self, String> {
        let (tell, hear) = mpsc::channel();
        let mut group = Self {
            client: client.clone(),
            bootstrap: bootstrap.to_owned(),
            topic: topic.to_owned(),
            name: name.to_owned(),
            members: Vec::new(),
            tell,
            hear,
            seen: Vec::new(),
        };
        for _ in 0..members {
            group.join()?;
        }
        Ok(group)
    }

    /// One more; how many there are then.
    pub(crate) fn join(&mut self) -> Result<usize, String> {
        let mut child = self
            .client
            .command(&self.bootstrap, &self.topic, &self.name)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let stdout = child.stdout.take().ok_or("no stdout")?;
        let (member, tell) = (self.members.len(), self.tell.clone());
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let mut numbers = line.split(' ');
                let (Some(partition), Some(offset)) = (numbers.next(), numbers.next()) else {
                    continue;
                };
                let (Ok(partition), Ok(offset)) = (partition.parse(), offset.parse()) else {
                    continue;
                };
                let at = Instant::now();
                if tell
                    .send(Seen {
                        at,
                        member,
                        partition,
                        offset,
                    })
                    .is_err()
                {
                    return;
                }
            }
        });
        self.members.push(Some(child));
        Ok(self.living())
    }

    /// The youngest ends as asked to.
    pub(crate) fn leave(&mut self) -> Result<usize, String> {
        self.end("-TERM")
    }

    /// The youngest ends without a word.
    pub(crate) fn kill(&mut self) -> Result<usize, String> {
        self.end("-KILL")
    }

    fn end(&mut self, signal: &str) -> Result<usize, String> {
        let youngest = self.members.iter_mut().rev().find_map(Option::take);
        let mut child = youngest.ok_or("nobody is there")?;
        let sent = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        sent.map_err(|error| error.to_string())?;
        std::thread::spawn(move || child.wait());
        Ok(self.living())
    }

    /// CPU seconds of each living member.
    pub(crate) fn cpu(&self) -> Result<BTreeMap<u32, f64>, String> {
        crate::idle::cpu(self.members.iter().flatten().map(Child::id))
    }

    fn living(&self) -> usize {
        self.members.iter().flatten().count()
    }

    fn hear(&mut self, for_long: Duration) {
        let until = Instant::now() + for_long;
        while let Ok(seen) = self
            .hear
            .recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            self.seen.push(seen);
        }
    }

    /// Who read each partition last.
    pub(crate) fn owners(&self) -> BTreeMap<i32, usize> {
        self.seen
            .iter()
            .map(|seen| (seen.partition, seen.member))
            .collect()
    }

    pub(crate) fn seen(&self) -> &[Seen] {
        &self.seen
    }

    /// Waits until nobody has changed for a while, and all partitions are read.
    pub(crate) fn settle(&mut self, limit: Duration) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            let before = self.owners();
            self.hear(SETTLED);
            if self.owners() == before && self.all_read_within(CALM) {
                return Ok(());
            }
            if begin.elapsed() > limit {
                return Err(format!("{} does not settle", self.name));
            }
        }
    }

    /// Waits until so many members read all partitions in equal shares.
    pub(crate) fn balanced(&mut self, since: Instant, members: usize, limit: Duration) -> Result<(), String> {
        loop {
            self.hear(Duration::from_millis(20));
            let mut shares: BTreeMap<usize, usize> = BTreeMap::new();
            let recent = self.seen.iter().rev().take_while(|seen| seen.at > since);
            let mut owners: BTreeMap<i32, usize> = BTreeMap::new();
            for seen in recent {
                owners.entry(seen.partition).or_insert(seen.member);
            }
            for member in owners.values() {
                *shares.entry(*member).or_default() += 1;
            }
            let level = shares
                .values()
                .all(|share| *share == PARTITIONS as usize / members);
            if owners.len() == PARTITIONS as usize && shares.len() == members && level {
                return Ok(());
            }
            if since.elapsed() > limit {
                return Err(format!(
                    "{}: not balanced within {limit:?}: {shares:?}",
                    self.name
                ));
            }
        }
    }

    fn all_read_within(&self, time: Duration) -> bool {
        let now = Instant::now();
        let mut read: Vec<i32> = self
            .seen
            .iter()
            .rev()
            .take_while(|seen| now - seen.at < time)
            .map(|seen| seen.partition)
            .collect();
        read.sort_unstable();
        read.dedup();
        read.len() == PARTITIONS as usize
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for child in self.members.iter_mut().flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
