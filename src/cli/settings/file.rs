//! The configuration file: TOML, with the names of `-X` at the top and in `[profile.NAME]`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::table::{self, Row, Unit};
use super::{Usage, refusal};

/// One setting in the file.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Which one.
    pub(crate) row: &'static Row,
    /// Its value, or the array's values.
    pub(crate) values: Vec<String>,
    /// The line it stands in, from 1.
    pub(crate) line: usize,
    /// How the value reads.
    pub(crate) unit: Unit,
}

/// A file, read and its names checked.
#[derive(Debug)]
pub(crate) struct File {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Outside of profiles.
    pub(crate) top: Vec<Entry>,
    /// By profile.
    pub(crate) profiles: BTreeMap<String, Vec<Entry>>,
}

/// Reads a file's text. All profiles are checked, not only the one in use.
///
/// # Errors
/// Names file, line and what is wrong there.
pub(crate) fn parse(text: &str, path: &Path) -> Result<File, Usage> {
    let source = Source { text, path };
    let root = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| source.line(span.start));
        Usage(format!(
            "{}:{line}: not TOML: {}",
            path.display(),
            error.message().replace('\n', ", ")
        ))
    })?;
    let mut file = File {
        path: path.to_owned(),
        top: Vec::new(),
        profiles: BTreeMap::new(),
    };
    for (key, value) in root.get_ref() {
        match value.get_ref() {
            DeValue::Table(profiles) if key.get_ref() == "profile" => {
                for (name, profile) in profiles {
                    let DeValue::Table(table) = profile.get_ref() else {
                        return Err(source.error(name, "a profile is a table: [profile.NAME]"));
                    };
                    let entries = file.profiles.entry(name.get_ref().to_string()).or_default();
                    for (key, value) in table {
                        source.entries(key.get_ref(), key, value, entries)?;
                    }
                }
            }
            _ => source.entries(key.get_ref(), key, value, &mut file.top)?,
        }
    }
    Ok(file)
}

struct Source<'a> {
    text: &'a str,
    path: &'a Path,
}

impl Source<'_> {
    fn line(&self, at: usize) -> usize {
        1 + self
            .text
            .as_bytes()
            .iter()
            .take(at)
            .filter(|byte| **byte == b'\n')
            .count()
    }

    fn error(&self, key: &Spanned<DeString<'_>>, why: &str) -> Usage {
        Usage(format!(
            "{}:{}: {why}",
            self.path.display(),
            self.line(key.span().start)
        ))
    }

    /// Adds the setting, or the settings of a table: `linger.ms = 5` is a table in TOML.
    fn entries(
        &self,
        name: &str,
        key: &Spanned<DeString<'_>>,
        value: &Spanned<DeValue<'_>>,
        entries: &mut Vec<Entry>,
    ) -> Result<(), Usage> {
        if let DeValue::Table(table) = value.get_ref() {
            for (key, value) in table {
                self.entries(&format!("{name}.{}", key.get_ref()), key, value, entries)?;
            }
            return Ok(());
        }
        let (row, unit) = table::named(name).ok_or_else(|| self.error(key, &refusal::refusal(name)))?;
        if row.positional() || matches!(row.name, "config" | "profile") {
            return Err(self.error(key, &format!("{name} is only for the command line")));
        }
        let values = match value.get_ref() {
            DeValue::Array(array) => array
                .iter()
                .map(|value| scalar(value.get_ref()))
                .collect::<Option<Vec<_>>>(),
            value => scalar(value).map(|value| vec![value]),
        };
        let values = values.filter(|values| !values.is_empty()).ok_or_else(|| {
            self.error(
                key,
                &format!("{name} takes a text, a number, true, false, or an array of these"),
            )
        })?;
        entries.push(Entry {
            row,
            values,
            line: self.line(key.span().start),
            unit,
        });
        Ok(())
    }
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| number.to_string()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(boolean) => Some(boolean.to_string()),
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<File, String> {
        parse(text, Path::new("c.toml")).map_err(|error| error.0)
    }

    #[test]
    fn dotted_names_may_be_bare_or_quoted() {
        let file = read(
            "bootstrap.servers = \"a\"\n\"linger.ms\" = 5\nquiet = true\n[profile.x]\nlinger.ms = 0.5\n",
        )
        .unwrap();
        let top: Vec<_> = file
            .top
            .iter()
            .map(|entry| (entry.row.name, entry.values.join("|"), entry.line))
            .collect();
        assert!(top.contains(&("brokers", "a".to_owned(), 1)), "{top:?}");
        assert!(top.contains(&("linger", "5".to_owned(), 2)), "{top:?}");
        assert!(top.contains(&("quiet", "true".to_owned(), 3)), "{top:?}");
        let profile = &file.profiles["x"][0];
        assert_eq!(
            (profile.row.name, &*profile.values[0], profile.line, profile.unit),
            ("linger", "0.5", 5, Unit::Millis)
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let error = |text: &str| read(text).unwrap_err();
        assert_eq!(
            error("\nlinger = \"1s\"\nlingre.ms = 5"),
            "c.toml:3: lingre.ms is not a known setting; did you mean linger.ms?"
        );
        assert_eq!(
            error("[profile.a]\ndebug = \"all\""),
            "c.toml:2: debug is a property of librdkafka that barnabas does not support; use -v or -vv"
        );
        assert_eq!(
            error("linger = [[1]]"),
            "c.toml:1: linger takes a text, a number, true, false, or an array of these"
        );
        assert_eq!(
            error("[profile]\na = 1"),
            "c.toml:2: a profile is a table: [profile.NAME]"
        );
        assert_eq!(
            error(
                "[profile.a]
profile = \"b\""
            ),
            "c.toml:2: profile is only for the command line"
        );
        assert_eq!(
            error("files = \"a\""),
            "c.toml:1: files is only for the command line"
        );
        assert!(
            error("a = 1\nb = ").starts_with("c.toml:2: not TOML: "),
            "{}",
            error("a = 1\nb = ")
        );
    }
}
