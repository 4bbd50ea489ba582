//! `sandbox`.

use clap::{Args, Subcommand, ValueEnum};

use super::{FileArgs, Flags, GlobalArgs};

/// Run a Kafka broker for development and tests: one node, in memory or in a folder. Not for production
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_long_help = "Examples:
  barnabas sandbox
  barnabas sandbox --listen 127.0.0.1:0 --data /tmp/kafka --topics topics.txt
  barnabas sandbox fault delay --by 200ms --api Produce --chance 0.1

A line of the file with topics is a name, the number of partitions and configurations, as far as wanted:
  orders 6 retention.ms=3600000
  customers 1 cleanup.policy=compact"
)]
pub(crate) struct SandboxArgs {
    #[command(subcommand)]
    pub(crate) command: Option<SandboxCommand>,
    /// Where to listen; port 0 takes a free one, told in the line "ready: …" on stderr [env: BARNABAS_SANDBOX_LISTEN]
    /// [default: 127.0.0.1:9092]
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// Host and port that clients are told, if they cannot come back by the address they came by [env:
    /// BARNABAS_SANDBOX_ADVERTISE]
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// File with topics to create, one a line: NAME [PARTITIONS] [CONFIG=VALUE…] [env: BARNABAS_SANDBOX_TOPICS]
    #[arg(long, value_name = "FILE")]
    topics: Option<String>,
    /// Configuration of topics that have none of their own, such as retention.ms=-1; several times for several
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) topic_config: Vec<String>,
    /// Keep everything in this folder [env: BARNABAS_SANDBOX_DATA]
    #[arg(long, value_name = "FOLDER")]
    data: Option<String>,
    /// Bytes of records, beyond which the oldest ones go [env: BARNABAS_SANDBOX_MAX_MEMORY] [default: 512MiB]
    #[arg(long, value_name = "SIZE")]
    max_memory: Option<String>,
    /// Partitions of a topic that nobody says the number of [env: BARNABAS_SANDBOX_PARTITIONS] [default: 1]
    #[arg(long, value_name = "N")]
    partitions: Option<String>,
    /// Topics do not come to be when a client asks for them [env: BARNABAS_SANDBOX_AUTO_CREATE=false]
    #[arg(long)]
    no_auto_create: bool,
    /// Equal seeds give equal faults and ids [env: BARNABAS_SANDBOX_SEED] [default: 0]
    #[arg(long, value_name = "N")]
    seed: Option<String>,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

/// What to do with a sandbox that runs.
#[derive(Debug, Subcommand)]
pub(crate) enum SandboxCommand {
    Fault(FaultArgs),
}

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum What {
    /// Answers come later, --by so much
    Delay,
    /// Requests are not carried out, nor answered
    Drop,
    /// Connections are closed before a request is carried out
    Disconnect,
    /// Requests are carried out, and connections closed instead of an answer
    DisconnectAfter,
    /// Publishing with acks=all: NOT_ENOUGH_REPLICAS
    NotEnoughReplicas,
    /// Publishing: KAFKA_STORAGE_ERROR
    FullDisk,
    /// Clients are held back, --by so much
    Throttle,
    /// NOT_LEADER_OR_FOLLOWER, and a new leader epoch
    LeaderMove,
    /// The sandbox's clock is set ahead --by so much
    Clock,
    /// Print the faults that there are
    List,
    /// End all faults, set the clock right
    Clear,
}

/// Let something go wrong in a sandbox that runs (at --brokers, or 127.0.0.1:9092)
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  barnabas sandbox fault leader-move --topic orders --for 5s
  barnabas sandbox fault full-disk --count 3
  barnabas sandbox fault clock --by 7d
  barnabas sandbox fault clear")]
pub(crate) struct FaultArgs {
    /// What goes wrong, or what to do
    #[arg(value_name = "WHAT")]
    pub(crate) what: What,
    /// How long: of delay, throttle and clock
    #[arg(long, value_name = "DURATION")]
    pub(crate) by: Option<String>,
    /// Only requests of this API, such as Produce
    #[arg(long, value_name = "NAME")]
    pub(crate) api: Option<String>,
    /// Only this topic: of not-enough-replicas, full-disk and leader-move
    #[arg(short, long, value_name = "TOPIC")]
    pub(crate) topic: Option<String>,
    /// Only this partition
    #[arg(short, long, value_name = "N")]
    pub(crate) partition: Option<i32>,
    /// The chance that a request is hit, 0 to 1 [default: 1]
    #[arg(long, value_name = "CHANCE")]
    pub(crate) chance: Option<f64>,
    /// It is over when it has hit so often
    #[arg(long, value_name = "N")]
    pub(crate) count: Option<u64>,
    /// It is over after this time
    #[arg(long = "for", value_name = "DURATION")]
    pub(crate) lasts: Option<String>,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

impl SandboxArgs {
    pub(super) fn put(&self, flags: &mut Flags) {
        if let Some(SandboxCommand::Fault(args)) = &self.command {
            args.global.put(flags);
            args.file.put(flags);
            return;
        }
        self.global.put(flags);
        self.file.put(flags);
        flags.put("sandbox-listen", &self.listen);
        flags.put("sandbox-advertise", &self.advertise);
        flags.put("sandbox-topics", &self.topics);
        flags.put("sandbox-data", &self.data);
        flags.put("sandbox-max-memory", &self.max_memory);
        flags.put("sandbox-partitions", &self.partitions);
        flags.switch("sandbox-auto-create", self.no_auto_create, false);
        flags.put("sandbox-seed", &self.seed);
    }
}
