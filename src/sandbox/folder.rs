//! A folder that holds everything: `state.json` (topics and their configurations), `offsets.jsonl` (what groups committed)
//! and `<topic id>/<partition>/<first offset>.log`, the batches as they came.
//!
//! Written before a request is answered, and not forced to the disk: it survives the process, also `kill -9`, but what the
//! machine had not yet written is lost with it. What is torn is cut off at start.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::group::Committed;
use super::keep::{Keep, Kept, State};
use crate::record::Batches;

/// Files that are kept open at a time.
const OPEN: usize = 256;

/// Reading or writing the folder failed.
#[derive(Debug, thiserror::Error)]
#[error("{what} {}", path.display())]
pub struct FolderError {
    what: &'static str,
    path: PathBuf,
    source: io::Error,
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> FolderError + use<'a> {
    move |source| FolderError {
        what,
        path: path.to_owned(),
        source,
    }
}

/// A line of `offsets.jsonl`: group, topic, partition; offset, leader epoch, metadata, or nothing for one that is gone.
#[derive(Serialize, Deserialize)]
struct OffsetLine(String, String, i32, Option<(i64, i32, String)>);

/// The folder, which no other process has.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    offsets: File,
    /// By topic and partition: the segment that is written to.
    open: HashMap<(u128, i32), (i64, File)>,
    _lock: File,
}

impl Folder {
    /// Opens it, makes it if need be, and reads what it holds; with what had to be cut off, for people.
    pub(crate) fn open(path: &Path) -> Result<(Self, Kept, Vec<String>), FolderError> {
        fs::create_dir_all(path).map_err(failed("cannot make the folder", path))?;
        let lock_path = path.join("lock");
        let lock = File::create(&lock_path).map_err(failed("cannot open", &lock_path))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| failed("another sandbox has the folder", path)(error.into()))?;
        let mut warnings = Vec::new();
        let mut kept = Kept {
            state: read_state(path)?,
            ..Kept::default()
        };
        if let Some(state) = &kept.state {
            for (name, topic) in &state.topics {
                let Ok(id) = u128::from_str_radix(&topic.id, 16) else {
                    continue;
                };
                for partition in (0i32..).take(topic.partitions.len()) {
                    let folder = partition_path(path, id, partition);
                    let segments = read_partition(&folder, name, partition, &mut warnings)?;
                    kept.segments.insert((id, partition), segments);
                }
            }
        }
        let offsets_path = path.join("offsets.jsonl");
        kept.offsets = read_offsets(&offsets_path)?;
        // As short as it can be, once at each start.
        let lines = kept.offsets.iter().map(|((group, topic, partition), committed)| {
            offset_line(group.clone(), topic.clone(), *partition, Some(committed.clone()))
        });
        replace(&offsets_path, lines.collect::<String>().as_bytes())?;
        let offsets = OpenOptions::new()
            .append(true)
            .open(&offsets_path)
            .map_err(failed("cannot open", &offsets_path))?;
        let folder = Folder {
            path: path.to_owned(),
            offsets,
            open: HashMap::new(),
            _lock: lock,
        };
        Ok((folder, kept, warnings))
    }

    /// Writes a change.
    pub(crate) fn write(&mut self, keep: Keep) -> Result<(), FolderError> {
        match keep {
            Keep::Append {
                topic,
                partition,
                segment,
                bytes,
            } => self.append(topic, partition, segment, &bytes),
            Keep::Drop {
                topic,
                partition,
                segments,
            } => {
                self.open.remove(&(topic, partition));
                let folder = partition_path(&self.path, topic, partition);
                segments
                    .into_iter()
                    .try_for_each(|base| remove(&segment_path(&folder, base)))
            }
            Keep::Rewrite {
                topic,
                partition,
                segment,
                batches,
            } => {
                self.open.remove(&(topic, partition));
                let path = segment_path(&partition_path(&self.path, topic, partition), segment);
                replace(&path, &batches.concat())
            }
            Keep::Forget { topic } => {
                self.open.retain(|(of, _), _| *of != topic);
                let folder = topic_path(&self.path, topic);
                match fs::remove_dir_all(&folder) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        Err(failed("cannot delete", &folder)(error))
                    }
                    _ => Ok(()),
                }
            }
            Keep::State(state) => {
                let path = self.path.join("state.json");
                let text = serde_json::to_vec_pretty(&state)
                    .map_err(|error| failed("cannot write", &path)(error.into()))?;
                replace(&path, &text)
            }
            Keep::Offset {
                group,
                topic,
                partition,
                committed,
            } => {
                let line = offset_line(group, topic, partition, committed);
                let path = self.path.join("offsets.jsonl");
                self.offsets
                    .write_all(line.as_bytes())
                    .map_err(failed("cannot write", &path))
            }
        }
    }

    fn append(
        &mut self,
        topic: u128,
        partition: i32,
        segment: i64,
        bytes: &Bytes,
    ) -> Result<(), FolderError> {
        let folder = partition_path(&self.path, topic, partition);
        let path = segment_path(&folder, segment);
        let open = self
            .open
            .get(&(topic, partition))
            .is_some_and(|(base, _)| *base == segment);
        if !open {
            if self.open.len() >= OPEN {
                self.open.clear();
            }
            fs::create_dir_all(&folder).map_err(failed("cannot make the folder", &folder))?;
            let file = OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)
                .map_err(failed("cannot open", &path))?;
            self.open.insert((topic, partition), (segment, file));
        }
        match self.open.get_mut(&(topic, partition)) {
            Some((_, file)) => file.write_all(bytes).map_err(failed("cannot write", &path)),
            None => Ok(()),
        }
    }
}

fn topic_path(path: &Path, topic: u128) -> PathBuf {
    path.join(format!("{topic:032x}"))
}

fn partition_path(path: &Path, topic: u128, partition: i32) -> PathBuf {
    topic_path(path, topic).join(partition.to_string())
}

fn segment_path(folder: &Path, base: i64) -> PathBuf {
    folder.join(format!("{base:020}.log"))
}

fn offset_line(group: String, topic: String, partition: i32, committed: Option<Committed>) -> String {
    let committed = committed.map(|committed| (committed.offset, committed.epoch, committed.metadata));
    let line = serde_json::to_string(&OffsetLine(group, topic, partition, committed));
    // Strings and numbers: there is nothing in it that JSON has no form for.
    line.map(|line| line + "\n").unwrap_or_default()
}

fn remove(path: &Path) -> Result<(), FolderError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("cannot delete", path)(error)),
        _ => Ok(()),
    }
}

/// All of it or nothing: another file takes the old one's place.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let new = path.with_extension("new");
    fs::write(&new, bytes).map_err(failed("cannot write", &new))?;
    fs::rename(&new, path).map_err(failed("cannot replace", path))
}

/// A file's bytes, none if it is not there.
fn read(path: &Path) -> Result<Option<Vec<u8>>, FolderError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("cannot read", path)(error)),
    }
}

fn read_state(path: &Path) -> Result<Option<State>, FolderError> {
    let path = path.join("state.json");
    let Some(bytes) = read(&path)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| failed("cannot make sense of", &path)(error.into()))
}

fn read_offsets(path: &Path) -> Result<BTreeMap<(String, String, i32), Committed>, FolderError> {
    let mut offsets = BTreeMap::new();
    for line in read(path)?.unwrap_or_default().split(|byte| *byte == b'\n') {
        // The last one may be torn.
        let Ok(OffsetLine(group, topic, partition, committed)) = serde_json::from_slice(line) else {
            continue;
        };
        let key = (group, topic, partition);
        match committed {
            Some((offset, epoch, metadata)) => drop(offsets.insert(
                key,
                Committed {
                    offset,
                    epoch,
                    metadata,
                },
            )),
            None => drop(offsets.remove(&key)),
        }
    }
    Ok(offsets)
}

/// The segments of a partition in order, cut off where they make no sense any more: there, and behind it.
fn read_partition(
    folder: &Path,
    topic: &str,
    partition: i32,
    warnings: &mut Vec<String>,
) -> Result<Vec<(i64, Bytes)>, FolderError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed("cannot read", folder)(error)),
    };
    let mut bases = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed("cannot read", folder))?.file_name();
        let base = name
            .to_str()
            .and_then(|name| name.strip_suffix(".log"))
            .and_then(|name| name.parse::<i64>().ok());
        bases.extend(base);
    }
    bases.sort_unstable();
    let mut segments: Vec<(i64, Bytes)> = Vec::new();
    let mut next = 0;
    let mut damaged = false;
    for base in bases {
        let path = segment_path(folder, base);
        if damaged {
            warnings.push(format!(
                "{topic}[{partition}]: {} is behind damage and was deleted",
                path.display()
            ));
            remove(&path)?;
            continue;
        }
        let bytes = Bytes::from(read(&path)?.unwrap_or_default());
        let mut sound = 0;
        for batch in Batches::new(&bytes) {
            if batch.header.base_offset < next.max(base) || batch.verify().is_err() {
                break;
            }
            next = batch.header.next_offset();
            sound = batch.range().end;
        }
        if sound < bytes.len() {
            damaged = true;
            let cut = bytes.len() - sound;
            warnings.push(format!(
                "{topic}[{partition}]: {cut} bytes at the end of {} were torn and are cut off",
                path.display()
            ));
            let file = OpenOptions::new()
                .write(true)
                .open(&path)
                .map_err(failed("cannot open", &path))?;
            file.set_len(u64::try_from(sound).unwrap_or(0))
                .map_err(failed("cannot cut", &path))?;
        }
        segments.push((base, bytes.slice(..sound)));
    }
    Ok(segments)
}
