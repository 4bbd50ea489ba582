//! The live view: what is known → lines of a width and height. Pure; every character is one column wide.

use super::book::Millis;
use super::script::{Step, name, seconds};

/// Seconds of throughput that are drawn.
pub const HISTORY: usize = 40;
/// A narrower or lower terminal than this gets the status line only.
const LEAST: (usize, usize) = (40, 10);
/// From so many columns on, partitions and consumers stand side by side,
const SIDE_BY_SIDE: usize = 80;
/// and from so many on, consumers with all that is known of them.
const WIDE: usize = 100;
/// Columns of the partitions, and of the gap behind them.
const LEFT: usize = 42;
/// Columns of a bar.
const BAR: u64 = 8;
/// So many records at least make a whole bar.
const LEAST_MOST: u64 = 40;

/// What a piece of a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// As usual.
    Plain,
    /// A title.
    Bold,
    /// Less important.
    Dim,
    /// All is well.
    Good,
    /// Something is not as it should be, and is dealt with.
    Warn,
    /// Something has gone.
    Bad,
}

impl Style {
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Bold => "\x1b[1m",
            Self::Dim => "\x1b[2m",
            Self::Good => "\x1b[32m",
            Self::Warn => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }
}

/// A consumer, as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConsumerLine {
    /// Its process id.
    pub pid: u32,
    /// Its process runs.
    pub alive: bool,
    /// The group has it.
    pub member: bool,
    /// Its breaker is open.
    pub breaker: bool,
    /// Events that it had processed.
    pub processed: u64,
    /// How many of them in the last second.
    pub per_second: u64,
}

/// A partition, as it is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionLine {
    /// The owner's index.
    pub owner: Option<usize>,
    /// It is to stay with its owner.
    pub settled: bool,
    /// Records that the group is behind: those behind its position.
    pub lag: Option<u64>,
    /// Those of them that are not finished.
    pub waiting: Option<u64>,
    /// Records that wait for another try.
    pub held: usize,
}

/// A step that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// Which.
    pub step: Step,
    /// What came of it.
    pub result: String,
    /// How long it took.
    pub took: Millis,
}

/// All that is shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Model {
    /// Since the beginning.
    pub now: Millis,
    /// Where the sandbox listens.
    pub sandbox: String,
    /// The seed of the events.
    pub seed: u64,
    /// Events that the brokers have.
    pub published: u64,
    /// Events that were processed.
    pub finished: u64,
    /// Attempts that failed.
    pub failed: u64,
    /// Times that an event was processed which had been before.
    pub again: u64,
    /// Dead letters, and how many of them were replayed and processed.
    pub letters: (u64, u64),
    /// Events published and processed in each of the last seconds, the newest last.
    pub per_second: Vec<(u64, u64)>,
    /// By index.
    pub consumers: Vec<ConsumerLine>,
    /// By number.
    pub partitions: Vec<PartitionLine>,
    /// What is over.
    pub past: Vec<Past>,
    /// What is played now, and since when.
    pub step: Option<(Step, Millis)>,
}

impl Model {
    /// Records that the group is behind in the partitions whose lag is known.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.partitions.iter().filter_map(|line| line.lag).sum()
    }

    /// All of it in a line, for where there is no room or no terminal.
    #[must_use]
    pub fn status(&self) -> String {
        let (published, finished) = self.per_second.last().copied().unwrap_or_default();
        let owners: Vec<String> = (0..self.consumers.len())
            .map(|at| match &self.consumers[at] {
                line if !line.alive => format!("{} gone", name(at)),
                line if line.breaker => format!("{} {}, breaker open", name(at), self.owned(at)),
                _ => format!("{} {}", name(at), self.owned(at)),
            })
            .collect();
        format!(
            "{:>5}  published {} ({published}/s), processed {} ({finished}/s), lag {}, failed attempts {}, dead letters {}; \
             partitions: {}",
            clock(self.now),
            self.published,
            self.finished,
            self.lag(),
            self.failed,
            self.letters.0,
            owners.join(", ")
        )
    }

    fn owned(&self, consumer: usize) -> usize {
        let of = |line: &&PartitionLine| line.owner == Some(consumer);
        self.partitions.iter().filter(of).count()
    }
}

/// A line that is put together.
#[derive(Debug, Default)]
struct Line(Vec<(Style, String)>);

impl Line {
    fn of(style: Style, text: impl Into<String>) -> Self {
        Self(vec![(style, text.into())])
    }

    fn with(mut self, style: Style, text: impl Into<String>) -> Self {
        self.0.push((style, text.into()));
        self
    }

    /// Cut to a width.
    fn render(&self, width: usize, color: bool) -> String {
        let mut text = String::new();
        let mut room = width;
        for (style, piece) in &self.0 {
            let length = piece.chars().count();
            let cut = length > room;
            let shown: String = if cut {
                piece
                    .chars()
                    .take(room.saturating_sub(1))
                    .chain(['…'].into_iter().take(room))
                    .collect()
            } else {
                piece.clone()
            };
            room -= shown.chars().count();
            let code = style.code();
            if color && !code.is_empty() && !shown.is_empty() {
                text.push_str(&format!("{code}{shown}\x1b[0m"));
            } else {
                text.push_str(&shown);
            }
            if cut {
                break;
            }
        }
        text.truncate(text.trim_end_matches(' ').len());
        text
    }
}

/// The lines of a terminal of this size: never more than it has, less one for the cursor.
#[must_use]
pub fn frame(model: &Model, (width, height): (usize, usize), color: bool) -> Vec<String> {
    if width < LEAST.0 || height < LEAST.1 {
        return vec![Line::of(Style::Plain, model.status()).render(width, color)];
    }
    let height = height - 1;
    let mut lines = vec![title(model)];
    lines.extend(now(model));
    lines.push(Line::default());
    lines.extend(sums(model, width));
    // What there is room for, the most telling first.
    let wide = width >= WIDE;
    if width >= SIDE_BY_SIDE {
        add(
            &mut lines,
            height,
            beside(partitions(model), consumers(model, wide)),
        );
    } else {
        add(&mut lines, height, partitions(model));
        add(&mut lines, height, consumers(model, wide));
    }
    let room = height.saturating_sub(lines.len() + 1);
    let skipped = model.past.len().saturating_sub(room);
    add(
        &mut lines,
        height,
        model.past.iter().skip(skipped).map(past).collect(),
    );
    lines.truncate(height);
    lines.iter().map(|line| line.render(width, color)).collect()
}

/// Adds a block behind an empty line, if there is room for all of it.
fn add(lines: &mut Vec<Line>, height: usize, block: Vec<Line>) {
    if !block.is_empty() && lines.len() + 1 + block.len() <= height {
        lines.push(Line::default());
        lines.extend(block);
    }
}

fn title(model: &Model) -> Line {
    Line::of(Style::Bold, "barnabas demo").with(
        Style::Dim,
        format!(
            "  {}  sandbox {}, topic orders, group demo, seed {}",
            clock(model.now),
            model.sandbox,
            model.seed
        ),
    )
}

fn now(model: &Model) -> Vec<Line> {
    match model.step {
        Some((step, _)) => vec![
            Line::default(),
            Line::of(Style::Bold, format!("▶ {:<8}", step.name()))
                .with(Style::Plain, format!(" {}", step.about())),
        ],
        None => vec![Line::default(), Line::of(Style::Bold, "■ done")],
    }
}

fn sums(model: &Model, width: usize) -> Vec<Line> {
    let (published, finished) = model.per_second.last().copied().unwrap_or_default();
    let most = model
        .per_second
        .iter()
        .map(|(one, two)| *one.max(two))
        .max()
        .unwrap_or(0)
        .max(1);
    let room = width.saturating_sub(32).min(HISTORY);
    let from = model.per_second.len().saturating_sub(room);
    let spark = |pick: fn(&(u64, u64)) -> u64| -> String {
        let recent = model.per_second[from..].iter();
        recent.map(|each| level(pick(each), most)).collect()
    };
    let row = |what: &str, count: u64, rate: u64, drawn: String| {
        Line::of(Style::Plain, format!("{what:<10}{count:>7}"))
            .with(Style::Dim, format!("{rate:>6}/s  "))
            .with(Style::Good, drawn)
    };
    let (letters, replayed) = model.letters;
    let lag = model.lag();
    vec![
        row("published", model.published, published, spark(|each| each.0)),
        row("processed", model.finished, finished, spark(|each| each.1)),
        Line::of(Style::Plain, format!("{:<10}{lag:>7}", "lag"))
            .with(Style::Plain, "          failed attempts ")
            .with(
                if model.failed > 0 {
                    Style::Warn
                } else {
                    Style::Plain
                },
                model.failed.to_string(),
            )
            .with(Style::Plain, "   dead letters ")
            .with(
                if letters > replayed {
                    Style::Bad
                } else {
                    Style::Plain
                },
                letters.to_string(),
            )
            .with(
                Style::Dim,
                if replayed > 0 {
                    format!(" ({replayed} replayed)")
                } else {
                    String::new()
                },
            )
            .with(Style::Plain, "   processed twice ")
            .with(
                if model.again > 0 {
                    Style::Warn
                } else {
                    Style::Plain
                },
                model.again.to_string(),
            ),
    ]
}

fn partitions(model: &Model) -> Vec<Line> {
    let mut lines = vec![Line::of(Style::Dim, "PARTITION  OWNER    LAG  WAITING")];
    let waiting = model.partitions.iter().filter_map(|line| line.waiting);
    let most = waiting.max().unwrap_or(0).max(LEAST_MOST);
    let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    for (at, line) in model.partitions.iter().enumerate() {
        let owner = line.owner.map_or_else(|| "-".to_owned(), name);
        let style = match (line.owner, line.settled) {
            (None, _) => Style::Bad,
            (_, false) => Style::Warn,
            _ => Style::Plain,
        };
        let bar = line.waiting.unwrap_or(0).saturating_mul(BAR).div_ceil(most);
        let bar = "█".repeat(usize::try_from(bar.min(BAR)).unwrap_or(0));
        let text = Line::of(Style::Plain, format!("{at:<11}"))
            .with(style, format!("{owner:<6}"))
            .with(Style::Plain, format!("{:>6}", number(line.lag)))
            .with(Style::Plain, format!("{:>9} ", number(line.waiting)));
        lines.push(match line.held {
            0 => text.with(Style::Warn, bar),
            held => text.with(Style::Bad, format!("{held} held")),
        });
    }
    lines
}

/// With process ids and rates, where there is room for them.
fn consumers(model: &Model, wide: bool) -> Vec<Line> {
    let head = if wide {
        "CONSUMER  PID      OWNS  PROCESSED     /s"
    } else {
        "CONSUMER  OWNS  PROCESSED"
    };
    let mut lines = vec![Line::of(Style::Dim, head)];
    for (at, line) in model.consumers.iter().enumerate() {
        let (style, state) = match line {
            line if !line.alive && model.step.is_some() => (Style::Bad, "killed"),
            line if !line.alive => (Style::Dim, "ended"),
            line if line.breaker => (Style::Warn, "breaker open"),
            line if !line.member => (Style::Dim, "joining"),
            _ => (Style::Good, ""),
        };
        let mut text = Line::of(Style::Plain, format!("{:<10}", name(at)));
        if wide {
            text = text.with(Style::Dim, format!("{:<9}", line.pid));
        }
        text = text.with(
            Style::Plain,
            format!("{:>4}  {:>9}", model.owned(at), line.processed),
        );
        if wide {
            text = text.with(Style::Dim, format!("{:>7}", line.per_second));
        }
        lines.push(text.with(style, format!(" {state}")));
    }
    lines
}

/// Two blocks side by side.
fn beside(left: Vec<Line>, right: Vec<Line>) -> Vec<Line> {
    let mut right = right.into_iter();
    let mut lines: Vec<Line> = left
        .into_iter()
        .map(|line| {
            let Some(Line(beside)) = right.next() else {
                return line;
            };
            let length: usize = line.0.iter().map(|(_, text)| text.chars().count()).sum();
            let mut line = line.with(Style::Plain, " ".repeat(LEFT.saturating_sub(length).max(1)));
            line.0.extend(beside);
            line
        })
        .collect();
    lines.extend(right.map(|Line(pieces)| {
        let mut line = Line::of(Style::Plain, " ".repeat(LEFT));
        line.0.extend(pieces);
        line
    }));
    lines
}

fn past(past: &Past) -> Line {
    Line::of(Style::Good, "✓ ")
        .with(Style::Plain, format!("{:<8} ", past.step.name()))
        .with(Style::Dim, format!("{:>7}  ", seconds(past.took)))
        .with(Style::Plain, past.result.clone())
}

/// A block as high as a number is, of the most there is.
fn level(number: u64, most: u64) -> char {
    const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let at = usize::try_from(number.saturating_mul(7).div_ceil(most.max(1))).unwrap_or(7);
    LEVELS[at.min(7)]
}

/// Minutes and seconds.
#[must_use]
pub fn clock(millis: Millis) -> String {
    format!("{:02}:{:02}", millis / 60_000, millis / 1_000 % 60)
}

#[cfg(test)]
mod tests;
