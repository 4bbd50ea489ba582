//! `topics`.

use clap::{Args, Subcommand};

use super::{FileArgs, Flags, GlobalArgs, JsonArgs};

/// List, describe, create, alter and delete topics
#[derive(Debug, Args)]
pub(crate) struct TopicsArgs {
    #[command(subcommand)]
    pub(crate) command: TopicsCommand,
}

/// What to do with topics.
#[derive(Debug, Subcommand)]
pub(crate) enum TopicsCommand {
    List(ListArgs),
    Describe(DescribeArgs),
    Create(CreateArgs),
    Alter(AlterArgs),
    Delete(DeleteArgs),
}

/// Print each topic with its partitions and replicas
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print also Kafka's own topics, such as __consumer_offsets [env: BARNABAS_INTERNAL]
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

/// Print partitions, leaders, replicas, size in records and configuration
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The topics
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

/// Create topics
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  barnabas topics create orders --partitions 6 --retention 7d
  barnabas topics create state --config cleanup.policy=compact --if-not-exists")]
pub(crate) struct CreateArgs {
    /// The topics
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// Number of partitions [env: BARNABAS_PARTITIONS] [default: the brokers']
    #[arg(long, value_name = "N")]
    partitions: Option<String>,
    /// Replicas of each partition [env: BARNABAS_REPLICATION] [default: the brokers']
    #[arg(long, value_name = "N")]
    replication: Option<String>,
    /// Keep records this long, such as 7d; -1 for ever [env: BARNABAS_RETENTION] [default: the brokers']
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    retention: Option<String>,
    /// A topic's own configuration; repeatable [env: BARNABAS_TOPIC_CONFIG]
    #[arg(long, value_name = "NAME=VALUE")]
    config: Vec<String>,
    /// A topic that is there already is no error [env: BARNABAS_IF_NOT_EXISTS]
    #[arg(long)]
    if_not_exists: bool,
    /// Only say what would be done [env: BARNABAS_DRY_RUN]
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Change topics' partitions or configuration
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  barnabas topics alter orders --retention 30d --unset max.message.bytes
  barnabas topics alter orders --partitions 12 --dry-run")]
pub(crate) struct AlterArgs {
    /// The topics
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// New number of partitions; there is no way back, and keys move [env: BARNABAS_PARTITIONS]
    #[arg(long, value_name = "N")]
    partitions: Option<String>,
    /// Keep records this long, such as 7d; -1 for ever [env: BARNABAS_RETENTION]
    #[arg(long, value_name = "DURATION", allow_hyphen_values = true)]
    retention: Option<String>,
    /// Set a topic's configuration; repeatable [env: BARNABAS_TOPIC_CONFIG]
    #[arg(long, value_name = "NAME=VALUE")]
    config: Vec<String>,
    /// Take back a topic's configuration to the brokers' default; repeatable [env: BARNABAS_UNSET]
    #[arg(long, value_name = "NAME")]
    unset: Vec<String>,
    /// Do not ask [env: BARNABAS_YES]
    #[arg(short, long)]
    yes: bool,
    /// Only say what would be done [env: BARNABAS_DRY_RUN]
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Delete topics with all their records; asks first
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The topics
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// Do not ask [env: BARNABAS_YES]
    #[arg(short, long)]
    yes: bool,
    /// Only say what would be done [env: BARNABAS_DRY_RUN]
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

impl TopicsArgs {
    pub(super) fn put(&self, flags: &mut Flags) {
        match &self.command {
            TopicsCommand::List(args) => {
                args.global.put(flags);
                args.file.put(flags);
                args.json.put(flags);
                flags.switch("internal", args.internal, true);
            }
            TopicsCommand::Describe(args) => {
                args.global.put(flags);
                args.file.put(flags);
                args.json.put(flags);
                flags.put("topics", &args.topics);
            }
            TopicsCommand::Create(args) => {
                args.global.put(flags);
                args.json.put(flags);
                flags.put("topics", &args.topics);
                flags.put("partitions", &args.partitions);
                flags.put("replication", &args.replication);
                flags.put("retention", &args.retention);
                flags.put("topic-config", &args.config);
                flags.switch("if-not-exists", args.if_not_exists, true);
                flags.switch("dry-run", args.dry_run, true);
            }
            TopicsCommand::Alter(args) => {
                args.global.put(flags);
                args.json.put(flags);
                flags.put("topics", &args.topics);
                flags.put("partitions", &args.partitions);
                flags.put("retention", &args.retention);
                flags.put("topic-config", &args.config);
                flags.put("unset", &args.unset);
                flags.switch("yes", args.yes, true);
                flags.switch("dry-run", args.dry_run, true);
            }
            TopicsCommand::Delete(args) => {
                args.global.put(flags);
                args.file.put(flags);
                args.json.put(flags);
                flags.put("topics", &args.topics);
                flags.switch("yes", args.yes, true);
                flags.switch("dry-run", args.dry_run, true);
            }
        }
    }
}
