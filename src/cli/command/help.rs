//! `help`: of commands as `--help` has it, and of topics.

use clap::CommandFactory;

use crate::cli::Exit;
use crate::cli::args::{Cli, HelpArgs};
use crate::cli::output::Output;
use crate::cli::settings::{ROWS, Secrecy, Unit, Usage};

/// Topics that are no commands: name, what it is about, text.
const TOPICS: [(&str, &str, &str); 4] = [
    (
        "offsets",
        "where consume starts and stops",
        include_str!("help/offsets.txt"),
    ),
    (
        "formats",
        "what produce reads and consume prints",
        include_str!("help/formats.txt"),
    ),
    (
        "config-file",
        "the configuration file, profiles, variables, precedence",
        include_str!("help/config.txt"),
    ),
    (
        "exit-codes",
        "how a process ends",
        include_str!("help/exit-codes.txt"),
    ),
];

/// Prints it.
pub(crate) fn run(args: &HelpArgs) -> anyhow::Result<Exit> {
    let output = Output::new(true, false, false);
    let text = match args.topic.as_slice() {
        [] => overview(),
        [name] if name == "properties" => properties(),
        [name] if TOPICS.iter().any(|topic| topic.0 == name) => TOPICS
            .iter()
            .filter(|topic| topic.0 == name)
            .map(|topic| topic.2)
            .collect(),
        path => of_command(path)?,
    };
    output.line(text.trim_end())?;
    Ok(Exit::Done)
}

fn overview() -> String {
    let mut text = Cli::command().render_long_help().to_string();
    text.push_str("\nTopics of help (barnabas help TOPIC):\n");
    for (name, about, _) in
        TOPICS
            .iter()
            .chain(&[("properties", "the names for -X and the configuration file", "")])
    {
        text.push_str(&format!("  {name:<12} {about}\n"));
    }
    text
}

fn of_command(path: &[String]) -> Result<String, Usage> {
    let mut command = Cli::command();
    command.build();
    let mut found = &mut command;
    // "topics create" may come as one word or two.
    for name in path.iter().flat_map(|word| word.split_whitespace()) {
        found = found.find_subcommand_mut(name).ok_or_else(|| {
            Usage(format!(
                "help: there is no command and no topic {}; see barnabas help",
                path.join(" ")
            ))
        })?;
    }
    Ok(found.render_long_help().to_string())
}

/// The table of settings, as people read it.
fn properties() -> String {
    let mut text = String::from(
        "Names for -X NAME=VALUE and for the configuration file. The first name of a line is barnabas' own;\n\
         names of librdkafka follow, with their units. Each has a variable: BARNABAS_ and the first name in\n\
         capitals, with _ for . and -\n\n",
    );
    for row in ROWS
        .iter()
        .filter(|row| !row.positional() && row.name != "config")
    {
        text.push_str(row.name);
        for (name, unit) in row.properties {
            let unit = match unit {
                Unit::Same => "",
                Unit::Millis => " (milliseconds)",
                Unit::KiB => " (KiB)",
            };
            text.push_str(&format!(", {name}{unit}"));
        }
        text.push_str(&format!("\n    {}", row.about));
        if let Some(default) = row.default {
            text.push_str(&format!(" [default: {default}]"));
        }
        if row.secrecy == Secrecy::Secret {
            text.push_str(" [secret]");
        }
        text.push('\n');
    }
    text
}
