//! What the sandbox can be told beside Kafka's protocol: a line of JSON on the same port. Pure.
//!
//! No request of Kafka's begins like it: its first byte would be that of a length of 512 MiB and more. So there is no second
//! port to find, to map out of a container, or to be taken.

use serde::{Deserialize, Serialize};

use super::call::Now;
use super::cluster::Cluster;
use super::faults::{Fault, Kind};

/// A line: `{"fault":{"kind":"delay","ms":200}}`, `{"shift":3600000}`, `"list"`, `"clear"`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Control {
    /// Something goes wrong from now on.
    Fault(Fault),
    /// The wall clock goes this many milliseconds ahead of (or behind) the machine's: for retention and timestamps.
    Shift(i64),
    /// Tells what may go wrong.
    List,
    /// Ends all faults and sets the clock right.
    Clear,
}

/// The answer, on a line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    Done,
    /// So many faults are over.
    Cleared(usize),
    Faults {
        faults: Vec<Fault>,
        shift: i64,
    },
    Error(String),
}

impl Cluster {
    /// Does what a line says, and answers with one.
    pub(crate) fn control(&mut self, line: &[u8], now: Now) -> String {
        let reply = match serde_json::from_slice(line) {
            Ok(Control::Fault(fault)) => self.begin_fault(fault, now),
            Ok(Control::Shift(millis)) => {
                self.faults.shift = millis;
                Reply::Done
            }
            Ok(Control::List) => Reply::Faults {
                faults: self.faults.list(now.mono),
                shift: self.faults.shift,
            },
            Ok(Control::Clear) => Reply::Cleared(self.faults.clear(now.mono)),
            Err(error) => Reply::Error(format!(
                "neither a request of Kafka's protocol nor a control line: {error}"
            )),
        };
        // It consists of numbers and strings: nothing about it can fail.
        serde_json::to_string(&reply).unwrap_or_default()
    }

    fn begin_fault(&mut self, fault: Fault, now: Now) -> Reply {
        if !(0.0..=1.0).contains(&fault.chance) {
            return Reply::Error(format!("the chance {} is not between 0 and 1", fault.chance));
        }
        if let Some(api) = &fault.api
            && !super::api::APIS
                .iter()
                .any(|known| known.name.eq_ignore_ascii_case(api))
        {
            let names: Vec<&str> = super::api::APIS.iter().map(|api| api.name).collect();
            return Reply::Error(format!("there is no API {api}: {}", names.join(", ")));
        }
        if let Some(topic) = &fault.topic
            && !self.topics.contains_key(topic)
        {
            return Reply::Error(format!("there is no topic {topic}"));
        }
        if fault.kind == Kind::LeaderMove {
            for (name, topic) in &mut self.topics {
                for (partition, log) in (0i32..).zip(&mut topic.partitions) {
                    let concerns = fault.topic.as_ref().is_none_or(|only| only == name)
                        && fault.partition.is_none_or(|only| only == partition);
                    if concerns {
                        log.bump_epoch();
                    }
                }
            }
            // Whoever waits with an old epoch hears of it.
            self.grown = true;
            self.touch();
        }
        self.faults.add(fault, now.mono);
        Reply::Done
    }
}
