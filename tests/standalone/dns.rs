//! A name server that knows one name.

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::sync::{Arc, Mutex};

const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;

/// Answers until the test process ends.
pub(crate) struct NameServer {
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    /// Answers on `at`, port 53: `name` is at `address` and at `::1`, and no other name exists.
    pub(crate) fn start(at: Ipv4Addr, name: &'static str, address: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind((at, 53)).expect("port 53 of an unused address of loopback");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut packet = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut packet) {
                if let Some((question, answer)) = answer(&packet[..length], name, address) {
                    log.lock().expect("the log").push(question);
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        Self { asked }
    }

    /// Whether a query for `name` came in.
    pub(crate) fn was_asked_for(&self, name: &str) -> bool {
        self.asked
            .lock()
            .expect("the log")
            .iter()
            .any(|question| question == name)
    }
}

/// The name asked for, and the reply to `query` (RFC 1035); nothing for what is not a query with one question.
fn answer(query: &[u8], name: &str, address: Ipv4Addr) -> Option<(String, Vec<u8>)> {
    let (header, mut rest) = query.split_at_checked(12)?;
    let mut labels = Vec::new();
    loop {
        let (&length, after) = rest.split_first()?;
        if length == 0 {
            rest = after;
            break;
        }
        let (label, after) = after.split_at_checked(usize::from(length))?;
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        rest = after;
    }
    let (&[hi, lo, ..], _) = rest.split_at_checked(4)? else {
        return None;
    };
    let question = &query[12..query.len() - rest.len() + 4];
    let asked = labels.join(".");

    let data = match u16::from_be_bytes([hi, lo]) {
        _ if asked != name => None,
        TYPE_A => Some(address.octets().to_vec()),
        TYPE_AAAA => Some(Ipv6Addr::LOCALHOST.octets().to_vec()),
        _ => None,
    };
    // A response, authoritative, recursion available; 3: no such name.
    let code = if asked == name { 0x80 } else { 0x83 };
    let mut reply = vec![
        header[0],
        header[1],
        0x85,
        code,
        0,
        1,
        0,
        u8::from(data.is_some()),
        0,
        0,
        0,
        0,
    ];
    reply.extend_from_slice(question);
    if let Some(data) = data {
        // The question's name, its type, class IN, 60 s.
        reply.extend_from_slice(&[
            0xc0,
            12,
            hi,
            lo,
            0,
            1,
            0,
            0,
            0,
            60,
            0,
            u8::try_from(data.len()).ok()?,
        ]);
        reply.extend_from_slice(&data);
    }
    Some((asked, reply))
}
