//! What a request asks for, in sentences. The lines below it stay the whole truth: a summary leaves out, they do not.

use super::rotation_policy::decided;
use crate::place::Place;
use crate::request::{Ended, Generate, KeyPurpose, Operation, Request, Resume, StandingOrder};
use crate::text;

/// What is asked for, and what in it is easily overlooked.
pub(super) fn summary(request: &Request) -> Vec<String> {
    match &request.operation {
        Operation::Generate(generate) => birth(request, generate),
        Operation::Revoke(revoke) => {
            let mut out = vec![format!(
                "key {} of ring {} is revoked: {}; it never comes back",
                revoke.number, revoke.ring, revoke.reason,
            )];
            if let Some(since) = revoke.compromised_since {
                out.push(format!(
                    "signatures that cannot be proven to be older than {since} are not trusted any more"
                ));
            }
            out
        }
        Operation::Destroy(destroy) => {
            let keys = destroy.keys.iter();
            keys.map(|key| {
                format!(
                    "the private half of key {} of ring {} is destroyed, wherever it is; it never comes back",
                    key.number, key.ring
                )
            })
            .collect()
        }
        Operation::Resume(resume) => resumed(resume),
        Operation::EmergencyRotation(rotation) => vec![
            format!(
                "EMERGENCY: key {} of ring {} becomes the primary at once, and key {} is revoked as compromised; it never comes back",
                rotation.standby_number, rotation.ring, rotation.number
            ),
            format!(
                "signatures that cannot be proven to be older than {} are not trusted any more",
                rotation.compromised_since
            ),
            format!(
                "the ring stops signing unless the threshold ratifies it within {} s",
                rotation.ratify_within_seconds
            ),
        ],
        Operation::Ratification(ratified) => vec![
            format!(
                "ring {} goes on signing with key {}, to which it was rotated in an emergency",
                ratified.ring, ratified.kid
            ),
            EARLIER_ROTATIONS.to_owned(),
        ],
        Operation::ClockCorrection(done) => vec![format!(
            "leaves {} to {} of the log {} count as not younger than {}, whatever their times say",
            done.first,
            done.last,
            text::spelled_out(&done.origin),
            done.bound,
        )],
        Operation::NewOrigin(begun) => {
            let (old, new) = (&begun.previous_origin, &begun.origin);
            let (old, new) = (text::spelled_out(old), text::spelled_out(new));
            let mut out = vec![format!(
                "the log goes on as {new}, with the first {} leaves of {old}",
                begun.size
            )];
            if let Some(lost) = begun.lost {
                let (first, last) = (lost.first, lost.last);
                out.push(format!(
                    "leaves {first} to {last} of {old} are given up as lost"
                ));
            }
            out
        }
        Operation::Order(order) => ordered(order),
        Operation::RotationPolicy(order) => decided(order),
    }
}

fn resumed(resume: &Resume) -> Vec<String> {
    let who = match &resume.ring {
        Some(ring) => format!("ring {ring} signs"),
        None => "all rings sign".to_owned(),
    };
    match &resume.ends {
        Ended::Stop { digest, sequence } => vec![
            format!("{who} again, as far as the stop {digest} kept it"),
            format!("stops before it in the same line, with numbers below {sequence}, end with it"),
        ],
        Ended::Unratified { rotation } => vec![
            format!(
                "{who} again, although the emergency rotation {rotation} was not ratified in time"
            ),
            EARLIER_ROTATIONS.to_owned(),
        ],
    }
}

const EARLIER_ROTATIONS: &str =
    "emergency rotations of the ring before that one are settled with it";

fn ordered(order: &StandingOrder) -> Vec<String> {
    let (ring, uses) = (&order.ring, order.uses);
    let (executor, days) = (&order.executor.member, &order.window.days);
    let days: Vec<_> = days.iter().map(ToString::to_string).collect();
    let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
    let (from, until) = (order.window.from_minute, order.window.until_minute);
    vec![
        format!(
            "up to {uses} new keys of ring {ring}, made by the executor {executor} without another approval"
        ),
        format!(
            "from {} to {}, not faster than one every {} seconds",
            order.not_before, order.not_after, order.interval_seconds
        ),
        format!(
            "on {}, between {} and {} UTC",
            days.join(", "),
            clock(from),
            clock(until)
        ),
    ]
}

fn birth(request: &Request, generate: &Generate) -> Vec<String> {
    let what = match generate.purpose {
        KeyPurpose::Sign { algorithm, .. } => format!("a new {algorithm} key"),
        KeyPurpose::Wrap { .. } => "a new wrapping key".to_owned(),
    };
    let mut out = vec![
        format!(
            "{what}, number {} of ring {}",
            generate.number, generate.ring
        ),
        format!(
            "in use from {} to {}",
            generate.activate_at, generate.retire_at
        ),
    ];
    if let Some(predecessor) = &generate.predecessor {
        out.push(format!("after key {predecessor}"));
    }
    if let Place::Pkcs11(place) = &generate.place {
        let can = if place.template.extractable {
            "CAN"
        } else {
            "cannot"
        };
        let token = text::spelled_out(&place.token_label);
        out.push(format!("it {can} be taken from token {token}"));
    }
    if generate.activate_at <= request.approve_by {
        out.push(
            "NOTE: it may be in use as soon as it has been accepted, for activate_at lies before approve_by".to_owned(),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Sha256Digest;

    #[test]
    fn a_resume_says_all_that_it_ends() {
        let said = |ends: Ended| {
            let ring = Some("records".parse().unwrap());
            resumed(&Resume { ends, ring }).join("\n")
        };
        let digest = Sha256Digest::of(b"stop");
        let stop = said(Ended::Stop {
            digest,
            sequence: 3,
        });
        for shown in ["ring records signs again", "numbers below 3", "end with it"] {
            assert!(stop.contains(shown), "{shown} in\n{stop}");
        }
        let rotation = said(Ended::Unratified { rotation: digest });
        assert!(rotation.contains("before that one are settled with it"));
    }
}
