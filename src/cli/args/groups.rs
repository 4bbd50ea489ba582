//! `groups`.

use clap::{Args, Subcommand};

use super::{FileArgs, Flags, GlobalArgs, JsonArgs};

/// List, describe, steer and delete groups, and tell their history
#[derive(Debug, Args)]
pub(crate) struct GroupsArgs {
    #[command(subcommand)]
    pub(crate) command: GroupsCommand,
}

/// What to do with groups.
#[derive(Debug, Subcommand)]
pub(crate) enum GroupsCommand {
    List(ListArgs),
    Describe(DescribeArgs),
    Why(WhyArgs),
    History(HistoryArgs),
    Reset(ResetArgs),
    Pause(PauseArgs),
    Resume(ResumeArgs),
    Skip(SkipArgs),
    Delete(DeleteArgs),
}

/// Print each group with its members and partitions
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

/// Print members, who owns which partition, positions, gaps and lag
#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// The groups
    #[arg(value_name = "GROUP", required = true)]
    groups: Vec<String>,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

/// Tell what holds a group back: which event, its key, attempts and last answer; the handler; the owner
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  barnabas groups why billing
  barnabas groups why billing --topic orders --partition 3")]
pub(crate) struct WhyArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    group: String,
    /// Only partitions of these topics; repeatable [env: BARNABAS_TOPIC]
    #[arg(short, long, value_name = "TOPIC,…")]
    topic: Vec<String>,
    /// Only these partitions: 0,2-4 [env: BARNABAS_PARTITION]
    #[arg(short, long, value_name = "N,…")]
    partition: Vec<String>,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

/// Tell what happened: who joined, left or was expired, what moved, who reset, paused or skipped
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    group: String,
    /// Tell also records that were void, with the reason, and snapshots [env: BARNABAS_ALL]
    #[arg(short, long)]
    all: bool,
    #[command(flatten)]
    json: JsonArgs,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

/// Which of a group's partitions, and why.
#[derive(Debug, Args)]
struct ChosenArgs {
    /// Only partitions of these topics; repeatable [env: BARNABAS_TOPIC]
    #[arg(short, long, value_name = "TOPIC,…")]
    topic: Vec<String>,
    /// Only these partitions: 0,2-4 [env: BARNABAS_PARTITION]
    #[arg(short, long, value_name = "N,…")]
    partition: Vec<String>,
    /// Reason, for the group's history [env: BARNABAS_WHY]
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
}

/// Move a group to other offsets; its members jump there without a restart
///
/// What is in flight ends, and can no longer commit.
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  barnabas groups reset billing --to earliest --dry-run
  barnabas groups reset billing --to 2026-01-31T12:00:00Z --topic orders
  barnabas groups reset billing --to -1h
  barnabas groups reset billing --by -100 --topic orders --partition 3 --why 'incident 42'")]
pub(crate) struct ResetArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    group: String,
    /// earliest, latest, an offset, 2026-01-31T12:00:00Z, -1h, @MILLISECONDS; none forgets it [env: BARNABAS_TO]
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    to: Option<String>,
    /// So many offsets on, or back with a minus, no further than the log goes [env: BARNABAS_BY]
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    by: Option<String>,
    #[command(flatten)]
    chosen: ChosenArgs,
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

/// Start nothing more, in the whole group or in some partitions; members keep what they own
#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  barnabas groups pause billing --why 'the database is down'
  barnabas groups pause billing --topic orders --partition 3")]
pub(crate) struct PauseArgs {
    #[command(flatten)]
    switch: SwitchArgs,
}

/// Go on after a pause, in the whole group or in some partitions; also after a fuse has blown
#[derive(Debug, Args)]
pub(crate) struct ResumeArgs {
    #[command(flatten)]
    switch: SwitchArgs,
}

/// Of `pause` and `resume`.
#[derive(Debug, Args)]
struct SwitchArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    group: String,
    #[command(flatten)]
    chosen: ChosenArgs,
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

/// Take a record for finished without processing it; asks first
#[derive(Debug, Args)]
#[command(after_long_help = "Example:
  barnabas groups skip billing --topic orders --partition 3 --offset 1234 --why 'not JSON'")]
pub(crate) struct SkipArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    group: String,
    /// Its topic [env: BARNABAS_TOPIC]
    #[arg(short, long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Its partition [env: BARNABAS_PARTITION]
    #[arg(short, long, value_name = "N")]
    partition: Option<String>,
    /// Its offset [env: BARNABAS_OFFSET]
    #[arg(short, long, value_name = "N")]
    offset: Option<String>,
    /// Reason, for the group's history [env: BARNABAS_WHY]
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
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

/// Delete a group that has no living members, with its positions and history; asks first
#[derive(Debug, Args)]
pub(crate) struct DeleteArgs {
    /// The group
    #[arg(value_name = "GROUP")]
    group: String,
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

impl GroupsArgs {
    pub(super) fn put(&self, flags: &mut Flags) {
        match &self.command {
            GroupsCommand::List(args) => common(flags, &args.global, &args.file, &args.json),
            GroupsCommand::Describe(args) => {
                common(flags, &args.global, &args.file, &args.json);
                flags.put("groups", &args.groups);
            }
            GroupsCommand::Why(args) => {
                common(flags, &args.global, &args.file, &args.json);
                flags.put("groups", [&args.group]);
                flags.put("topic", &args.topic);
                flags.put("partition", &args.partition);
            }
            GroupsCommand::History(args) => {
                common(flags, &args.global, &args.file, &args.json);
                flags.put("groups", [&args.group]);
                flags.switch("all", args.all, true);
            }
            GroupsCommand::Reset(args) => {
                common(flags, &args.global, &args.file, &args.json);
                flags.put("groups", [&args.group]);
                flags.put("to", &args.to);
                flags.put("by", &args.by);
                args.chosen.put(flags);
                flags.switch("yes", args.yes, true);
                flags.switch("dry-run", args.dry_run, true);
            }
            GroupsCommand::Pause(PauseArgs { switch }) | GroupsCommand::Resume(ResumeArgs { switch }) => {
                common(flags, &switch.global, &switch.file, &switch.json);
                flags.put("groups", [&switch.group]);
                switch.chosen.put(flags);
                flags.switch("dry-run", switch.dry_run, true);
            }
            GroupsCommand::Skip(args) => {
                common(flags, &args.global, &args.file, &args.json);
                flags.put("groups", [&args.group]);
                flags.put("topic", &args.topic);
                flags.put("partition", &args.partition);
                flags.put("offset", &args.offset);
                flags.put("why", &args.why);
                flags.switch("yes", args.yes, true);
                flags.switch("dry-run", args.dry_run, true);
            }
            GroupsCommand::Delete(args) => {
                common(flags, &args.global, &args.file, &args.json);
                flags.put("groups", [&args.group]);
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

impl ChosenArgs {
    fn put(&self, flags: &mut Flags) {
        flags.put("topic", &self.topic);
        flags.put("partition", &self.partition);
        flags.put("why", &self.why);
    }
}
