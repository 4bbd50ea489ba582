//! `config`.

use serde::Serialize;

use crate::cli::Exit;
use crate::cli::args::ConfigArgs;
use crate::cli::output::{Output, Table};
use crate::cli::settings::{Given, Origin, ROWS, Row, Secrecy, Settings};

/// Stands for a value that is not shown.
const MASK: &str = "***";

#[derive(Serialize)]
struct Report<'a> {
    file: Option<String>,
    profile: Option<String>,
    settings: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    name: &'static str,
    property: Option<&'static str>,
    variable: String,
    values: Vec<&'a str>,
    masked: bool,
    origin: OriginLine,
}

#[derive(Serialize)]
struct OriginLine {
    kind: &'static str,
    name: Option<String>,
    line: Option<usize>,
}

/// Prints each setting and where it came from.
pub(crate) fn run(args: &ConfigArgs, settings: &Settings, output: &Output) -> anyhow::Result<Exit> {
    let json = settings.switch("json")?;
    let given: Vec<(&'static Row, Given)> = ROWS
        .iter()
        .filter(|row| !row.positional())
        .filter_map(|row| Some((row, settings.find(row.name)?)))
        .filter(|(_, given)| args.all || given.origin != Origin::Default)
        // That this output is JSON is no setting worth telling.
        .filter(|(row, given)| !(row.name == "json" && matches!(given.origin, Origin::Flag(_))))
        .collect();
    if json {
        let profile = settings.find("profile").and_then(|mut given| given.values.pop());
        let file = settings.file.as_ref().map(|path| path.display().to_string());
        output.json(&Report {
            file,
            profile,
            settings: given.iter().map(|(row, given)| line(row, given)).collect(),
        })?;
    } else {
        let mut table = Table::new(["SETTING", "VALUE", "FROM"]);
        for (row, given) in &given {
            table.row([
                row.name.to_owned(),
                shown(row, given).join(", "),
                given.origin.to_string(),
            ]);
        }
        if table.is_empty() {
            output.note("nothing is set; --all prints the defaults");
        } else {
            output.table(&table)?;
        }
    }
    // What is wrong is told behind the table that shows where it comes from.
    settings.security()?;
    if settings.find("brokers").is_some() {
        settings.brokers()?;
    }
    Ok(Exit::Done)
}

fn line<'a>(row: &'static Row, given: &'a Given) -> Line<'a> {
    let (kind, name, line) = match &given.origin {
        Origin::Flag(flag) => ("flag", Some((*flag).to_owned()), None),
        Origin::Property(name) => ("property", Some(name.clone()), None),
        Origin::Variable(name) => ("variable", Some(name.clone()), None),
        Origin::Profile(profile, _, line) => ("profile", Some(profile.clone()), Some(*line)),
        Origin::File(path, line) => ("file", Some(path.display().to_string()), Some(*line)),
        Origin::Default => ("default", None, None),
    };
    Line {
        name: row.name,
        property: row.properties.first().map(|(name, _)| *name),
        variable: row.variable(),
        values: shown(row, given),
        masked: row.secrecy != Secrecy::Open,
        origin: OriginLine { kind, name, line },
    }
}

fn shown<'a>(row: &Row, given: &'a Given) -> Vec<&'a str> {
    if row.secrecy == Secrecy::Open {
        given.values.iter().map(String::as_str).collect()
    } else {
        vec![MASK]
    }
}
