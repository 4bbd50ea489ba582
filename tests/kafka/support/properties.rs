//! What `server.properties` says.

use std::fmt::Write;
use std::path::Path;

/// The cluster's id: 16 bytes in base64.
pub(crate) const CLUSTER_ID: &str = "YmFybmFiYXMtY2x1c3RlcQ";

/// Users of the secured broker with their passwords, for PLAIN and both SCRAMs: `admin` may do anything, `nobody`
/// nothing, `guest` what tests let him.
pub(crate) const USERS: [(&str, &str); 3] = [
    ("admin", "admin-secret"),
    ("nobody", "nobody-secret"),
    ("guest", "guest-secret"),
];

/// The ports of one broker.
#[derive(Debug, Clone)]
pub(crate) struct Ports {
    pub(crate) plaintext: u16,
    pub(crate) controller: u16,
    pub(crate) secured: Option<SecuredPorts>,
}

/// The further ports of the secured broker.
#[derive(Debug, Clone)]
pub(crate) struct SecuredPorts {
    /// TLS, no certificate asked of the client.
    pub(crate) ssl: u16,
    /// TLS, a certificate required of the client.
    pub(crate) mutual: u16,
    pub(crate) sasl_plaintext: u16,
    pub(crate) sasl_ssl: u16,
}

/// The text for node `node_id` of the nodes 1..=`all.len()`, whose ports are `all`.
pub(crate) fn server_properties(
    dir: &Path,
    node_id: usize,
    all: &[Ports],
    extra: &[(String, String)],
) -> String {
    let ports = &all[node_id - 1];
    let replication = all.len().min(3);
    let in_sync = if replication == 3 { 2 } else { 1 };
    let voters: Vec<String> = all
        .iter()
        .enumerate()
        .map(|(index, ports)| format!("{}@127.0.0.1:{}", index + 1, ports.controller))
        .collect();
    let mut listeners = format!(
        "PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{}",
        ports.plaintext, ports.controller
    );
    let mut advertised = format!("PLAINTEXT://127.0.0.1:{}", ports.plaintext);
    let mut protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned();
    if let Some(secured) = &ports.secured {
        for (name, protocol, port) in [
            ("SSL", "SSL", secured.ssl),
            ("MUTUAL", "SSL", secured.mutual),
            ("SASL_PLAINTEXT", "SASL_PLAINTEXT", secured.sasl_plaintext),
            ("SASL_SSL", "SASL_SSL", secured.sasl_ssl),
        ] {
            let _ = write!(listeners, ",{name}://127.0.0.1:{port}");
            // By name, since the certificate is for `localhost` and not for 127.0.0.1.
            let _ = write!(advertised, ",{name}://localhost:{port}");
            let _ = write!(protocols, ",{name}:{protocol}");
        }
    }
    // The session: a killed broker's leaderships move after it, and it may not register again before, which is 9 s by
    // default.
    let mut text = format!(
        "process.roles=broker,controller
node.id={node_id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
listeners={listeners}
advertised.listeners={advertised}
listener.security.protocol.map={protocols}
log.dirs={data}
default.replication.factor={replication}
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replication}
offsets.topic.num.partitions=1
transaction.state.log.replication.factor={replication}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor={replication}
share.coordinator.state.topic.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
log.retention.ms=-1
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
log.cleaner.dedupe.buffer.size=16777216
controlled.shutdown.enable=true
",
        voters = voters.join(","),
        data = dir.join("data").display(),
    );
    if ports.secured.is_some() {
        text.push_str(&security(dir));
    }
    for (name, value) in extra {
        let _ = writeln!(text, "{name}={value}");
    }
    text
}

/// TLS, SASL and an authorizer: the listeners on plain TCP and TLS without SASL are `User:ANONYMOUS` and may do
/// anything, as may the client's certificate; a SASL user only if it is `admin`.
fn security(dir: &Path) -> String {
    let pem = |name: &str| dir.join(name).display().to_string();
    let mut text = format!(
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:admin;User:CN=client
ssl.keystore.type=PEM
ssl.keystore.location={server}
ssl.truststore.type=PEM
ssl.truststore.location={ca}
listener.name.mutual.ssl.client.auth=required
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER
",
        server = pem("server-keystore.pem"),
        ca = pem("ca.pem"),
    );
    let mut plain = "org.apache.kafka.common.security.plain.PlainLoginModule required".to_owned();
    for (user, password) in USERS {
        let _ = write!(plain, " user_{user}=\"{password}\"");
    }
    let scram = "org.apache.kafka.common.security.scram.ScramLoginModule required";
    // Takes unsecured tokens (`alg: none`) if no key set is configured.
    let oauth = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
                 unsecuredLoginStringClaim_sub=\"admin\"";
    for listener in ["sasl_plaintext", "sasl_ssl"] {
        for (mechanism, module) in [
            ("plain", plain.as_str()),
            ("scram-sha-256", scram),
            ("scram-sha-512", scram),
            ("oauthbearer", oauth),
        ] {
            let _ = writeln!(
                text,
                "listener.name.{listener}.{mechanism}.sasl.jaas.config={module};"
            );
        }
    }
    text
}
