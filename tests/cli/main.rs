//! The command line without a broker: help, wrong usage, settings and where they come from.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod config;
mod help;
mod usage;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a run of the binary came to.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// The binary with an empty environment but for `variables`, so that no developer's settings come in.
fn run_with(variables: &[(&str, &str)], args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_barnabas"))
        .args(args)
        .env_clear()
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

fn run(args: &[&str]) -> Ran {
    run_with(&[], args)
}

/// A directory of this test's own, empty.
fn directory(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    path
}
