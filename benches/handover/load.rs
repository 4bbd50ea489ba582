//! The steady stream: a record to each partition every 5 ms, through `barnabas produce`.

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::PARTITIONS;

/// Between two records of a partition.
const EVERY: Duration = Duration::from_millis(5);

/// Ends when it is dropped.
pub(crate) struct Load {
    child: Child,
    stop: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(barnabas: &Path, bootstrap: &str, topic: &str) -> Result<Self, String> {
        let mut child = Command::new(barnabas)
            .args(["produce", "-q", "--format", "json", "-b", bootstrap, "-t", topic])
            .env_clear()
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let mut stdin = child.stdin.take().ok_or("no stdin")?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let writer = std::thread::spawn(move || {
            let mut due = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                let lines: String = (0..PARTITIONS)
                    .map(|partition| format!("{{\"partition\":{partition},\"value\":\"x\"}}\n"))
                    .collect();
                if stdin.write_all(lines.as_bytes()).is_err() {
                    return;
                }
                due += EVERY;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
        });
        Ok(Self {
            child,
            stop,
            writer: Some(writer),
        })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
        let _ = self.child.wait();
    }
}
