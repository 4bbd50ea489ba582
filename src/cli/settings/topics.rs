//! `topics`.

use super::produce::check_topic;
use super::{Settings, Usage, values};
use crate::cli::args::TopicsCommand;

/// What `topics` shall do.
#[derive(Debug, Clone)]
pub struct TopicsSettings {
    /// Which of its commands.
    pub action: TopicsAction,
    /// `--json`
    pub json: bool,
}

/// One of the commands of `topics`; lists of topics are never empty.
#[derive(Debug, Clone)]
pub enum TopicsAction {
    /// `topics list`
    List {
        /// Kafka's own topics as well.
        internal: bool,
    },
    /// `topics describe`
    Describe {
        /// In the order given.
        topics: Vec<String>,
    },
    /// `topics create`
    Create(CreateTopics),
    /// `topics alter`
    Alter(AlterTopics),
    /// `topics delete`
    Delete {
        /// In the order given.
        topics: Vec<String>,
        /// Do not ask.
        yes: bool,
        /// Only say what would be done.
        dry_run: bool,
    },
}

/// `topics create`
#[derive(Debug, Clone)]
pub struct CreateTopics {
    /// In the order given.
    pub topics: Vec<String>,
    /// The brokers' default if none.
    pub partitions: Option<i32>,
    /// The brokers' default if none.
    pub replication: Option<i16>,
    /// Kafka's names and values; `--retention` is `retention.ms` here.
    pub configs: Vec<(String, String)>,
    /// A topic that is there already is no error.
    pub if_not_exists: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// `topics alter`; at least one thing is to be changed.
#[derive(Debug, Clone)]
pub struct AlterTopics {
    /// In the order given.
    pub topics: Vec<String>,
    /// The new number.
    pub partitions: Option<i32>,
    /// Kafka's names and values; `--retention` is `retention.ms` here.
    pub configs: Vec<(String, String)>,
    /// Names that go back to the brokers' default.
    pub unset: Vec<String>,
    /// Do not ask.
    pub yes: bool,
    /// Only say what would be done.
    pub dry_run: bool,
}

impl Settings {
    /// What `topics` shall do.
    ///
    /// # Errors
    /// If a value is not what it should be.
    pub(crate) fn topics(&self, command: &TopicsCommand) -> Result<TopicsSettings, Usage> {
        let action = match command {
            TopicsCommand::List(_) => TopicsAction::List {
                internal: self.switch("internal")?,
            },
            TopicsCommand::Describe(_) => TopicsAction::Describe {
                topics: self.names()?,
            },
            TopicsCommand::Create(_) => TopicsAction::Create(CreateTopics {
                topics: self.names()?,
                partitions: self.partitions()?,
                replication: self.maybe("replication", |text| values::number(text, 1, i16::MAX))?,
                configs: self.configs()?,
                if_not_exists: self.switch("if-not-exists")?,
                dry_run: self.switch("dry-run")?,
            }),
            TopicsCommand::Alter(_) => {
                let alter = AlterTopics {
                    topics: self.names()?,
                    partitions: self.partitions()?,
                    configs: self.configs()?,
                    unset: self
                        .list("unset")
                        .iter()
                        .flat_map(|text| text.split(','))
                        .map(|name| name.trim().to_owned())
                        .collect(),
                    yes: self.switch("yes")?,
                    dry_run: self.switch("dry-run")?,
                };
                if alter.partitions.is_none() && alter.configs.is_empty() && alter.unset.is_empty() {
                    return Err(Usage(
                        "nothing to alter: give --partitions, --retention, --config or --unset".to_owned(),
                    ));
                }
                if let Some((name, _)) = alter.configs.iter().find(|(name, _)| alter.unset.contains(name)) {
                    return Err(self.wrong("unset", &format!("{name} is to be set as well")));
                }
                TopicsAction::Alter(alter)
            }
            TopicsCommand::Delete(_) => TopicsAction::Delete {
                topics: self.names()?,
                yes: self.switch("yes")?,
                dry_run: self.switch("dry-run")?,
            },
        };
        Ok(TopicsSettings {
            action,
            json: self.switch("json")?,
        })
    }

    fn names(&self) -> Result<Vec<String>, Usage> {
        let mut names: Vec<String> = Vec::new();
        for name in self.list("topics") {
            check_topic(&name).map_err(|why| self.wrong("topics", &format!("\"{name}\" {why}")))?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn partitions(&self) -> Result<Option<i32>, Usage> {
        self.maybe("partitions", |text| values::number(text, 1, i32::MAX))
    }

    fn configs(&self) -> Result<Vec<(String, String)>, Usage> {
        let mut configs: Vec<(String, String)> = Vec::new();
        let retention = self.maybe("retention", |text| match text {
            "-1" => Ok("-1".to_owned()),
            text => values::duration(text).map(|found| found.as_millis().to_string()),
        })?;
        configs.extend(retention.map(|millis| ("retention.ms".to_owned(), millis)));
        for text in self.list("topic-config") {
            let (name, value) = text
                .split_once('=')
                .filter(|(name, _)| !name.trim().is_empty())
                .ok_or_else(|| self.wrong("topic-config", &format!("\"{text}\" is not NAME=VALUE")))?;
            let name = name.trim();
            if configs.iter().any(|(known, _)| known == name) {
                return Err(self.wrong("topic-config", &format!("{name} is given twice")));
            }
            configs.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(configs)
    }
}
