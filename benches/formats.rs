//! The hot paths of both ends, in nanoseconds a record: input formats, output formats, partitioners.
//!
//! `cargo bench --bench formats`. Each figure is the best of several runs: what else the machine does only adds.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark is a program of its own"
)]

use barnabas::cli::format::{KeyFilter, OutputFormat, Printer, Source};
use barnabas::produce::input::{InputFormat, InputOptions, Splitter};
use barnabas::produce::partitioner::{Partitioner, Partitions, Strategy};
use barnabas::record::{
    BatchBuilder, BatchOptions, Batches, Compressor, DecodeBuffer, NewRecord, RecordView,
};
use std::hint::black_box;
use std::time::Instant;

const RECORDS: usize = 4000;
const RUNS: usize = 60;

fn main() {
    let plain: Vec<Vec<u8>> = (0..RECORDS)
        .map(|i| {
            let mut line = format!("key-{i}:").into_bytes();
            line.extend((0..240).map(|j| b'a' + u8::try_from((i * 7 + j * 3) % 26).unwrap()));
            line
        })
        .collect();
    let json: Vec<Vec<u8>> = (0..RECORDS)
        .map(|i| {
            format!(
                r#"{{"id":{i},"customer":{{"id":"c-{}","name":"Customer {i}"}},"type":"order.created","items":[{{"sku":"A-{i}","quantity":{},"price":12.5}},{{"sku":"B-{i}","quantity":1,"price":99.9}}],"note":"the quick brown fox jumps over the lazy dog","source":"shop"}}"#,
                i % 977,
                i % 9
            )
            .into_bytes()
        })
        .collect();
    let bytes = |lines: &[Vec<u8>]| lines.iter().map(Vec::len).sum::<usize>() / lines.len();
    println!(
        "{RECORDS} records: plain of {} bytes, JSON of {} bytes",
        bytes(&plain),
        bytes(&json)
    );

    input("lines", InputOptions::default(), &plain);
    input(
        "lines -K:",
        InputOptions {
            key_delimiter: Some(vec![b':']),
            ..InputOptions::default()
        },
        &plain,
    );
    input(
        "lines -D ||",
        InputOptions {
            delimiter: b"||".to_vec(),
            ..InputOptions::default()
        },
        &plain,
    );
    let pointer = InputFormat::Ndjson("/customer/id".parse().unwrap());
    input(
        "ndjson /customer/id",
        InputOptions {
            format: pointer,
            ..InputOptions::default()
        },
        &json,
    );

    let json_format = || OutputFormat::Json {
        delimiter: vec![b'\n'],
    };
    let keyed = OutputFormat::Plain {
        delimiter: vec![b'\n'],
        key_delimiter: Some(vec![b':']),
    };
    output("plain", OutputFormat::default(), &plain);
    output("plain -K:", keyed, &plain);
    output(
        "-f '%t %p %o %T %k %s\\n'",
        OutputFormat::Template(r"%t %p %o %T %k %s\n".parse().unwrap()),
        &plain,
    );
    let of_plain = output("-J of plain", json_format(), &plain);
    let of_json = output("-J of JSON", json_format(), &json);
    let envelopes = || InputOptions {
        format: InputFormat::Envelopes,
        ..InputOptions::default()
    };
    input("envelopes of plain", envelopes(), &of_plain);
    input("envelopes of JSON", envelopes(), &of_json);

    for strategy in [Strategy::Murmur2, Strategy::Crc32, Strategy::Sticky] {
        let mut partitioner = Partitioner::new(strategy);
        let of = Partitions {
            count: 6,
            available: &[0, 1, 2, 3, 4, 5],
        };
        best(&format!("{strategy:?} of a 16-byte key"), || {
            for line in &plain {
                black_box(partitioner.partition(Some(&line[..16]), of, || 7));
            }
        });
    }
    let filter = KeyFilter::new("key-1*");
    best("key filter", || {
        for line in &plain {
            black_box(filter.matches(Some(&line[..10])));
        }
    });
}

fn best(what: &str, mut run: impl FnMut()) {
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    println!("{what:32} {:8.1} ns", best / RECORDS as f64 * 1e9);
}

fn input(what: &str, options: InputOptions, lines: &[Vec<u8>]) {
    let mut text = Vec::new();
    for line in lines {
        text.extend_from_slice(line);
        text.extend_from_slice(&options.delimiter);
    }
    let mut splitter = Splitter::new(options, &[]);
    best(&format!("in: {what}"), || {
        for block in text.chunks(256 * 1024) {
            let mut at = 0;
            while let Some(record) = splitter.next_record(block, &mut at) {
                black_box(record.unwrap());
            }
        }
        assert!(splitter.finish().is_none());
    });
}

fn output(what: &str, format: OutputFormat, lines: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut batch = BatchBuilder::new(BatchOptions::default());
    for line in lines {
        let record = NewRecord {
            key: Some(&line[..8]),
            value: Some(line),
            headers: &[],
            timestamp: 1_795_564_333_765,
        };
        batch.append(&record).unwrap();
    }
    let set = batch.seal().finish(-1, -1, -1, &mut Compressor::new()).unwrap();
    let batch = Batches::new(&set).next().unwrap();
    let mut buffer = DecodeBuffer::new();
    let records: Vec<RecordView<'_>> = batch.records(&mut buffer).unwrap().map(Result::unwrap).collect();
    let mut printer = Printer::new(format, false);
    let mut out = Vec::new();
    let source = Source {
        topic: "orders",
        partition: 3,
        broker: 1,
    };
    best(&format!("out: {what}"), || {
        // As the command does: written out whenever 64 KiB are there.
        for record in &records {
            printer.print(source, record, &mut out);
            if out.len() > 64 * 1024 {
                black_box(&out);
                out.clear();
            }
        }
    });
    out.clear();
    records
        .iter()
        .for_each(|record| printer.print(source, record, &mut out));
    out.split(|&byte| byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}
