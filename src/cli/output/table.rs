//! Tables with aligned columns.

/// A table for people: a head, and rows under it.
#[derive(Debug, Clone, Default)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with this head; no head if it is empty.
    #[must_use]
    pub fn new<'a>(head: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            head: head.into_iter().map(str::to_owned).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Whether it has no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The text, without a newline at the end. Columns of numbers are flush right; no line ends in spaces.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let columns = self
            .rows
            .iter()
            .map(Vec::len)
            .chain([self.head.len()])
            .max()
            .unwrap_or(0);
        let width = |column: usize| {
            let cells = self
                .rows
                .iter()
                .chain([&self.head])
                .filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let right: Vec<bool> = (0..columns).map(|column| self.is_numeric(column)).collect();
        let mut lines = Vec::new();
        if !self.head.is_empty() {
            let line = align(&self.head, &widths, &right);
            lines.push(if color {
                format!("\u{1b}[1m{line}\u{1b}[0m")
            } else {
                line
            });
        }
        lines.extend(self.rows.iter().map(|row| align(row, &widths, &right)));
        lines.join("\n")
    }

    fn is_numeric(&self, column: usize) -> bool {
        let numeric = |cell: &String| {
            cell.is_empty()
                || cell == "-"
                || cell
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b'.' | b'-'))
        };
        let mut cells = self.rows.iter().filter_map(|row| row.get(column)).peekable();
        cells.peek().is_some() && cells.all(numeric)
    }
}

fn align(row: &[String], widths: &[usize], right: &[bool]) -> String {
    let mut line = String::new();
    for ((cell, &width), &right) in row.iter().zip(widths).zip(right) {
        if !line.is_empty() {
            line.push_str("  ");
        }
        line.push_str(&if right {
            format!("{cell:>width$}")
        } else {
            format!("{cell:<width$}")
        });
    }
    line.truncate(line.trim_end().len());
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_numbers_flush_right() {
        let mut table = Table::new(["TOPIC", "RECORDS", "LEADER"]);
        table.row(["a", "1,000", "x"]);
        table.row(["größer", "7", ""]);
        assert_eq!(
            table.render(false),
            "TOPIC   RECORDS  LEADER\na         1,000  x\ngrößer        7"
        );
    }

    #[test]
    fn only_the_head_is_coloured() {
        let mut table = Table::new(["A"]);
        table.row(["b"]);
        assert_eq!(table.render(true), "\u{1b}[1mA\u{1b}[0m\nb");
        assert_eq!(Table::new([]).render(false), "");
    }
}
