//! `produce`.

use clap::Args;

use super::{FileArgs, Flags, GlobalArgs};

/// Publish records from files or standard input
#[derive(Debug, Args)]
#[command(after_long_help = "\
Each line is a record, published idempotently and acknowledged by all replicas in sync. At the end the \
acknowledged records are counted on stderr, and each refused one is named with its line and the reason \
(exit code 3). Ctrl-C publishes what was read. `barnabas help formats` describes the formats.

Examples:
  echo hello | barnabas produce -b localhost:9092 -t greetings
  barnabas produce -b localhost:9092 -t orders -K : orders.txt          key:value lines
  barnabas produce -b localhost:9092 -t orders --key-field /order/id -z zstd orders.ndjson
  barnabas consume -t a -e -J | barnabas produce -t b --format json     copy a topic, losslessly
  barnabas produce -b localhost:9092 -t images --whole-file a.png b.png")]
pub(crate) struct ProduceArgs {
    /// Topic to publish to [env: BARNABAS_TOPIC]
    #[arg(short, long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Files to publish; - is standard input, which is also the default
    #[arg(value_name = "FILE")]
    files: Vec<String>,
    /// Input format: lines, ndjson (with --key-field), json (envelopes as consume -J prints them) [env: BARNABAS_FORMAT] [default: lines]
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// The key is what stands before the first DELIM of a line [env: BARNABAS_KEY_DELIMITER]
    #[arg(short = 'K', long, value_name = "DELIM", allow_hyphen_values = true)]
    key_delimiter: Option<String>,
    /// The same key for all records [env: BARNABAS_KEY]
    #[arg(short, long, value_name = "KEY", allow_hyphen_values = true)]
    key: Option<String>,
    /// The key is this field of the JSON line, a JSON pointer such as /order/id; implies --format ndjson [env: BARNABAS_KEY_FIELD]
    #[arg(long, value_name = "POINTER")]
    key_field: Option<String>,
    /// Records end with DELIM; \n, \r, \t, \0, \x01 and \\ are understood [env: BARNABAS_DELIMITER] [default: \n]
    #[arg(short = 'D', long, value_name = "DELIM", allow_hyphen_values = true)]
    delimiter: Option<String>,
    /// Each file is one record [env: BARNABAS_WHOLE_FILE]
    #[arg(long)]
    whole_file: bool,
    /// Header of every record; without =VALUE a null one; repeat for more [env: BARNABAS_HEADER, one a line]
    #[arg(short = 'H', long, value_name = "NAME=VALUE")]
    header: Vec<String>,
    /// Partition to publish to, instead of the partitioner's choice [env: BARNABAS_PARTITION]
    #[arg(short, long, value_name = "N", allow_hyphen_values = true)]
    partition: Option<String>,
    /// Which partition a record goes to: murmur2 (as the Java client), crc32 (as librdkafka), sticky, random [env: BARNABAS_PARTITIONER] [default: murmur2]
    #[arg(long, value_name = "NAME")]
    partitioner: Option<String>,
    /// Publish empty values and keys as null [env: BARNABAS_NULL]
    #[arg(short = 'Z', long = "null")]
    null: bool,
    /// Compression: none, gzip, snappy, lz4, zstd, with a level as in zstd:3 [property: compression.type] [env: BARNABAS_COMPRESSION] [default: none]
    #[arg(short = 'z', long, value_name = "CODEC[:LEVEL]")]
    compression: Option<String>,
    /// Stop after N records [env: BARNABAS_COUNT]
    #[arg(short, long, value_name = "N")]
    count: Option<String>,
    /// How long a batch waits for more records; none at the end of input [property: linger.ms] [env: BARNABAS_LINGER] [default: 5ms]
    #[arg(long, value_name = "DURATION")]
    linger: Option<String>,
    /// A batch's largest size, before compression [property: batch.size] [env: BARNABAS_BATCH_SIZE] [default: 1000000]
    #[arg(long, value_name = "BYTES")]
    batch_size: Option<String>,
    /// Stop reading while this much waits for acknowledgement [env: BARNABAS_MAX_BUFFER] [default: 5MiB]
    #[arg(long, value_name = "BYTES")]
    max_buffer: Option<String>,
    /// Say nothing but warnings and errors [env: BARNABAS_QUIET]
    #[arg(short, long)]
    quiet: bool,
    /// No progress bar [env: BARNABAS_PROGRESS=false]
    #[arg(long)]
    no_progress: bool,
    #[command(flatten)]
    global: GlobalArgs,
    #[command(flatten)]
    file: FileArgs,
}

impl ProduceArgs {
    pub(super) fn put(&self, flags: &mut Flags) {
        self.global.put(flags);
        self.file.put(flags);
        flags.put("topic", &self.topic);
        flags.put("files", &self.files);
        flags.put("format", &self.format);
        flags.put("key-delimiter", &self.key_delimiter);
        flags.put("key", &self.key);
        flags.put("key-field", &self.key_field);
        flags.put("delimiter", &self.delimiter);
        flags.switch("whole-file", self.whole_file, true);
        flags.put("header", &self.header);
        flags.put("partition", &self.partition);
        flags.put("partitioner", &self.partitioner);
        flags.switch("null", self.null, true);
        flags.put("compression", &self.compression);
        flags.put("count", &self.count);
        flags.put("linger", &self.linger);
        flags.put("batch-size", &self.batch_size);
        flags.put("max-buffer", &self.max_buffer);
        flags.switch("quiet", self.quiet, true);
        flags.switch("progress", self.no_progress, false);
    }
}
