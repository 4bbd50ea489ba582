//! TLS, client certificates, every SASL mechanism, alone and over TLS; and each of them wrong.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::barnabas_bin::barnabas;
use crate::support::{Finished, Kafka};

const PASSWORDS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// Flags of a connection: its address and properties.
struct Access {
    address: String,
    properties: Vec<String>,
}

impl Access {
    fn new(address: String, protocol: &str) -> Self {
        Self {
            address,
            properties: vec![format!("security.protocol={protocol}")],
        }
    }

    fn with(mut self, name: &str, value: impl AsRef<Path>) -> Self {
        self.properties
            .push(format!("{name}={}", value.as_ref().display()));
        self
    }

    fn ca(self, kafka: &Kafka) -> Self {
        self.with("ssl.ca.location", kafka.certificate("ca.pem"))
    }

    fn certificate(self, kafka: &Kafka, name: &str) -> Self {
        self.with(
            "ssl.certificate.location",
            kafka.certificate(&format!("{name}.pem")),
        )
        .with("ssl.key.location", kafka.certificate(&format!("{name}.key")))
    }

    /// Passwords come from a file: the command line is no place for them.
    fn user(self, kafka: &Kafka, mechanism: &str, user: &str, password: &str) -> Self {
        let file = kafka.scratch("passwords").join(password);
        fs::write(&file, format!("{password}\n")).expect("target/ can be written");
        self.with("sasl.mechanism", mechanism)
            .with("sasl.username", user)
            .with("sasl.password.file", file)
    }

    fn token(self, kafka: &Kafka, name: &str, token: &str) -> Self {
        let file = kafka.scratch("tokens").join(name);
        fs::write(&file, token).expect("target/ can be written");
        self.with("sasl.mechanism", "OAUTHBEARER")
            .with("sasl.oauthbearer.token.file", file)
    }

    fn run(&self, args: &[&str], input: &[u8]) -> Finished {
        let mut all = vec![args[0], "-b", &self.address, "--timeout", "5s"];
        all.extend(&args[1..]);
        for property in &self.properties {
            all.extend(["-X", property]);
        }
        barnabas(&all, input)
    }
}

/// An unsecured JSON web token, as the broker of the tests takes it.
fn token(subject: &str, lives_until: i64) -> String {
    let part = |json: String| BASE64_URL_SAFE_NO_PAD.encode(json);
    let now = barnabas::clock::unix_millis() / 1_000;
    let claims = format!(
        r#"{{"sub":"{subject}","iat":{},"exp":{lives_until}}}"#,
        now.min(lives_until) - 60
    );
    format!("{}.{}.", part(r#"{"alg":"none"}"#.to_owned()), part(claims))
}

fn in_an_hour() -> i64 {
    barnabas::clock::unix_millis() / 1_000 + 3_600
}

fn sasl(kafka: &Kafka, over_tls: bool) -> Access {
    let ports = kafka.secured_ports();
    if over_tls {
        Access::new(format!("localhost:{}", ports.sasl_ssl), "sasl_ssl").ca(kafka)
    } else {
        Access::new(format!("localhost:{}", ports.sasl_plaintext), "sasl_plaintext")
    }
}

/// Publishes and prints a line.
fn works(kafka: &Kafka, access: &Access) {
    let topic = kafka.topic("security", 1);
    access.run(&["produce", "-t", &topic], b"through\n").success();
    let run = access.run(&["consume", "-q", "-t", &topic, "-e"], b"").success();
    assert_eq!(run.text(), "through\n", "{:?}", access.properties);
}

/// Both commands are refused with words about `reason`, and an exit code that says so: 1, or 4 where no broker could
/// be reached.
fn refused(kafka: &Kafka, access: &Access, reasons: &[&str]) {
    let topic = kafka.topic("refused", 1);
    for args in [&["produce", "-t", &topic][..], &["consume", "-t", &topic, "-e"]] {
        let run = access.run(args, b"never\n");
        let code = run.status.code();
        assert!(
            matches!(code, Some(1 | 4)),
            "{}: {code:?}\n{}",
            run.command,
            run.stderr
        );
        let stderr = run.stderr.to_lowercase();
        assert!(
            reasons.iter().any(|reason| stderr.contains(reason)),
            "{}: none of {reasons:?} in\n{stderr}",
            run.command
        );
        assert!(!stderr.contains("panicked"), "{stderr}");
    }
    assert_eq!(kafka.written(&topic), 0);
}

#[test]
fn tls_works_with_the_authority_given() {
    let Some(kafka) = Kafka::shared_secured() else {
        return;
    };
    works(
        kafka,
        &Access::new(format!("localhost:{}", kafka.secured_ports().ssl), "ssl").ca(kafka),
    );
}

#[test]
fn a_client_certificate_works_where_one_is_required() {
    let Some(kafka) = Kafka::shared_secured() else {
        return;
    };
    let address = format!("localhost:{}", kafka.secured_ports().mutual);
    works(
        kafka,
        &Access::new(address, "ssl").ca(kafka).certificate(kafka, "client"),
    );
}

#[test]
fn every_sasl_mechanism_works_alone_and_over_tls() {
    let Some(kafka) = Kafka::shared_secured() else {
        return;
    };
    for over_tls in [false, true] {
        for mechanism in PASSWORDS {
            works(
                kafka,
                &sasl(kafka, over_tls).user(kafka, mechanism, "admin", "admin-secret"),
            );
        }
        works(
            kafka,
            &sasl(kafka, over_tls).token(kafka, "good", &token("admin", in_an_hour())),
        );
    }
}

#[test]
fn a_token_is_taken_from_a_command() {
    let Some(kafka) = Kafka::shared_secured() else {
        return;
    };
    let file = kafka.scratch("tokens").join("for-command");
    fs::write(&file, token("admin", in_an_hour())).expect("target/ can be written");
    let command = format!("cat {}", file.display());
    works(
        kafka,
        &sasl(kafka, false)
            .with("sasl.mechanism", "OAUTHBEARER")
            .with("sasl.oauthbearer.token.command", command),
    );
}

#[test]
fn a_wrong_password_is_refused_by_every_mechanism() {
    let Some(kafka) = Kafka::shared_secured() else {
        return;
    };
    for over_tls in [false, true] {
        for mechanism in PASSWORDS {
            for user in ["admin", "stranger"] {
                let access = sasl(kafka, over_tls).user(kafka, mechanism, user, "not-the-password");
                refused(kafka, &access, &["authentication", "password"]);
            }
        }
        let access = sasl(kafka, over_tls).token(kafka, "expired", &token("admin", 1_700_000_000));
        refused(kafka, &access, &["token", "authentication", "invalid"]);
        let access = sasl(kafka, over_tls).token(kafka, "no-token", "nonsense");
        refused(kafka, &access, &["token", "authentication", "invalid"]);
    }
}

#[test]
fn a_password_is_never_shown() {
    let Some(kafka) = Kafka::shared_secured() else {
        return;
    };
    let topic = kafka.topic("secrets", 1);
    for password in ["admin-secret", "wrong-secret"] {
        let access = sasl(kafka, false).user(kafka, "PLAIN", "admin", password);
        let mut args = vec![
            "produce",
            "-vv",
            "-b",
            &access.address,
            "-t",
            &topic,
            "--timeout",
            "5s",
        ];
        // The file's path holds the password, so it goes by the environment here.
        args.extend([
            "-X",
            "security.protocol=sasl_plaintext",
            "-X",
            "sasl.mechanism=PLAIN",
            "-X",
            "sasl.username=admin",
        ]);
        let mut command = crate::barnabas_bin::command(&args);
        command.env("BARNABAS_SASL_PASSWORD", password);
        let run = crate::support::run::run_command(command, b"x\n");
        assert_eq!(run.status.success(), password == "admin-secret", "{}", run.stderr);
        assert!(!run.stderr.contains(password), "{}", run.stderr);
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let Some(kafka) = Kafka::shared_secured() else {
        return;
    };
    let address = format!("localhost:{}", kafka.secured_ports().ssl);
    let access = Access::new(address, "ssl").with("ssl.ca.location", kafka.certificate("other-ca.pem"));
    refused(kafka, &access, &["certificate", "authority", "issuer"]);
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let Some(kafka) = Kafka::shared_secured() else {
        return;
    };
    let address = format!("127.0.0.1:{}", kafka.secured_ports().ssl);
    refused(
        kafka,
        &Access::new(address, "ssl").ca(kafka),
        &["name", "127.0.0.1 is not"],
    );
}

#[test]
fn a_missing_or_strange_client_certificate_is_refused() {
    let Some(kafka) = Kafka::shared_secured() else {
        return;
    };
    let address = format!("localhost:{}", kafka.secured_ports().mutual);
    refused(
        kafka,
        &Access::new(address.clone(), "ssl").ca(kafka),
        &["certificate"],
    );
    let strange = Access::new(address, "ssl")
        .ca(kafka)
        .certificate(kafka, "stranger");
    refused(kafka, &strange, &["certificate"]);
}

#[test]
fn tls_to_a_plaintext_port_and_the_reverse_are_told() {
    let Some(kafka) = Kafka::shared_secured() else {
        return;
    };
    refused(
        kafka,
        &Access::new(kafka.bootstrap(), "ssl").ca(kafka),
        &["tls", "security.protocol"],
    );
    let address = format!("localhost:{}", kafka.secured_ports().ssl);
    refused(
        kafka,
        &Access::new(address, "plaintext"),
        &["tls", "security.protocol"],
    );
    // A broker that wants SASL only hangs up: that and the address are all that can be told for sure.
    let address = format!("localhost:{}", kafka.secured_ports().sasl_plaintext);
    refused(kafka, &Access::new(address.clone(), "plaintext"), &[&address]);
}

#[test]
fn a_user_without_rights_is_told_so() {
    let Some(kafka) = Kafka::shared_secured() else {
        return;
    };
    let access = sasl(kafka, false).user(kafka, "SCRAM-SHA-256", "nobody", "nobody-secret");
    let topic = kafka.topic("forbidden", 1);
    for args in [&["produce", "-t", &topic][..], &["consume", "-t", &topic, "-e"]] {
        access.run(args, b"never\n").code(1).says("authori").says(&topic);
    }
    assert_eq!(kafka.written(&topic), 0);
}

/// Lets the user `guest` do this.
fn allow(kafka: &Kafka, resource: [&str; 2], operations: &[&str]) {
    let bootstrap = kafka.bootstrap();
    let mut args = vec!["--bootstrap-server", &bootstrap, "--add", "--force"];
    args.extend(["--allow-principal", "User:guest"]);
    args.extend(resource);
    for operation in operations {
        args.extend(["--operation", operation]);
    }
    kafka
        .java("org.apache.kafka.tools.AclCommand", &args, b"")
        .success();
}

#[test]
fn a_member_without_rights_to_the_groups_log_says_so_and_one_with_them_works() {
    let Some(kafka) = Kafka::shared_secured() else {
        return;
    };
    let topic = kafka.topic("group-rights", 1);
    let group = crate::group::group_name("rights-of-members");
    let log = format!("barnabas.group.{group}");
    let user = |name, password| sasl(kafka, false).user(kafka, "PLAIN", name, password);
    user("admin", "admin-secret")
        .run(&["produce", "-t", &topic], b"through\n")
        .success();
    let member =
        || user("guest", "guest-secret").run(&["consume", "-q", "-t", &topic, "-g", &group, "-e"], b"");
    allow(kafka, ["--topic", &topic], &["Read", "Describe"]);
    let refused = member().code(1).says("not authorised").says(&log);
    assert_eq!(refused.text(), "");
    allow(
        kafka,
        ["--topic", &log],
        &["Create", "Read", "Write", "Describe", "DescribeConfigs", "Delete"],
    );
    allow(kafka, ["--group", &group], &["Read", "Describe"]);
    assert_eq!(member().success().text(), "through\n");
}
