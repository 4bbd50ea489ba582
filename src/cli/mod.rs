//! The command line: flags, settings, output, a file per command.

pub mod format;

/// Runs the process: what `main` is.
#[must_use]
pub fn main() -> std::process::ExitCode {
    std::process::ExitCode::SUCCESS
}
