//! `demo`.

use std::ffi::OsString;

use clap::{Args, Subcommand};

use super::{FileArgs, Flags, GlobalArgs, JsonArgs};

/// See it work: a broker, a publisher, consumers, and what can go wrong, with an account at the end
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "\
Starts a sandbox on a free port, publishes the events of a shop's orders, and runs three consumers (processes of \
`barnabas consume --group demo --http …`) with a handler that fails as the play has it: an event that cannot be \
processed, a handler that is down, a consumer that is killed, another one that joins, dead letters that are \
replayed. Nothing is left behind. On a terminal it is shown live, for about a minute; elsewhere in lines.

The exit code is 0 if the account adds up: published = processed once + processed twice, as a kill -9 permits, + \
dead-lettered; nothing lost, and the order of each key kept. Otherwise it is 1.

Examples:
  barnabas demo
  barnabas demo --fast --json"
)]
pub(crate) struct DemoArgs {
    #[command(subcommand)]
    pub(crate) command: Option<DemoCommand>,
    /// Do not wait for people to read: about 15 seconds in all [env: BARNABAS_DEMO_FAST]
    #[arg(long)]
    fast: bool,
    /// Equal seeds publish equal events [env: BARNABAS_DEMO_SEED] [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<String>,
    /// Tell nothing but the account [env: BARNABAS_QUIET]
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

/// What the demo starts itself as.
#[derive(Debug, Subcommand)]
pub(crate) enum DemoCommand {
    /// Become a consumer that ends with the demo
    #[command(hide = true)]
    Consumer(ConsumerArgs),
}

/// What becomes a consumer.
#[derive(Debug, Args)]
pub(crate) struct ConsumerArgs {
    /// The demo's process
    pub(crate) parent: u32,
    /// The command line
    #[arg(last = true)]
    pub(crate) args: Vec<OsString>,
}

impl DemoArgs {
    pub(super) fn put(&self, flags: &mut Flags) {
        self.json.put(flags);
        self.global.put(flags);
        self.file.put(flags);
        flags.switch("demo-fast", self.fast, true);
        flags.put("demo-seed", &self.seed);
        flags.switch("quiet", self.quiet, true);
    }
}
