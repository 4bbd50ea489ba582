//! What is written, what is told, and what is not.

use bytes::Bytes;

use super::*;
use crate::broker::fetch::FetchLimits;
use crate::cli::format::OutputFormat;
use crate::cli::settings::Isolation;
use crate::group::driver::Lease;
use crate::group::record::Position;
use crate::record::{BatchBuilder, BatchOptions, Compressor, NewRecord};

/// A printer into a file, and what it tells.
struct Desk {
    printing: Printing,
    told: mpsc::Receiver<Told>,
    path: std::path::PathBuf,
}

fn settings(unbuffered: bool) -> PrintSettings {
    PrintSettings {
        count: None,
        exit_at_end: false,
        print: OutputFormat::default(),
        null_text: false,
        unbuffered,
        key_filter: None,
        isolation: Isolation::ReadCommitted,
        fetch: FetchLimits {
            max_bytes: 1,
            max_partition_bytes: 1,
            min_bytes: 1,
            max_wait: Duration::ZERO,
        },
    }
}

impl Desk {
    fn new(name: &str, settings: PrintSettings) -> Self {
        let path = std::env::temp_dir().join(format!("barnabas-printing-{name}-{}", std::process::id()));
        let data = Data::to(std::fs::File::create(&path).unwrap());
        let (tell, told) = mpsc::channel(100);
        let output = Output::new(true, true, false);
        Self {
            printing: Printing::new(settings, data, output, tell),
            told,
            path,
        }
    }

    fn print(&mut self, work: &Work) {
        self.printing.print(work).unwrap();
    }

    /// Writes out; returns what the file holds, and what was told: how far the partition's progress is, or that a piece
    /// of work is over.
    fn written(&mut self) -> (String, Vec<Option<i64>>) {
        self.printing.sheet.flush().unwrap();
        let mut told = Vec::new();
        while let Ok(news) = self.told.try_recv() {
            told.push(match news {
                Told::Progress { news, .. } => news.next,
                Told::Over { .. } => None,
            });
        }
        (std::fs::read_to_string(&self.path).unwrap(), told)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Records `from`, `from` + 1, …, each with its offset as its value.
fn work(from: i64, count: i64, permit: &Permit) -> Work {
    let mut builder = BatchBuilder::new(BatchOptions::default());
    for offset in from..from + count {
        let value = offset.to_string();
        let record = NewRecord {
            value: Some(value.as_bytes()),
            ..NewRecord::default()
        };
        builder.append(&record).unwrap();
    }
    let mut batch = builder.seal().finish(-1, -1, -1, &mut Compressor::new()).unwrap();
    batch[..8].copy_from_slice(&from.to_be_bytes());
    Work {
        fetched: Fetched {
            topic: Arc::from("t"),
            partition: 0,
            tag: 1,
            broker: 1,
            // Behind the last record there is a marker, say.
            high_watermark: 0,
            offsets: from..from + count + 1,
            set: Bytes::from(batch),
            aborted: Vec::new(),
        },
        token: Token::granted(0, Position::new(0, 7)),
        permit: permit.clone(),
        finished: None,
    }
}

fn permit() -> Permit {
    Permit::new(Lease::of_test(true))
}

#[test]
fn progress_is_told_behind_all_that_was_written_and_what_has_no_record() {
    let mut desk = Desk::new("all", settings(false));
    desk.print(&work(0, 3, &permit()));
    assert_eq!(std::fs::read_to_string(&desk.path).unwrap(), "");
    assert!(
        desk.told.try_recv().is_err(),
        "nothing is told before it is written"
    );
    assert_eq!(desk.written(), ("0\n1\n2\n".to_owned(), vec![Some(4), None]));
}

#[test]
fn under_a_closed_permit_nothing_more_is_begun_and_what_was_begun_is_written() {
    let mut desk = Desk::new("closed", settings(false));
    let permit = permit();
    desk.print(&work(0, 3, &permit));
    permit.close();
    desk.print(&work(4, 3, &permit));
    assert_eq!(
        desk.written(),
        ("0\n1\n2\n".to_owned(), vec![Some(4), None, None])
    );
}

#[test]
fn under_a_void_permit_what_was_begun_is_neither_written_nor_told_as_done() {
    let mut desk = Desk::new("void", settings(false));
    let (lost, kept) = (permit(), permit());
    desk.print(&work(0, 2, &kept));
    desk.print(&work(10, 2, &lost));
    desk.print(&work(20, 2, &kept));
    lost.void();
    let (text, told) = desk.written();
    assert_eq!(text, "0\n1\n20\n21\n");
    assert_eq!(told, [Some(3), None, None, Some(23), None]);
}

#[test]
fn without_a_lease_nothing_is_written_until_the_permit_is_void() {
    let mut desk = Desk::new("lease", settings(false));
    let permit = Permit::new(Lease::of_test(false));
    desk.print(&work(0, 2, &permit));
    let path = desk.path.clone();
    let writing = std::thread::spawn(move || desk.written());
    std::thread::sleep(5 * LEASE_POLL);
    assert!(!writing.is_finished());
    assert_eq!(std::fs::read_to_string(path).unwrap(), "");
    permit.void();
    assert_eq!(writing.join().unwrap(), (String::new(), vec![None]));
}

#[test]
fn what_is_finished_already_is_not_printed_again() {
    let mut desk = Desk::new("finished", settings(false));
    let mut progress = Progress::at(0, -1);
    progress.finish(1);
    let work = Work {
        finished: Some(Arc::new(progress)),
        ..work(0, 3, &permit())
    };
    desk.print(&work);
    assert_eq!(desk.written(), ("0\n2\n".to_owned(), vec![Some(4), None]));
}

#[test]
fn unbuffered_each_record_is_written_and_told_by_itself() {
    let mut desk = Desk::new("unbuffered", settings(true));
    desk.print(&work(0, 3, &permit()));
    let (text, told) = desk.written();
    assert_eq!(text, "0\n1\n2\n");
    assert_eq!(told, [Some(1), Some(2), Some(3), Some(4), None]);
}

#[test]
fn a_count_ends_behind_the_last_record_that_it_takes() {
    let mut desk = Desk::new(
        "count",
        PrintSettings {
            count: Some(2),
            ..settings(false)
        },
    );
    desk.print(&work(0, 3, &permit()));
    assert_eq!(desk.printing.sheet.left, Some(0));
    assert_eq!(desk.written(), ("0\n1\n".to_owned(), vec![Some(2), None]));
}
