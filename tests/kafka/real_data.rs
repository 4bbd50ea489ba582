//! Data that nobody here made: every JSON and CSV file of the npm package vega-datasets, there and back.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::barnabas_bin::{consume, produce};
use crate::judge::CODECS;
use crate::support::dist::{installed, target};
use crate::support::{Brokers, skipped};

const VERSION: &str = "3.2.1";

/// The largest of the files is 9.9 MB, and a single line.
const TAKES_ALL: [(&str, &str); 1] = [("max.message.bytes", "20000000")];

/// The files, fetched once into `target/`; `None`, said aloud, without npm.
fn files() -> Option<Vec<PathBuf>> {
    let whole = target().join(format!("vega-datasets-{VERSION}"));
    if !whole.is_dir() {
        if !installed("npm", "--version") {
            skipped("round trip of vega-datasets", "no `npm` on PATH");
            return None;
        }
        // One fetches, the others wait here.
        fs::create_dir_all(target()).expect("target/ can be made");
        let lock = File::create(target().join(format!("vega-datasets-{VERSION}.lock")))
            .expect("target/ can be written");
        lock.lock().expect("files in target/ can be locked");
        if whole.is_dir() {
            return files();
        }
        let part = target().join(format!("vega-datasets-{VERSION}.part"));
        let _ = fs::remove_dir_all(&part);
        fs::create_dir_all(&part).expect("target/ can be written");
        let npm = Command::new("npm")
            .args([
                "install",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--silent",
                "--prefix",
            ])
            .arg(&part)
            .arg(format!("vega-datasets@{VERSION}"))
            .stdin(Stdio::null())
            .output()
            .expect("npm starts");
        assert!(
            npm.status.success(),
            "npm install: {}",
            String::from_utf8_lossy(&npm.stderr)
        );
        fs::rename(&part, &whole).expect("a directory of target/ can be renamed");
    }
    let data = fs::read_dir(whole.join("node_modules/vega-datasets/data")).expect("the package has data/");
    let mut files: Vec<PathBuf> = data.map(|file| file.expect("data/ can be read").path()).collect();
    files.retain(|file| {
        file.extension()
            .is_some_and(|kind| kind == "json" || kind == "csv")
    });
    files.sort();
    assert!(
        files.len() >= 60,
        "vega-datasets {VERSION} has 67 such files, not {}",
        files.len()
    );
    Some(files)
}

fn names(files: &[PathBuf]) -> Vec<&str> {
    files
        .iter()
        .map(|file| file.to_str().expect("names are ASCII"))
        .collect()
}

fn content(file: &Path) -> Vec<u8> {
    fs::read(file).expect("it was fetched")
}

/// An assertion that does not print megabytes.
fn equal(printed: &[u8], expected: &[u8], what: &str) {
    if printed != expected {
        let at = printed.iter().zip(expected).position(|(a, b)| a != b);
        panic!(
            "{what}: {} bytes printed, {} expected, first difference at {at:?}",
            printed.len(),
            expected.len()
        );
    }
}

#[test]
fn every_file_of_vega_datasets_comes_back_line_by_line() {
    let Some(kafka) = Brokers::any() else { return };
    let Some(files) = files() else { return };
    // A file's last line may lack its end; printed, every record has one.
    let mut expected = Vec::new();
    for file in &files {
        expected.extend(content(file));
        if expected.last().is_some_and(|byte| *byte != b'\n') {
            expected.push(b'\n');
        }
    }
    for (codec, _) in CODECS {
        let topic = kafka.topic_with(&format!("vega-lines-{codec}"), 1, &TAKES_ALL);
        produce(kafka, &topic, &[&["-z", codec][..], &names(&files)].concat(), b"").code(0);
        equal(
            &consume(kafka, &topic, &["-q", "-e"]).success().stdout,
            &expected,
            codec,
        );
    }
}

#[test]
fn every_file_of_vega_datasets_comes_back_as_a_whole() {
    let Some(kafka) = Brokers::any() else { return };
    let Some(files) = files() else { return };
    let mut expected = Vec::new();
    for file in &files {
        let content = content(file);
        expected.extend(format!("{}\n", content.len()).into_bytes());
        expected.extend(content);
    }
    for (codec, _) in CODECS {
        let topic = kafka.topic_with(&format!("vega-files-{codec}"), 1, &TAKES_ALL);
        produce(
            kafka,
            &topic,
            &[&["-z", codec, "--whole-file"][..], &names(&files)].concat(),
            b"",
        )
        .code(0);
        equal(
            &consume(kafka, &topic, &["-q", "-e", "-f", "%S\\n%s"])
                .success()
                .stdout,
            &expected,
            codec,
        );
    }
}

#[test]
fn every_file_of_vega_datasets_comes_back_over_six_partitions_and_json() {
    let Some(kafka) = Brokers::any() else { return };
    let Some(files) = files() else { return };
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for file in &files {
        let content = content(file);
        lines.extend(
            content
                .strip_suffix(b"\n")
                .unwrap_or(&content)
                .split(|byte| *byte == b'\n')
                .map(<[u8]>::to_vec),
        );
    }
    let (from, to) = (
        kafka.topic_with("vega-six", 6, &TAKES_ALL),
        kafka.topic_with("vega-json", 6, &TAKES_ALL),
    );
    produce(
        kafka,
        &from,
        &[&["-z", "zstd", "--partitioner", "random"][..], &names(&files)].concat(),
        b"",
    )
    .code(0);
    let json = consume(kafka, &from, &["-q", "-e", "-J"]).success();
    produce(kafka, &to, &["-z", "lz4", "--format", "json"], &json.stdout).code(0);
    lines.sort_unstable();
    for topic in [from, to] {
        let printed = consume(kafka, &topic, &["-q", "-e"]).success().stdout;
        let mut printed: Vec<&[u8]> = printed
            .strip_suffix(b"\n")
            .unwrap_or(&printed)
            .split(|byte| *byte == b'\n')
            .collect();
        printed.sort_unstable();
        assert!(
            printed == lines,
            "{topic}: {} lines, {} expected",
            printed.len(),
            lines.len()
        );
    }
}
