//! A cluster of the tests' own.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use super::broker::Broker;
use super::brokers::{Brokers, On};
use super::dist::Dist;
use super::files::Temporary;
use super::properties::{Ports, SecuredPorts, USERS, server_properties};
use super::run::{Finished, run};
use super::{certificates, left_out, ports, skipped, this_test};

/// How the JVM is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Jvm {
    /// For tests: up in half the time, with half the throughput.
    Quick,
    /// For benchmarks: the compiler and collector of a real broker, 1 GiB of heap.
    Full,
}

impl Jvm {
    pub(crate) fn heap_mb(self) -> u32 {
        match self {
            Self::Quick => 512,
            Self::Full => 1024,
        }
    }

    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Self::Quick => &["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"],
            // What kafka-run-class.sh gives a server.
            Self::Full => &[
                "-server",
                "-XX:+UseG1GC",
                "-XX:MaxGCPauseMillis=20",
                "-XX:InitiatingHeapOccupancyPercent=35",
            ],
        }
    }
}

/// What to start.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) brokers: usize,
    /// With listeners for TLS, mutual TLS, SASL and SASL over TLS, and an authorizer.
    pub(crate) secured: bool,
    pub(crate) jvm: Jvm,
    /// The first broker's PLAINTEXT port; any free one if not given.
    pub(crate) port: Option<u16>,
    /// Further lines of `server.properties`.
    pub(crate) properties: Vec<(String, String)>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            brokers: 1,
            secured: false,
            jvm: Jvm::Quick,
            port: None,
            properties: Vec::new(),
        }
    }
}

/// A running cluster of real Kafka. Dropped, or its process dead, its brokers are killed and its files removed.
#[derive(Debug)]
pub(crate) struct Kafka {
    dist: &'static Dist,
    files: Temporary,
    ports: Vec<Ports>,
    brokers: Vec<Mutex<Broker>>,
    seen: Brokers,
}

impl Deref for Kafka {
    type Target = Brokers;

    /// What helpers are given that could do with the sandbox as well.
    fn deref(&self) -> &Brokers {
        &self.seen
    }
}

impl Kafka {
    /// One broker; `None`, said aloud, where Java or Maven is missing or the tests are to run on the sandbox alone.
    pub(crate) fn one() -> Option<Self> {
        Self::for_test(&Options::default())
    }

    /// Three brokers: topics with replication 3, two of them in sync for an acknowledgement.
    pub(crate) fn three() -> Option<Self> {
        Self::for_test(&Options {
            brokers: 3,
            ..Options::default()
        })
    }

    /// What `options` say, for one test.
    pub(crate) fn for_test(options: &Options) -> Option<Self> {
        Self::wanted().then(|| Self::start_with(options)).flatten()
    }

    /// The one broker that all tests of this process share: its topics have names of their own.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Kafka>> = OnceLock::new();
        let wanted = Self::wanted();
        wanted
            .then(|| {
                SHARED
                    .get_or_init(|| Self::start_with(&Options::default()))
                    .as_ref()
            })
            .flatten()
    }

    /// The one broker with every kind of listener, users and an authorizer, which all tests of this process share.
    pub(crate) fn shared_secured() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Kafka>> = OnceLock::new();
        let options = Options {
            secured: true,
            ..Options::default()
        };
        let wanted = Self::wanted();
        wanted
            .then(|| SHARED.get_or_init(|| Self::start_with(&options)).as_ref())
            .flatten()
    }

    /// Whether the test that asks, which needs real Kafka, is to run; says aloud if not.
    fn wanted() -> bool {
        if On::get() == On::Sandbox {
            left_out("needs real Kafka, and BARNABAS_TEST_ON is `sandbox`");
            return false;
        }
        match Dist::get() {
            Ok(_) => true,
            Err(missing) => {
                skipped(&this_test(), missing);
                false
            }
        }
    }

    /// Starts what `options` say and waits until every broker sees all others.
    pub(crate) fn start_with(options: &Options) -> Option<Self> {
        let dist = match Dist::get() {
            Ok(dist) => dist,
            Err(missing) => {
                skipped("real Kafka", missing);
                return None;
            }
        };
        let files = Temporary::new("kafka-run");
        let ports: Vec<Ports> = (0..options.brokers)
            .map(|index| Ports {
                plaintext: options.port.filter(|_| index == 0).unwrap_or_else(ports::free),
                controller: ports::free(),
                secured: options.secured.then(|| SecuredPorts {
                    ssl: ports::free(),
                    mutual: ports::free(),
                    sasl_plaintext: ports::free(),
                    sasl_ssl: ports::free(),
                }),
            })
            .collect();
        let mut brokers = Vec::new();
        for (index, broker_ports) in ports.iter().enumerate() {
            let node_id = index + 1;
            let broker_dir = files.path().join(format!("broker-{node_id}"));
            let text = server_properties(&broker_dir, node_id, &ports, &options.properties);
            let broker = Broker::new(
                broker_dir.clone(),
                broker_ports.plaintext,
                node_id,
                options.jvm,
                &text,
            );
            if options.secured {
                certificates::write(&broker_dir);
                add_scram_users(dist, &broker_dir);
            }
            brokers.push(Mutex::new(broker));
        }
        let plaintext: Vec<u16> = ports.iter().map(|ports| ports.plaintext).collect();
        let kafka = Self {
            dist,
            seen: Brokers::new(&plaintext, files.path()),
            files,
            ports,
            brokers,
        };
        for index in 0..options.brokers {
            kafka.broker(index).spawn(dist);
        }
        for index in 0..options.brokers {
            kafka.broker(index).wait_until_ready(options.brokers);
            kafka.seen.set_up(index, true);
        }
        Some(kafka)
    }

    /// The further ports of the secured broker.
    ///
    /// # Panics
    /// If this is another one.
    pub(crate) fn secured_ports(&self) -> &SecuredPorts {
        self.ports[0]
            .secured
            .as_ref()
            .expect("Kafka::secured() was started")
    }

    /// A file of the secured broker's certificates, see [`certificates::write`].
    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.files.path().join("broker-1").join(name)
    }

    /// SIGKILL for the broker with this index (0 is node 1).
    pub(crate) fn kill(&self, index: usize) {
        self.seen.set_up(index, false);
        self.broker(index).kill();
    }

    /// SIGTERM for the broker with this index: a clean stop.
    pub(crate) fn stop(&self, index: usize) {
        self.seen.set_up(index, false);
        self.broker(index).stop();
    }

    /// Starts it again on the same ports and data, and waits until it answers and sees all that run.
    pub(crate) fn start(&self, index: usize) {
        self.broker(index).spawn(self.dist);
        let running = self
            .brokers
            .iter()
            .filter(|broker| lock(broker).pid().is_some())
            .count();
        self.broker(index).wait_until_ready(running);
        self.seen.set_up(index, true);
    }

    /// The JVM's process id, for `/proc`.
    pub(crate) fn pid(&self, index: usize) -> Option<u32> {
        self.broker(index).pid()
    }

    /// The last lines of a broker's log.
    pub(crate) fn log_tail(&self, index: usize) -> String {
        self.broker(index).log_tail()
    }

    /// The first segment of the partition on the first broker, as it is on disk.
    pub(crate) fn segment(&self, topic: &str, partition: i32) -> Vec<u8> {
        let path = self.files.path().join(format!(
            "broker-1/data/{topic}-{partition}/00000000000000000000.log"
        ));
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Flips a bit in each byte of `marker` where it is in that segment, as a bad disk may: the broker does not look again.
    pub(crate) fn damage(&self, topic: &str, partition: i32, marker: &[u8]) {
        let segment = self.segment(topic, partition);
        let at = segment
            .windows(marker.len())
            .position(|window| window == marker)
            .expect("the marker is there, uncompressed");
        let path = self.files.path().join(format!(
            "broker-1/data/{topic}-{partition}/00000000000000000000.log"
        ));
        let damaged: Vec<u8> = marker.iter().map(|byte| byte ^ 1).collect();
        let file = fs::OpenOptions::new()
            .write(true)
            .open(&path)
            .expect("it can be written");
        file.write_all_at(&damaged, u64::try_from(at).expect("small"))
            .expect("it can be written");
    }

    /// Bytes of the topic's segments on the first broker, as they are on disk.
    pub(crate) fn stored(&self, topic: &str) -> u64 {
        let data =
            fs::read_dir(self.files.path().join("broker-1/data")).expect("the broker's directory is there");
        let partitions = data.filter_map(Result::ok).filter(|entry| {
            let name = entry.file_name();
            let partition = name
                .to_str()
                .and_then(|name| name.strip_prefix(topic)?.strip_prefix('-'));
            partition.is_some_and(|partition| partition.parse::<u32>().is_ok())
        });
        let files = partitions
            .filter_map(|entry| fs::read_dir(entry.path()).ok())
            .flatten();
        let segments = files.filter_map(Result::ok).filter(|file| {
            file.path()
                .extension()
                .is_some_and(|extension| extension == "log")
        });
        segments
            .filter_map(|file| file.metadata().ok())
            .map(|file| file.len())
            .sum()
    }

    /// Runs a class of Kafka's tools (`org.apache.kafka.tools.ConsoleProducer`) with `input` as its stdin.
    pub(crate) fn java(&self, class: &str, args: &[&str], input: &[u8]) -> Finished {
        let class_path = self.dist.class_path();
        run(
            "java",
            &[&["-XX:TieredStopAtLevel=1", "-cp", &class_path, class], args].concat(),
            input,
        )
    }

    /// Runs a Java source file of `tests/kafka/support/java/`.
    pub(crate) fn java_source(&self, file: &str, args: &[&str], input: &[u8]) -> Finished {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/kafka/support/java")
            .join(file);
        self.java(&source.display().to_string(), args, input)
    }

    fn broker(&self, index: usize) -> MutexGuard<'_, Broker> {
        lock(&self.brokers[index])
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        for index in 0..self.brokers.len() {
            self.kill(index);
        }
    }
}

fn lock(broker: &Mutex<Broker>) -> MutexGuard<'_, Broker> {
    broker.lock().unwrap_or_else(PoisonError::into_inner)
}

/// SCRAM users live in the cluster's metadata; the storage tool puts them there before the first start.
fn add_scram_users(dist: &Dist, broker_dir: &Path) {
    fs::remove_file(broker_dir.join("data/meta.properties")).expect("Broker::new wrote it");
    let properties = broker_dir.join("server.properties").display().to_string();
    let class_path = dist.class_path();
    let mut args: Vec<String> = [
        "-XX:TieredStopAtLevel=1",
        "-cp",
        &class_path,
        "kafka.tools.StorageTool",
        "format",
    ]
    .map(str::to_owned)
    .to_vec();
    args.extend(["-t", super::properties::CLUSTER_ID, "-c", &properties].map(str::to_owned));
    for (user, password) in USERS {
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
            args.push("--add-scram".to_owned());
            args.push(format!("{mechanism}=[name={user},password={password}]"));
        }
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    run("java", &args, b"").success();
}
