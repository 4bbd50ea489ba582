//! The printing thread of a group's member: a handler whose records are done once they are written out.

#[cfg(test)]
mod tests;

use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::app::{Permit, Told, Work};
use crate::broker::metadata::PartitionId;
use crate::cli::Exit;
use crate::cli::command::consume::{self, Decoder};
use crate::cli::format::{KeyFilter, Printer, Source};
use crate::cli::output::{Data, Output};
use crate::cli::settings::PrintSettings;
use crate::fetch::event::Fetched;
use crate::group::record::Token;
use crate::progress::Progress;
use crate::record::{Batches, RecordView};

/// Bytes that are written out at once: half of what a pipe takes. A write that nobody reads cannot be taken back, and
/// holds up a hand-over.
const FULL: usize = 32 << 10;
/// Pieces of work whose end waits to be told with those that follow.
const MOST_UNTOLD: usize = 64;
/// How often a lost lease is looked at.
const LEASE_POLL: Duration = Duration::from_millis(10);

/// What was begun and not written out yet of one piece of work.
struct Begun {
    partition: PartitionId,
    token: Token,
    permit: Permit,
    /// Its text in the buffer.
    text: Range<usize>,
    /// Behind its last record there, and that one's leader epoch.
    next: Option<(i64, i32)>,
    /// Whether that is all of it.
    over: bool,
}

/// The printing thread's state.
pub(super) struct Printing {
    decoder: Decoder,
    sheet: Sheet,
}

impl Printing {
    pub(super) fn new(settings: PrintSettings, data: Data, output: Output, told: mpsc::Sender<Told>) -> Self {
        Self {
            decoder: Decoder::new(settings.read_committed(), output),
            sheet: Sheet {
                printer: Printer::new(settings.print, settings.null_text),
                filter: settings.key_filter,
                left: settings.count,
                unbuffered: settings.unbuffered,
                data,
                begun: Vec::new(),
                told,
            },
        }
    }

    /// Prints until there is no more work, or enough is printed.
    pub(super) fn run(mut self, mut work: mpsc::Receiver<Work>) -> anyhow::Result<Exit> {
        while self.sheet.left != Some(0) {
            let next = match work.try_recv() {
                Ok(next) => next,
                Err(_) => {
                    // Nothing to do: what was printed shall be seen.
                    self.sheet.flush()?;
                    match work.blocking_recv() {
                        Some(next) => next,
                        None => break,
                    }
                }
            };
            self.print(&next)?;
        }
        self.sheet.flush()?;
        Ok(if self.decoder.unreadable {
            Exit::Refused
        } else {
            Exit::Done
        })
    }

    /// Prints a piece of work, as far as its permit goes.
    fn print(&mut self, work: &Work) -> anyhow::Result<()> {
        let Self { decoder, sheet } = self;
        sheet.begin(work);
        let source = consume::source(&work.fetched);
        let flow = decoder.each(&work.fetched, |record, epoch| {
            sheet.record(work, source, record, epoch)
        })?;
        // What has no record, at the end as well, is done with those before it.
        let all = flow.is_continue() && work.permit.is_open();
        let behind = all.then(|| (work.fetched.offsets.end, last_epoch(&work.fetched)));
        sheet.end(behind)
    }
}

/// The leader epoch of the last batch.
fn last_epoch(fetched: &Fetched) -> i32 {
    Batches::new(&fetched.set)
        .take_while(|batch| batch.header.base_offset < fetched.offsets.end)
        .last()
        .map_or(-1, |batch| batch.header.leader_epoch)
}

/// What is printed, and not all of it written out.
struct Sheet {
    printer: Printer,
    filter: Option<KeyFilter>,
    /// Records still to be printed (`-c`).
    left: Option<u64>,
    unbuffered: bool,
    data: Data,
    /// In the order of their text.
    begun: Vec<Begun>,
    told: mpsc::Sender<Told>,
}

impl Sheet {
    fn begin(&mut self, work: &Work) {
        let at = self.data.buffer().len();
        self.begun.push(Begun {
            partition: (Arc::clone(&work.fetched.topic), work.fetched.partition),
            token: work.token,
            permit: work.permit.clone(),
            text: at..at,
            next: None,
            over: false,
        });
    }

    /// Prints a record of the piece of work that was begun last, or breaks.
    fn record(
        &mut self,
        work: &Work,
        source: Source<'_>,
        record: &RecordView<'_>,
        epoch: i32,
    ) -> anyhow::Result<ControlFlow<()>> {
        if !work.permit.is_open() {
            return Ok(ControlFlow::Break(()));
        }
        let Some(begun) = self.begun.last_mut() else {
            return Ok(ControlFlow::Break(()));
        };
        begun.next = Some((record.offset + 1, epoch));
        let finished = work.finished.as_ref();
        if finished.is_some_and(|progress| progress.is_finished(record.offset))
            || self
                .filter
                .as_ref()
                .is_some_and(|filter| !filter.matches(record.key))
        {
            return Ok(ControlFlow::Continue(()));
        }
        self.printer.print(source, record, self.data.buffer());
        begun.text.end = self.data.buffer().len();
        if self.unbuffered || begun.text.end >= FULL {
            self.flush()?;
        }
        if let Some(left) = &mut self.left {
            *left -= 1;
            if *left == 0 {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Ends the piece of work that was begun last; `behind` is where it ends, if all of it was printed.
    fn end(&mut self, behind: Option<(i64, i32)>) -> anyhow::Result<()> {
        if let Some(begun) = self.begun.last_mut() {
            begun.next = behind.or(begun.next);
            begun.over = true;
        }
        if self.begun.len() >= MOST_UNTOLD {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes out what is printed, if it may still be, and tells how far that is.
    fn flush(&mut self) -> anyhow::Result<()> {
        self.wait_for_lease();
        self.leave_out_void();
        self.data.flush_all()?;
        let mut unfinished = None;
        for begun in self.begun.drain(..) {
            let Begun { partition, token, .. } = &begun;
            if let Some((next, epoch)) = begun.next {
                let news = Progress::at(next, epoch);
                tell(
                    &self.told,
                    Told::Progress {
                        partition: partition.clone(),
                        token: *token,
                        news,
                    },
                );
            }
            if begun.over {
                tell(
                    &self.told,
                    Told::Over {
                        partition: partition.clone(),
                        token: *token,
                    },
                );
            } else {
                unfinished = Some(begun);
            }
        }
        // Only the last one may be.
        self.begun.extend(unfinished.map(|begun| Begun {
            text: 0..0,
            next: None,
            ..begun
        }));
        Ok(())
    }

    /// Without a lease nothing may be written. It may come back; if not, the driver takes the permits away.
    fn wait_for_lease(&self) {
        let may_go =
            |begun: &Begun| begun.text.is_empty() || begun.permit.is_void() || begun.permit.has_lease();
        while !self.begun.iter().all(may_go) {
            std::thread::sleep(LEASE_POLL);
        }
    }

    /// Leaves out what may not be written any more. It counts as never printed.
    fn leave_out_void(&mut self) {
        if !self.begun.iter().any(|begun| begun.permit.is_void()) {
            return;
        }
        let text = std::mem::take(self.data.buffer());
        for begun in &mut self.begun {
            if begun.permit.is_void() {
                begun.next = None;
            } else if let Some(text) = text.get(begun.text.clone()) {
                self.data.buffer().extend_from_slice(text);
            }
        }
    }
}

/// Nobody hears it only at the end of all.
fn tell(told: &mpsc::Sender<Told>, news: Told) {
    drop(told.blocking_send(news));
}
