//! Free ports of 127.0.0.1.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// Ports are taken from here up: below the range that the kernel gives to outgoing connections (32768 on), so that no
/// client sits on a broker's port while the broker is down.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port on which nobody listens; not given twice by this process before the range is used up.
pub(crate) fn free() -> u16 {
    // Processes start at different places, so that two at once rarely ask for the same port.
    let start = u16::try_from(std::process::id() * 97 % u32::from(COUNT)).unwrap_or(0);
    for _ in 0..COUNT {
        let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let port = FIRST + (start + step) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}
