//! What a member at a distance wants to be proposed, and whether a request is just that. The service resolves the rest:
//! numbers, places in lines, the token, the roster. Whoever signs what came back compares it first.

use std::time::Duration;

use trust::request::{Ended, RevocationReason};
use trust::{
    Generate, JsonError, KeyPurpose, Kid, MemberId, Name, Operation, Place, Request, Sha256Digest,
    Template, Time, Trusted, base64url,
};

use super::correction::WrongLeaves;
use super::error::Error;
use super::propose::{Draft, ProposalInput};
use super::rotation_policy::{Replaced, replaced};
use super::service::CeremonyService;
use crate::keys::Snapshot;

/// How far the service's clock may be from the member's.
const CLOCKS: Duration = Duration::from_secs(5 * 60);

/// A request that is to be drafted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Of operations on one ring, but for those that are proposed anew.
    pub ring: Option<Name>,
    pub proposer: MemberId,
    pub reason: String,
    pub ticket: Option<String>,
    /// From its making on.
    pub approve_within: Duration,
    pub execute_within: Duration,
    pub wanted: Wanted,
}

/// What is to be done.
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
    /// Of the log's clock.
    Correct(WrongLeaves),
    /// Of the ring, or of all where none is named.
    Resume {
        ends: Ended,
    },
    EmergencyRotation {
        standby: Option<Kid>,
        compromised_since: Time,
        ratify_within: Duration,
    },
    Ratification {
        rotation: Sha256Digest,
    },
    /// The next version of the policy of a critical key type.
    RotationPolicy {
        /// Canonical JSON.
        document: String,
    },
    /// The same as in this request, under the roster and policy of now.
    Again(Box<Request>),
}

/// What differs between the wish and the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the service drafted a request with another {0} than was asked for")]
pub struct NotAsWished(pub &'static str);

impl Wish {
    /// What asks for the draft.
    pub fn path(&self) -> Result<String, JsonError> {
        let mut asked = Vec::new();
        let mut add = |name, value: &str| asked.push((name, value.to_owned()));
        let millis = |duration: Duration| duration.as_millis().to_string();
        if let Some(ring) = &self.ring {
            add("ring", ring.as_str());
        }
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
            Wanted::Correct(leaves) => {
                add("operation", "clock-correction");
                if let Some((first, last)) = leaves.range {
                    add("first", &first.to_string());
                    add("last", &last.to_string());
                }
                if let Some(bound) = leaves.bound {
                    add("bound", &bound.to_string());
                }
            }
            Wanted::Again(request) => {
                add("operation", "renew");
                let id = Sha256Digest::of(&request.encode()?);
                add("ceremony", &id.to_string());
            }
            Wanted::Resume { ends } => {
                add("operation", "resume");
                match ends {
                    Ended::Stop { digest, sequence } => {
                        add("stop", &digest.to_string());
                        add("sequence", &sequence.to_string());
                    }
                    Ended::Unratified { rotation } => add("rotation", &rotation.to_string()),
                }
            }
            Wanted::EmergencyRotation {
                standby,
                compromised_since,
                ratify_within,
            } => {
                add("operation", "emergency-rotation");
                if let Some(standby) = standby {
                    add("kid", standby.as_str());
                }
                add("compromised_since", &compromised_since.to_string());
                add("ratify_within_ms", &millis(*ratify_within));
            }
            Wanted::Ratification { rotation } => {
                add("operation", "ratification");
                add("rotation", &rotation.to_string());
            }
            Wanted::RotationPolicy { document } => {
                add("operation", "rotation-policy");
                add("document", &base64url::encode(document.as_bytes()));
            }
        }
        Ok(spelled("/v1/ceremonies/draft", &asked))
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
                same("ring", Some(&order.ring) == self.ring.as_ref())?;
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
                let of = order.keys.iter().map(|key| (Some(&key.ring), &key.kid));
                same("key", of.eq([(self.ring.as_ref(), kid)]))
            }
            (
                Wanted::Revoke {
                    kid,
                    reason,
                    compromised_since,
                },
                Operation::Revoke(order),
            ) => {
                let named = (Some(&order.ring), &order.kid);
                same("key", named == (self.ring.as_ref(), kid))?;
                let because = (order.reason, order.compromised_since);
                same(
                    "reason of revocation",
                    because == (*reason, *compromised_since),
                )
            }
            (Wanted::Correct(leaves), Operation::ClockCorrection(order)) => {
                same("range of leaves", leaves.fit(order))
            }
            (Wanted::Resume { ends }, Operation::Resume(order)) => {
                same("ring", order.ring == self.ring)?;
                same("stop", order.ends == *ends)
            }
            (
                Wanted::EmergencyRotation {
                    standby,
                    compromised_since,
                    ratify_within,
                },
                Operation::EmergencyRotation(order),
            ) => {
                same("ring", Some(&order.ring) == self.ring.as_ref())?;
                let named = standby.as_ref().is_none_or(|kid| *kid == order.standby);
                same("standby key", named)?;
                let since = order.compromised_since == *compromised_since;
                same("compromised_since", since)?;
                let within = order.ratify_within_seconds == ratify_within.as_secs();
                same("time for the ratification", within)
            }
            (Wanted::Ratification { rotation }, Operation::Ratification(order)) => {
                same("ring", Some(&order.ring) == self.ring.as_ref())?;
                same("emergency rotation", order.rotation == *rotation)
            }
            (Wanted::RotationPolicy { document }, Operation::RotationPolicy(order)) => {
                same("policy", order.document == *document)?;
                // What the quorum decided last is what is replaced; of the first one what this program begins with.
                let differs = replaced(request, before) == Some(Replaced::Differs);
                let what = match before {
                    Some(_) => "policy to replace",
                    None => {
                        "policy to replace (the service may be of another release than this program)"
                    }
                };
                same(what, !differs)
            }
            (Wanted::Again(before), _) => same_again(before, request),
            _ => Err(NotAsWished("operation")),
        }
    }
}

/// A path with a query.
pub fn spelled(path: &str, asked: &[(&str, String)]) -> String {
    let mut path = path.to_owned();
    let mut before = '?';
    for (name, value) in asked {
        path.push_str(&format!("{before}{name}="));
        before = '&';
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                    path.push(char::from(byte));
                }
                byte => path.push_str(&format!("%{byte:02X}")),
            }
        }
    }
    path
}

fn same(what: &'static str, is: bool) -> Result<(), NotAsWished> {
    match is {
        true => Ok(()),
        false => Err(NotAsWished(what)),
    }
}

/// Whether one does what the other does. Of a new key its number and predecessor, its id on the token and its label are of
/// now, and its times are as long after the making as they were.
fn same_again(before: &Request, request: &Request) -> Result<(), NotAsWished> {
    match (&before.operation, &request.operation) {
        (Operation::Generate(then), Operation::Generate(now)) => {
            same("ring", now.ring == then.ring)?;
            same("purpose", now.purpose == then.purpose)?;
            same("usage", now.usage == then.usage)?;
            let (Place::Pkcs11(there), Place::Pkcs11(here)) = (&then.place, &now.place) else {
                return Err(NotAsWished("place"));
            };
            let token = (&here.token_serial, &here.token_label);
            same("token", token == (&there.token_serial, &there.token_label))?;
            same("template", here.template == there.template)?;
            let times = |request: &Request, order: &Generate| {
                let published = order.publish_at == request.created_at;
                let activate_in = order.activate_at.since(request.created_at);
                let lifetime = order.retire_at.since(order.activate_at);
                (published, activate_in, lifetime)
            };
            same(
                "life of the key",
                times(before, then) == times(request, now),
            )
        }
        (then, now) => same("operation", now == then),
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
        let mut ring = wish.ring;
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
            Wanted::Correct(leaves) => Draft::CorrectClock(self.correction(&leaves).await?),
            Wanted::Resume { ends } => Draft::Resume { ends },
            Wanted::EmergencyRotation {
                standby,
                compromised_since,
                ratify_within,
            } => Draft::EmergencyRotation {
                standby,
                compromised_since,
                ratify_within,
            },
            Wanted::Ratification { rotation } => Draft::Ratification {
                rotation: Some(rotation),
            },
            Wanted::RotationPolicy { document } => {
                let document = trust::json::require_canonical(document.as_bytes());
                let document =
                    document.map_err(|error| Error::Unfit(format!("document: {error}")))?;
                Draft::RotationPolicy(Box::new(document))
            }
            Wanted::Again(request) => {
                ring = request.operation.ring().cloned();
                Draft::again(&request.operation, request.created_at)?
            }
        };
        let input = ProposalInput {
            ring,
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
            ring: Some("integrity".parse().unwrap()),
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
        let path = wish().path().unwrap();
        let kid = "A".repeat(43);
        assert_eq!(
            path,
            format!(
                "/v1/ceremonies/draft?ring=integrity&proposer=ada&reason=new%20%26%20better%2C%20100%20%25\
                 &approve_within_ms=3600000&execute_within_ms=7200000&operation=revoke&kid={kid}\
                 &because=compromised&compromised_since=1970-01-01T00%3A00%3A00.000Z"
            )
        );
        let leaves = WrongLeaves {
            range: Some((3, 5)),
            bound: None,
        };
        let correction = Wish {
            ring: None,
            ticket: Some("T-1".to_owned()),
            wanted: Wanted::Correct(leaves),
            ..wish()
        };
        assert_eq!(
            correction.path().unwrap(),
            "/v1/ceremonies/draft?proposer=ada&reason=new%20%26%20better%2C%20100%20%25&ticket=T-1\
             &approve_within_ms=3600000&execute_within_ms=7200000&operation=clock-correction&first=3&last=5"
        );
    }
}
