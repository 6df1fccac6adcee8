//! Who is at the other end of a connection.

use std::net::{IpAddr, Ipv4Addr};

/// The address of a caller that came without a connection (tests).
pub const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub address: IpAddr,
    /// Names in the client certificate, whose chain was verified; empty without one.
    pub sans: Vec<String>,
}

impl Default for Peer {
    fn default() -> Self {
        Self {
            address: NOWHERE,
            sans: Vec::new(),
        }
    }
}
