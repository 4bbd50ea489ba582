//! What the flags, `-X`, variables and the configuration file mean together: validated once, into types that cannot
//! be wrong. The only reader of the environment.

mod broker;
mod consume;
mod demo;
mod dlq;
mod file;
mod groups;
mod handle;
mod join;
mod layers;
mod offsets;
mod produce;
mod refusal;
mod sandbox;
mod table;
mod topics;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub use consume::{AloneSettings, ConsumeSettings, Isolation, PrintSettings, Reading};
pub use demo::DemoSettings;
pub use dlq::{ChosenLetters, DlqAction, DlqSettings};
pub use groups::{Chosen, GroupsAction, GroupsSettings, ResetGroup, ResetTo, SkipRecord, SwitchGroup};
pub use handle::{HandleSettings, HandlerKind};
pub use join::JoinSettings;
pub(crate) use layers::{Given, Origin};
pub use offsets::Start;
pub use produce::{Batching, Cut, OwnedHeader, ProduceSettings};
pub(crate) use refusal::similar;
pub use sandbox::SandboxSettings;
pub(crate) use table::{ROWS, Row, Secrecy, Unit};
pub use topics::{AlterTopics, CreateTopics, TopicsAction, TopicsSettings};

use super::args::Flags;
use layers::Layers;

/// A wrong setting or a wrong use of the command line: exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

/// The environment's variables that matter, read once.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// If one of ours is not UTF-8.
    pub(crate) fn read() -> Result<Self, Usage> {
        const OTHERS: [&str; 7] = [
            "HOME",
            "XDG_CONFIG_HOME",
            "NO_COLOR",
            "SSL_CERT_FILE",
            "USER",
            "HOSTNAME",
            "TERM",
        ];
        let mut variables = BTreeMap::new();
        for (name, value) in std::env::vars_os() {
            let Some(name) = name
                .to_str()
                .filter(|name| name.starts_with("BARNABAS_") || OTHERS.contains(name))
            else {
                continue;
            };
            let value = value
                .into_string()
                .map_err(|_| Usage(format!("{name}: the variable's value is not UTF-8")))?;
            variables.insert(name.to_owned(), value);
        }
        Ok(Self { variables })
    }

    /// Warnings about variables that are one letter away from one of ours. Others may well not be meant for this
    /// process: Kubernetes makes `BARNABAS_SERVICE_HOST` and the like for a service of this name.
    fn misspelt(&self) -> Vec<String> {
        let known: Vec<String> = ROWS
            .iter()
            .filter(|row| !row.positional())
            .map(Row::variable)
            .collect();
        let names = self
            .variables
            .keys()
            .filter(|name| name.starts_with("BARNABAS_") && !known.contains(name));
        let near = |name| known.iter().find(|known| refusal::distance(name, known) == 1);
        names
            .filter_map(|name| {
                Some(format!(
                    "{name} is not a known variable; did you mean {}?",
                    near(name)?
                ))
            })
            .collect()
    }

    /// A variable's value; an empty one counts as not set.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

/// Every setting with its origin, not yet read as a number or a duration.
#[derive(Debug)]
pub(crate) struct Settings {
    layers: Layers,
    environment: Environment,
    /// The configuration file that was read.
    pub(crate) file: Option<PathBuf>,
    /// What is doubtful, to be said once.
    pub(crate) warnings: Vec<String>,
}

impl Settings {
    /// Reads the configuration file, if there is one, and lays all the layers over each other.
    ///
    /// # Errors
    /// If a name is unknown, unsupported or at the wrong place, or the file cannot be read.
    pub(crate) fn gather(flags: &Flags, environment: Environment) -> Result<Self, Usage> {
        let file = find_file(flags, &environment)?;
        let path = file.as_ref().map(|file| file.path.clone());
        let layers = Layers::new(flags, &environment, file)?;
        let mut warnings = environment.misspelt();
        if let Some(path) = &path
            && layers.secret_in_file()
            && others_can_read(path)
        {
            warnings.push(format!(
                "{0} holds a password and others can read it: chmod 600 {0}",
                path.display()
            ));
        }
        Ok(Self {
            layers,
            environment,
            file: path,
            warnings,
        })
    }

    /// The environment, for what is no setting of ours.
    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }

    /// What was given for a setting, or its default.
    pub(crate) fn find(&self, name: &str) -> Option<Given> {
        self.layers.find(name)
    }

    /// Whether somebody gave it.
    fn given(&self, name: &str) -> bool {
        self.find(name)
            .is_some_and(|given| given.origin != Origin::Default)
    }

    /// A setting's text.
    fn text(&self, name: &str) -> Option<String> {
        self.find(name).and_then(|mut given| given.values.pop())
    }

    /// All the values of a setting that may have several; a variable holds one on each line.
    fn list(&self, name: &str) -> Vec<String> {
        match self.find(name) {
            Some(Given {
                values,
                origin: Origin::Variable(_),
            }) => values
                .iter()
                .flat_map(|value| value.lines())
                .map(str::to_owned)
                .collect(),
            Some(given) => given.values,
            None => Vec::new(),
        }
    }

    /// A setting, read, if it has a value.
    fn maybe<T>(&self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<Option<T>, Usage> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        read(&text)
            .map(Some)
            .map_err(|why| self.wrong(name, &format!("\"{text}\" {why}")))
    }

    /// A setting, read; for those that have a default.
    fn must<T>(&self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Result<T, Usage> {
        self.maybe(name, read)?
            .ok_or_else(|| Usage(format!("{name} is missing")))
    }

    /// A setting that is on or off.
    pub(crate) fn switch(&self, name: &str) -> Result<bool, Usage> {
        self.must(name, values::boolean)
    }

    /// How much to say: 0, 1 or more. `-v` counts, before and behind the command's name.
    pub(crate) fn verbosity(&self) -> Result<u8, Usage> {
        let mut sum: u8 = 0;
        for text in self.find("verbose").map(|given| given.values).unwrap_or_default() {
            let one = values::number(&text, 0, u8::MAX)
                .map_err(|why| self.wrong("verbose", &format!("\"{text}\" {why}")))?;
            sum = sum.saturating_add(one);
        }
        Ok(sum)
    }

    /// An error about a setting, with the place where it was given.
    fn wrong(&self, name: &str, why: &str) -> Usage {
        match self.find(name).map(|given| given.origin) {
            Some(origin @ (Origin::File(..) | Origin::Profile(..))) => {
                Usage(format!("{origin}: {name}: {why}"))
            }
            Some(Origin::Default) | None => Usage(format!("{name}: {why}")),
            Some(origin) => Usage(format!("{origin}: {why}")),
        }
    }
}

/// Another module's reason, as the rest of a sentence that starts with the value.
fn wrong(why: impl std::fmt::Display) -> String {
    format!("is wrong: {why}")
}

/// An enumeration's value by its name.
fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    let found = choices.iter().find(|(name, _)| name.eq_ignore_ascii_case(text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        format!("is none of {}", names.join(", "))
    })
}

/// The file of `--config` or its variable, which must be there, or the first of the usual ones that is.
fn find_file(flags: &Flags, environment: &Environment) -> Result<Option<file::File>, Usage> {
    let asked = flags
        .values
        .get("config")
        .and_then(|values| values.last())
        .map(String::as_str);
    if let Some(path) = asked.or_else(|| environment.get("BARNABAS_CONFIG")) {
        return read_file(Path::new(path)).map(Some);
    }
    let home = match (environment.get("XDG_CONFIG_HOME"), environment.get("HOME")) {
        (Some(config), _) => Some(PathBuf::from(config)),
        (None, Some(home)) => Some(Path::new(home).join(".config")),
        (None, None) => None,
    };
    let usual = home
        .map(|home| home.join("barnabas/config.toml"))
        .into_iter()
        .chain([PathBuf::from("/etc/barnabas.toml")]);
    for path in usual {
        // One that is not there or cannot be looked at, as in a container under another user's id, is none; one that
        // is there and cannot be read is a mistake that must not pass unseen.
        if std::fs::metadata(&path).is_ok() {
            return read_file(&path).map(Some);
        }
    }
    Ok(None)
}

fn read_file(path: &Path) -> Result<file::File, Usage> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Usage(format!(
            "{}: the configuration file cannot be read: {error}",
            path.display()
        ))
    })?;
    file::parse(&text, path)
}

#[cfg(unix)]
fn others_can_read(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o044 != 0)
}

#[cfg(not(unix))]
fn others_can_read(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests;
