//! `sandbox`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::{Settings, Usage, values};
use crate::broker::settings::HostPort;
use crate::cli::args::{FaultArgs, SandboxArgs, SandboxCommand, What};
use crate::sandbox::{Control, Fault, Kind, NewTopic, Options};

/// What `sandbox` shall do.
#[derive(Debug, Clone)]
pub enum SandboxSettings {
    /// Run one.
    Run(Options),
    /// Tell something to one that runs.
    Tell {
        /// Where it is.
        address: HostPort,
        /// What to tell it.
        control: Control,
    },
}

/// The most partitions that a default may be.
const MAX_PARTITIONS: i32 = 10_000;

impl Settings {
    /// What `sandbox` shall do.
    ///
    /// # Errors
    /// If a value is not what it should be, or the file with topics cannot be read.
    pub(crate) fn sandbox(&self, args: &SandboxArgs) -> Result<SandboxSettings, Usage> {
        if let Some(SandboxCommand::Fault(fault)) = &args.command {
            let address = match self.find("brokers") {
                Some(_) => self.brokers()?.bootstrap.into_iter().next(),
                None => None,
            };
            return Ok(SandboxSettings::Tell {
                address: address.unwrap_or_else(|| HostPort {
                    host: "127.0.0.1".to_owned(),
                    port: 9092,
                }),
                control: control(fault)?,
            });
        }
        Ok(SandboxSettings::Run(Options {
            listen: self.must("sandbox-listen", address)?,
            advertised: self.maybe("sandbox-advertise", |text| {
                one_address(text).map(|it| (it.host, it.port))
            })?,
            topics: match self.text("sandbox-topics") {
                Some(path) => self.topics_file(&path)?,
                None => Vec::new(),
            },
            configs: args
                .topic_config
                .iter()
                .map(|text| config(text))
                .collect::<Result<_, _>>()?,
            data: self.text("sandbox-data").map(PathBuf::from),
            max_memory: self.must("sandbox-max-memory", values::bytes)?,
            partitions: self.must("sandbox-partitions", |text| {
                values::number(text, 1, MAX_PARTITIONS)
            })?,
            auto_create: self.switch("sandbox-auto-create")?,
            seed: self.must("sandbox-seed", |text| values::number(text, 0, u64::MAX))?,
        }))
    }

    fn topics_file(&self, path: &str) -> Result<Vec<NewTopic>, Usage> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| self.wrong("sandbox-topics", &format!("{path} cannot be read: {error}")))?;
        let mut topics = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default().trim();
            if !line.is_empty() {
                topics.push(topic(line).map_err(|why| Usage(format!("{path}: line {number}: {why}")))?);
            }
        }
        Ok(topics)
    }
}

fn config(text: &str) -> Result<(String, String), Usage> {
    let (name, value) = text.split_once('=').ok_or_else(|| {
        Usage(format!(
            "--topic-config: \"{text}\" is not NAME=VALUE, such as retention.ms=-1"
        ))
    })?;
    Ok((name.to_owned(), value.to_owned()))
}

fn one_address(text: &str) -> Result<HostPort, String> {
    let mut all = values::addresses(text)?;
    match all.pop() {
        Some(address) if all.is_empty() => Ok(address),
        _ => Err("is not one address".to_owned()),
    }
}

/// An address of this machine, to listen on.
fn address(text: &str) -> Result<SocketAddr, String> {
    // Port 0, which no broker has, is a free one.
    if let Ok(address) = text.replace("localhost:", "127.0.0.1:").parse() {
        return Ok(address);
    }
    let address = one_address(text)?;
    let ip = match address.host.as_str() {
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        host => host
            .parse()
            .map_err(|_| "is no IP address and port of this machine, such as 127.0.0.1:9092".to_owned())?,
    };
    Ok(SocketAddr::new(ip, address.port))
}

/// A line of the file with topics.
fn topic(line: &str) -> Result<NewTopic, String> {
    let mut words = line.split_whitespace().peekable();
    let name = words.next().unwrap_or_default().to_owned();
    super::produce::check_topic(&name).map_err(|why| format!("\"{name}\" {why}"))?;
    let partitions = words.next_if(|word| !word.contains('='));
    let partitions = partitions
        .map(|text| values::number(text, 1, MAX_PARTITIONS).map_err(|why| format!("\"{text}\" {why}")))
        .transpose()?;
    let mut configs = BTreeMap::new();
    for word in words {
        let (name, value) = word.split_once('=').ok_or_else(|| {
            format!("\"{word}\" is not CONFIG=VALUE; a line is NAME [PARTITIONS] [CONFIG=VALUE…]")
        })?;
        configs.insert(name.to_owned(), value.to_owned());
    }
    Ok(NewTopic {
        name,
        partitions,
        configs,
    })
}

fn millis(flag: &str, text: &str) -> Result<u64, Usage> {
    let found = values::duration(text).map_err(|why| Usage(format!("{flag}: \"{text}\" {why}")))?;
    Ok(u64::try_from(found.as_millis()).unwrap_or(u64::MAX))
}

fn control(args: &FaultArgs) -> Result<Control, Usage> {
    let by = args.by.as_ref().map(|text| millis("--by", text)).transpose()?;
    let needed =
        |what: &str| by.ok_or_else(|| Usage(format!("{what}: --by says how long, for example --by 200ms")));
    let (kind, ms) = match args.what {
        What::List => return Ok(Control::List),
        What::Clear => return Ok(Control::Clear),
        What::Clock => {
            return Ok(Control::Shift(
                i64::try_from(needed("clock")?).unwrap_or(i64::MAX),
            ));
        }
        What::Delay => (Kind::Delay, needed("delay")?),
        What::Throttle => (Kind::Throttle, needed("throttle")?),
        What::Drop => (Kind::Drop, 0),
        What::Disconnect => (Kind::Disconnect, 0),
        What::DisconnectAfter => (Kind::DisconnectAfter, 0),
        What::NotEnoughReplicas => (Kind::NotEnoughReplicas, 0),
        What::FullDisk => (Kind::FullDisk, 0),
        What::LeaderMove => (Kind::LeaderMove, 0),
    };
    Ok(Control::Fault(Fault {
        kind,
        ms,
        api: args.api.clone(),
        topic: args.topic.clone(),
        partition: args.partition,
        chance: args.chance.unwrap_or(1.0),
        count: args.count,
        for_ms: args
            .lasts
            .as_ref()
            .map(|text| millis("--for", text))
            .transpose()?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_a_topic_has_a_name_partitions_and_configurations() {
        let orders = topic("orders 6 retention.ms=1000 cleanup.policy=delete").unwrap();
        assert_eq!((orders.name.as_str(), orders.partitions), ("orders", Some(6)));
        assert_eq!(orders.configs["retention.ms"], "1000");
        assert_eq!(topic("orders cleanup.policy=compact").unwrap().partitions, None);
        for wrong in ["orders x", "orders 0", "a/b 1", "orders 1 2", "orders 1 compact"] {
            assert!(topic(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn it_listens_on_addresses_of_this_machine() {
        assert_eq!(address("127.0.0.1:0").unwrap().port(), 0);
        assert_eq!(
            address("localhost:9092"),
            Ok(SocketAddr::from(([127, 0, 0, 1], 9092)))
        );
        assert_eq!(address("[::1]:9092").unwrap().port(), 9092);
        assert!(address("example.org:9092").is_err());
    }
}
