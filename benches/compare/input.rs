//! The file that is published, and whether what comes back is the same.
//!
//! Everything streams: Linux counts the memory of the process that starts a child into the child's own peak, so this
//! one has to stay small.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Files of equal records, with and without keys.
#[derive(Debug)]
pub(crate) struct Input {
    /// Lines in each file.
    pub(crate) records: u64,
    /// One value a line.
    pub(crate) plain: PathBuf,
    /// `key TAB value`, the values being those of `plain`.
    pub(crate) keyed: PathBuf,
    /// One line.
    pub(crate) one: PathBuf,
    /// Of `plain`.
    pub(crate) digest: Digest,
}

/// Of lines, whatever their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Digest {
    pub(crate) lines: u64,
    pub(crate) bytes: u64,
    sum: u64,
}

impl Input {
    /// Writes the files into `dir`: `records` orders, the same ones each time.
    pub(crate) fn write(dir: &Path, records: u64) -> io::Result<Self> {
        let (plain, keyed, one) = (dir.join("plain"), dir.join("keyed"), dir.join("one"));
        let mut random = Random(0x000b_a27a_ba55);
        let mut values = BufWriter::new(File::create(&plain)?);
        let mut pairs = BufWriter::new(File::create(&keyed)?);
        let mut line = String::new();
        for number in 0..records {
            let customer = random.below(100_000);
            line.clear();
            order(&mut line, number, customer, &mut random);
            values.write_all(line.as_bytes())?;
            write!(pairs, "customer-{customer:05}\t{line}")?;
            if number == 0 {
                std::fs::write(&one, &line)?;
            }
        }
        values.flush()?;
        pairs.flush()?;
        let digest = Digest::of(&plain)?;
        Ok(Self {
            records,
            plain,
            keyed,
            one,
            digest,
        })
    }
}

impl Digest {
    /// Of the file's lines.
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        let mut reader = BufReader::with_capacity(1 << 16, File::open(path)?);
        let mut digest = Self::default();
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            digest.lines += 1;
            digest.bytes += u64::try_from(line.len()).map_err(io::Error::other)?;
            digest.sum = digest.sum.wrapping_add(u64::from(crc32fast::hash(&line)));
            line.clear();
        }
        Ok(digest)
    }
}

/// Whether two files have the same bytes.
pub(crate) fn equal(left: &Path, right: &Path) -> io::Result<bool> {
    let (mut left, mut right) = (File::open(left)?, File::open(right)?);
    if left.metadata()?.len() != right.metadata()?.len() {
        return Ok(false);
    }
    let (mut ours, mut theirs) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = left.read(&mut ours)?;
        if read == 0 {
            return Ok(true);
        }
        right.read_exact(&mut theirs[..read])?;
        if ours[..read] != theirs[..read] {
            return Ok(false);
        }
    }
}

/// Appends an order of about 250 bytes, such as a shop publishes, and a newline.
fn order(line: &mut String, number: u64, customer: u64, random: &mut Random) {
    use std::fmt::Write;

    const TYPES: [&str; 5] = [
        "order.placed",
        "order.paid",
        "order.shipped",
        "order.delivered",
        "order.cancelled",
    ];
    const CITIES: [&str; 8] = [
        "Antwerpen",
        "Bordeaux",
        "Chemnitz",
        "Dubrovnik",
        "Enschede",
        "Firenze",
        "Göteborg",
        "Hódmezővásárhely",
    ];
    const CURRENCIES: [&str; 3] = ["EUR", "SEK", "HUF"];
    // Seven orders a second.
    let second = number / 7;
    let _ = write!(
        line,
        r#"{{"id":"{:016x}","type":"{}","time":"2026-11-{:02}T{:02}:{:02}:{:02}.{:03}Z","order":{},"customer":"customer-{customer:05}","city":"{}","items":["#,
        random.next(),
        random.pick(&TYPES),
        1 + second / 86_400,
        second / 3_600 % 24,
        second / 60 % 60,
        second % 60,
        random.below(1_000),
        4_000_000 + number,
        random.pick(&CITIES),
    );
    let items = 1 + random.below(3);
    let mut total = 0;
    for item in 0..items {
        let (quantity, price) = (1 + random.below(4), 199 + random.below(20_000));
        total += quantity * price;
        let comma = if item == 0 { "" } else { "," };
        let _ = write!(
            line,
            r#"{comma}{{"sku":"{:04}","n":{quantity},"cents":{price}}}"#,
            random.below(3_000),
        );
    }
    let _ = writeln!(
        line,
        r#"],"total":{}.{:02},"currency":"{}"}}"#,
        total / 100,
        total % 100,
        random.pick(&CURRENCIES)
    );
}

/// SplitMix64: the same orders on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        let index = usize::try_from(self.below(from.len() as u64)).expect("below a length");
        from[index]
    }
}
