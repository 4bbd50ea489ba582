//! From a host's name to its addresses, also in an image that holds nothing but the binary.
//!
//! glibc's own resolver is used, linked statically or not: its `files` and `dns` sources are built in, so `/etc/hosts` and
//! `/etc/resolv.conf` (servers, search list, options) work in an empty root; the static build keeps it from loading others
//! (`scripts/no-shared-objects.rs`). What it cannot do there is `localhost`, which it knows from `/etc/hosts` only; so that
//! name is answered here. (A resolver in Rust was the alternative: a second opinion on files that the operating
//! system already reads, and half a megabyte.)

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use tokio::sync::oneshot;

/// What `localhost` means (RFC 6761), whatever the files and name servers say. IPv4 first: it works where IPv6 is switched off.
const LOOPBACK: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

/// A host has no address that we could find out; why is its source.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot find the address of `{host}` (is the name spelled right, and known to /etc/hosts or to a server in /etc/resolv.conf?)"
)]
struct ResolveError {
    host: String,
    source: io::Error,
}

/// The addresses of `host` with `port`, in the order in which they are to be tried; at least one.
///
/// `host` is a name, an IPv4 address, or an IPv6 address with or without brackets. Only names other than `localhost` are looked up.
/// The look-up cannot be interrupted and takes as long as `/etc/resolv.conf` allows (by default 5 s, twice per
/// server), but this future can be dropped at any time, and an unfinished look-up holds up neither the runtime nor the end of the process.
///
/// # Errors
/// Of kind `NotFound`, with the resolver's own words as its source, if the name is unknown, has no address, or no name server
/// answered: glibc's codes for these are not to be had from the standard library.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Some(known) = without_lookup(host) {
        return Ok(known.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
    }
    let failed = |source| {
        io::Error::new(
            io::ErrorKind::NotFound,
            ResolveError {
                host: host.to_owned(),
                source,
            },
        )
    };
    match look_up(host.to_owned(), port).await {
        Ok(addresses) if addresses.is_empty() => Err(failed(io::Error::other("no address is known for it"))),
        Ok(addresses) => Ok(addresses),
        Err(_) if is_below_localhost(host) => {
            Ok(LOOPBACK.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
        }
        Err(source) => Err(failed(source)),
    }
}

/// The addresses that follow from the text alone.
fn without_lookup(host: &str) -> Option<Vec<IpAddr>> {
    let unbracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if let Ok(ip) = unbracketed.unwrap_or(host).parse::<IpAddr>() {
        // Brackets are for IPv6 only: `[127.0.0.1]` is a slip that is better told than guessed.
        return (unbracketed.is_none() || ip.is_ipv6()).then(|| vec![ip]);
    }
    let name = host.strip_suffix('.').unwrap_or(host);
    name.eq_ignore_ascii_case("localhost").then(|| LOOPBACK.to_vec())
}

/// `broker.localhost` is loopback unless the system knows better; people do put such names into `/etc/hosts`.
fn is_below_localhost(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    name.rsplit_once('.')
        .is_some_and(|(below, last)| !below.is_empty() && last.eq_ignore_ascii_case("localhost"))
}

/// Asks the system, on a thread of its own: the runtime waits for its blocking tasks when it ends, and a name server
/// that does not answer would hold up the exit.
async fn look_up(host: String, port: u16) -> io::Result<Vec<SocketAddr>> {
    let (answer, asked) = oneshot::channel();
    std::thread::Builder::new()
        .name("resolve".into())
        .spawn(move || {
            let found = (host.as_str(), port).to_socket_addrs().map(first_of_each);
            // Nobody waits any more: then nobody needs the answer.
            let _ = answer.send(found);
        })?;
    asked.await.map_err(io::Error::other)?
}

/// The same addresses in the same order, each once (a host can stand in `/etc/hosts` twice).
fn first_of_each(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut each = Vec::new();
    for address in addresses {
        if !each.contains(&address) {
            each.push(address);
        }
    }
    each
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(host: &str) -> io::Result<Vec<SocketAddr>> {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(resolve(host, 9092))
    }

    fn addresses(all: &[&str]) -> Vec<SocketAddr> {
        all.iter().map(|one| one.parse().unwrap()).collect()
    }

    #[test]
    fn literals_need_no_lookup() {
        assert_eq!(now("192.0.2.7").unwrap(), addresses(&["192.0.2.7:9092"]));
        assert_eq!(now("2001:db8::7").unwrap(), addresses(&["[2001:db8::7]:9092"]));
        assert_eq!(now("[2001:db8::7]").unwrap(), addresses(&["[2001:db8::7]:9092"]));
    }

    #[test]
    fn localhost_is_loopback_without_any_file() {
        for name in ["localhost", "LocalHost", "localhost."] {
            assert_eq!(
                now(name).unwrap(),
                addresses(&["127.0.0.1:9092", "[::1]:9092"]),
                "{name}"
            );
        }
    }

    #[test]
    fn only_whole_labels_count_as_localhost() {
        assert!(is_below_localhost("broker.localhost"));
        assert!(is_below_localhost("a.broker.LOCALHOST."));
        assert!(!is_below_localhost("localhost"));
        assert!(!is_below_localhost(".localhost"));
        assert!(!is_below_localhost("notlocalhost"));
        assert!(!is_below_localhost("localhost.example"));
    }

    #[test]
    fn an_unknown_name_is_named_with_the_resolvers_reason() {
        // The empty label is refused by the resolver itself: no name server is asked.
        let error = now("no..such").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert!(error.to_string().contains("`no..such`"), "{error}");
        assert!(std::error::Error::source(error.get_ref().unwrap()).is_some());
    }

    #[test]
    fn an_ipv4_address_in_brackets_is_refused() {
        assert!(now("[127.0.0.1]").is_err());
    }

    #[test]
    fn a_host_listed_twice_is_tried_once() {
        let listed = addresses(&["192.0.2.1:1", "192.0.2.2:1", "192.0.2.1:1"]);
        assert_eq!(
            first_of_each(listed.into_iter()),
            addresses(&["192.0.2.1:1", "192.0.2.2:1"])
        );
    }
}
