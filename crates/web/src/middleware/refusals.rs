//! Refusals in the audit trail. One of a known caller is a leaf. Those of strangers are counted and become one
//! leaf a minute, because a leaf stays for ever and a stranger can be refused without end (case S5).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base::{Env, names};
use log::{Event, Log};
use metrics::counter;
use trust::Time;
use trust::leaf::ActKind;

use crate::middleware::limits::network;
use crate::problem::{Code, Problem};

/// How often what was counted is written.
const EVERY: Duration = Duration::from_secs(60);

/// How many addresses are told apart in one count; the others are counted together.
const ADDRESSES: usize = 1_024;

/// How many of them are named in a leaf.
const NAMED: usize = 2;

/// Longest reason of a refusal in bytes; a leaf has at most a kilobyte.
pub const REASON_MAX: usize = 200;

/// A known caller was refused, as it stands in the audit trail.
pub struct Refusal {
    /// The principal's name.
    pub actor: String,
    /// Method and route, such as `POST /v1/rings/{ring}/sign`.
    pub action: String,
    pub ring: Option<String>,
    /// The problem's code and detail.
    pub reason: String,
}

/// The code and its detail, of which a part came from the caller: cut to fit into a leaf.
pub fn reason(problem: &Problem) -> String {
    let mut text = format!("{}: {}", problem.code.name(), problem.detail());
    text.truncate(text.floor_char_boundary(REASON_MAX));
    text
}

/// Writes refusals down.
pub struct Refusals {
    log: Log,
    env: Env,
    strangers: Mutex<Option<Count>>,
}

/// Refusals of strangers that are not written yet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Count {
    from: Time,
    until: Time,
    total: u64,
    codes: HashMap<&'static str, u64>,
    addresses: HashMap<IpAddr, u64>,
    /// Of addresses beyond [`ADDRESSES`].
    elsewhere: u64,
}

impl Count {
    fn new(at: Time) -> Self {
        Self {
            from: at,
            until: at,
            total: 0,
            codes: HashMap::new(),
            addresses: HashMap::new(),
            elsewhere: 0,
        }
    }

    fn add(&mut self, code: Code, address: IpAddr, at: Time) {
        self.until = at;
        self.total += 1;
        *self.codes.entry(code.name()).or_default() += 1;
        self.add_address(network(address), 1);
    }

    fn add_address(&mut self, address: IpAddr, count: u64) {
        if self.addresses.len() >= ADDRESSES && !self.addresses.contains_key(&address) {
            self.elsewhere += count;
            return;
        }
        *self.addresses.entry(address).or_default() += count;
    }

    /// What could not be written is counted with what has come since.
    fn absorb(&mut self, earlier: Self) {
        self.from = earlier.from;
        self.total += earlier.total;
        for (code, count) in earlier.codes {
            *self.codes.entry(code).or_default() += count;
        }
        for (address, count) in earlier.addresses {
            self.add_address(address, count);
        }
        self.elsewhere += earlier.elsewhere;
    }

    /// For people: how many of each code, from how many addresses, and which of them most.
    fn reason(&self) -> String {
        let mut codes: Vec<_> = self.codes.iter().collect();
        codes.sort_by_key(|(code, count)| (std::cmp::Reverse(**count), **code));
        let codes: Vec<_> = codes
            .iter()
            .map(|(code, n)| format!("{n} {code}"))
            .collect();
        let mut addresses: Vec<_> = self.addresses.iter().collect();
        addresses.sort_by_key(|(address, count)| (std::cmp::Reverse(**count), **address));
        let named = addresses.iter().take(NAMED);
        let named: Vec<_> = named
            .map(|(address, n)| format!("{n} from {address}"))
            .collect();
        let more = if self.elsewhere > 0 { " or more" } else { "" };
        let mut text = format!(
            "{}; {} addresses{more}: {}",
            codes.join(", "),
            addresses.len(),
            named.join(", ")
        );
        text.truncate(text.floor_char_boundary(REASON_MAX));
        text
    }
}

impl Refusals {
    pub fn new(log: Log, env: Env) -> Self {
        Self {
            log,
            env,
            strangers: Mutex::new(None),
        }
    }

    /// A refusal that cannot be written down is still a refusal.
    pub async fn of_caller(&self, refusal: Refusal, id: &str) {
        let written = self.log.record_refusal(
            self.env.now(),
            &refusal.actor,
            &refusal.action,
            refusal.ring.as_deref(),
            &refusal.reason,
        );
        if let Err(error) = written.await {
            counter!(names::REFUSALS_NOT_WRITTEN).increment(1);
            tracing::error!(id, error = %error, "a refusal was not written to the audit trail");
        }
    }

    /// Never waits.
    pub fn of_stranger(&self, code: Code, address: IpAddr) {
        let now = self.env.now();
        let mut counted = self
            .strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let counted = counted.get_or_insert_with(|| Count::new(now));
        counted.add(code, address, now);
    }

    /// Writes what is counted each minute, without end.
    pub async fn write_each_minute(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            self.write_counted().await;
        }
    }

    /// One leaf, or none if no stranger was refused.
    pub async fn write_counted(&self) {
        let Some(count) = self.take() else {
            return;
        };
        let reason = count.reason();
        let event = Event {
            counted: Some((count.total, count.from, count.until)),
            reason: Some(&reason),
            ..Event::new(ActKind::Refusals, "count", "anonymous", self.env.now())
        };
        // Dropped in the middle it may be lost, as when the process is killed; counted twice it never is.
        if let Err(error) = self.log.commit(&store::Change::Record, &event).await {
            let later = !matches!(error, store::Error::OutcomeUnknown { .. });
            tracing::error!(error = %error, count = count.total, later,
                "refusals of unauthenticated callers were not written to the audit trail");
            if later {
                self.put_back(count);
            } else {
                counter!(names::REFUSALS_NOT_WRITTEN).increment(count.total);
            }
        }
    }

    fn take(&self) -> Option<Count> {
        let mut counted = self
            .strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        counted.take()
    }

    fn put_back(&self, count: Count) {
        let mut counted = self
            .strangers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match &mut *counted {
            Some(later) => later.absorb(count),
            None => *counted = Some(count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Time {
        Time::from_millis(millis)
    }

    #[test]
    fn a_count_says_what_was_refused_and_from_where() {
        let mut count = Count::new(at(10));
        for _ in 0..3 {
            count.add(Code::Unauthenticated, [192, 0, 2, 1].into(), at(11));
        }
        count.add(Code::InvalidCredentials, [192, 0, 2, 2].into(), at(12));
        assert_eq!(
            count.reason(),
            "3 unauthenticated, 1 invalid_credentials; 2 addresses: 3 from 192.0.2.1, 1 from 192.0.2.2"
        );
        assert_eq!((count.from, count.until, count.total), (at(10), at(12), 4));
    }

    #[test]
    fn any_number_of_addresses_costs_the_same() {
        let mut count = Count::new(at(0));
        for n in 0..5_000_u32 {
            count.add(
                Code::Unauthenticated,
                std::net::Ipv4Addr::from(n).into(),
                at(1),
            );
        }
        let mut later = Count::new(at(2));
        later.absorb(count);
        assert_eq!(later.addresses.len(), ADDRESSES);
        assert_eq!((later.from, later.total), (at(0), 5_000));
        assert_eq!(later.elsewhere, 5_000 - ADDRESSES as u64);
        assert!(later.reason().contains("1024 addresses or more"));
        assert!(later.reason().len() <= REASON_MAX);
    }
}
