//! Where events go: `http://host/path`, `https://…`, `unix:/path/of/socket` or `unix:/path/of/socket:/path`.
//!
//! `{name}` in the path stands for an event's value: an attribute, or `topic`, `partition`, `offset` and `key`. It fills a path segment or
//! part of one, encoded, and nothing else: no event can choose its host, add a segment, or leave the path.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::PathBuf;

use super::Delivery;
use crate::event::Event;

/// How the target is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// By TCP.
    Tcp {
        /// Name or address, IPv6 without brackets.
        host: String,
        /// Port.
        port: u16,
        /// With TLS over it.
        tls: bool,
    },
    /// By a Unix socket.
    Unix(PathBuf),
}

/// A parsed URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// How it is reached.
    pub endpoint: Endpoint,
    /// The value of `Host`.
    pub authority: String,
    path: Vec<Piece>,
    /// With its `?`, or empty.
    query: String,
    /// Path and query, without the values of events.
    fixed: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Value(String),
}

/// A URL that cannot be a target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the URL `{url}` {why}")]
pub struct TargetError {
    url: String,
    why: &'static str,
}

/// An event does not fit the URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A value is missing or empty.
    #[error("the event has no `{0}`, which the URL's path needs")]
    Missing(String),
    /// `.` or `..`.
    #[error("a segment of the URL's path would be `.` or `..`")]
    Dots,
}

impl Target {
    /// Reads a URL as the user wrote it.
    ///
    /// # Errors
    /// If it is none that events can be posted to.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        split(url).map_err(|why| TargetError {
            // What stands before an `@` may be a password.
            url: url.rsplit_once('@').map_or(url, |(_, rest)| rest).to_owned(),
            why,
        })
    }

    /// Whether what is sent there stays on this machine: a Unix socket or a loopback address.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match &self.endpoint {
            Endpoint::Unix(_) => true,
            Endpoint::Tcp { host, .. } => {
                host.eq_ignore_ascii_case("localhost")
                    || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
            }
        }
    }

    /// Whether what is sent there can be read or changed on the way.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        !self.is_local() && !matches!(self.endpoint, Endpoint::Tcp { tls: true, .. })
    }

    /// Whether the path is the same for each event.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        !self.path.iter().any(|piece| matches!(piece, Piece::Value(_)))
    }

    /// Path and query without an event; values are left out.
    #[must_use]
    pub fn fixed_path(&self) -> &str {
        &self.fixed
    }

    fn new(endpoint: Endpoint, authority: &str, (path, query): (Vec<Piece>, String)) -> Self {
        let literals = path.iter().filter_map(|piece| match piece {
            Piece::Literal(text) => Some(text.as_str()),
            Piece::Value(_) => None,
        });
        Self {
            fixed: literals.chain([query.as_str()]).collect(),
            endpoint,
            authority: authority.to_owned(),
            path,
            query,
        }
    }

    /// Path and query for an event.
    ///
    /// # Errors
    /// If a value is missing, or would make a segment that servers treat as a step.
    pub fn path(&self, delivery: &Delivery, event: &Event<'_>) -> Result<Cow<'_, str>, PathError> {
        if self.is_fixed() {
            return Ok(Cow::Borrowed(&self.fixed));
        }
        let mut path = String::new();
        for piece in &self.path {
            match piece {
                Piece::Literal(text) => path.push_str(text),
                Piece::Value(name) => {
                    let before = path.len();
                    append(&mut path, name, delivery, event);
                    if path.len() == before {
                        return Err(PathError::Missing(name.clone()));
                    }
                }
            }
        }
        if path.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(PathError::Dots);
        }
        path.push_str(&self.query);
        Ok(Cow::Owned(path))
    }
}

fn append(path: &mut String, name: &str, delivery: &Delivery, event: &Event<'_>) {
    // Writing to a string cannot fail.
    match name {
        "topic" => encode(path, delivery.topic.as_bytes()),
        "partition" => drop(write!(path, "{}", delivery.partition)),
        "offset" => drop(write!(path, "{}", delivery.offset)),
        "key" => encode(path, delivery.record.key().unwrap_or_default()),
        name => encode(path, event.get(name).unwrap_or_default()),
    }
}

/// Everything but RFC 3986's unreserved characters is percent-encoded.
fn encode(path: &mut String, value: &[u8]) {
    for &byte in value {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            path.push(char::from(byte));
        } else {
            let _ = write!(path, "%{byte:02X}");
        }
    }
}

fn split(url: &str) -> Result<Target, &'static str> {
    if let Some(rest) = url.strip_prefix("unix:") {
        let (socket, path) = match rest.split_once(':') {
            Some((socket, path)) => (socket, path),
            None => (rest, "/"),
        };
        if socket.is_empty() {
            return Err("names no socket");
        }
        let endpoint = Endpoint::Unix(PathBuf::from(socket));
        return Ok(Target::new(endpoint, "localhost", path_and_query(path)?));
    }
    let (tls, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Err("begins with none of http://, https:// and unix:"),
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('@') {
        return Err("holds a user or password: give credentials in a file");
    }
    let (host, port) = host_and_port(authority, if tls { 443 } else { 80 })?;
    let endpoint = Endpoint::Tcp { host, port, tls };
    Ok(Target::new(endpoint, authority, path_and_query(path)?))
}

fn host_and_port(authority: &str, default: u16) -> Result<(String, u16), &'static str> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or("lacks a `]`")?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("has brackets around something else than an IPv6 address");
            }
            (host, port.strip_prefix(':').or(port.is_empty().then_some("")))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("")),
        },
    };
    let sound = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(sound) {
        return Err("has no host, or one with characters that no name has");
    }
    match port {
        Some("") if !authority.ends_with(':') => Ok((host.to_owned(), default)),
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => match port.parse() {
            Ok(port) if port > 0 => Ok((host.to_owned(), port)),
            _ => Err("has a port outside 1 to 65535"),
        },
        _ => Err("has a port that is no number"),
    }
}

fn path_and_query(text: &str) -> Result<(Vec<Piece>, String), &'static str> {
    if text.contains('#') {
        return Err("has a fragment (`#`), which is never sent");
    }
    let (path, query) = match text.find('?') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    if !path.is_empty() && !path.starts_with('/') {
        return Err("has a path that does not begin with `/`");
    }
    let sound = |byte: u8| byte.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&byte);
    if !query.bytes().all(sound) {
        return Err(
            "has characters in its query that must be percent-encoded (values of events go into the path only)",
        );
    }
    let mut pieces = Vec::new();
    let mut rest = if path.is_empty() { "/" } else { path };
    while !rest.is_empty() {
        let (literal, after) = rest.split_at(rest.find('{').unwrap_or(rest.len()));
        if !literal.bytes().all(sound) {
            return Err("has characters in its path that must be percent-encoded");
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.to_owned()));
        }
        rest = match after.strip_prefix('{') {
            None => after,
            Some(after) => {
                let (name, after) = after.split_once('}').ok_or("lacks a `}`")?;
                let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
                if name.is_empty() || !name.bytes().all(is_name) {
                    return Err("has something between `{` and `}` that is no attribute's name (a-z, 0-9)");
                }
                pieces.push(Piece::Value(name.to_owned()));
                after
            }
        };
    }
    Ok((pieces, query.to_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::with;
    use super::*;

    fn path(url: &str, id: &[u8]) -> Result<String, PathError> {
        let delivery = with(&[("ce_id", Some(id))]);
        let event = delivery.event().unwrap();
        Target::parse(url)
            .unwrap()
            .path(&delivery, &event)
            .map(Cow::into_owned)
    }

    fn tcp(url: &str) -> (String, u16, bool) {
        match Target::parse(url).unwrap().endpoint {
            Endpoint::Tcp { host, port, tls } => (host, port, tls),
            Endpoint::Unix(path) => panic!("{path:?}"),
        }
    }

    #[test]
    fn urls_are_read_as_written() {
        assert_eq!(tcp("http://api"), ("api".into(), 80, false));
        assert_eq!(tcp("https://api:8443/x?y=1"), ("api".into(), 8443, true));
        assert_eq!(tcp("http://[::1]:3000"), ("::1".into(), 3000, false));
        assert_eq!(path("http://api", b"1").unwrap(), "/");
        assert_eq!(path("http://api?a=b", b"1").unwrap(), "/?a=b");
        assert_eq!(path("https://api/a/b?c=%20", b"1").unwrap(), "/a/b?c=%20");
    }

    #[test]
    fn a_unix_socket_may_have_a_path() {
        let target = Target::parse("unix:/run/app.sock:/events/{id}").unwrap();
        assert_eq!(target.endpoint, Endpoint::Unix("/run/app.sock".into()));
        assert_eq!(
            path("unix:/run/app.sock:/events/{id}", b"7").unwrap(),
            "/events/7"
        );
        assert_eq!(path("unix:/run/app.sock", b"7").unwrap(), "/");
    }

    #[test]
    fn what_is_no_target_is_refused() {
        for wrong in [
            "",
            "api",
            "ftp://api",
            "http://",
            "http:///x",
            "http://a b",
            "http://api:0",
            "http://api:x",
            "http://api:",
            "http://api:70000",
            "http://[::1",
            "http://[api]",
            "http://api/#x",
            "http://api/a b",
            "http://api/{",
            "http://api/{A}",
            "http://api/{}",
            "http://api/}",
            "http://api?x={id}",
            "http://{id}/",
            "unix:",
            "unix:/s:x",
            "http://api/\n",
            "http://[::1]x",
        ] {
            assert!(Target::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_not_repeated() {
        let text = Target::parse("http://me:secret@api/").unwrap_err().to_string();
        assert!(!text.contains("secret"), "{text}");
    }

    #[test]
    fn only_loopback_and_sockets_are_local() {
        let local = |url| Target::parse(url).unwrap().is_local();
        assert!(
            local("http://localhost")
                && local("http://127.1.2.3")
                && local("http://[::1]")
                && local("unix:/s")
        );
        assert!(!local("http://api") && !local("http://10.0.0.1") && !local("http://localhost.evil.example"));
        assert!(Target::parse("http://api").unwrap().is_exposed());
        assert!(!Target::parse("https://api").unwrap().is_exposed());
    }

    #[test]
    fn an_events_value_stays_in_its_segment() {
        assert_eq!(
            path("http://api/o/{id}/x", b"a/../b?c#d%").unwrap(),
            "/o/a%2F..%2Fb%3Fc%23d%25/x"
        );
        assert_eq!(path("http://api/{id}", b".."), Err(PathError::Dots));
        assert_eq!(path("http://api/.{id}/x", b"."), Err(PathError::Dots));
        assert_eq!(path("http://api/{id}", b""), Err(PathError::Missing("id".into())));
        assert_eq!(
            path("http://api/{subject}", b"1"),
            Err(PathError::Missing("subject".into()))
        );
        assert_eq!(
            path("http://api/{topic}/{partition}/{offset}/{key}", b"1").unwrap(),
            "/orders/3/12/k%201"
        );
    }

    proptest! {
        #[test]
        fn no_value_adds_a_segment_or_a_query(id in prop::collection::vec(any::<u8>(), 1..30)) {
            if let Ok(path) = path("http://api/a/{id}/b", &id) {
                prop_assert_eq!(path.matches('/').count(), 3);
                prop_assert!(path.bytes().all(|b| b.is_ascii_graphic() && b != b'?' && b != b'#'));
            }
        }

        #[test]
        fn no_url_panics(url in "(http://|https://|unix:)?[ -~]{0,20}") {
            let _ = Target::parse(&url);
        }
    }
}
