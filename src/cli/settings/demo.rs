//! `demo`.

use super::{Settings, Usage, values};
use crate::demo::script::Pace;
use crate::demo::stage::Options;

/// How the demo is to be.
#[derive(Debug, Clone, Copy)]
pub struct DemoSettings {
    /// What is played.
    pub options: Options,
    /// The account as JSON.
    pub json: bool,
    /// Standard error can be painted on, if it is a terminal.
    pub paints: bool,
}

impl Settings {
    /// What `demo` shall do.
    ///
    /// # Errors
    /// If a value is not what it should be.
    pub(crate) fn demo(&self) -> Result<DemoSettings, Usage> {
        let seed = self.must("demo-seed", |text| values::number(text, 0, u64::MAX))?;
        let pace = if self.switch("demo-fast")? {
            Pace::FAST
        } else {
            Pace::READING
        };
        Ok(DemoSettings {
            options: Options { seed, pace },
            json: self.switch("json")?,
            // Without a name it is none that we know, as in cron's jobs; and logs would tear what is painted.
            paints: !matches!(self.environment().get("TERM"), None | Some("dumb")) && self.verbosity()? == 0,
        })
    }
}
