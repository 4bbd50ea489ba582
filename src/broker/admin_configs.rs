//! Topics' configuration, read and changed; told without the protocol's types.

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::Request;

use super::admin::{Outcome, ask_each};
use super::cluster::Cluster;
use super::error::Error;
use super::request::text;

/// Kafka's number for a resource that is a topic.
const TOPIC: i8 = 2;
/// Kafka's numbers for what to do with a configuration.
const SET: i8 = 0;
const DELETE: i8 = 1;

/// A configuration of a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Kafka's name.
    pub name: String,
    /// Nothing if it is secret.
    pub value: Option<String>,
    /// Where the value comes from.
    pub source: Source,
    /// Cannot be changed.
    pub read_only: bool,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Set for this topic.
    Topic,
    /// Set for a broker or for all brokers while they ran.
    Broker,
    /// In the brokers' `server.properties`.
    BrokerFile,
    /// Nobody set it.
    Default,
    /// Something newer than this program.
    Unknown,
}

impl Source {
    fn from_number(number: i8) -> Self {
        match number {
            1 => Self::Topic,
            2 | 3 => Self::Broker,
            4 => Self::BrokerFile,
            5 => Self::Default,
            _ => Self::Unknown,
        }
    }
}

/// A change of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Name and value.
    Set(String, String),
    /// Back to the brokers' default.
    Unset(String),
}

/// All the configurations of topics, by name; `only` these, or all.
///
/// # Errors
/// If the brokers cannot be asked.
pub async fn describe_configs(
    cluster: &Cluster,
    names: &[&str],
    only: Option<&[&str]>,
) -> Result<Vec<Outcome<Vec<Config>>>, Error> {
    let request = |open: &[usize]| {
        let resources = open.iter().map(|&index| {
            DescribeConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text(names[index]))
                .with_configuration_keys(only.map(|only| only.iter().map(|name| text(name)).collect()))
        });
        DescribeConfigsRequest::default().with_resources(resources.collect())
    };
    let answers = |response: &<DescribeConfigsRequest as Request>::Response| {
        response.results.iter().map(described).collect()
    };
    Ok(ask_each(cluster, names, request, answers).await?.outcomes)
}

/// Reads the configuration of a topic that metadata has: the broker that is asked may not know of a new one for a moment,
/// and is asked again, for `--timeout` at most.
///
/// # Errors
/// If the brokers cannot be asked, or refuse.
pub async fn describe_known(cluster: &Cluster, name: &str, only: &[&str]) -> Result<Vec<Config>, Error> {
    let look = || async {
        let told = describe_configs(cluster, &[name], Some(only)).await?.pop();
        told.unwrap_or(Err(Error::Closed))
    };
    cluster.retry(look).await
}

fn described(result: &DescribeConfigsResult) -> (String, Outcome<Vec<Config>>) {
    let name = result.resource_name.to_string();
    let what = || format!("reading the configuration of topic {name}");
    let outcome = match Error::refused(what, result.error_code, result.error_message.as_deref()) {
        Some(error) => Err(error),
        None => {
            let mut configs: Vec<Config> = result.configs.iter().map(config).collect();
            configs.sort_by(|a, b| a.name.cmp(&b.name));
            Ok(configs)
        }
    };
    (name, outcome)
}

fn config(config: &DescribeConfigsResourceResult) -> Config {
    let value = config.value.as_ref().filter(|_| !config.is_sensitive);
    Config {
        name: config.name.to_string(),
        value: value.map(ToString::to_string),
        source: Source::from_number(config.config_source),
        read_only: config.read_only,
    }
}

/// Changes the configuration of topics, each in the same way, all of a topic's changes or none; with `dry_run` the
/// brokers only check whether they would.
///
/// # Errors
/// If the brokers cannot be asked.
pub async fn alter_configs(
    cluster: &Cluster,
    names: &[&str],
    changes: &[Change],
    dry_run: bool,
) -> Result<Vec<Outcome<()>>, Error> {
    let configs: Vec<AlterableConfig> = changes.iter().map(alterable).collect();
    let request = |open: &[usize]| {
        let resources = open.iter().map(|&index| {
            AlterConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text(names[index]))
                .with_configs(configs.clone())
        });
        IncrementalAlterConfigsRequest::default()
            .with_resources(resources.collect())
            .with_validate_only(dry_run)
    };
    let answers = |response: &<IncrementalAlterConfigsRequest as Request>::Response| {
        let each = response.responses.iter().map(|topic| {
            let name = topic.resource_name.to_string();
            let what = || format!("changing the configuration of topic {name}");
            let error = Error::refused(what, topic.error_code, topic.error_message.as_deref());
            (name, error.map_or(Ok(()), Err))
        });
        each.collect()
    };
    Ok(ask_each(cluster, names, request, answers).await?.outcomes)
}

fn alterable(change: &Change) -> AlterableConfig {
    let (name, operation, value) = match change {
        Change::Set(name, value) => (name, SET, Some(text(value))),
        Change::Unset(name) => (name, DELETE, None),
    };
    AlterableConfig::default()
        .with_name(text(name))
        .with_config_operation(operation)
        .with_value(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_no_value_and_configs_are_sorted() {
        let told = |name: &str, source, sensitive| {
            DescribeConfigsResourceResult::default()
                .with_name(text(name))
                .with_value(Some(text("v")))
                .with_config_source(source)
                .with_is_sensitive(sensitive)
        };
        let result = DescribeConfigsResult::default()
            .with_resource_name(text("t"))
            .with_configs(vec![told("b", 5, false), told("a", 1, true), told("c", 9, false)]);
        let (name, configs) = described(&result);
        assert_eq!(name, "t");
        let configs: Vec<_> = configs
            .unwrap()
            .into_iter()
            .map(|c| (c.name, c.value, c.source))
            .collect();
        let v = Some("v".to_owned());
        assert_eq!(
            configs,
            [
                ("a".to_owned(), None, Source::Topic),
                ("b".to_owned(), v.clone(), Source::Default),
                ("c".to_owned(), v, Source::Unknown),
            ]
        );
    }

    #[test]
    fn changes_are_kafkas_operations() {
        let set = alterable(&Change::Set("a".to_owned(), "1".to_owned()));
        assert_eq!((set.config_operation, set.value.as_deref()), (0, Some("1")));
        let unset = alterable(&Change::Unset("a".to_owned()));
        assert_eq!((unset.config_operation, unset.value), (1, None));
    }
}
