//! One broker: a JVM, the watchdog that ends it, its files.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::cluster::Jvm;
use super::dist::Dist;

/// Starts the JVM, prints its process id, and kills it when stdin closes: when the test lets go of it, or dies, in
/// whatever way. (A parent-death signal would need `unsafe`.)
const WATCHDOG: &str =
    r#""$@" >>"$OUT" 2>&1 & pid=$!; echo $pid; cat >/dev/null; kill -9 $pid; wait $pid 2>/dev/null"#;

/// Longest a broker may take from its start to its first answer; 2 to 3 s are usual on an idle machine.
const START_LIMIT: Duration = Duration::from_secs(120);

const LOG4J: &str = "status=off
appender.file.type=File
appender.file.name=file
appender.file.fileName=${sys:kafka.log}
appender.file.layout.type=PatternLayout
appender.file.layout.pattern=%d %p %c{1} %m%n
rootLogger.level=info
rootLogger.appenderRef.file.ref=file
";

/// One broker of a cluster, running or not.
#[derive(Debug)]
pub(crate) struct Broker {
    /// Holds `server.properties`, `data/`, `server.log`, `out.log`.
    dir: PathBuf,
    /// The PLAINTEXT listener's.
    port: u16,
    jvm: Jvm,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    watchdog: Child,
    java: u32,
}

impl Broker {
    /// Writes its files; starts nothing. The data directory is formatted here with the two lines that
    /// `kafka-storage.sh format` would write, which takes a JVM of its own, unless `formatted` says it has run.
    pub(crate) fn new(dir: PathBuf, port: u16, node_id: usize, jvm: Jvm, properties: &str) -> Self {
        let data = dir.join("data");
        fs::create_dir_all(&data).expect("target/ can be written");
        fs::write(dir.join("server.properties"), properties).expect("target/ can be written");
        fs::write(dir.join("log4j2.properties"), LOG4J).expect("target/ can be written");
        fs::write(data.join("meta.properties"), meta_properties(node_id)).expect("target/ can be written");
        Self {
            dir,
            port,
            jvm,
            running: None,
        }
    }

    /// The PLAINTEXT listener's port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The JVM's process id, for `/proc`.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.java)
    }

    /// Starts the JVM without waiting for it.
    pub(crate) fn spawn(&mut self, dist: &Dist) {
        if self.running.is_some() {
            return;
        }
        let log = self.dir.join("server.log");
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG, "watchdog", "java", "-Xms256m"]);
        command.arg(format!("-Xmx{}m", self.jvm.heap_mb()));
        command.args(self.jvm.flags());
        command.arg(format!(
            "-Dlog4j2.configurationFile=file:{}",
            self.dir.join("log4j2.properties").display()
        ));
        command.arg(format!("-Dkafka.log={}", log.display()));
        command.args(["-cp", &dist.class_path(), "kafka.Kafka"]);
        command.arg(self.dir.join("server.properties"));
        command.env("OUT", self.dir.join("out.log"));
        // A group of its own: Ctrl-C at the terminal reaches the test, and the watchdog by its pipe.
        command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut watchdog = command.spawn().expect("sh starts");
        let mut line = String::new();
        let stdout = watchdog.stdout.take().expect("it is piped");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("the watchdog prints a process id");
        let java = line.trim().parse().expect("the watchdog prints a process id");
        self.running = Some(Running { watchdog, java });
    }

    /// Waits until the broker answers and sees `brokers` living ones.
    ///
    /// # Panics
    /// If the JVM ends or [`START_LIMIT`] passes, with the end of its log.
    pub(crate) fn wait_until_ready(&self, brokers: usize) {
        let started = barnabas::clock::now();
        loop {
            if super::wire::metadata(self.port, None).is_ok_and(|metadata| metadata.brokers.len() == brokers)
            {
                return;
            }
            assert!(
                self.is_alive(),
                "the broker in {} ended:\n{}",
                self.dir.display(),
                self.log_tail()
            );
            assert!(
                started.elapsed() < START_LIMIT,
                "the broker in {} was not ready within {START_LIMIT:?}:\n{}",
                self.dir.display(),
                self.log_tail()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// SIGKILL, and the process is gone when this returns. Its data stay.
    pub(crate) fn kill(&mut self) {
        if let Some(mut running) = self.running.take() {
            drop(running.watchdog.stdin.take());
            let _ = running.watchdog.wait();
        }
    }

    /// SIGTERM: the broker hands its leaderships over and closes its log; the process is gone when this returns.
    pub(crate) fn stop(&mut self) {
        if let Some(running) = &self.running {
            let _ = Command::new("kill").arg(running.java.to_string()).status();
            super::wait_for("the broker stops after SIGTERM", Duration::from_secs(60), || {
                (!self.is_alive()).then_some(())
            });
        }
        self.kill();
    }

    fn is_alive(&self) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        // `PID (java) STATE …`: the watchdog has not waited for one that ended, which is then a zombie. (Its command
        // line is no sign: for a moment, that is empty at the beginning too.)
        let stat = fs::read_to_string(format!("/proc/{}/stat", running.java)).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
    }

    /// The last lines of what the broker said.
    pub(crate) fn log_tail(&self) -> String {
        let mut text = String::new();
        for name in ["out.log", "server.log"] {
            let Ok(file) = File::open(self.dir.join(name)) else {
                continue;
            };
            let lines: Vec<String> = BufReader::new(file).lines().map_while(Result::ok).collect();
            for line in &lines[lines.len().saturating_sub(40)..] {
                text.push_str(line);
                text.push('\n');
            }
        }
        text
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn meta_properties(node_id: usize) -> String {
    // Identifiers are 16 bytes in base64; those of directories differ by their last letters.
    format!(
        "version=1\ncluster.id={}\nnode.id={node_id}\ndirectory.id=YmFybmFiYXMtdGVzdHM{node_id:02}Q\n",
        super::properties::CLUSTER_ID
    )
}
