//! `completions`.

use clap::CommandFactory;

use crate::cli::Exit;
use crate::cli::args::{Cli, CompletionsArgs};
use crate::cli::output::Output;

/// Prints the shell's completion script.
pub(crate) fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "barnabas", &mut script);
    let mut data = Output::new(true, false, false).data()?;
    data.push(&script)?;
    data.flush_all()?;
    Ok(Exit::Done)
}
