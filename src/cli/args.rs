//! Flags as syntax only: what was written, as text. What it means is [`super::settings`]' business.

mod consume;
mod demo;
mod dlq;
mod groups;
mod handlers;
mod produce;
mod sandbox;
mod topics;

use std::collections::BTreeMap;

use clap::{ArgAction, Args, Parser, Subcommand};

pub(crate) use consume::ConsumeArgs;
pub(crate) use demo::{ConsumerArgs, DemoArgs, DemoCommand};
pub(crate) use dlq::{DlqArgs, DlqCommand};
pub(crate) use groups::{GroupsArgs, GroupsCommand};
pub(crate) use produce::ProduceArgs;
pub(crate) use sandbox::{FaultArgs, SandboxArgs, SandboxCommand, What};
pub(crate) use topics::{TopicsArgs, TopicsCommand};

/// Everything written on the command line, by setting, in the order written.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    /// From a setting's name to its values.
    pub(crate) values: BTreeMap<&'static str, Vec<String>>,
    /// `-X name=value`, unparsed.
    pub(crate) properties: Vec<String>,
}

impl Flags {
    /// Adds what was written for a setting, if anything was.
    fn put<'a>(&mut self, setting: &'static str, values: impl IntoIterator<Item = &'a String>) {
        for value in values {
            self.values.entry(setting).or_default().push(value.clone());
        }
    }

    /// Adds a flag without a value.
    fn switch(&mut self, setting: &'static str, written: bool, meaning: bool) {
        if written {
            self.values.entry(setting).or_default().push(meaning.to_string());
        }
    }
}

/// Publish and print events through Apache Kafka.
#[derive(Debug, Parser)]
#[command(
    name = "barnabas",
    version,
    disable_help_subcommand = true,
    max_term_width = 110,
    after_help = "Each --flag has a variable: BARNABAS_BROKERS for --brokers. `barnabas help` lists the topics of help."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Produce(ProduceArgs),
    Consume(Box<ConsumeArgs>),
    Topics(TopicsArgs),
    Groups(GroupsArgs),
    Dlq(DlqArgs),
    Sandbox(Box<SandboxArgs>),
    Demo(DemoArgs),
    Config(ConfigArgs),
    Completions(CompletionsArgs),
    Help(HelpArgs),
}

/// Flags of every command, before or after its name.
///
/// Flattened into each command instead of clap's `global = true`, which forgets a repeated flag's values
/// from before the command's name (`-X a=1 produce -X b=2` would lose `a`).
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Brokers to start from, separated by commas [property: bootstrap.servers] [env: BARNABAS_BROKERS]
    #[arg(short, long, value_name = "HOST:PORT,…")]
    brokers: Vec<String>,
    /// A setting by its librdkafka name, for example -X linger.ms=5 (list: barnabas help properties)
    #[arg(short = 'X', value_name = "NAME=VALUE")]
    property: Vec<String>,
    /// Take the table [profile.NAME] of the configuration file [env: BARNABAS_PROFILE]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// How long to try to reach the brokers [env: BARNABAS_TIMEOUT] [default: 10s]
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    /// Name told to the brokers [property: client.id] [env: BARNABAS_CLIENT_ID] [default: barnabas]
    #[arg(long, value_name = "NAME")]
    client_id: Option<String>,
    /// Say more on stderr: -v what is done, -vv also every request's story [env: BARNABAS_VERBOSE=1, 2]
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
}

/// The configuration file's flag; apart, since `topics create` and `topics alter` use `--config` for a topic's own.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct FileArgs {
    /// Configuration file, TOML [env: BARNABAS_CONFIG] [default: ~/.config/barnabas/config.toml, /etc/barnabas.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<String>,
}

/// `--json`, where a command has such an output.
#[derive(Debug, Args)]
pub(crate) struct JsonArgs {
    /// Print JSON, in the shape that docs/reference.md describes [env: BARNABAS_JSON]
    #[arg(long)]
    json: bool,
}

/// Print each setting and where it came from; secrets are masked
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  barnabas config
  barnabas --profile staging config --json")]
pub(crate) struct ConfigArgs {
    /// Print also the settings that nobody set, with their defaults
    #[arg(short, long)]
    pub(crate) all: bool,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

/// Print a shell's completion script
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  barnabas completions bash > /etc/bash_completion.d/barnabas
  barnabas completions zsh > ~/.zfunc/_barnabas
  barnabas completions fish > ~/.config/fish/completions/barnabas.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// Print help for a command or a topic
#[derive(Debug, Args)]
pub(crate) struct HelpArgs {
    /// A command (produce, "topics create", …) or a topic: offsets, formats, properties, config-file, exit-codes
    #[arg(value_name = "COMMAND OR TOPIC")]
    pub(crate) topic: Vec<String>,
}

impl Cli {
    /// What was written, by setting: the global flags before the command, those behind it, the command's own.
    pub(crate) fn flags(&self) -> Flags {
        let mut flags = Flags::default();
        self.global.put(&mut flags);
        self.file.put(&mut flags);
        match &self.command {
            Command::Produce(args) => args.put(&mut flags),
            Command::Consume(args) => args.put(&mut flags),
            Command::Topics(args) => args.put(&mut flags),
            Command::Groups(args) => args.put(&mut flags),
            Command::Dlq(args) => args.put(&mut flags),
            Command::Sandbox(args) => args.put(&mut flags),
            Command::Demo(args) => args.put(&mut flags),
            Command::Config(args) => {
                args.json.put(&mut flags);
                args.global.put(&mut flags);
                args.file.put(&mut flags);
            }
            Command::Completions(_) | Command::Help(_) => {}
        }
        flags
    }
}

impl GlobalArgs {
    fn put(&self, flags: &mut Flags) {
        flags.put("brokers", &self.brokers);
        flags.properties.extend(self.property.iter().cloned());
        flags.put("profile", &self.profile);
        flags.put("timeout", &self.timeout);
        flags.put("client-id", &self.client_id);
        if self.verbose > 0 {
            flags.put("verbose", [&self.verbose.to_string()]);
        }
    }
}

impl FileArgs {
    fn put(&self, flags: &mut Flags) {
        flags.put("config", &self.config);
    }
}

impl JsonArgs {
    fn put(&self, flags: &mut Flags) {
        flags.switch("json", self.json, true);
    }
}
