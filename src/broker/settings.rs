//! How the brokers are reached: validated settings, without a connection.

use std::path::PathBuf;
use std::time::Duration;

/// A broker's address as written: name or IP address, and port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// Name, IPv4 address, or IPv6 address without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What every connection needs to know.
#[derive(Debug, Clone)]
pub struct BrokerSettings {
    /// Tried in this order until one answers; the others are learnt from it.
    pub bootstrap: Vec<HostPort>,
    /// Announced to the brokers with each request (`client.id`).
    pub client_id: String,
    /// From the first try to giving up on reaching any broker (`--timeout`, 10 s).
    pub timeout: Duration,
    /// For one request to be answered, on top of what the request itself lets the broker wait (`request.timeout.ms`, 30 s).
    pub request_timeout: Duration,
    /// For one TCP connection, TLS and SASL included (`socket.connection.setup.timeout.ms`, 10 s).
    pub connect_timeout: Duration,
    /// TLS, unless plaintext.
    pub tls: Option<TlsSettings>,
    /// SASL, unless none.
    pub sasl: Option<SaslSettings>,
}

/// TLS as `security.protocol=ssl|sasl_ssl` asks for it.
#[derive(Debug, Clone, Default)]
pub struct TlsSettings {
    /// PEM file with the authorities to trust instead of the system's (`ssl.ca.location`).
    pub ca: Option<PathBuf>,
    /// PEM file with the client's certificate chain (`ssl.certificate.location`).
    pub certificate: Option<PathBuf>,
    /// PEM file with the client's private key (`ssl.key.location`).
    pub key: Option<PathBuf>,
    /// Whether the certificate must name the host (`ssl.endpoint.identification.algorithm=https|none`).
    pub skip_host_check: bool,
}

/// SASL as `sasl.mechanism` asks for it.
#[derive(Clone)]
pub enum SaslSettings {
    /// PLAIN.
    Plain(Login),
    /// SCRAM-SHA-256.
    ScramSha256(Login),
    /// SCRAM-SHA-512.
    ScramSha512(Login),
    /// OAUTHBEARER.
    OauthBearer(TokenSource),
}

/// User name and password. Its `Debug` does not show the password.
#[derive(Clone)]
pub struct Login {
    /// `sasl.username`
    pub username: String,
    /// `sasl.password`
    pub password: String,
}

/// Where an OAUTHBEARER token comes from; asked anew for each connection.
#[derive(Clone)]
pub enum TokenSource {
    /// A file that holds the token; white space around it is left out.
    File(PathBuf),
    /// A command, run without a shell, that prints the token.
    Command(Vec<String>),
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login")
            .field("username", &self.username)
            .field("password", &"***")
            .finish()
    }
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Command(_) => f.write_str("Command(***)"),
        }
    }
}

impl std::fmt::Debug for SaslSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain(_) => "PLAIN",
            Self::ScramSha256(_) => "SCRAM-SHA-256",
            Self::ScramSha512(_) => "SCRAM-SHA-512",
            Self::OauthBearer(_) => "OAUTHBEARER",
        })
    }
}
