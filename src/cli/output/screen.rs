//! A few lines on the terminal's standard error that are painted again and again, in place.

use std::fmt::Write;

use super::talk;

/// What is assumed of a terminal that does not tell its size: columns and lines.
const USUAL: (usize, usize) = (80, 24);

/// The painted lines. What was printed before stays above them, and the last ones stay.
#[derive(Debug)]
pub struct Screen {
    color: bool,
    /// Lines that were painted last, and in which size.
    painted: usize,
    size: (usize, usize),
    last: Vec<String>,
}

impl Screen {
    pub(super) fn new(color: bool) -> Self {
        Self {
            color,
            painted: 0,
            size: (0, 0),
            last: Vec::new(),
        }
    }

    /// Whether colours are wanted.
    #[must_use]
    pub fn color(&self) -> bool {
        self.color
    }

    /// Columns and lines that there are now.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let told = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
        let told = told.map(|told| (usize::from(told.ws_col), usize::from(told.ws_row)));
        told.filter(|(columns, rows)| *columns > 0 && *rows > 0)
            .unwrap_or(USUAL)
    }

    /// Paints lines in the place of the last ones. None may be wider than the terminal, and there must be fewer than it
    /// has.
    pub fn paint(&mut self, lines: Vec<String>) {
        let size = self.size();
        if lines == self.last && size == self.size {
            return;
        }
        talk::write_stderr(&repaint(
            &lines,
            self.painted,
            self.painted > 0 && size != self.size,
        ));
        self.painted = lines.len();
        self.size = size;
        self.last = lines;
    }
}

/// What is written to have these lines in the place of so many others. A terminal that was resized has broken those
/// anew, nobody knows how: there all that is seen is wiped.
fn repaint(lines: &[String], painted: usize, resized: bool) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = match (resized, painted) {
        (true, _) => write!(text, "\x1b[H\x1b[2J"),
        (false, 0) => Ok(()),
        (false, up) => write!(text, "\x1b[{up}A"),
    };
    for line in lines {
        let _ = write!(text, "\r\x1b[K{line}\r\n");
    }
    // What was there of more lines than there are now.
    text.push_str("\x1b[J");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_take_the_place_of_the_last_ones() {
        let lines = ["a".to_owned(), "b".to_owned()];
        assert_eq!(repaint(&lines, 0, false), "\r\x1b[Ka\r\n\r\x1b[Kb\r\n\x1b[J");
        assert!(repaint(&lines, 3, false).starts_with("\x1b[3A\r\x1b[Ka"));
        assert!(repaint(&lines, 3, true).starts_with("\x1b[H\x1b[2J\r\x1b[Ka"));
    }
}
