//! The static binary on its own: what it is made of, and that it finds its way in a root that holds nothing else.
//!
//! ```sh
//! BARNABAS_STATIC="$(scripts/build-static)" cargo test --test standalone     # as root: chroot, and port 53
//! ```
//! Without that variable or without root nothing is judged, said aloud; with CI=true that is an error.

mod dns;
mod elf;
mod root;

use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use dns::NameServer;
use root::Root;

/// The issue's limit for the binary.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// These answer on port 53: addresses of loopback that no resolver of the system's uses, one for each test that needs one.
const NAME_SERVERS: [Ipv4Addr; 2] = [Ipv4Addr::new(127, 0, 0, 153), Ipv4Addr::new(127, 0, 0, 154)];
/// Where the name in /etc/hosts leads.
const BY_HOSTS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);
/// Where the name that the name server knows leads.
const BY_DNS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 7);

/// The binary to judge, or `None` after saying why there is none.
#[expect(clippy::disallowed_methods, reason = "a test's own switch")]
fn binary() -> Option<PathBuf> {
    let missing = if let Some(path) = std::env::var_os("BARNABAS_STATIC") {
        if root::is_root() {
            return Some(PathBuf::from(path));
        }
        "not root, so no chroot and no port 53"
    } else {
        "BARNABAS_STATIC is not set (see tests/standalone/main.rs)"
    };
    assert!(
        std::env::var_os("CI").is_none(),
        "the static binary must be judged in CI: {missing}"
    );
    // Past the capture of a test that passes, which would make the line anything but loud.
    let _ = writeln!(
        std::io::stderr(),
        "SKIPPED: the static binary is not judged: {missing}"
    );
    None
}

#[test]
fn it_is_static_small_and_its_stack_is_not_executable() {
    let Some(binary) = binary() else { return };
    let bytes = std::fs::read(&binary).unwrap();
    assert!(bytes.len() as u64 <= MAX_BYTES, "{} bytes", bytes.len());
    let facts = elf::facts(&bytes);
    assert!(!facts.asks_for_a_loader, "PT_INTERP");
    assert!(!facts.needs_libraries, "DT_NEEDED");
    assert!(facts.position_independent, "not ET_DYN");
    assert_eq!(facts.stack_executable, Some(false), "PT_GNU_STACK");
    assert!(
        !facts.writable_and_executable,
        "a segment is both writable and executable"
    );

    // The same in the words of the tools that people use.
    let ldd = Command::new("ldd").arg(&binary).output().unwrap();
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&ldd.stdout),
        String::from_utf8_lossy(&ldd.stderr)
    );
    assert!(
        said.contains("statically linked") || said.contains("not a dynamic executable"),
        "ldd: {said}"
    );
    let file = Command::new("file").arg("-L").arg(&binary).output().unwrap();
    let said = String::from_utf8_lossy(&file.stdout).into_owned();
    assert!(said.contains("static-pie linked"), "file: {said}");
}

#[test]
fn it_runs_in_an_empty_root_as_nobody() {
    let Some(binary) = binary() else { return };
    let output = Root::with(&binary).command(&["--version"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        format!("barnabas {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn localhost_is_known_in_an_empty_root() {
    let Some(binary) = binary() else { return };
    Root::with(&binary).connects("localhost", Ipv4Addr::LOCALHOST);
}

#[test]
fn an_address_needs_no_name_in_an_empty_root() {
    let Some(binary) = binary() else { return };
    Root::with(&binary).connects("127.0.0.9", BY_HOSTS);
}

#[test]
fn a_name_in_etc_hosts_is_found() {
    let Some(binary) = binary() else { return };
    Root::with(&binary)
        .file("etc/hosts", &format!("{BY_HOSTS} broker.hosts.test\n"))
        .connects("broker.hosts.test", BY_HOSTS);
}

#[test]
fn a_name_is_asked_of_the_server_in_etc_resolv_conf() {
    let Some(binary) = binary() else { return };
    let at = NAME_SERVERS[0];
    let server = NameServer::start(at, "broker.dns.test", BY_DNS);
    let root = Root::with(&binary).file("etc/resolv.conf", &format!("nameserver {at}\nsearch dns.test\n"));
    // The server also gives ::1 for it, where nothing listens: the next address is tried.
    root.connects("broker.dns.test", BY_DNS);
    assert!(server.was_asked_for("broker.dns.test"));
    root.connects("broker", BY_DNS);
}

/// Else it would die where that shared object wants another glibc (scripts/no-shared-objects.rs).
#[test]
fn a_source_of_names_that_is_a_shared_object_is_passed_over() {
    let Some(binary) = binary() else { return };
    let at = NAME_SERVERS[1];
    NameServer::start(at, "broker.dns.test", BY_DNS);
    let root = Root::with(&binary)
        .file("etc/resolv.conf", &format!("nameserver {at}\n"))
        .file("etc/nsswitch.conf", "hosts: files trap [NOTFOUND=return] dns\n");
    // Whoever opens one of these waits for ever.
    for directory in [
        "lib/x86_64-linux-gnu",
        "usr/lib/x86_64-linux-gnu",
        "lib64",
        "usr/lib64",
        "lib",
        "usr/lib",
    ] {
        root.fifo(&format!("{directory}/libnss_trap.so.2"));
    }
    root.connects("broker.dns.test", BY_DNS);
}

#[test]
fn a_name_that_nobody_knows_is_named() {
    let Some(binary) = binary() else { return };
    let output = Root::with(&binary)
        .command(&["topics", "list", "-b", "nobody.test:9092", "--timeout", "1s"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("nobody.test"), "{said}");
}

/// libgcc's own function for backtraces aborts where there are no tables for unwinding (scripts/no-unwind-tables.ld).
#[test]
fn an_error_is_told_also_where_backtraces_are_wanted() {
    let Some(binary) = binary() else { return };
    let output = Command::new(&binary)
        .args(["topics", "list", "-b", "127.0.0.1:1", "--timeout", "100ms"])
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("127.0.0.1:1"), "{said}");
}
