//! What a request asks for, in sentences. The lines below it stay the whole truth: a summary leaves out, they do not.

use crate::place::Place;
use crate::request::{Generate, KeyPurpose, Operation, Request, StandingOrder};
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
    }
}

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
