//! The command line: flags, settings, output, a file per command.

mod args;
mod command;
pub mod format;
pub mod output;
pub mod settings;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command, DemoArgs, DemoCommand};
use output::Output;
use settings::{Environment, Settings, Usage};

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: all is done.
    Done,
    /// 1: it failed.
    Failed,
    /// 2: wrong usage or settings.
    Usage,
    /// 3: some records were refused.
    Refused,
    /// 4: the brokers could not be reached within `--timeout`.
    Unreachable,
    /// 130: interrupted.
    Interrupted,
}

impl Exit {
    /// The process's exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unreachable => 4,
            Self::Interrupted => 130,
        }
    }

    /// How a process ends that fails with this error.
    fn of(error: &anyhow::Error) -> Self {
        if output::is_closed_pipe(error) {
            Self::Done
        } else if error.chain().any(|cause| cause.is::<Usage>()) {
            Self::Usage
        } else if error.chain().any(is_unreachable) {
            Self::Unreachable
        } else {
            Self::Failed
        }
    }
}

/// Whether a cause is that the brokers could not be reached. An error that passes on another's words hides it.
fn is_unreachable(cause: &(dyn std::error::Error + 'static)) -> bool {
    use crate::dead_letter::{read::ReadError, topics::TopicError};
    cause
        .downcast_ref()
        .is_some_and(crate::broker::Error::is_unreachable)
        || cause
            .downcast_ref()
            .is_some_and(crate::group::log::LogError::is_unreachable)
        || cause.downcast_ref().is_some_and(ReadError::is_unreachable)
        || cause.downcast_ref().is_some_and(TopicError::is_unreachable)
}

/// Runs the process: what `main` is. Prints the error chain once, if there is one.
#[must_use]
pub fn main() -> ExitCode {
    let exit = match Cli::try_parse() {
        Ok(cli) => run(&cli).unwrap_or_else(|error| {
            let exit = Exit::of(&error);
            if exit != Exit::Done {
                output::error(&error);
            }
            exit
        }),
        Err(error) if output::clap_error(&error) => Exit::Done,
        Err(_) => Exit::Usage,
    };
    ExitCode::from(exit.code())
}

/// Flags as syntax, then as meaning, then the command.
fn run(cli: &Cli) -> anyhow::Result<Exit> {
    let settings = match &cli.command {
        // These two answer whatever the settings are: one needs them most when the settings are wrong.
        Command::Completions(args) => return command::completions::run(args),
        Command::Help(args) => return command::help::run(args),
        // The demo starts itself as this; the settings are in the command line that follows.
        Command::Demo(DemoArgs {
            command: Some(DemoCommand::Consumer(args)),
            ..
        }) => return command::demo::consumer(args),
        _ => Settings::gather(&cli.flags(), Environment::read()?)?,
    };
    let no_color = settings.environment().get("NO_COLOR").is_some();
    let output = Output::new(no_color, settings.switch("quiet")?, settings.switch("progress")?);
    output::start_logging(settings.verbosity()?);
    for warning in &settings.warnings {
        output.warn(warning);
    }
    match &cli.command {
        Command::Produce(_) => {
            let (brokers, produce) = (settings.brokers()?, settings.produce()?);
            block_on(command::produce::run(brokers, produce, &output))
        }
        Command::Consume(_) => {
            let (brokers, consume) = (
                settings.brokers()?,
                settings.consume(crate::clock::unix_millis())?,
            );
            block_on(command::consume::run(brokers, consume, &output))
        }
        Command::Topics(args) => {
            let (brokers, topics) = (settings.brokers()?, settings.topics(&args.command)?);
            block_on(command::topics::run(brokers, topics, &output))
        }
        Command::Groups(args) => {
            let (brokers, groups) = (
                settings.brokers()?,
                settings.groups(&args.command, crate::clock::unix_millis())?,
            );
            block_on(command::groups::run(brokers, groups, &output))
        }
        Command::Dlq(args) => {
            let (brokers, dlq) = (
                settings.brokers()?,
                settings.dlq(&args.command, crate::clock::unix_millis())?,
            );
            block_on(command::dlq::run(brokers, dlq, &output))
        }
        Command::Sandbox(args) => block_on(command::sandbox::run(settings.sandbox(args)?, &output)),
        Command::Demo(_) => block_on(command::demo::run(settings.demo()?, &output)),
        Command::Config(args) => command::config::run(args, &settings, &output),
        Command::Completions(_) | Command::Help(_) => Ok(Exit::Done),
    }
}

/// One thread: all there is to wait for are sockets, and a second one costs more than it brings.
fn block_on(command: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    keep_freed_memory();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let result = runtime.block_on(command);
    // A read of standard input may be under way in a thread, and may last for ever.
    runtime.shutdown_background();
    result
}

/// A freed block of this size makes glibc keep smaller ones, and up to twice as much, for the next allocation. As it
/// starts, it gives buffers of a megabyte back to the system and gets them anew, page by page: 30,000 to 120,000 page
/// faults, a third of the CPU time, to print 1,000,000 records. Nothing is written to the block, so it costs no memory.
/// (`mallopt` would need `unsafe`; other allocators do not care.)
fn keep_freed_memory() {
    const KEPT: usize = 16 << 20;
    drop(std::hint::black_box(Vec::<u8>::with_capacity(KEPT)));
}
