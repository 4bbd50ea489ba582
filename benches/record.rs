//! What a record costs, encoded and decoded, with each codec: `cargo bench --bench record`.
//!
//! Of short passes the fastest is told, or the mean by the processor's account if that is less: on a shared
//! machine all else is noise.
#![allow(missing_docs, reason = "a program")]
#![allow(clippy::unwrap_used, reason = "a measurement may fail aloud")]
#![allow(clippy::print_stdout, reason = "a measurement has no other output")]
#![allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use barnabas::record::{
    BatchBuilder, BatchOptions, Batches, Codec, Compression, Compressor, DecodeBuffer, NewRecord, stamp,
};

const RECORDS: usize = 12_000;
const VALUE: usize = 250;
const BATCH: usize = 1_000_000;
const TIME_EACH: Duration = Duration::from_millis(700);

/// Lines such as services write: JSON of about 250 bytes with numbers, words and identifiers.
fn values() -> Vec<Vec<u8>> {
    let mut state = 88_172_645_463_325_252u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let kinds = [
        "order.placed",
        "order.paid",
        "parcel.sent",
        "parcel.lost",
        "customer.moved",
    ];
    let cities = [
        "Antwerpen",
        "Bordeaux",
        "Chemnitz",
        "Dubrovnik",
        "Enschede",
        "Firenze",
        "Göteborg",
    ];
    let value = |index: usize| {
        let pick = random();
        let kind = kinds[usize::try_from(pick % 5).unwrap()];
        let city = cities[usize::try_from(pick / 5 % 7).unwrap()];
        let mut text = format!(
            "{{\"id\":\"{:016x}\",\"number\":{index},\"type\":\"{kind}\",\"time\":\"2026-11-24T23:{:02}:{:02}Z\",\
             \"city\":\"{city}\",\"amount\":{}.{:02},\"customer\":\"{:08x}\",\"note\":\"",
            random(),
            pick / 35 % 60,
            pick / 2100 % 60,
            pick / 126_000 % 900,
            pick / 113_400_000 % 100,
            random() >> 32,
        );
        while text.len() < VALUE - 2 {
            text.push_str(
                ["left ", "at ", "the ", "neighbour ", "again ", "please "]
                    [usize::try_from(random() % 6).unwrap()],
            );
        }
        text.truncate(VALUE - 2);
        text.push_str("\"}");
        text.into_bytes()
    };
    (0..RECORDS).map(value).collect()
}

/// This thread's time on a processor, as Linux accounts for it.
fn on_processor() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace()
        .next()?
        .parse()
        .ok()
        .map(Duration::from_nanos)
}

fn fastest(mut pass: impl FnMut()) -> Duration {
    let (first, processor) = (Instant::now(), on_processor());
    let mut fastest = Duration::MAX;
    let mut passes = 0;
    while first.elapsed() < TIME_EACH {
        let begin = Instant::now();
        pass();
        fastest = fastest.min(begin.elapsed());
        passes += 1;
    }
    let spent = on_processor()
        .zip(processor)
        .map(|(end, begin)| (end - begin) / passes);
    spent.map_or(fastest, |spent| spent.min(fastest))
}

fn report(what: &str, time: Duration, records: usize, bytes: usize) {
    let seconds = time.as_secs_f64();
    let each = seconds * 1e9 / f64::from(u32::try_from(records).unwrap());
    let rate = f64::from(u32::try_from(bytes).unwrap()) / seconds / 1e6;
    println!("{what:<28} {each:>8.1} ns/record {rate:>9.0} MB/s");
}

fn sealed(
    values: &[Vec<u8>],
    compression: Compression,
    mut each: impl FnMut(barnabas::record::SealedBatch) -> Option<Vec<u8>>,
) {
    let options = BatchOptions {
        compression,
        capacity: BATCH + 1000,
    };
    let mut builder = BatchBuilder::new(options);
    for (index, value) in (0..).zip(values) {
        let record = NewRecord {
            value: Some(value),
            timestamp: 1_700_000_000_000 + index / 100,
            ..NewRecord::default()
        };
        if builder.len() + builder.encoded_size(&record) > BATCH {
            let spare = each(builder.seal()).unwrap_or_default();
            builder = BatchBuilder::with_buffer(options, spare);
        }
        builder.append(&record).unwrap();
    }
    each(builder.seal());
}

fn main() {
    let values = values();
    let total: usize = values.iter().map(Vec::len).sum();

    let mut one = Vec::new();
    let mut compressor = Compressor::new();
    let time = fastest(|| {
        sealed(&values, Codec::None.into(), |batch| {
            let finished = batch.finish(-1, -1, -1, &mut compressor).unwrap();
            Some(std::mem::replace(&mut one, finished))
        });
    });
    report("append and checksum", time, RECORDS, total);
    sealed(&values[..3500], Codec::None.into(), |batch| {
        one = batch.finish(-1, -1, -1, &mut compressor).unwrap();
        None
    });
    let bytes = one.len() * 10;
    let time = fastest(|| (0..10).for_each(|round| stamp(black_box(&mut one), 1, 1, round)));
    report("checksum alone", time, 10 * 3500, bytes);

    let names = ["none", "gzip:1", "gzip", "snappy", "lz4", "zstd", "zstd:3"];
    for compression in names.map(|name| name.parse::<Compression>().unwrap()) {
        let mut compressor = Compressor::new();
        let mut set = Vec::new();
        let time = fastest(|| {
            set.clear();
            sealed(&values, compression, |batch| {
                let bytes = batch.finish(-1, -1, -1, &mut compressor).unwrap();
                set.extend_from_slice(&bytes);
                Some(compressor.take_spare().unwrap_or(bytes))
            });
        });
        report(&format!("{compression}: encode"), time, RECORDS, total);
        let mut buffer = DecodeBuffer::new();
        let time = fastest(|| {
            let mut records = 0;
            for batch in Batches::new(&set) {
                for record in batch.records(&mut buffer).unwrap() {
                    let record = record.unwrap();
                    records += usize::from(black_box(record.value).is_some());
                }
            }
            assert_eq!(records, RECORDS);
        });
        report(&format!("{compression}: decode"), time, RECORDS, total);
        let ratio = f64::from(u32::try_from(total).unwrap()) / f64::from(u32::try_from(set.len()).unwrap());
        println!("{:<28} {ratio:>8.2}", format!("{compression}: ratio"));
    }
}
