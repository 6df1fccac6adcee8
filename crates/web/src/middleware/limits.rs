//! How much at once and how much in a second. What holds a permit lives with the work: it is
//! given back when the signature is done, not when its client has gone.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use governor::clock::{Clock as _, DefaultClock};
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::middleware::auth::Caller;
use crate::problem::{Code, Problem};

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Principal(Arc<str>),
    Address(IpAddr),
}

pub struct Limits {
    permits: Arc<Semaphore>,
    /// Callers without credentials have permits of their own: slow strangers must not keep signers
    /// out.
    strangers: Arc<Semaphore>,
    capacity: usize,
    rate: Option<Rate>,
    refusals: Rate,
    clock: DefaultClock,
}

type Rate = RateLimiter<Key, DashMapStateStore<Key>, DefaultClock>;

/// Refusals per second and known caller that are written down.
const REFUSALS: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);

/// To be one of the requests in flight; given back by its last holder.
pub type Permit = Arc<OwnedSemaphorePermit>;

impl Limits {
    /// Without `per_second` there is no rate limit.
    pub fn new(max_in_flight: usize, per_second: Option<NonZeroU32>) -> Self {
        let capacity = max_in_flight.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(capacity)),
            strangers: Arc::new(Semaphore::new(capacity.div_ceil(2))),
            capacity,
            rate: per_second.map(|rate| RateLimiter::dashmap(Quota::per_second(rate))),
            refusals: RateLimiter::dashmap(Quota::per_second(REFUSALS)),
            clock: DefaultClock::default(),
        }
    }

    /// Never waits: a queue here only hides that there is too much.
    pub fn enter(&self, caller: &Caller) -> Result<Permit, Problem> {
        let permits = match caller.name() {
            Some(_) => &self.permits,
            None => &self.strangers,
        };
        Arc::clone(permits)
            .try_acquire_owned()
            .map(Arc::new)
            .map_err(|_| {
                Problem::new(
                    Code::Overloaded,
                    "the limit of requests in flight is reached".to_owned(),
                )
            })
    }

    pub fn in_flight(&self) -> usize {
        self.capacity - self.permits.available_permits() + self.capacity.div_ceil(2)
            - self.strangers.available_permits()
    }

    /// One bucket per principal; per address for everybody else, and a whole /64 of IPv6 is one
    /// address, because that is what one customer gets.
    pub fn admit(&self, caller: &Caller, address: IpAddr) -> Result<(), Problem> {
        match &self.rate {
            Some(rate) => self.check(rate, caller, address, "too many requests from this caller"),
            None => Ok(()),
        }
    }

    /// Asked before a refusal of a known caller is written down.
    pub fn admit_refusal(&self, caller: &Caller, address: IpAddr) -> Result<(), Problem> {
        let what = "too many refused requests from this caller";
        self.check(&self.refusals, caller, address, what)
    }

    fn check(
        &self,
        rate: &Rate,
        caller: &Caller,
        address: IpAddr,
        what: &str,
    ) -> Result<(), Problem> {
        let key = match caller.name() {
            Some(name) => Key::Principal(Arc::clone(name)),
            None => Key::Address(network(address)),
        };
        rate.check_key(&key).map_err(|not_until| {
            Problem::new(Code::RateLimited, what)
                .retry_after(not_until.wait_time_from(self.clock.now()))
        })
    }

    /// Forgets callers that have been quiet; called from time to time, or every address that ever
    /// called would be kept.
    pub fn forget_quiet(&self) {
        for rate in self.rate.iter().chain([&self.refusals]) {
            rate.retain_recent();
            rate.shrink_to_fit();
        }
    }
}

/// A whole /64 of IPv6 is one address.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_does_not_use_up_anothers_rate() {
        let limits = Limits::new(1, NonZeroU32::new(2));
        let caller = Caller::Anonymous;
        for _ in 0..2 {
            limits.admit(&caller, address("192.0.2.1")).unwrap();
        }
        let problem = limits.admit(&caller, address("192.0.2.1")).unwrap_err();
        assert_eq!(problem.code, Code::RateLimited);
        limits.admit(&caller, address("192.0.2.2")).unwrap();
        limits.admit(&caller, address("2001:db8::1")).unwrap();
        limits.admit(&caller, address("2001:db8::2")).unwrap();
        assert!(limits.admit(&caller, address("2001:db8::3")).is_err());
    }

    #[test]
    fn a_permit_is_given_back_by_its_last_holder() {
        let limits = Limits::new(1, None);
        let permit = limits.enter(&Caller::Anonymous).unwrap();
        let with_the_work = Arc::clone(&permit);
        drop(permit);
        assert_eq!(
            limits.enter(&Caller::Anonymous).unwrap_err().code,
            Code::Overloaded
        );
        drop(with_the_work);
        assert!(limits.enter(&Caller::Anonymous).is_ok());
    }
}
