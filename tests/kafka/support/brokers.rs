//! A broker or several, as tests see them that need nothing else: real Kafka, or the sandbox.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use barnabas::sandbox;

use super::cluster::Kafka;
use super::files::Temporary;
use super::{loud, wait_for, wire};

/// Bytes of records that the tests' sandbox may hold: all of them, since none may go before its test has read it.
const SANDBOX_MEMORY: usize = 4 << 30;

/// Where the tests run: what `BARNABAS_TEST_ON` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// Nothing is said: the sandbox, and real Kafka for tests that need it, where Java is.
    Both,
    /// `sandbox`: tests that need real Kafka are left out.
    Sandbox,
    /// `kafka`: real Kafka, for all.
    Kafka,
}

impl On {
    /// Read once, and said once, aloud.
    ///
    /// # Panics
    /// If the variable has another value.
    pub(crate) fn get() -> Self {
        static ON: OnceLock<On> = OnceLock::new();
        *ON.get_or_init(|| {
            #[expect(
                clippy::disallowed_methods,
                reason = "tests do not pass through cli/settings.rs"
            )]
            let said = std::env::var("BARNABAS_TEST_ON").unwrap_or_default();
            let (on, line) = match said.as_str() {
                "" => (On::Both, "the sandbox; real Kafka where a test needs it"),
                "sandbox" => (On::Sandbox, "the sandbox; what needs real Kafka is left out"),
                "kafka" => (On::Kafka, "real Kafka"),
                other => panic!("BARNABAS_TEST_ON is {other:?}: `sandbox`, `kafka`, or not set"),
            };
            loud(&format!("on: {line}"));
            on
        })
    }
}

/// A broker.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) port: u16,
    pub(crate) up: AtomicBool,
}

/// A running broker or several. Helpers take this where they need no more; [`Kafka`] derefs to it.
#[derive(Debug)]
pub(crate) struct Brokers {
    nodes: Vec<Node>,
    /// For files.
    dir: PathBuf,
}

impl Brokers {
    /// Those that listen at these ports of 127.0.0.1 and are not yet up, with a directory for tests' files.
    pub(crate) fn new(ports: &[u16], dir: &Path) -> Self {
        let node = |port: &u16| Node {
            port: *port,
            up: AtomicBool::new(false),
        };
        Self {
            nodes: ports.iter().map(node).collect(),
            dir: dir.to_owned(),
        }
    }

    /// The one broker that tests of this process share which can do with either kind: topics have names of their own.
    /// `None`, said aloud, where real Kafka is asked for and Java or Maven is missing.
    pub(crate) fn any() -> Option<&'static Self> {
        match On::get() {
            On::Kafka => Kafka::shared().map(|kafka| &**kafka),
            On::Both | On::Sandbox => Some(Self::sandbox()),
        }
    }

    /// Whether [`Brokers::any`] is real Kafka.
    pub(crate) fn any_is_kafka() -> bool {
        On::get() == On::Kafka
    }

    fn sandbox() -> &'static Self {
        // A static is never dropped: the files go when the process has ended.
        static SANDBOX: OnceLock<(Temporary, Brokers)> = OnceLock::new();
        let (_, brokers) = SANDBOX.get_or_init(|| {
            let files = Temporary::new("sandbox-run");
            let brokers = Self::new(&[sandbox_of_this_process()], files.path());
            brokers.set_up(0, true);
            (files, brokers)
        });
        brokers
    }

    /// Says that a broker has come up or gone down.
    pub(crate) fn set_up(&self, index: usize, up: bool) {
        self.nodes[index].up.store(up, Ordering::SeqCst);
    }

    /// Addresses of all, with commas between.
    pub(crate) fn bootstrap(&self) -> String {
        let addresses: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port))
            .collect();
        addresses.join(",")
    }

    /// A directory for the test's own files, removed with the brokers.
    pub(crate) fn scratch(&self, name: &str) -> PathBuf {
        let dir = self.dir.join("scratch").join(name);
        fs::create_dir_all(&dir).expect("target/ can be written");
        dir
    }

    /// A new topic with a name that starts with `name` and is no other test's, replicated thrice if there are three
    /// brokers, ready on every one when this returns.
    pub(crate) fn topic(&self, name: &str, partitions: i32) -> String {
        self.topic_with(name, partitions, &[])
    }

    /// As [`Self::topic`], with configs.
    pub(crate) fn topic_with(&self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> String {
        static TOPICS: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "{name}-{}-{}",
            std::process::id(),
            TOPICS.fetch_add(1, Ordering::Relaxed)
        );
        let replication = if self.nodes.len() >= 3 { 3 } else { 1 };
        let live = self.live_ports();
        wire::create_topic(live[0], &name, partitions, replication, configs);
        for port in live {
            wait_for(
                &format!("topic {name} has leaders"),
                Duration::from_secs(60),
                || {
                    let metadata = wire::metadata(port, Some(&name)).ok()?;
                    let all =
                        metadata.error == 0 && i32::try_from(metadata.partitions.len()) == Ok(partitions);
                    (all && metadata.partitions.iter().all(|(leader, _)| *leader >= 0)).then_some(())
                },
            );
        }
        name
    }

    /// Index of the broker that leads the partition, asked of a living one.
    pub(crate) fn leader(&self, topic: &str, partition: usize) -> usize {
        wait_for("a leader", Duration::from_secs(60), || {
            let metadata = self
                .live_ports()
                .into_iter()
                .find_map(|port| wire::metadata(port, Some(topic)).ok())?;
            let (leader, _) = metadata.partitions.get(partition)?;
            usize::try_from(*leader).ok()?.checked_sub(1)
        })
    }

    /// Records and control records ever written to the topic, as far as its leaders answer.
    pub(crate) fn written(&self, topic: &str) -> i64 {
        let ports = self.live_ports();
        let Some(metadata) = ports
            .iter()
            .find_map(|port| wire::metadata(*port, Some(topic)).ok())
        else {
            return 0;
        };
        let partitions = 0..i32::try_from(metadata.partitions.len()).unwrap_or(0);
        let end = |partition| {
            ports
                .iter()
                .find_map(|port| wire::end_offset(*port, topic, partition))
        };
        partitions.filter_map(end).sum()
    }

    /// Deletes a topic.
    pub(crate) fn delete_topic(&self, topic: &str) {
        wire::delete_topic(self.live_ports()[0], topic);
    }

    fn live_ports(&self) -> Vec<u16> {
        let live = self.nodes.iter().filter(|node| node.up.load(Ordering::SeqCst));
        live.map(|node| node.port).collect()
    }
}

/// Starts a sandbox that ends with this process, and tells its port. As with the tests' real Kafka, topics come by being
/// created only, and records stay, however old.
fn sandbox_of_this_process() -> u16 {
    let (told, port) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be made");
        runtime.block_on(async {
            let options = sandbox::Options {
                max_memory: SANDBOX_MEMORY,
                auto_create: false,
                configs: BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]),
                ..sandbox::Options::default()
            };
            let mut running = sandbox::start(options).await.expect("the sandbox starts");
            told.send(running.address().port()).expect("it is waited for");
            let ended = running.ended().await;
            loud(&format!("the tests' sandbox has ended: {ended:?}"));
        });
    });
    port.recv().expect("the sandbox starts")
}
