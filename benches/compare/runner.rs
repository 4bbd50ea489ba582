//! Alternating runs of whole processes against one broker.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use crate::input::{self, Digest, Input};
use crate::measure::{self, Sample};
use crate::peer::{PEERS, Peer, Programs};
use crate::scenario::{CODECS, Scenario, Sink, Work};
use crate::shared::mib;
use crate::support::{Kafka, wait_for};

/// The runs of one scenario, by peer.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) scenario: Scenario,
    /// Records that each run moved.
    pub(crate) records: u64,
    pub(crate) series: Vec<(Peer, Vec<Sample>)>,
    /// What went wrong: a failed run, records missing, bytes that differ.
    pub(crate) faults: Vec<String>,
}

/// Everything that runs share.
pub(crate) struct Runner {
    kafka: Kafka,
    programs: Programs,
    input: Input,
    /// Who cannot publish (`true`), or print (`false`), here.
    unable: Vec<(Peer, bool)>,
    /// Topics that consumers read, by codec and partitions.
    filled: BTreeMap<(&'static str, i32), String>,
    output: PathBuf,
}

impl Runner {
    /// And which peers cannot publish or print a record here, and why.
    pub(crate) fn new(
        kafka: Kafka,
        programs: Programs,
        input: Input,
        output: PathBuf,
    ) -> (Self, Vec<String>) {
        let mut runner = Self {
            kafka,
            programs,
            input,
            unable: Vec::new(),
            filled: BTreeMap::new(),
            output,
        };
        let mut missing = Vec::new();
        for work in [Work::PublishOne, Work::PrintOne] {
            for peer in PEERS {
                let scenario = Scenario { work, partitions: 1 };
                let topic = runner.topic_for(&scenario);
                if let Err(error) = runner.once(peer, &scenario, &topic) {
                    runner.unable.push((peer, publishes(work)));
                    missing.push(format!("{peer} is left out of {scenario} and its like: {error}"));
                }
                runner.kafka.delete_topic(&topic);
            }
        }
        (runner, missing)
    }

    pub(crate) fn programs(&self) -> &Programs {
        &self.programs
    }

    /// Lets the broker's JVM compile what it will run: publishes and prints `rounds` times with every peer and codec.
    pub(crate) fn warm_up(&mut self, rounds: usize) {
        for partitions in [1, 6] {
            for codec in CODECS {
                let works = [
                    Work::Produce { codec, keyed: true },
                    Work::Consume {
                        codec,
                        sink: Sink::Null,
                    },
                ];
                for work in works {
                    let scenario = Scenario { work, partitions };
                    let rounds = if codec == "none" { rounds } else { 1 };
                    // What fails here is told when it is measured.
                    let _ = self.measure(scenario, rounds);
                }
            }
        }
    }

    /// Runs the scenario `runs` times with each peer in turn.
    pub(crate) fn measure(&mut self, scenario: Scenario, runs: usize) -> Outcome {
        let mut outcome = Outcome {
            scenario,
            records: if scenario.is_bulk() { self.input.records } else { 1 },
            series: Vec::new(),
            faults: Vec::new(),
        };
        let shared = match scenario.work {
            Work::Consume { codec, .. } => match self.filled(codec, scenario.partitions) {
                Ok(topic) => Some((topic, false)),
                Err(fault) => {
                    outcome.faults.push(fault);
                    return outcome;
                }
            },
            Work::PublishOne | Work::PrintOne => Some((self.topic_for(&scenario), true)),
            Work::Produce { .. } | Work::Start => None,
        };
        let mut series: Vec<(Peer, Vec<Sample>)> =
            self.able(scenario.work).map(|peer| (peer, Vec::new())).collect();
        for _ in 0..runs {
            for (peer, samples) in &mut series {
                let run = match &shared {
                    Some((topic, _)) => self.once(*peer, &scenario, topic),
                    None => self.once_anew(*peer, &scenario),
                };
                match run {
                    Ok(sample) => samples.extend(sample),
                    Err(fault) => outcome.faults.push(format!("{peer}, {scenario}: {fault}")),
                }
            }
        }
        if let Some((topic, true)) = shared {
            self.kafka.delete_topic(&topic);
        }
        series.retain(|(_, samples)| !samples.is_empty());
        outcome.series = series;
        outcome
    }

    /// Peaks of barnabas, in MiB, publishing the file `times` times over in one process, and printing it all.
    pub(crate) fn peaks_of_more(&mut self, times: usize) -> Result<(f64, f64), String> {
        let produce = Scenario {
            work: Work::Produce {
                codec: "none",
                keyed: false,
            },
            partitions: 6,
        };
        let consume = Scenario {
            work: Work::Consume {
                codec: "none",
                sink: Sink::Null,
            },
            partitions: 6,
        };
        let topic = self.kafka.topic_with("compare", 6, &[("retention.ms", "-1")]);
        let peak = |scenario: &Scenario, more: usize| {
            let bootstrap = self.kafka.bootstrap();
            let mut command = self
                .programs
                .command(Peer::Barnabas, scenario, &bootstrap, &topic, &self.input.plain)
                .ok_or("barnabas does not do that")?;
            command
                .args(std::iter::repeat_n(&self.input.plain, more))
                .stdout(Stdio::null());
            measure::run(command, None).map(|sample| sample.peak)
        };
        let peaks = (peak(&produce, times - 1), peak(&consume, 0));
        self.kafka.delete_topic(&topic);
        Ok((peaks.0?, peaks.1?))
    }

    fn able(&self, work: Work) -> impl Iterator<Item = Peer> + '_ {
        let able = move |peer: &Peer| !self.unable.contains(&(*peer, publishes(work)));
        PEERS.into_iter().filter(able)
    }

    /// One run on a topic of its own.
    fn once_anew(&self, peer: Peer, scenario: &Scenario) -> Result<Option<Sample>, String> {
        if scenario.work == Work::Start {
            return self.once(peer, scenario, "");
        }
        let topic = self.topic_for(scenario);
        let run = self.once(peer, scenario, &topic);
        self.kafka.delete_topic(&topic);
        run
    }

    /// One run, and whether it did what it should; `None` where the peer has nothing to compare.
    fn once(&self, peer: Peer, scenario: &Scenario, topic: &str) -> Result<Option<Sample>, String> {
        let keyed = matches!(scenario.work, Work::Produce { keyed: true, .. });
        let input = match scenario.work {
            Work::PublishOne => &self.input.one,
            _ if keyed => &self.input.keyed,
            _ => &self.input.plain,
        };
        let bootstrap = self.kafka.bootstrap();
        let Some(mut command) = self.programs.command(peer, scenario, &bootstrap, topic, input) else {
            return Ok(None);
        };
        let to_file = matches!(scenario.work, Work::Consume { sink: Sink::File, .. });
        if to_file {
            // A new file each time: one that is overwritten costs less.
            let _ = fs::remove_file(&self.output);
            command.stdout(File::create(&self.output).map_err(|error| error.to_string())?);
        } else {
            command.stdout(Stdio::null());
        }
        let publishes = publishes(scenario.work);
        let before = if publishes { self.kafka.written(topic) } else { 0 };
        let mut sample = measure::run(command, self.kafka.pid(0))?;
        if publishes {
            let wanted = if scenario.is_bulk() { self.input.records } else { 1 };
            let written = self.kafka.written(topic) - before;
            if u64::try_from(written) != Ok(wanted) {
                return Err(format!("{written} records are in the topic, not {wanted}"));
            }
            sample.stored = mib(self.kafka.stored(topic));
        }
        if to_file {
            let same = if scenario.partitions == 1 {
                input::equal(&self.output, &self.input.plain)
            } else {
                Digest::of(&self.output).map(|digest| digest == self.input.digest)
            };
            let _ = fs::remove_file(&self.output);
            if !same.map_err(|error| error.to_string())? {
                return Err("the output is not the input".to_owned());
            }
        }
        Ok(Some(sample))
    }

    /// A new topic; for [`Work::PrintOne`] with a record in it.
    fn topic_for(&self, scenario: &Scenario) -> String {
        let topic = self
            .kafka
            .topic_with("compare", scenario.partitions, &[("retention.ms", "-1")]);
        if scenario.work == Work::PrintOne {
            let one = Scenario {
                work: Work::PublishOne,
                partitions: 1,
            };
            let _ = self
                .able(one.work)
                .find(|peer| self.once(*peer, &one, &topic).is_ok());
        }
        topic
    }

    /// A topic that holds the file. The franz-go program fills it, so that what is read is not of our own making,
    /// and any other one where there is no Go.
    fn filled(&mut self, codec: &'static str, partitions: i32) -> Result<String, String> {
        if let Some(topic) = self.filled.get(&(codec, partitions)) {
            return Ok(topic.clone());
        }
        let work = Work::Produce { codec, keyed: false };
        let scenario = Scenario { work, partitions };
        let peer = self.able(work).last().ok_or("no peer can publish")?;
        let topic = self.topic_for(&scenario);
        self.once(peer, &scenario, &topic)?;
        // Readers that come at once would wait for the high watermark.
        wait_for("the topic is whole", Duration::from_secs(10), || {
            (u64::try_from(self.kafka.written(&topic)) == Ok(self.input.records)).then_some(())
        });
        self.filled.insert((codec, partitions), topic.clone());
        Ok(topic)
    }
}

fn publishes(work: Work) -> bool {
    matches!(work, Work::Produce { .. } | Work::PublishOne)
}
