//! Records → text, appended to a big buffer that the caller writes out.
//!
//! Pure. What kcat prints is printed to the byte; where it differs, kcat's output was ambiguous or invalid:
//! - `-Z` prints `NULL` for null only, where kcat prints it for empty keys and values too;
//! - `-J` prints bytes that are not UTF-8 as `{"base64":"…"}`, where kcat prints invalid JSON;
//! - `-f` refuses escapes that it does not know, where kcat drops their backslash.

mod filter;
mod json;
mod number;
mod template;

#[cfg(test)]
mod tests;

pub use filter::KeyFilter;
pub use template::{BadTemplate, Template};

use crate::record::RecordView;
use json::JsonWriter;

/// How records are printed.
#[derive(Debug, Clone)]
pub enum OutputFormat {
    /// The value and a delimiter, with the key and its delimiter before it if there is one.
    Plain {
        /// What stands behind each record (`-D`); may be empty.
        delimiter: Vec<u8>,
        /// What stands between key and value (`-K`); without it keys are not printed.
        key_delimiter: Option<Vec<u8>>,
    },
    /// kcat's tokens (`-f`).
    Template(Template),
    /// kcat's JSON object (`-J`), which `produce --format json` takes back without loss.
    Json {
        /// What stands behind each object.
        delimiter: Vec<u8>,
    },
}

impl Default for OutputFormat {
    fn default() -> Self {
        Self::Plain {
            delimiter: vec![b'\n'],
            key_delimiter: None,
        }
    }
}

/// Where records come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source<'a> {
    /// The topic.
    pub topic: &'a str,
    /// The partition.
    pub partition: i32,
    /// The id of the broker that they were fetched from; −1 if it is not known.
    pub broker: i32,
}

/// Prints records in one format.
#[derive(Debug)]
pub struct Printer {
    format: OutputFormat,
    /// What is printed for null.
    null: &'static [u8],
    json: JsonWriter,
}

impl Printer {
    /// A printer; with `null_text` (`-Z`) it prints `NULL` for null keys and values, and nothing without.
    #[must_use]
    pub fn new(format: OutputFormat, null_text: bool) -> Self {
        Self {
            format,
            null: if null_text { b"NULL" } else { b"" },
            json: JsonWriter::default(),
        }
    }

    /// Appends one record to `out`.
    #[inline]
    pub fn print(&mut self, source: Source<'_>, record: &RecordView<'_>, out: &mut Vec<u8>) {
        match &self.format {
            OutputFormat::Plain {
                delimiter,
                key_delimiter,
            } => {
                let key = key_delimiter
                    .as_deref()
                    .map(|delimiter| (record.key.unwrap_or(self.null), delimiter));
                let value = record.value.unwrap_or(self.null);
                // One growth instead of one per part.
                let key_length = key.map_or(0, |(key, delimiter)| key.len() + delimiter.len());
                out.reserve(key_length + value.len() + delimiter.len());
                if let Some((key, delimiter)) = key {
                    out.extend_from_slice(key);
                    out.extend_from_slice(delimiter);
                }
                out.extend_from_slice(value);
                match delimiter[..] {
                    [byte] => out.push(byte),
                    _ => out.extend_from_slice(delimiter),
                }
            }
            OutputFormat::Template(template) => template.print(source, record, self.null, out),
            OutputFormat::Json { delimiter } => {
                self.json.print(source, record, out);
                out.extend_from_slice(delimiter);
            }
        }
    }
}
