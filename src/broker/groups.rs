//! Kafka's own consumer groups: found, listed, described, deleted; told without the protocol's types.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_protocol::messages::describe_groups_response::{
    DescribedGroup as WireGroup, DescribedGroupMember as WireMember,
};
use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, FindCoordinatorRequest, GroupId, ListGroupsRequest,
};

use super::cluster::{Cluster, Lane, Node};
use super::error::{Error, ResponseError};
use super::request::{Api, text};

/// A group as the brokers list it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// What its members speak among themselves: `consumer`, `connect`; empty if there are only committed offsets.
    pub protocol_type: String,
    /// `Stable`, `Empty`, …; empty before Kafka 2.6.
    pub state: String,
    /// `classic`, `consumer`, `share`, …; empty before Kafka 3.8.
    pub kind: String,
}

/// A group as its coordinator describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// `Stable`, `Empty`, `Dead` (there is no such group), …
    pub state: String,
    /// As in [`Listed`].
    pub protocol_type: String,
    /// How it assigns its partitions: `range`, …
    pub protocol: String,
    /// Those by Kafka's own protocol, in the coordinator's order.
    pub members: Vec<NativeMember>,
}

/// A member by Kafka's own protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NativeMember {
    /// Its id, made by the coordinator.
    pub id: String,
    /// `group.instance.id`
    pub instance: Option<String>,
    /// `client.id`
    pub client_id: String,
    /// Where it is connected from.
    pub host: String,
}

/// All groups of the cluster, by name, and the brokers that did not tell theirs.
///
/// # Errors
/// If no broker answers.
pub async fn list(cluster: &Cluster) -> Result<(Vec<Listed>, Vec<(i32, Error)>), Error> {
    let view = cluster.refresh(Some(&[])).await?;
    let brokers: Vec<i32> = view.brokers.keys().copied().collect();
    let answers = join_all(brokers.iter().map(|broker| list_of(cluster, *broker))).await;
    let mut groups = BTreeMap::new();
    let mut silent = Vec::new();
    for (broker, answer) in brokers.into_iter().zip(answers) {
        match answer {
            Ok(listed) => groups.extend(listed.into_iter().map(|group| (group.name.clone(), group))),
            Err(error) => silent.push((broker, error)),
        }
    }
    Ok((groups.into_values().collect(), silent))
}

async fn list_of(cluster: &Cluster, broker: i32) -> Result<Vec<Listed>, Error> {
    cluster
        .retry(|| async {
            let connection = cluster.connection(Node::Broker(broker), Lane::Other).await?;
            let response = connection
                .request(&ListGroupsRequest::default(), Duration::ZERO)
                .await?;
            let what = || format!("listing the groups of broker {broker}");
            if let Some(error) = Error::refused(what, response.error_code, None) {
                return Err(error);
            }
            let listed = response.groups.iter().map(|group| Listed {
                name: group.group_id.to_string(),
                protocol_type: group.protocol_type.to_string(),
                state: group.group_state.to_string(),
                kind: group.group_type.to_string(),
            });
            Ok(listed.collect())
        })
        .await
}

/// A group by Kafka's own protocol; one that does not exist is `Dead`.
///
/// # Errors
/// If its coordinator cannot be asked, or refuses to tell.
pub async fn describe(cluster: &Cluster, group: &str) -> Result<Described, Error> {
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
    let answer = ask_coordinator(cluster, group, &request, |response| {
        let described = response.groups.into_iter().next();
        let described = described.ok_or_else(|| left_out("describing", group))?;
        let what = || format!("describing group {group}");
        match Error::refused(what, described.error_code, None) {
            // Kafka 4 says so where older brokers call the group dead.
            Some(error) if error.code() == Some(ResponseError::GroupIdNotFound) => Ok(Described {
                state: "Dead".to_owned(),
                protocol_type: String::new(),
                protocol: String::new(),
                members: Vec::new(),
            }),
            Some(error) => Err(error),
            None => Ok(told(&described)),
        }
    });
    answer.await
}

fn told(group: &WireGroup) -> Described {
    let member = |member: &WireMember| NativeMember {
        id: member.member_id.to_string(),
        instance: member.group_instance_id.as_ref().map(ToString::to_string),
        client_id: member.client_id.to_string(),
        host: member.client_host.trim_start_matches('/').to_owned(),
    };
    Described {
        state: group.group_state.to_string(),
        protocol_type: group.protocol_type.to_string(),
        protocol: group.protocol_data.to_string(),
        members: group.members.iter().map(member).collect(),
    }
}

/// Deletes a group with its committed offsets.
///
/// # Errors
/// If its coordinator cannot be asked, or refuses: the group has members, or does not exist.
pub async fn delete(cluster: &Cluster, group: &str) -> Result<(), Error> {
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(group)]);
    ask_coordinator(cluster, group, &request, |response| {
        let result = response.results.first();
        let code = result.ok_or_else(|| left_out("deleting", group))?.error_code;
        let what = || format!("deleting group {group}");
        Error::refused(what, code, None).map_or(Ok(()), Err)
    })
    .await
}

fn left_out(doing: &str, group: &str) -> Error {
    Error::Refused {
        what: format!("{doing} group {group}"),
        code: ResponseError::UnknownServerError,
        message: Some("the answer leaves it out".to_owned()),
    }
}

pub(super) fn group_id(group: &str) -> GroupId {
    GroupId(text(group))
}

/// Asks the group's coordinator, and where trying again may help, finds it anew and asks again until `--timeout` is
/// over; `read` makes something of the answer, or says why it is an error.
pub(super) async fn ask_coordinator<R: Api, T>(
    cluster: &Cluster,
    group: &str,
    request: &R,
    read: impl Fn(R::Response) -> Result<T, Error>,
) -> Result<T, Error> {
    cluster
        .retry(|| async {
            let coordinator = coordinator(cluster, group).await?;
            let node = Node::Broker(coordinator);
            let connection = cluster.connection(node, Lane::Other).await?;
            read(connection.request(request, Duration::ZERO).await?)
        })
        .await
}

/// One try.
async fn coordinator(cluster: &Cluster, group: &str) -> Result<i32, Error> {
    let connection = cluster.connection(Node::Any, Lane::Other).await?;
    let request = FindCoordinatorRequest::default().with_key(text(group));
    let response = connection.request(&request, Duration::ZERO).await?;
    let what = || format!("finding the coordinator of group {group}");
    let message = response.error_message.as_deref();
    if let Some(error) = Error::refused(what, response.error_code, message) {
        return Err(error);
    }
    let broker = response.node_id.0;
    if !cluster.view().brokers.contains_key(&broker) {
        cluster.refresh(Some(&[])).await?;
    }
    Ok(broker)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_members_host_has_no_slash_before_it() {
        let member = WireMember::default()
            .with_member_id(text("m-1"))
            .with_client_host(text("/10.0.0.7"));
        let group = WireGroup::default()
            .with_group_state(text("Stable"))
            .with_protocol_data(text("range"))
            .with_members(vec![member]);
        let told = told(&group);
        assert_eq!((told.state.as_str(), told.protocol.as_str()), ("Stable", "range"));
        assert_eq!(told.members[0].host, "10.0.0.7");
    }
}
