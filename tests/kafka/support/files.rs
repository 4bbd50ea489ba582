//! Directories that go with their process.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use super::dist::target;

/// Removes a directory when its stdin closes. Brokers' own watchdogs end them at the same moment, so files may come up
/// until then.
const JANITOR: &str =
    r#"cat >/dev/null; for i in 1 2 3 4 5 6 7 8 9 10; do rm -rf "$1" 2>/dev/null && exit; sleep 0.2; done"#;

/// A new directory in `target/NAME`, removed when this is dropped or its process dead, in whatever way.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
    janitor: Child,
}

impl Temporary {
    /// Makes it.
    ///
    /// # Panics
    /// If `target/` cannot be written.
    pub(crate) fn new(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = target()
            .join(name)
            .join(format!("{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("target/ can be written");
        let janitor = Command::new("sh")
            .args(["-c", JANITOR, "janitor"])
            .arg(&path)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh starts");
        Self { path, janitor }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}
