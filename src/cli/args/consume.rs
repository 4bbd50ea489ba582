//! `consume`.

use clap::Args;

use super::handlers::HandlerArgs;
use super::{FileArgs, Flags, GlobalArgs};

/// Print the records of topics, alone or as a member of a group
#[derive(Debug, Args)]
#[command(after_long_help = "\
Prints each value and a newline, from the beginning on, until it is interrupted: -e ends at the end, -c after a \
number of records. `barnabas help offsets` describes -o, `barnabas help formats` -f and -J.

With -g, all processes of a group share the partitions, each of which is printed by one of them; what was written \
to standard output is committed, and is where the next owner goes on. Ctrl-C hands the partitions over first.

With --http, --exec or --exec-each each event goes to a handler instead: in order within a key, many keys at once. \
One that fails is tried again and holds back its own key only; in the end it is set aside as a dead letter.

Examples:
  barnabas consume -b localhost:9092 -t orders -e                everything there is
  barnabas consume -b localhost:9092 -t orders -o end            only what is new
  barnabas consume -b localhost:9092 -t orders -o -10 -e         the last 10 of each partition
  barnabas consume -b localhost:9092 -t orders -o -1h            from an hour ago
  barnabas consume -b localhost:9092 -t orders -f '%p %o %k %s\\n' -c 5
  barnabas consume -b localhost:9092 -t orders -e -J | jq .payload
  barnabas consume -b localhost:9092 -t orders -g billing        share the partitions with others
  barnabas consume -b localhost:9092 -g audit --topics-regex 'orders\\..*' --from -1h
  barnabas consume -b localhost:9092 -t orders -g billing --http http://localhost:3000/events
  barnabas consume -b localhost:9092 -t orders -g mail --exec 'python3 worker.py' --concurrency 8")]
pub(crate) struct ConsumeArgs {
    /// Topic to print; repeat or separate by commas for more [env: BARNABAS_TOPIC]
    #[arg(short, long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// Topics whose whole name is like this, in a group; also those that come later [env: BARNABAS_TOPICS_REGEX]
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true)]
    topics_regex: Option<String>,
    /// Print as a member of this group, whose members share the partitions [property: group.id] [env: BARNABAS_GROUP]
    #[arg(short, long, value_name = "NAME")]
    group: Option<String>,
    /// Where a new group starts: earliest, latest, TIME (RFC 3339, -1h or @MILLISECONDS), or kafka-group:NAME for what that group of Kafka's has committed [property: auto.offset.reset] [env: BARNABAS_FROM] [default: earliest]
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    from: Option<String>,
    /// Name of this member, by which it gets its partitions back after a restart [property: group.instance.id] [env: BARNABAS_INSTANCE]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// How often a group's progress is committed [property: auto.commit.interval.ms] [env: BARNABAS_COMMIT_INTERVAL] [default: 1s]
    #[arg(long, value_name = "DURATION")]
    commit_interval: Option<String>,
    /// After how long without a sign of life a member is replaced [property: session.timeout.ms] [env: BARNABAS_SESSION] [default: 10s]
    #[arg(long, value_name = "DURATION")]
    session: Option<String>,
    /// How long records that are being written may take when partitions are handed over [env: BARNABAS_DRAIN_TIMEOUT] [default: 20s]
    #[arg(long, value_name = "DURATION")]
    drain_timeout: Option<String>,
    /// Make the group's lost log anew from what it committed to Kafka's own group [env: BARNABAS_REBUILD_FROM_NATIVE]
    #[arg(long)]
    rebuild_from_native: bool,
    /// Only these partitions, such as 0,2 or 0-3; repeatable [env: BARNABAS_PARTITION]
    #[arg(short, long, value_name = "N,…")]
    partition: Vec<String>,
    /// Where to start: beginning, end, N, -N (the last N), s@TIME; where to stop: e@TIME; TIME is milliseconds, RFC 3339 or -1h [env: BARNABAS_OFFSET] [default: beginning]
    #[arg(short, long, value_name = "OFFSET", allow_hyphen_values = true)]
    offset: Vec<String>,
    /// Exit after N records [env: BARNABAS_COUNT]
    #[arg(short, long, value_name = "N")]
    count: Option<String>,
    /// Exit at the end of each partition [env: BARNABAS_EXIT]
    #[arg(short, long)]
    exit: bool,
    /// Print by a format: %t topic, %p partition, %o offset, %k key, %s value, %T timestamp, %h headers, … [env: BARNABAS_PRINT]
    #[arg(short = 'f', long, value_name = "FORMAT", allow_hyphen_values = true)]
    print: Option<String>,
    /// Print each record as a JSON object on a line [env: BARNABAS_JSON]
    #[arg(short = 'J', long)]
    json: bool,
    /// Print DELIM behind each record; \n, \r, \t, \0, \x01 and \\ are understood [env: BARNABAS_DELIMITER] [default: \n]
    #[arg(short = 'D', long, value_name = "DELIM", allow_hyphen_values = true)]
    delimiter: Option<String>,
    /// Print the key and DELIM before each value [env: BARNABAS_KEY_DELIMITER]
    #[arg(short = 'K', long, value_name = "DELIM", allow_hyphen_values = true)]
    key_delimiter: Option<String>,
    /// Print NULL for null values and keys [env: BARNABAS_NULL]
    #[arg(short = 'Z', long = "null")]
    null: bool,
    /// Only records with this key; * stands for any text, ? for any byte, \* for a star [env: BARNABAS_KEY_FILTER]
    #[arg(long, value_name = "PATTERN", allow_hyphen_values = true)]
    key_filter: Option<String>,
    /// read_committed, or read_uncommitted to print also open and aborted transactions [property: isolation.level] [env: BARNABAS_ISOLATION] [default: read_committed]
    #[arg(long, value_name = "LEVEL")]
    isolation: Option<String>,
    /// Say nothing but warnings and errors [env: BARNABAS_QUIET]
    #[arg(short, long)]
    quiet: bool,
    /// Write each record out at once [env: BARNABAS_UNBUFFERED]
    #[arg(short, long)]
    unbuffered: bool,
    #[command(flatten)]
    handlers: HandlerArgs,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

impl ConsumeArgs {
    pub(super) fn put(&self, flags: &mut Flags) {
        self.global.put(flags);
        self.file.put(flags);
        self.handlers.put(flags);
        flags.put("topic", &self.topic);
        flags.put("topics-regex", &self.topics_regex);
        flags.put("group", &self.group);
        flags.put("from", &self.from);
        flags.put("instance", &self.instance);
        flags.put("commit-interval", &self.commit_interval);
        flags.put("session", &self.session);
        flags.put("drain-timeout", &self.drain_timeout);
        flags.switch("rebuild-from-native", self.rebuild_from_native, true);
        flags.put("partition", &self.partition);
        flags.put("offset", &self.offset);
        flags.put("count", &self.count);
        flags.switch("exit", self.exit, true);
        flags.put("print", &self.print);
        flags.switch("json", self.json, true);
        flags.put("delimiter", &self.delimiter);
        flags.put("key-delimiter", &self.key_delimiter);
        flags.switch("null", self.null, true);
        flags.put("key-filter", &self.key_filter);
        flags.put("isolation", &self.isolation);
        flags.switch("quiet", self.quiet, true);
        flags.switch("unbuffered", self.unbuffered, true);
    }
}
