//! How many connections there may be, in all and from one address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base::names;
use metrics::{Gauge, counter, gauge};
use tokio::sync::watch;

use crate::middleware::limits::network;

/// Why a connection is closed as soon as it is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// There are as many as there may be.
    All,
    /// There are as many from this address as there may be.
    Address,
}

impl Full {
    fn label(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Address => "address",
        }
    }
}

/// Counts the connections of one listener.
pub struct Door {
    listener: &'static str,
    most: usize,
    most_of_one: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
    count: watch::Sender<usize>,
    /// Whether it was said that there are too many.
    full: AtomicBool,
    gauge: Gauge,
}

impl Door {
    /// At most `most` at once, and `most_of_one` from one address.
    pub fn new(listener: &'static str, most: usize, most_of_one: usize) -> Arc<Self> {
        let gauge = gauge!(names::CONNECTIONS, "listener" => listener);
        gauge.set(0.0);
        Arc::new(Self {
            listener,
            most,
            most_of_one,
            open: Mutex::default(),
            count: watch::Sender::new(0),
            full: AtomicBool::new(false),
            gauge,
        })
    }

    /// To be one of the connections until the answer is dropped.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Result<Entered, Full> {
        let address = network(address);
        let entered = self.count_in(address);
        match entered {
            Ok(count) if count <= self.most - self.most / 10 => {
                if self.full.swap(false, Ordering::Relaxed) {
                    tracing::info!(listener = self.listener, "connections are accepted again");
                }
            }
            Ok(_) => {}
            Err(why) => self.refused(why),
        }
        entered.map(|_| Entered {
            door: Arc::clone(self),
            address,
        })
    }

    fn count_in(&self, address: IpAddr) -> Result<usize, Full> {
        let mut open = self.open();
        let count = *self.count.borrow();
        if count >= self.most {
            return Err(Full::All);
        }
        let of_one = open.entry(address).or_default();
        if *of_one >= self.most_of_one {
            return Err(Full::Address);
        }
        *of_one += 1;
        self.count.send_replace(count + 1);
        self.gauge.increment(1.0);
        Ok(count + 1)
    }

    /// Callers choose how often this happens, so the limit of all is said once, and that of an
    /// address is counted alone.
    fn refused(&self, why: Full) {
        counter!(names::CONNECTIONS_REFUSED, "listener" => self.listener, "why" => why.label())
            .increment(1);
        if why == Full::All && !self.full.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                listener = self.listener,
                most = self.most,
                "the limit of connections is reached; new ones are closed: see http.max_connections"
            );
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when there is no connection.
    pub async fn empty(&self) {
        // The sender is our own, so this cannot fail.
        let _ = self.count.subscribe().wait_for(|count| *count == 0).await;
    }
}

/// One of the connections.
pub struct Entered {
    door: Arc<Door>,
    address: IpAddr,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut open = self.door.open();
        if let Entry::Occupied(mut of_one) = open.entry(self.address) {
            *of_one.get_mut() -= 1;
            if *of_one.get() == 0 {
                of_one.remove();
            }
        }
        self.door.count.send_modify(|count| *count -= 1);
        self.door.gauge.decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn case_a3_one_address_does_not_take_the_places_of_all() {
        let door = Door::new("test", 3, 2);
        let mut held: Vec<_> = ["192.0.2.1", "192.0.2.1"]
            .map(|from| door.enter(address(from)).unwrap())
            .into();
        let third = door.enter(address("192.0.2.1"));
        assert_eq!(third.err(), Some(Full::Address));
        held.push(door.enter(address("2001:db8::1")).unwrap());
        let fourth = door.enter(address("192.0.2.2"));
        assert_eq!(fourth.err(), Some(Full::All));
        held.remove(0);
        let again = door.enter(address("192.0.2.1")).unwrap();
        drop((held, again));
        door.empty().await;
        assert!(door.open().is_empty(), "addresses are forgotten");
    }
}
