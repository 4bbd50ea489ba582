//! Layers of settings: flag, `-X`, variable, profile, file, default. The first that has a value wins, and is remembered.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::file::{Entry, File};
use super::table::{self, Row, Secrecy, Unit};
use super::{Environment, Usage, refusal, values};
use crate::cli::args::Flags;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A flag, as it is spelt.
    Flag(&'static str),
    /// `-X`, with the name that was used.
    Property(String),
    /// An environment variable.
    Variable(String),
    /// A profile of the configuration file, with the line.
    Profile(String, PathBuf, usize),
    /// The configuration file outside of profiles, with the line.
    File(PathBuf, usize),
    /// Nobody gave one.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Property(name) => write!(f, "-X {name}"),
            Self::Variable(name) => f.write_str(name),
            Self::Profile(profile, path, line) => write!(f, "{}:{line} [profile.{profile}]", path.display()),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// What was given for a setting, and where; scalars take the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Given {
    /// At least one.
    pub(crate) values: Vec<String>,
    /// Where they came from.
    pub(crate) origin: Origin,
}

/// All the settings that somebody gave.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    given: BTreeMap<&'static str, Given>,
}

impl Layers {
    /// Lays the layers over each other. `file` is the configuration file, already read.
    ///
    /// # Errors
    /// Names the unknown, unsupported, misplaced or malformed thing, and where it stands.
    pub(crate) fn new(flags: &Flags, environment: &Environment, file: Option<File>) -> Result<Self, Usage> {
        let mut layers = Self::default();
        let (top, mut profiles, path) = match file {
            Some(file) => (file.top, file.profiles, file.path),
            None => (Vec::new(), BTreeMap::new(), PathBuf::new()),
        };
        for Entry {
            row,
            values,
            line,
            unit,
        } in top
        {
            layers.put(row, unit, values, Origin::File(path.clone(), line))?;
        }
        // These say which profile, which lies under them. The file itself cannot: TOML takes `profile` for the table.
        let mut above = Self::default();
        above.variables(environment)?;
        above.flags(flags)?;
        let profile = above.given.get("profile").cloned();
        if let Some(Given { values, origin }) = profile
            && let Some(name) = values.last()
        {
            let Some(entries) = profiles.remove(name) else {
                return Err(Usage(no_such_profile(name, &origin, &path, profiles.keys())));
            };
            for Entry {
                row,
                values,
                line,
                unit,
            } in entries
            {
                layers.put(
                    row,
                    unit,
                    values,
                    Origin::Profile(name.clone(), path.clone(), line),
                )?;
            }
        }
        layers.given.append(&mut above.given);
        Ok(layers)
    }

    fn variables(&mut self, environment: &Environment) -> Result<(), Usage> {
        for row in table::ROWS.iter().filter(|row| !row.positional()) {
            let name = row.variable();
            if let Some(value) = environment.get(&name) {
                self.put(row, Unit::Same, vec![value.to_owned()], Origin::Variable(name))?;
            }
        }
        Ok(())
    }

    /// `-X` first, flags over it.
    fn flags(&mut self, flags: &Flags) -> Result<(), Usage> {
        for written in &flags.properties {
            let Some((name, value)) = written.split_once('=') else {
                return Err(Usage(format!("-X {written}: NAME=VALUE is wanted")));
            };
            let name = name.trim();
            let (row, unit) =
                table::named(name).ok_or_else(|| Usage(format!("-X: {}", refusal::refusal(name))))?;
            if row.positional() || matches!(row.name, "config" | "profile") {
                return Err(Usage(format!(
                    "-X {name}: this is only for the command line ({})",
                    row.flag.unwrap_or(name)
                )));
            }
            if row.secrecy == Secrecy::Secret {
                return Err(Usage(format!(
                    "-X {name}: every user of this machine can read a command line: set {}, {name}.file or the configuration file",
                    row.variable()
                )));
            }
            self.put(
                row,
                unit,
                vec![value.to_owned()],
                Origin::Property(name.to_owned()),
            )?;
        }
        for (name, values) in &flags.values {
            if let Some(row) = table::row(name) {
                self.put(
                    row,
                    Unit::Same,
                    values.clone(),
                    Origin::Flag(row.flag.unwrap_or(row.name)),
                )?;
            }
        }
        Ok(())
    }

    fn put(
        &mut self,
        row: &'static Row,
        unit: Unit,
        mut values: Vec<String>,
        origin: Origin,
    ) -> Result<(), Usage> {
        for value in &mut values {
            let converted = match unit {
                Unit::Same => continue,
                Unit::Millis => values::from_millis(value),
                Unit::KiB => values::from_kib(value),
            };
            *value = converted.map_err(|why| Usage(format!("{origin}: \"{value}\" {why}")))?;
        }
        self.given.insert(row.name, Given { values, origin });
        Ok(())
    }

    /// What was given for a setting, or its default.
    pub(crate) fn find(&self, name: &str) -> Option<Given> {
        self.given.get(name).cloned().or_else(|| {
            let default = table::row(name)?.default?;
            Some(Given {
                values: vec![default.to_owned()],
                origin: Origin::Default,
            })
        })
    }

    /// Whether any secret stands in the file.
    pub(crate) fn secret_in_file(&self) -> bool {
        self.given.iter().any(|(name, given)| {
            table::row(name).is_some_and(|row| row.secrecy == Secrecy::Secret)
                && matches!(given.origin, Origin::File(..) | Origin::Profile(..))
        })
    }
}

fn no_such_profile<'a>(
    name: &str,
    origin: &Origin,
    path: &std::path::Path,
    known: impl Iterator<Item = &'a String>,
) -> String {
    let known: Vec<&str> = known.map(String::as_str).collect();
    if path.as_os_str().is_empty() {
        return format!(
            "{origin}: there is no configuration file, hence no profile {name} (--config names one)"
        );
    }
    let has = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    format!(
        "{origin}: there is no profile {name} in {}; it has {has}",
        path.display()
    )
}
