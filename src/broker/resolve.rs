//! From a host's name to its addresses.

use std::io;
use std::net::SocketAddr;

/// The addresses of `host` with `port`, in the order in which they are to be tried; at least one.
///
/// # Errors
/// If the name is unknown or has no address.
pub async fn resolve(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    if found.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no address is known for it",
        ));
    }
    Ok(found)
}
