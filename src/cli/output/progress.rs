//! A progress bar on standard error: records, bytes, rate, time left.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::thousands;

/// A progress bar, or nothing where none is wanted.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// How often it is drawn.
    const PER_SECOND: u8 = 10;

    pub(super) fn new(shown: bool, bytes: Option<u64>) -> Self {
        if !shown {
            return Self { bar: None };
        }
        let template = match bytes {
            Some(_) => {
                "{bar:24} {percent:>3} %  {msg}  {decimal_bytes} of {decimal_total_bytes}  {decimal_bytes_per_sec}  {eta} left"
            }
            None => "{spinner} {msg}  {decimal_bytes}  {decimal_bytes_per_sec}  {elapsed}",
        };
        let style = match bytes {
            Some(_) => ProgressStyle::default_bar(),
            None => ProgressStyle::default_spinner(),
        };
        let bar = ProgressBar::with_draw_target(bytes, ProgressDrawTarget::stderr_with_hz(Self::PER_SECOND));
        // The default style stands in if the template were ever wrong.
        bar.set_style(style.clone().template(template).unwrap_or(style));
        Self { bar: Some(bar) }
    }

    /// Shows where the work is: `records` done in all, `bytes` of the total. Cheap; drawn ten times a second at most.
    pub fn at(&self, records: u64, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{} records", thousands(records)));
            bar.set_position(bytes);
        }
    }

    /// Whether it is shown, so that callers may leave out counting.
    #[must_use]
    pub fn is_shown(&self) -> bool {
        self.bar.is_some()
    }

    /// Prints talk above the bar without tearing it.
    pub fn suspend(&self, talk: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(talk),
            None => talk(),
        }
    }

    /// Takes the bar away; also done when it is dropped.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    /// How often [`Self::at`] is worth calling.
    #[must_use]
    pub fn interval() -> Duration {
        Duration::from_secs(1) / u32::from(Self::PER_SECOND)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}
