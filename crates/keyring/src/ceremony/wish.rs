//! What a member at a distance wants to be proposed, and whether a request is just that. The service resolves the rest:
//! numbers, places in lines, the token, the roster. Whoever signs what came back compares it first.

use std::time::Duration;

use trust::request::RevocationReason;
use trust::{KeyPurpose, Kid, MemberId, Name, Operation, Place, Request, Template, Time, Trusted};

use super::error::Error;
use super::propose::{Draft, ProposalInput};
use super::service::CeremonyService;
use crate::keys::Snapshot;

/// How far the service's clock may be from the member's.
const CLOCKS: Duration = Duration::from_secs(5 * 60);

/// A request that is to be drafted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    pub ring: Name,
    pub proposer: MemberId,
    pub reason: String,
    pub ticket: Option<String>,
    /// From its making on.
    pub approve_within: Duration,
    pub execute_within: Duration,
    pub wanted: Wanted,
}

/// What is to be done with the ring.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    Generate {
        /// At least; never earlier than the service publishes keys before they sign.
        activate_in: Option<Duration>,
        lifetime: Duration,
    },
    Destroy {
        kid: Kid,
    },
    Revoke {
        kid: Kid,
        reason: RevocationReason,
        compromised_since: Option<Time>,
    },
}

/// What differs between the wish and the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the service drafted a request with another {0} than was asked for")]
pub struct NotAsWished(pub &'static str);

impl Wish {
    /// What asks for the draft.
    pub fn path(&self) -> String {
        let mut path = format!("/v1/ceremonies/draft?ring={}", self.ring);
        let mut add = |name: &str, value: &str| {
            path.push_str(&format!("&{name}="));
            for byte in value.bytes() {
                match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                        path.push(char::from(byte));
                    }
                    byte => path.push_str(&format!("%{byte:02X}")),
                }
            }
        };
        let millis = |duration: Duration| duration.as_millis().to_string();
        add("proposer", self.proposer.as_str());
        add("reason", &self.reason);
        if let Some(ticket) = &self.ticket {
            add("ticket", ticket);
        }
        add("approve_within_ms", &millis(self.approve_within));
        add("execute_within_ms", &millis(self.execute_within));
        match &self.wanted {
            Wanted::Generate {
                activate_in,
                lifetime,
            } => {
                add("operation", "generate");
                if let Some(activate_in) = activate_in {
                    add("activate_in_ms", &millis(*activate_in));
                }
                add("lifetime_ms", &millis(*lifetime));
            }
            Wanted::Destroy { kid } => {
                add("operation", "destroy");
                add("kid", kid.as_str());
            }
            Wanted::Revoke {
                kid,
                reason,
                compromised_since,
            } => {
                add("operation", "revoke");
                add("kid", kid.as_str());
                add("because", &reason.to_string());
                if let Some(since) = compromised_since {
                    add("compromised_since", &since.to_string());
                }
            }
        }
        path
    }

    /// Whether the request is what was wished for, under the roster and policy that the member knows from the genesis.
    /// `before` is the last request about the ring, where it is known; `now` is the member's clock.
    pub fn compare(
        &self,
        request: &Request,
        trusted: &Trusted,
        before: Option<&Request>,
        now: Time,
    ) -> Result<(), NotAsWished> {
        let same = |what: &'static str, is: bool| match is {
            true => Ok(()),
            false => Err(NotAsWished(what)),
        };
        same("form", request.check().is_ok())?;
        let here = (trusted.service(), trusted.environment());
        let named = (&request.service, &request.environment);
        same("service or environment", named == here)?;
        same("roster", request.roster == trusted.roster_ref())?;
        same("policy", request.policy == trusted.policy_ref())?;
        same(
            "proposer",
            request.proposer.as_ref() == Some(&self.proposer),
        )?;
        same("reason", request.reason == self.reason)?;
        same("ticket", request.ticket == self.ticket)?;
        let (earliest, made) = (request.created_at + CLOCKS, request.created_at);
        same("time of making", now <= earliest && made <= now + CLOCKS)?;
        same(
            "approve_by",
            request.approve_by == made + self.approve_within,
        )?;
        same(
            "execute_by",
            request.execute_by == made + self.execute_within,
        )?;
        match (&self.wanted, &request.operation) {
            (
                Wanted::Generate {
                    activate_in,
                    lifetime,
                },
                Operation::Generate(order),
            ) => {
                same("ring", order.ring == self.ring)?;
                let activate_at = made + activate_in.unwrap_or_default();
                same("publish_at", order.publish_at == made)?;
                same("activate_at", order.activate_at >= activate_at)?;
                same(
                    "retire_at",
                    order.retire_at == order.activate_at + *lifetime,
                )?;
                let signs = matches!(order.purpose, KeyPurpose::Sign { .. });
                same("purpose", signs)?;
                let Place::Pkcs11(place) = &order.place else {
                    return Err(NotAsWished("place"));
                };
                same("template", place.template == Template::signing_key())?;
                // The algorithm is the ring's, and never changes.
                if let Some(Operation::Generate(before)) = before.map(|before| &before.operation) {
                    let ring = (&before.ring, before.purpose, before.usage);
                    same(
                        "algorithm",
                        ring == (&order.ring, order.purpose, order.usage),
                    )?;
                }
                Ok(())
            }
            (Wanted::Destroy { kid }, Operation::Destroy(order)) => {
                let of = order.keys.iter().map(|key| (&key.ring, &key.kid));
                same("key", of.eq([(&self.ring, kid)]))
            }
            (
                Wanted::Revoke {
                    kid,
                    reason,
                    compromised_since,
                },
                Operation::Revoke(order),
            ) => {
                same("key", (&order.ring, &order.kid) == (&self.ring, kid))?;
                let because = (order.reason, order.compromised_since);
                same(
                    "reason of revocation",
                    because == (*reason, *compromised_since),
                )
            }
            _ => Err(NotAsWished("operation")),
        }
    }
}

impl CeremonyService {
    /// The request with everything resolved, for a key on the token of this serial and label. Nothing is kept.
    pub async fn draft_of(
        &self,
        wish: Wish,
        (token_serial, token_label): (String, String),
        snapshot: &Snapshot,
    ) -> Result<Request, Error> {
        let now = self.env.now();
        let safety = self.safety.publish_safety();
        let draft = match wish.wanted {
            Wanted::Generate {
                activate_in,
                lifetime,
            } => Draft::Generate {
                token_serial,
                token_label,
                activate_in: activate_in.unwrap_or(safety).max(safety),
                lifetime,
            },
            Wanted::Destroy { kid } => Draft::Destroy { kid },
            Wanted::Revoke {
                kid,
                reason,
                compromised_since,
            } => Draft::Revoke {
                kid,
                reason,
                compromised_since,
            },
        };
        let input = ProposalInput {
            ring: Some(wish.ring),
            proposer: wish.proposer,
            reason: wish.reason,
            ticket: wish.ticket,
            approve_by: now + wish.approve_within,
            execute_by: now + wish.execute_within,
            draft,
        };
        let (approve, execute) = (wish.approve_within, wish.execute_within);
        let mut request = self.draft_request(input, snapshot).await?;
        // From the very instant at which it was made.
        request.approve_by = request.created_at + approve;
        request.execute_by = request.created_at + execute;
        let unfit = |error: trust::request::RequestError| Error::Unfit(error.to_string());
        request.check().map_err(unfit)?;
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish() -> Wish {
        Wish {
            ring: "integrity".parse().unwrap(),
            proposer: "ada".parse().unwrap(),
            reason: "new & better, 100 %".to_owned(),
            ticket: None,
            approve_within: Duration::from_secs(3_600),
            execute_within: Duration::from_secs(7_200),
            wanted: Wanted::Revoke {
                kid: "A".repeat(43).parse().unwrap(),
                reason: RevocationReason::Compromised,
                compromised_since: Some(Time::from_millis(0)),
            },
        }
    }

    #[test]
    fn what_is_asked_for_is_spelled_for_a_path() {
        let path = wish().path();
        let kid = "A".repeat(43);
        assert_eq!(
            path,
            format!(
                "/v1/ceremonies/draft?ring=integrity&proposer=ada&reason=new%20%26%20better%2C%20100%20%25\
                 &approve_within_ms=3600000&execute_within_ms=7200000&operation=revoke&kid={kid}\
                 &because=compromised&compromised_since=1970-01-01T00%3A00%3A00.000Z"
            )
        );
    }
}
