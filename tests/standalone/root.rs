//! A directory that holds the binary and what a test puts beside it, to run the binary in as its only root.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

/// For a connection to be made: far more than it takes, since only a failure waits this long.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);

/// Removed when dropped.
pub(crate) struct Root(PathBuf);

impl Root {
    /// A root with nothing but `/barnabas`.
    pub(crate) fn with(binary: &Path) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("root-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory under target/tmp");
        // By another process: a test that forks while this one had the copy open for writing would keep it busy.
        let copied = std::process::Command::new("cp")
            .arg(binary)
            .arg(path.join("barnabas"))
            .status();
        assert!(copied.is_ok_and(|status| status.success()), "the static binary");
        Self(path)
    }

    /// The root with the file `name`, readable by all.
    pub(crate) fn file(self, name: &str, text: &str) -> Self {
        let path = self.place_for(name);
        std::fs::write(&path, text).expect("a file in the root");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("its mode");
        self
    }

    /// Puts a named pipe there that nobody writes to.
    pub(crate) fn fifo(&self, name: &str) {
        let made = Command::new("mkfifo")
            .arg("--mode=644")
            .arg(self.place_for(name))
            .status();
        assert!(made.expect("mkfifo").success(), "mkfifo {name}");
    }

    fn place_for(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().expect("a name below the root"))
            .expect("a directory in the root");
        path
    }

    /// `/barnabas` with `arguments`, an empty environment, as the image's user.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("chroot");
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        command
            .arg("--userspec=65532:65532")
            .arg(&self.0)
            .arg("/barnabas")
            .args(arguments);
        command
    }

    /// Asserts that a broker named `host` is connected to at `address`.
    pub(crate) fn connects(&self, host: &str, address: Ipv4Addr) {
        let listener = TcpListener::bind((address, 0)).expect("an address of loopback");
        let port = listener.local_addr().expect("its port").port();
        let (connected, connection) = mpsc::channel();
        std::thread::spawn(move || connected.send(listener.accept()));

        let mut barnabas = self
            .command(&["topics", "list", "-b", &format!("{host}:{port}")])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("chroot");
        let result = connection.recv_timeout(CONNECT_LIMIT);
        // What was to be shown is shown, or not: no broker ever answers here.
        barnabas.kill().expect("barnabas to be ended");
        let output = barnabas.wait_with_output().expect("barnabas to have ended");
        assert!(
            matches!(result, Ok(Ok(_))),
            "no connection for {host} at {address}:{port}; it said: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Whether this process may `chroot` and bind port 53.
pub(crate) fn is_root() -> bool {
    Command::new("id")
        .arg("-u")
        .output()
        .is_ok_and(|output| output.stdout.trim_ascii() == b"0")
}
