//! `config`: the result, where each value came from, and no secret.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::{directory, run, run_with};

const FILE: &str = r#"bootstrap.servers = "file:1"
linger.ms = 20
client.id = "of-file"
[profile.staging]
client.id = "of-staging"
security.protocol = "sasl_ssl"
sasl.mechanism = "SCRAM-SHA-512"
sasl.username = "u"
sasl.password = "hunter2"
"#;

/// Name → value and origin.
fn origin(report: &Value, name: &str) -> (String, String, String) {
    let all = report["settings"].as_array().unwrap();
    let found = all
        .iter()
        .find(|setting| setting["name"] == name)
        .unwrap_or_else(|| panic!("{name} in {report}"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (
        text(&found["values"][0]),
        text(&found["origin"]["kind"]),
        text(&found["origin"]["name"]),
    )
}

#[test]
fn each_value_tells_where_it_came_from() {
    let directory = directory("origins");
    let file = directory.join("c.toml");
    fs::write(&file, FILE).unwrap();
    let file = file.to_str().unwrap();
    let ran = run_with(
        &[
            ("BARNABAS_LINGER", "7ms"),
            ("BARNABAS_TIMEOUT", "3s"),
            ("BARNABAS_PROFILE", "staging"),
        ],
        &[
            "-X",
            "request.timeout.ms=1500",
            "--config",
            file,
            "config",
            "--json",
            "--all",
            "--timeout",
            "5s",
        ],
    );
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(report["file"], file);
    assert_eq!(report["profile"], "staging");
    for (name, value, kind, place) in [
        ("timeout", "5s", "flag", "--timeout"),
        ("request-timeout", "1s 500ms", "property", "request.timeout.ms"),
        ("linger", "7ms", "variable", "BARNABAS_LINGER"),
        ("client-id", "of-staging", "profile", "staging"),
        ("brokers", "file:1", "file", file),
        ("compression", "none", "default", ""),
        ("sasl.password", "***", "profile", "staging"),
    ] {
        assert_eq!(
            origin(&report, name),
            (value.to_owned(), kind.to_owned(), place.to_owned()),
            "{name}"
        );
    }
}

#[test]
fn secrets_are_masked_wherever_they_come_from() {
    let directory = directory("secrets");
    let file = directory.join("c.toml");
    fs::write(&file, FILE).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let file = file.to_str().unwrap();
    let args: [&[&str]; 3] = [&["config"], &["config", "--json"], &["config", "--all", "-vv"]];
    for args in args {
        let args = [&["--config", file, "--profile", "staging"], args].concat();
        for variables in [&[][..], &[("BARNABAS_SASL_PASSWORD", "hunter2")]] {
            let ran = run_with(variables, &args);
            assert_eq!((ran.code, &*ran.stderr), (Some(0), ""));
            assert!(ran.stdout.contains("***"), "{}", ran.stdout);
            assert!(!ran.stdout.contains("hunter2"), "{}", ran.stdout);
        }
    }
}

#[test]
fn a_file_with_a_password_that_others_can_read_is_warned_of() {
    let directory = directory("warned");
    let file = directory.join("c.toml");
    fs::write(&file, FILE).unwrap();
    let path = file.to_str().unwrap();
    let warns = |mode, args: &[&str]| {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let ran = run(&[&["--config", path, "config"], args].concat());
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        ran.stderr
    };
    assert_eq!(
        warns(0o644, &["--profile", "staging"]),
        format!("barnabas: warning: {path} holds a password and others can read it: chmod 600 {path}\n")
    );
    assert_eq!(warns(0o600, &["--profile", "staging"]), "");
    // Without the profile no password is taken from it.
    assert_eq!(warns(0o644, &[]), "");
}

#[test]
fn the_usual_file_is_found_and_a_wrong_name_in_it_is_refused_with_its_line() {
    let home = directory("home");
    fs::create_dir_all(home.join(".config/barnabas")).unwrap();
    let file = home.join(".config/barnabas/config.toml");
    fs::write(&file, "client.id = \"mine\"\n").unwrap();
    let variables = [("HOME", home.to_str().unwrap())];
    assert!(
        run_with(&variables, &["config"])
            .stdout
            .contains(&format!("mine   {}:1", file.display()))
    );

    fs::write(&file, "\nlinger = \"5ms\"\n[profile.x]\nlingre.ms = 5\n").unwrap();
    let ran = run_with(&variables, &["config"]);
    assert_eq!(ran.code, Some(2));
    assert_eq!(
        ran.stderr,
        format!(
            "barnabas: {}:4: lingre.ms is not a known setting; did you mean linger.ms?\n",
            file.display()
        )
    );
}

#[test]
fn the_table_is_aligned_and_uncoloured_in_a_pipe() {
    let ran = run(&["-b", "a:1", "config", "-X", "linger.ms=5"]);
    assert_eq!(
        ran.stdout,
        "SETTING  VALUE  FROM\nbrokers  a:1    --brokers\nlinger   5ms    -X linger.ms\n"
    );
}

#[test]
fn config_ends_with_2_if_the_settings_do_not_fit_together() {
    let ran = run(&["-X", "security.protocol=sasl_ssl", "config"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stdout.contains("sasl_ssl"), "{}", ran.stdout);
    assert!(
        ran.stderr
            .contains("-X security.protocol: this needs sasl.mechanism"),
        "{}",
        ran.stderr
    );
}
