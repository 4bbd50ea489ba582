//! Help, as text and as exit codes.

use std::path::Path;
use std::process::{Command, Stdio};

use super::run;

const PAGES: [(&str, &[&str]); 37] = [
    ("barnabas", &["--help"]),
    ("produce", &["produce", "--help"]),
    ("consume", &["consume", "--help"]),
    ("topics", &["topics", "--help"]),
    ("topics-list", &["topics", "list", "--help"]),
    ("topics-describe", &["topics", "describe", "--help"]),
    ("topics-create", &["topics", "create", "--help"]),
    ("topics-alter", &["topics", "alter", "--help"]),
    ("topics-delete", &["topics", "delete", "--help"]),
    ("groups", &["groups", "--help"]),
    ("groups-list", &["groups", "list", "--help"]),
    ("groups-describe", &["groups", "describe", "--help"]),
    ("groups-history", &["groups", "history", "--help"]),
    ("groups-why", &["groups", "why", "--help"]),
    ("groups-reset", &["groups", "reset", "--help"]),
    ("groups-pause", &["groups", "pause", "--help"]),
    ("groups-resume", &["groups", "resume", "--help"]),
    ("groups-skip", &["groups", "skip", "--help"]),
    ("groups-delete", &["groups", "delete", "--help"]),
    ("dlq", &["dlq", "--help"]),
    ("dlq-list", &["dlq", "list", "--help"]),
    ("dlq-show", &["dlq", "show", "--help"]),
    ("dlq-stats", &["dlq", "stats", "--help"]),
    ("dlq-replay", &["dlq", "replay", "--help"]),
    ("dlq-discard", &["dlq", "discard", "--help"]),
    ("dlq-purge", &["dlq", "purge", "--help"]),
    ("sandbox", &["sandbox", "--help"]),
    ("demo", &["demo", "--help"]),
    ("config", &["config", "--help"]),
    ("sandbox-fault", &["sandbox", "fault", "--help"]),
    ("completions", &["completions", "--help"]),
    ("help", &["help"]),
    ("help-config-file", &["help", "config-file"]),
    ("help-offsets", &["help", "offsets"]),
    ("help-formats", &["help", "formats"]),
    ("help-exit-codes", &["help", "exit-codes"]),
    ("help-properties", &["help", "properties"]),
];

/// `BLESS=1 cargo test --test cli` writes the pages anew.
#[test]
fn help_is_as_reviewed() {
    #[expect(clippy::disallowed_methods, reason = "a test has no settings to go through")]
    let bless = std::env::var_os("BLESS").is_some();
    let mut changed = Vec::new();
    for (name, args) in PAGES {
        let ran = run(args);
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{args:?}");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/cli/help/{name}.txt"));
        if bless {
            std::fs::write(&path, &ran.stdout).unwrap();
        } else if std::fs::read_to_string(&path).unwrap_or_default() != ran.stdout {
            changed.push(name);
        }
    }
    assert!(
        changed.is_empty(),
        "changed: {changed:?}; BLESS=1 cargo test --test cli, then review the difference"
    );
}

#[test]
fn no_line_of_help_is_wider_than_a_terminal() {
    for (name, args) in PAGES {
        for line in run(args).stdout.lines() {
            assert!(line.chars().count() <= 110, "{name}: {line}");
        }
    }
}

#[test]
fn help_of_a_command_is_the_same_by_flag_and_by_command() {
    assert_eq!(
        run(&["help", "topics", "create"]).stdout,
        run(&["topics", "create", "--help"]).stdout
    );
    assert_eq!(
        run(&["help", "topics create"]).stdout,
        run(&["topics", "create", "--help"]).stdout
    );
    assert_eq!(
        run(&["help", "produce"]).stdout,
        run(&["produce", "--help"]).stdout
    );
}

#[test]
fn every_flag_of_the_commands_names_its_variable() {
    let mut without = Vec::new();
    for (_, args) in &PAGES[..26] {
        let help = run(args).stdout;
        let options = help
            .split("\n\n")
            .filter(|option| option.trim_start().starts_with('-'));
        for option in options {
            let option = option.split_whitespace().collect::<Vec<_>>().join(" ");
            if !option.contains("[env: BARNABAS_")
                && !option.contains("--help")
                && !option.starts_with("-X")
                && !option.contains("--version")
            {
                without.push(option);
            }
        }
    }
    // `barnabas --help` is the short form, a flag a line; the long ones are what is looked at.
    without.retain(|option| !option.contains("Print version"));
    assert!(without.is_empty(), "{without:#?}");
}

#[test]
fn every_shell_has_a_completion_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(&["completions", shell]);
        assert_eq!((ran.code, &*ran.stderr), (Some(0), ""), "{shell}");
        assert!(ran.stdout.contains("--key-field"), "{shell}");
    }
}

#[test]
fn a_closed_pipe_ends_quietly_with_0() {
    for args in [
        &["completions", "bash"][..],
        &["help", "properties"],
        &["config", "--all"],
        &["produce", "--help"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = Command::new(env!("CARGO_BIN_EXE_barnabas"))
            .args(args)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!(
            (output.status.code(), &*String::from_utf8_lossy(&output.stderr)),
            (Some(0), ""),
            "{args:?}"
        );
    }
}

#[test]
fn the_version_is_the_crates() {
    assert_eq!(
        run(&["--version"]).stdout,
        concat!("barnabas ", env!("CARGO_PKG_VERSION"), "\n")
    );
}
