//! Layers laid over each other, and settings that exclude each other.

use std::path::Path;
use std::time::Duration;

use super::layers::Layers;
use super::*;
use crate::broker::settings::{SaslSettings, TokenSource};
use crate::group::driver::{StartFrom, Topics};
use crate::produce::input::InputFormat;
use crate::produce::reader::Source;
use crate::record::Codec;

/// What is on the command line, in the environment, and in the file.
#[derive(Default)]
struct Laid<'a> {
    flags: &'a [(&'static str, &'a str)],
    properties: &'a [&'a str],
    variables: &'a [(&'a str, &'a str)],
    file: &'a str,
}

impl Laid<'_> {
    fn settings(&self) -> Result<Settings, Usage> {
        let mut flags = Flags::default();
        for (name, value) in self.flags {
            flags.values.entry(name).or_default().push((*value).to_owned());
        }
        flags.properties = self.properties.iter().map(|text| (*text).to_owned()).collect();
        let variables = self
            .variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let environment = Environment {
            variables: variables.collect(),
        };
        let file = file::parse(self.file, Path::new("c.toml"))?;
        let layers = Layers::new(&flags, &environment, Some(file))?;
        Ok(Settings {
            layers,
            environment,
            file: None,
            warnings: Vec::new(),
        })
    }

    fn error<T: std::fmt::Debug>(&self, read: impl FnOnce(&Settings) -> Result<T, Usage>) -> String {
        self.settings()
            .and_then(|settings| read(&settings))
            .unwrap_err()
            .0
    }
}

const PRODUCE: &[(&str, &str)] = &[("brokers", "a"), ("topic", "t")];

#[test]
fn the_highest_layer_that_has_a_value_wins_for_every_setting_and_every_set_of_layers() {
    for row in ROWS
        .iter()
        .filter(|row| !row.positional() && !matches!(row.name, "config" | "profile"))
    {
        let variable = row.variable();
        for layers in 0..32_u8 {
            let has = |layer: u8| layers & (1 << layer) != 0;
            let mut file = String::new();
            if has(0) {
                file.push_str(&format!("\"{}\" = \"file\"\n", row.name));
            }
            file.push_str("[profile.p]\n");
            if has(1) {
                file.push_str(&format!("\"{}\" = \"profile\"\n", row.name));
            }
            let property = format!("{}=property", row.name);
            // A secret is refused there, so that layer is left out for it.
            let with_property = has(3) && row.secrecy != Secrecy::Secret;
            let mut variables = vec![("BARNABAS_PROFILE", "p")];
            variables.extend(has(2).then_some((variable.as_str(), "variable")));
            let properties: Vec<&str> = with_property.then_some(property.as_str()).into_iter().collect();
            let flags: Vec<(&'static str, &str)> = has(4).then_some((row.name, "flag")).into_iter().collect();
            let given = Laid {
                flags: &flags,
                properties: &properties,
                variables: &variables,
                file: &file,
            };
            let found = given.settings().unwrap().find(row.name);
            let (value, origin) = if has(4) {
                ("flag", Origin::Flag(row.flag.unwrap_or(row.name)))
            } else if with_property {
                ("property", Origin::Property(row.name.to_owned()))
            } else if has(2) {
                ("variable", Origin::Variable(variable.clone()))
            } else if has(1) {
                (
                    "profile",
                    Origin::Profile("p".to_owned(), "c.toml".into(), if has(0) { 3 } else { 2 }),
                )
            } else if has(0) {
                ("file", Origin::File("c.toml".into(), 1))
            } else {
                let default = row.default.map(|value| Given {
                    values: vec![value.to_owned()],
                    origin: Origin::Default,
                });
                assert_eq!(found, default, "{} {layers:05b}", row.name);
                continue;
            };
            assert_eq!(
                found,
                Some(Given {
                    values: vec![value.to_owned()],
                    origin
                }),
                "{} {layers:05b}",
                row.name
            );
        }
    }
}

#[test]
fn librdkafkas_units_are_converted() {
    let given = Laid {
        flags: PRODUCE,
        properties: &[
            "queue.buffering.max.ms=0.5",
            "queue.buffering.max.kbytes=2048",
            "message.timeout.ms=300000",
        ],
        file: "socket.timeout.ms = 1500",
        ..Laid::default()
    };
    let settings = given.settings().unwrap();
    let produce = settings.produce().unwrap();
    assert_eq!(produce.batching.linger, Duration::from_micros(500));
    assert_eq!(produce.max_buffer, 2 << 20);
    assert_eq!(produce.delivery_timeout, Duration::from_secs(300));
    assert_eq!(
        settings.brokers().unwrap().request_timeout,
        Duration::from_millis(1500)
    );
}

#[test]
fn a_profile_lies_over_its_file_and_must_exist() {
    let file = "topic = \"t\"\n[profile.a]\ntopic = \"of-a\"\n[profile.b]\n";
    let text = |flags| {
        Laid {
            flags,
            file,
            ..Laid::default()
        }
        .settings()
        .unwrap()
        .text("topic")
    };
    assert_eq!(text(&[]).as_deref(), Some("t"));
    assert_eq!(text(&[("profile", "a")]).as_deref(), Some("of-a"));
    assert_eq!(text(&[("profile", "b")]).as_deref(), Some("t"));
    let error = Laid {
        flags: &[("profile", "c")],
        file,
        ..Laid::default()
    }
    .error(|_| Ok(()));
    assert_eq!(error, "--profile: there is no profile c in c.toml; it has a, b");
}

#[test]
fn an_error_names_the_place_of_the_value() {
    let error = |given: Laid<'_>| given.error(Settings::produce);
    let file = "topic = \"t\"\nlinger = \"5\"";
    assert!(
        error(Laid {
            file,
            ..Laid::default()
        })
        .starts_with("c.toml:2: linger: \"5\" is not a duration")
    );
    let variables = &[("BARNABAS_LINGER", "5"), ("BARNABAS_TOPIC", "t")];
    assert!(
        error(Laid {
            variables,
            ..Laid::default()
        })
        .starts_with("BARNABAS_LINGER: \"5\" is not a duration")
    );
    let properties = &["linger.ms=5ms"];
    assert_eq!(
        error(Laid {
            properties,
            ..Laid::default()
        }),
        "-X linger.ms: \"5ms\" is not a number of milliseconds"
    );
    assert_eq!(
        error(Laid {
            properties: &["linger.ms"],
            ..Laid::default()
        }),
        "-X linger.ms: NAME=VALUE is wanted"
    );
    assert_eq!(
        error(Laid {
            properties: &["files=x"],
            ..Laid::default()
        }),
        "-X files: this is only for the command line (FILE)"
    );
}

#[test]
fn what_barnabas_always_does_cannot_be_switched_off() {
    for properties in [
        &["acks=1"],
        &["request.required.acks=0"],
        &["enable.idempotence=false"],
    ] {
        let error = Laid {
            flags: PRODUCE,
            properties,
            ..Laid::default()
        }
        .error(Settings::produce);
        assert!(error.contains("is not possible: barnabas "), "{error}");
    }
    let properties = &["acks=-1", "enable.idempotence=true"];
    assert!(
        Laid {
            flags: PRODUCE,
            properties,
            ..Laid::default()
        }
        .settings()
        .unwrap()
        .produce()
        .is_ok()
    );
}

#[test]
fn produce_refuses_two_sources_for_the_key_and_formats_without_a_place_for_it() {
    for extra in [
        &[("key", "a"), ("key-delimiter", ":")][..],
        &[("key-field", "/a"), ("key", "a")],
        &[("key-field", "/a"), ("key-delimiter", ":")],
        &[("key-field", "/a"), ("format", "lines")],
        &[("key-field", "/a"), ("format", "json")],
        &[("key-field", "a")],
        &[("format", "json"), ("key-delimiter", ":")],
        &[("format", "ndjson")],
        &[("whole-file", "true"), ("delimiter", ":")],
        &[("whole-file", "true"), ("format", "json")],
        &[("header", "=x")],
        &[("partition", "-2")],
        &[("compression", "zstd:23")],
        &[("compression", "lz4:1")],
        &[("batch-size", "0")],
        &[("count", "-1")],
        &[("topic", "a/b")],
    ] {
        let flags = [PRODUCE, extra].concat();
        let error = Laid {
            flags: &flags,
            ..Laid::default()
        }
        .error(Settings::produce);
        assert!(error.starts_with("--"), "{error}");
    }
}

#[test]
fn produce_reads_its_flags() {
    let flags = [
        PRODUCE,
        &[
            ("key-field", "/a"),
            ("header", "a=b=c"),
            ("header", "d"),
            ("header", "e="),
            ("partition", "-1"),
            ("files", "-"),
        ],
        &[("compression", "ZSTD:7"), ("files", "x")],
    ]
    .concat();
    let produce = Laid {
        flags: &flags,
        ..Laid::default()
    }
    .settings()
    .unwrap()
    .produce()
    .unwrap();
    assert!(
        matches!(&produce.cut, Cut::Records(options) if matches!(options.format, InputFormat::Ndjson(_)))
    );
    let headers: Vec<_> = produce
        .headers
        .iter()
        .map(|(name, value)| (&name[..], value.as_deref()))
        .collect();
    assert_eq!(
        headers,
        [(&b"a"[..], Some(&b"b=c"[..])), (b"d", None), (b"e", Some(b""))]
    );
    assert_eq!(produce.partition, None);
    assert_eq!(
        (produce.compression.codec(), produce.compression.level()),
        (Codec::Zstd, Some(7))
    );
    assert_eq!(produce.inputs, [Source::Stdin, Source::File("x".into())]);
}

#[test]
fn a_level_from_a_property_is_the_codecs() {
    let level = |properties| {
        let given = Laid {
            flags: PRODUCE,
            properties,
            ..Laid::default()
        };
        given
            .settings()
            .unwrap()
            .produce()
            .map(|produce| produce.compression.level())
    };
    assert_eq!(
        level(&["compression.codec=gzip", "compression.level=9"]),
        Ok(Some(9))
    );
    assert_eq!(
        level(&["compression.codec=gzip", "compression.level=-1"]),
        Ok(None)
    );
    assert_eq!(
        level(&["compression.codec=snappy", "compression.level=9"]),
        Ok(None)
    );
    assert!(level(&["compression.codec=gzip", "compression.level=10"]).is_err());
}

#[test]
fn consume_reads_its_flags() {
    let flags = &[
        ("topic", "b,a"),
        ("topic", "a"),
        ("partition", "2"),
        ("partition", "0-1"),
        ("offset", "s@5"),
        ("offset", "e@-1s"),
    ];
    let variables = &[("BARNABAS_ISOLATION", "READ_UNCOMMITTED")];
    let consume = Laid {
        flags,
        variables,
        ..Laid::default()
    }
    .settings()
    .unwrap()
    .consume(10_000)
    .unwrap();
    let Reading::Alone(alone) = consume.reading else {
        panic!("no group was named")
    };
    assert_eq!(alone.topics, ["b", "a"]);
    assert_eq!(alone.partitions, [0, 1, 2]);
    assert_eq!((alone.start, alone.stop), (Start::Time(5), Some(9000)));
    assert_eq!(consume.printing.isolation, Isolation::ReadUncommitted);
    assert_eq!(consume.printing.fetch.max_wait, Duration::from_millis(500));
}

#[test]
fn a_groups_settings_are_read_and_librdkafkas_names_taken() {
    let consume = Laid {
        flags: &[("topics-regex", "a|b")],
        properties: &[
            "group.id=g",
            "auto.offset.reset=latest",
            "session.timeout.ms=6000",
            "auto.commit.interval.ms=5000",
        ],
        variables: &[("BARNABAS_INSTANCE", "pod-0")],
        ..Laid::default()
    }
    .settings()
    .unwrap()
    .consume(0)
    .unwrap();
    let Reading::Group(join) = consume.reading else {
        panic!("a group was named")
    };
    let Topics::Like(like) = &join.topics else {
        panic!("a pattern was given")
    };
    // The whole name, and not `^a` or `b$`.
    assert_eq!(
        ["a", "b", "ab", "xb"].map(|name| like.is_match(name)),
        [true, true, false, false]
    );
    assert_eq!(
        (&*join.group, join.from, join.instance.as_deref()),
        ("g", StartFrom::Latest, Some("pod-0"))
    );
    assert_eq!(join.session, Duration::from_secs(6));
    // A quarter of the session at most.
    assert_eq!(join.commit_interval, Duration::from_millis(1500));
    assert_eq!(consume.printing.fetch.max_wait, Duration::from_secs(5));
}

#[test]
fn where_a_keys_next_event_waits_for_the_commit_that_comes_soon_unless_it_is_set() {
    let flags = [("topic", "a"), ("group", "g"), ("exec", "worker")];
    for (more, each, interval) in [
        (&[][..], false, 1_000),
        (&[("commit", "each")], true, 100),
        (&[("commit", "each"), ("commit-interval", "700ms")], true, 700),
        (&[("commit", "interval")], false, 1_000),
    ] {
        let flags = [&flags, more].concat();
        let laid = Laid {
            flags: &flags,
            ..Laid::default()
        };
        let consume = laid.settings().unwrap().consume(0).unwrap();
        let Reading::Group(join) = consume.reading else {
            panic!("a group was named")
        };
        assert_eq!(join.commit_interval, Duration::from_millis(interval));
        assert_eq!(
            consume.handling.map(|handling| handling.delivery.commit_each),
            Some(each)
        );
    }
}

#[test]
fn variables_for_groups_do_not_disturb_a_consumer_without_one() {
    let variables = &[("BARNABAS_SESSION", "5s"), ("BARNABAS_FROM", "latest")];
    let consume = Laid {
        flags: &[("topic", "a")],
        variables,
        ..Laid::default()
    }
    .settings()
    .unwrap()
    .consume(0);
    assert!(matches!(consume.unwrap().reading, Reading::Alone(_)));
}

#[test]
fn consume_refuses_two_ways_to_print() {
    let flags = &[("topic", "a"), ("print", "%s"), ("json", "true")];
    assert_eq!(
        Laid {
            flags,
            ..Laid::default()
        }
        .error(|settings| settings.consume(0)),
        "--print: this and --json exclude each other"
    );
}

#[test]
fn credentials_are_never_silently_left_unused_nor_sent_in_the_clear() {
    let error = |file| {
        Laid {
            file,
            ..Laid::default()
        }
        .error(Settings::security)
    };
    for file in [
        "sasl.username = \"u\"",
        "ssl.ca.location = \"ca.pem\"",
        "sasl.mechanism = \"PLAIN\"",
    ] {
        assert!(
            error(file).contains("this needs security.protocol"),
            "{}",
            error(file)
        );
    }
    for (file, why) in [
        (
            "security.protocol = \"tls\"",
            "is none of plaintext, ssl, sasl_plaintext, sasl_ssl",
        ),
        ("security.protocol = \"sasl_ssl\"", "this needs sasl.mechanism"),
        (
            "security.protocol = \"sasl_ssl\"\nsasl.mechanism = \"GSSAPI\"",
            "is none of PLAIN",
        ),
        (
            "security.protocol = \"sasl_ssl\"\nsasl.mechanism = \"PLAIN\"",
            "this needs sasl.username",
        ),
        (
            "security.protocol = \"sasl_ssl\"\nsasl.mechanism = \"PLAIN\"\nsasl.username = \"u\"",
            "this needs a password",
        ),
        (
            "security.protocol = \"sasl_ssl\"\nsasl.mechanism = \"OAUTHBEARER\"",
            "this needs sasl.oauthbearer.token",
        ),
        (
            "security.protocol = \"ssl\"\nssl.key.location = \"k\"",
            "this needs ssl.certificate.location",
        ),
        (
            "security.protocol = \"ssl\"\nssl.endpoint.identification.algorithm = \"maybe\"",
            "is none of https, none",
        ),
    ] {
        assert!(error(file).contains(why), "{}", error(file));
    }
}

#[test]
fn sasl_over_tls_is_read_as_librdkafka_spells_it() {
    let file = "security.protocol = \"SASL_SSL\"\nsasl.mechanisms = \"SCRAM-SHA-512\"\nsasl.username = \"u\"";
    let variables = &[("BARNABAS_SASL_PASSWORD", "p"), ("SSL_CERT_FILE", "/roots.pem")];
    let (tls, sasl) = Laid {
        file,
        variables,
        ..Laid::default()
    }
    .settings()
    .unwrap()
    .security()
    .unwrap();
    assert_eq!(tls.unwrap().system_ca.as_deref(), Some(Path::new("/roots.pem")));
    assert!(
        matches!(sasl, Some(SaslSettings::ScramSha512(login)) if login.username == "u" && login.password == "p")
    );
}

#[test]
fn a_token_command_is_words_or_an_array() {
    let token = |command: &str| {
        let file = format!(
            "security.protocol = \"sasl_plaintext\"\nsasl.mechanism = \"OAUTHBEARER\"\nsasl.oauthbearer.token.command = {command}"
        );
        let (_, sasl) = Laid {
            file: &file,
            ..Laid::default()
        }
        .settings()
        .unwrap()
        .security()
        .unwrap();
        match sasl {
            Some(SaslSettings::OauthBearer(TokenSource::Command(words))) => words,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(token("\"get 'a b'\""), ["get", "a b"]);
    assert_eq!(token("[\"get\", \"a 'b\"]"), ["get", "a 'b"]);
}

#[test]
fn a_secret_on_the_command_line_is_refused_and_not_repeated() {
    let error = Laid {
        properties: &["sasl.password=hunter2"],
        ..Laid::default()
    }
    .error(|_| Ok(()));
    assert!(
        error.contains("BARNABAS_SASL_PASSWORD") && !error.contains("hunter2"),
        "{error}"
    );
}

#[test]
fn a_misspelt_variable_is_told() {
    let names = [
        "BARNABAS_BROKER",
        "BARNABAS_SERVICE_HOST",
        "BARNABAS_PORT",
        "BARNABAS_LINGER",
        "HOME",
    ];
    let environment = Environment {
        variables: names.map(|name| (name.to_owned(), "x".to_owned())).into(),
    };
    assert_eq!(
        environment.misspelt(),
        ["BARNABAS_BROKER is not a known variable; did you mean BARNABAS_BROKERS?"]
    );
}

#[test]
fn verbosity_counts_on_both_sides_of_the_command() {
    let settings = Laid {
        flags: &[("verbose", "1"), ("verbose", "2")],
        ..Laid::default()
    }
    .settings()
    .unwrap();
    assert_eq!(settings.verbosity(), Ok(3));
}
