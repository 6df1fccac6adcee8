//! Ports on the loopback interface, each given out once: tests run beside each other, and so do test runs.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// Below the ports that Linux gives to outgoing connections (from 32768 on): a service that is killed and started again
/// finds its port free.
const FIRST: u16 = 18_432;
const COUNT: u16 = 14_336;

/// A port that nobody else is given as long as this process lives.
pub fn claim() -> io::Result<u16> {
    static CLAIMS: Mutex<(u32, Vec<UdpSocket>)> = Mutex::new((0, Vec::new()));
    let mut guard = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
    let (next, claims) = &mut *guard;
    // Runs beside each other begin at different places.
    let begin = std::process::id().wrapping_mul(509);
    for _ in 0..COUNT {
        let offset = begin.wrapping_add(*next) % u32::from(COUNT);
        *next = next.wrapping_add(1);
        let port = FIRST + u16::try_from(offset).unwrap_or_default();
        // The datagram socket of the same number is the claim: the kernel keeps other runs from it, and lets go of it
        // with this process.
        let Ok(claim) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) else {
            continue;
        };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            claims.push(claim);
            return Ok(port);
        }
    }
    Err(io::Error::other("no free port"))
}
