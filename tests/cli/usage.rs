//! Wrong usage: exit code 2, nothing on standard output, and a text that says what is wrong.

use super::{run, run_with};

const B: &str = "-blocalhost:1";

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    for (args, says) in [
        (&[][..], "Usage: barnabas"),
        (&["prodcue"], "a similar subcommand exists: 'produce'"),
        (
            &["produce", "--lingre", "5ms"],
            "a similar argument exists: '--linger'",
        ),
        (&["produce", "-t"], "a value is required"),
        (&["produce", "-t", "a"], "no brokers: give -b HOST:PORT"),
        (&["produce", B], "no topic: give -t TOPIC or BARNABAS_TOPIC"),
        (&["consume", B], "no topic: give -t TOPIC or BARNABAS_TOPIC"),
        (
            &["produce", "-b", "host:port", "-t", "a"],
            "--brokers: \"host:port\" has an address that is not HOST:PORT: host:port",
        ),
        (
            &["produce", B, "-t", "a b"],
            "--topic: \"a b\" is not a topic's name",
        ),
        (
            &["produce", B, "-t", "a", "-z", "lzma"],
            "--compression: \"lzma\" is wrong",
        ),
        (
            &["produce", B, "-t", "a", "--linger", "5"],
            "--linger: \"5\" is not a duration, such as 5ms",
        ),
        (
            &["produce", B, "-t", "a", "--max-buffer", "lots"],
            "--max-buffer: \"lots\" is not a size in bytes",
        ),
        (
            &["produce", B, "-t", "a", "--partitioner", "fnv"],
            "--partitioner: \"fnv\" is none of murmur2, crc32, sticky, random",
        ),
        (&["produce", B, "-t", "a", "-D", ""], "--delimiter: \"\" is wrong"),
        (
            &["produce", B, "-t", "a", "-K", ":", "-k", "x"],
            "--key-delimiter: this and --key exclude each other",
        ),
        (
            &["produce", B, "-t", "a", "--key-field", "id"],
            "--key-field: \"id\" is wrong: a JSON pointer starts with a slash: /id",
        ),
        (
            &["produce", B, "-t", "a", "-H", "=v"],
            "--header: \"=v\" has no name",
        ),
        (
            &["produce", B, "-t", "a", "-p", "x"],
            "--partition: \"x\" is not a number from -1",
        ),
        (
            &["consume", B, "-t", "a", "-o", "stored"],
            "--offset: stored: only a group stores offsets: use -g NAME",
        ),
        (
            &["consume", B, "-t", "a", "-o", "middle"],
            "--offset: middle is not an offset: beginning, end, N, -N",
        ),
        (
            &["consume", B, "-t", "a", "-o", "1", "-o", "2"],
            "--offset: has two places to start at",
        ),
        (
            &["consume", B, "-t", "a", "-p", "1-"],
            "--partition: \"1-\" is not a list of partitions",
        ),
        (
            &["consume", B, "-t", "a", "-f", "%q"],
            "--print: \"%q\" is wrong: unknown token %q",
        ),
        (
            &["consume", B, "-t", "a", "-J", "-f", "%s"],
            "--print: this and --json exclude each other",
        ),
        (
            &["consume", B, "-t", "a", "-c", "many"],
            "--count: \"many\" is not a number",
        ),
        (
            &["consume", B, "-t", "a", "--isolation", "high"],
            "--isolation: \"high\" is none of read_committed, read_uncommitted",
        ),
        (
            &["consume", B, "-g", "g"],
            "no topic: give -t TOPIC, --topics-regex REGEX or BARNABAS_TOPIC",
        ),
        (
            &["consume", B, "-g", "a b", "-t", "a"],
            "--group: \"a b\" is not a group's name: 1 to 234 of a-z",
        ),
        (
            &["consume", B, "-g", "g", "-t", "a", "-o", "end"],
            "--offset: this and --group exclude each other: use --from",
        ),
        (
            &["consume", B, "-g", "g", "-t", "a", "-p", "0"],
            "--partition: this and --group exclude each other: a group assigns its partitions itself",
        ),
        (
            &["consume", B, "-g", "g", "-t", "a", "--topics-regex", "b.*"],
            "--topics-regex: this and --topic exclude each other",
        ),
        (
            &["consume", B, "-g", "g", "--topics-regex", "b("],
            "--topics-regex: \"b(\" is wrong: ",
        ),
        (
            &["consume", B, "-g", "g", "-t", "a", "--session", "1s"],
            "--session: \"1s\" is not a duration from 2s to 30m",
        ),
        (
            &["consume", B, "-g", "g", "-t", "a", "--from", "42"],
            "--from: \"42\" is no place to start at: earliest, latest,",
        ),
        (
            &["consume", B, "-t", "a", "--from", "latest"],
            "--from: this is for members of a group: give --group NAME",
        ),
        (&["topics", "describe", B], "required arguments were not provided"),
        (
            &["topics", "create", B, "a", "--partitions", "0"],
            "--partitions: \"0\" is not a number from 1",
        ),
        (
            &["topics", "create", B, "a", "--config", "retention.ms"],
            "--config: \"retention.ms\" is not NAME=VALUE",
        ),
        (
            &[
                "topics",
                "create",
                B,
                "a",
                "--retention",
                "7d",
                "--config",
                "retention.ms=5",
            ],
            "--config: retention.ms is given twice",
        ),
        (&["topics", "alter", B, "a"], "nothing to alter"),
        (&["groups", "describe", B], "required arguments were not provided"),
        (
            &["groups", "history", B, "a/b"],
            "GROUP: \"a/b\" is not a group's name",
        ),
        (
            &["groups", "reset", B, "g"],
            "where to? Give --to earliest, latest, an offset or a time, or --by N",
        ),
        (
            &["groups", "reset", B, "g", "--to", "middle"],
            "--to: \"middle\" is neither earliest, latest, none, an offset",
        ),
        (
            &["groups", "reset", B, "g", "--to", "-100"],
            "--to: \"-100\" is no offset; to go back so many say --by",
        ),
        (
            &["groups", "reset", B, "g", "--to", "0", "--by", "-1"],
            "--by: this and --to exclude each other",
        ),
        (
            &["groups", "reset", B, "g", "--by", "some"],
            "--by: \"some\" is not a number, such as 100 or -100",
        ),
        (
            &["groups", "reset", B, "g", "--to", "earliest"],
            "reset group g: nobody can be asked here; say --yes",
        ),
        (
            &["groups", "skip", B, "g", "-t", "a"],
            "which record? Give --partition",
        ),
        (
            &["groups", "delete", B, "g"],
            "delete group g: nobody can be asked here; say --yes",
        ),
        (
            &["dlq", "list", B, "g", "--outcome", "lost"],
            "--outcome: \"lost\" is none of rejected, exhausted, undecodable, expiring, invalid",
        ),
        (
            &["dlq", "list", B, "g", "--since", "yesterday"],
            "--since: \"yesterday\" is no time",
        ),
        (&["dlq", "list", B, "a/b"], "DLQ: \"a/b\""),
        (&["dlq", "show", B, "g"], "required arguments were not provided"),
        (&["dlq", "replay", B, "g", "--rate", "0"], "--rate: \"0\""),
        (
            &["dlq", "replay", B, "g"],
            "replay dead letters of g: nobody can be asked here; say --yes",
        ),
        (
            &["dlq", "discard", B, "g"],
            "discard dead letters of g: nobody can be asked here; say --yes",
        ),
        (
            &["dlq", "purge", B, "g"],
            "purge dead letters of g: nobody can be asked here; say --yes",
        ),
        (
            &["-X", "foo.bar=1", "config"],
            "-X: foo.bar is not a known setting",
        ),
        (&["-X", "lingre.ms=1", "config"], "did you mean linger.ms?"),
        (
            &["-X", "heartbeat.interval.ms=3000", "config"],
            "-X: heartbeat.interval.ms is a property of librdkafka that barnabas does not support",
        ),
        (
            &["-X", "linger.ms", "config"],
            "-X linger.ms: NAME=VALUE is wanted",
        ),
        (
            &["--config", "/does/not/exist", "config"],
            "/does/not/exist: the configuration file cannot be read: No such file",
        ),
        (
            &["--profile", "x", "config"],
            "--profile: there is no configuration file, hence no profile x",
        ),
        (&["help", "me"], "there is no command and no topic me"),
        (&["completions", "tcsh"], "invalid value 'tcsh'"),
    ] {
        let ran = run(args);
        assert_eq!(
            (ran.code, &*ran.stdout),
            (Some(2), ""),
            "{args:?}: {}",
            ran.stderr
        );
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("Usage("), "a debug print: {}", ran.stderr);
    }
}

#[test]
fn a_wrong_variable_is_named() {
    let ran = run_with(
        &[("BARNABAS_TOPIC", "a"), ("BARNABAS_LINGER", "5")],
        &["produce", B],
    );
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr
            .starts_with("barnabas: BARNABAS_LINGER: \"5\" is not a duration"),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_error_is_one_line() {
    let ran = run(&["produce", "-t", "a"]);
    assert_eq!(ran.stderr.lines().count(), 1, "{}", ran.stderr);
    assert!(ran.stderr.starts_with("barnabas: "));
}

#[test]
fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
    let ran = run(&["-X", "sasl.password=hunter2", "config"]);
    assert_eq!(ran.code, Some(2));
    assert!(
        ran.stderr
            .contains("set BARNABAS_SASL_PASSWORD, sasl.password.file or the configuration file"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("hunter2"));
}
