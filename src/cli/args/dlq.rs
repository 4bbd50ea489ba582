//! `dlq`.

use clap::{Args, Subcommand};

use super::{FileArgs, Flags, GlobalArgs, JsonArgs};

/// Look at dead letters, replay, discard and purge them
#[derive(Debug, Args)]
pub(crate) struct DlqArgs {
    #[command(subcommand)]
    pub(crate) command: DlqCommand,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub(crate) enum DlqCommand {
    List(ListArgs),
    Show(ShowArgs),
    Stats(StatsArgs),
    Replay(ReplayArgs),
    Discard(DiscardArgs),
    Purge(PurgeArgs),
}

/// Which letters are meant; all conditions have to hold.
#[derive(Debug, Args)]
struct FilterArgs {
    /// Only letters with this status, or with this text in their error [env: BARNABAS_ERROR]
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
    /// Only letters of this time or later: 2026-01-31T12:00:00Z, -1h, @MILLISECONDS [env: BARNABAS_SINCE]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    since: Option<String>,
    /// Only letters with this key [env: BARNABAS_KEY]
    #[arg(short, long, value_name = "KEY")]
    key: Option<String>,
    /// Only events of this type; order.* for all that begin so [env: BARNABAS_TYPE]
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only these: rejected, exhausted, undecodable, expiring or invalid [env: BARNABAS_OUTCOME]
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
}

/// Print open dead letters, each once
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  barnabas dlq list billing
  barnabas dlq list orders.dlq.billing --error 'card expired' --since -1h
  barnabas dlq list orders-dlt          (Spring's or Connect's dead letters)")]
pub(crate) struct ListArgs {
    /// Topics of dead letters (orders.dlq.billing), or groups; all there are if none
    #[arg(value_name = "DLQ")]
    dlqs: Vec<String>,
    /// Print also letters that were replayed or discarded [env: BARNABAS_ALL]
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

/// Print all there is of letters: where they come from, why they failed, headers, key and value
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  barnabas dlq show billing 3f9a
  barnabas dlq show orders-dlt 0:17 --json")]
pub(crate) struct ShowArgs {
    /// Topic of dead letters, or the group
    #[arg(value_name = "DLQ")]
    dlq: String,
    /// Ids from `dlq list`, their beginnings, or PARTITION:OFFSET
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

/// Count dead letters by what became of them, and open ones by outcome, status, type and error
#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Topics of dead letters (orders.dlq.billing), or groups; all there are if none
    #[arg(value_name = "DLQ")]
    dlqs: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

/// Give open letters back to their group, and to no other; asks first
///
/// They go through the topic TOPIC.replay.GROUP, in the order of each key, behind what the group has done of that key
/// already. A letter that fails again is open again, and can be replayed three times.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  barnabas dlq replay billing --error 'card expired' --dry-run
  barnabas dlq replay orders.dlq.billing --type 'order.*' --rate 50
  barnabas dlq replay orders-dlt --to-source")]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    chosen: ChosenArgs,
    /// So many letters a second at most [env: BARNABAS_RATE]
    #[arg(long, value_name = "N")]
    rate: Option<String>,
    /// Publish to the topic that they came from, for all its readers; asks twice [env: BARNABAS_TO_SOURCE]
    #[arg(long)]
    to_source: bool,
    #[command(flatten)]
    steps: StepArgs,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

/// Mark open letters as not wanted any more; asks first
#[derive(Debug, Args)]
#[command(after_long_help = "Example:
  barnabas dlq discard billing --outcome invalid --why 'test data'")]
pub(crate) struct DiscardArgs {
    #[command(flatten)]
    chosen: ChosenArgs,
    #[command(flatten)]
    steps: StepArgs,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

/// Delete letters that were replayed or discarded, up to the first open one of each partition; asks first
#[derive(Debug, Args)]
pub(crate) struct PurgeArgs {
    /// Topic of dead letters, or the group
    #[arg(value_name = "DLQ")]
    dlq: String,
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

/// Of `replay` and `discard`.
#[derive(Debug, Args)]
struct ChosenArgs {
    /// Topic of dead letters, or the group
    #[arg(value_name = "DLQ")]
    dlq: String,
    /// Ids from `dlq list`, their beginnings, or PARTITION:OFFSET; all open letters if none
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    filter: FilterArgs,
}

/// Likewise.
#[derive(Debug, Args)]
struct StepArgs {
    /// Reason, kept with the letters [env: BARNABAS_WHY]
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    /// Do not ask [env: BARNABAS_YES]
    #[arg(short, long)]
    yes: bool,
    /// Only say what would be done [env: BARNABAS_DRY_RUN]
    #[arg(long)]
    dry_run: bool,
}

impl DlqArgs {
    pub(super) fn put(&self, flags: &mut Flags) {
        match &self.command {
            DlqCommand::List(args) => {
                common(flags, &args.global, &args.file, &args.json);
                flags.put("dlqs", &args.dlqs);
                flags.switch("all", args.all, true);
                args.filter.put(flags);
            }
            DlqCommand::Show(args) => {
                common(flags, &args.global, &args.file, &args.json);
                flags.put("dlqs", [&args.dlq]);
                flags.put("letters", &args.ids);
            }
            DlqCommand::Stats(args) => {
                common(flags, &args.global, &args.file, &args.json);
                flags.put("dlqs", &args.dlqs);
                args.filter.put(flags);
            }
            DlqCommand::Replay(args) => {
                common(flags, &args.global, &args.file, &args.json);
                args.chosen.put(flags);
                flags.put("rate", &args.rate);
                flags.switch("to-source", args.to_source, true);
                args.steps.put(flags);
            }
            DlqCommand::Discard(args) => {
                common(flags, &args.global, &args.file, &args.json);
                args.chosen.put(flags);
                args.steps.put(flags);
            }
            DlqCommand::Purge(args) => {
                common(flags, &args.global, &args.file, &args.json);
                flags.put("dlqs", [&args.dlq]);
                flags.switch("yes", args.yes, true);
                flags.switch("dry-run", args.dry_run, true);
            }
        }
    }
}

fn common(flags: &mut Flags, global: &GlobalArgs, file: &FileArgs, json: &JsonArgs) {
    global.put(flags);
    file.put(flags);
    json.put(flags);
}

impl FilterArgs {
    fn put(&self, flags: &mut Flags) {
        flags.put("error", &self.error);
        flags.put("since", &self.since);
        flags.put("key", &self.key);
        flags.put("type", &self.kind);
        flags.put("outcome", &self.outcome);
    }
}

impl ChosenArgs {
    fn put(&self, flags: &mut Flags) {
        flags.put("dlqs", [&self.dlq]);
        flags.put("letters", &self.ids);
        self.filter.put(flags);
    }
}

impl StepArgs {
    fn put(&self, flags: &mut Flags) {
        flags.put("why", &self.why);
        flags.switch("yes", self.yes, true);
        flags.switch("dry-run", self.dry_run, true);
    }
}
