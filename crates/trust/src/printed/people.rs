//! Who counted, on the first sheet; on the second what happened, who saw it, and places for signatures in ink.

use std::collections::BTreeSet;

use base64ct::{Base64Unpadded, Encoding as _};

use crate::approval::Approval;
use crate::attestation::Attested;
use crate::digest::Sha256Digest;
use crate::exception::EXCEPTION_STEP;
use crate::key_name::KeyName;
use crate::member_signature::MemberSignature;
use crate::roster::{MemberId, MemberKey, Role};
use crate::time::Time;
use crate::transcript::{Step, Transcript};

use super::facts::{Facts, more};
use super::html::{Html, Room};

/// Most rows of people, steps, attestations and places for signatures.
const MOST_PEOPLE: usize = 14;
const MOST_STEPS: usize = 9;
const MOST_ATTESTATIONS: usize = 4;
const MOST_PLACES: usize = 9;

/// One signature of the file, as the table shows it.
struct Row<'a> {
    verb: &'static str,
    signature: &'a MemberSignature,
    received_at: Option<Time>,
    counted: bool,
}

/// The signatures in the file, each with whether it counted.
fn rows<'a>(facts: &Facts<'a>, of_order: Option<&'a Transcript>) -> Vec<Row<'a>> {
    let record = &facts.transcript.record;
    let acceptance = &facts.transcript.acceptance;
    let mut rows = Vec::new();
    let row = |verb, signature, received_at| Row {
        verb,
        signature,
        received_at,
        counted: true,
    };
    if let Some(proposal) = &record.proposal {
        rows.push(row(
            "proposed",
            &proposal.signature,
            Some(proposal.received_at),
        ));
    }
    if let (Some(order), Some(under)) = (of_order, facts.verified.under()) {
        let signed = |approval: &'a Approval, verb| {
            let at = Some(approval.received_at);
            row(verb, &approval.signature, at)
        };
        let proposal = order.record.proposal.iter();
        rows.extend(proposal.map(|proposal| signed(proposal, "order asked")));
        for (place, approval) in order.record.approvals.iter().enumerate() {
            // Whoever approved the order and has left since counted for it, and not for this use.
            let by = signer(facts, &approval.signature);
            let counts = by.is_some_and(|(member, _)| under.approved_by.contains(&member));
            rows.push(Row {
                counted: counts && under.approvals.contains(&place),
                ..signed(approval, "ordered")
            });
        }
    }
    for (place, approval) in record.approvals.iter().enumerate() {
        rows.push(Row {
            counted: facts.verified.approvals().contains(&place),
            ..row("approved", &approval.signature, Some(approval.received_at))
        });
    }
    for rejection in &record.rejections {
        rows.push(Row {
            counted: false,
            ..row(
                "rejected",
                &rejection.signature,
                Some(rejection.received_at),
            )
        });
    }
    if let Some(result) = &acceptance.result {
        rows.push(row("result", result, None));
    }
    let accepted = acceptance.signatures.iter();
    rows.extend(accepted.map(|signature| row("accepted", signature, None)));
    // What did not count takes no room from what did.
    rows.sort_by_key(|row| !row.counted);
    rows
}

/// Whose key made it, and the key; it was verified with the transcript.
fn signer(facts: &Facts<'_>, signature: &MemberSignature) -> Option<(MemberId, MemberKey)> {
    let roster = facts.verified.trusted().roster();
    let key = match KeyName::unverified(signature).ok()? {
        KeyName::Ssh(public) => MemberKey::Ssh { public },
        KeyName::Passkey(id) => roster.passkey(&id)?.clone(),
    };
    let owner = roster.owner_of(&key)?;
    Some((owner.id.clone(), key))
}

/// As `ssh-keygen -l` shows it; of a passkey the digest of its SubjectPublicKeyInfo.
fn fingerprint(key: &MemberKey) -> String {
    let digest = match key {
        MemberKey::Ssh { public } => Sha256Digest::of(&public.wire()),
        MemberKey::Webauthn { public_key, .. } => Sha256Digest::of(&public_key.0),
    };
    format!(
        "SHA256:{}",
        Base64Unpadded::encode_string(digest.as_bytes())
    )
}

/// In one short word.
fn kind(key: &MemberKey) -> &'static str {
    let MemberKey::Ssh { public } = key else {
        return "passkey";
    };
    match public.as_str().split(' ').next().unwrap_or_default() {
        "ssh-ed25519" => "Ed25519",
        "sk-ssh-ed25519@openssh.com" => "Ed25519-SK",
        "sk-ecdsa-sha2-nistp256@openssh.com" => "ECDSA-SK",
        "ssh-rsa" => "RSA",
        _ => "ECDSA",
    }
}

pub(super) fn counted(facts: &Facts<'_>, html: &mut Html) {
    let order = facts.transcript.record.order.as_ref();
    let order = order.and_then(|order| Transcript::decode(order.as_bytes()).ok());
    html.heading("Who counted, and by which key")
        .raw("<table class=\"who\">\n<tr><th class=\"verb\">what</th><th>member</th><th class=\"kind\">kind</th>")
        .raw("<th class=\"key\">fingerprint of the key</th><th class=\"at\">received</th><th class=\"at\">in the log</th></tr>\n");
    let rows = rows(facts, order.as_ref());
    for row in rows.iter().take(MOST_PEOPLE) {
        let by = signer(facts, row.signature);
        let logged = row.signature.digest().ok();
        let logged = logged.and_then(|digest| facts.verified.logged_at().get(&digest));
        let member = by
            .as_ref()
            .map_or("not on the roster", |(member, _)| member.as_str());
        html.raw("<tr><td>")
            .text(row.verb)
            .raw(if row.counted { "" } else { " *" })
            .raw("</td><td>")
            .outside(member, Room::new(1, 14));
        html.raw("</td><td>");
        if let Some((_, key)) = &by {
            html.text(kind(key))
                .raw("</td><td><code>")
                .text(&fingerprint(key))
                .raw("</code>");
        } else {
            html.raw("</td><td>");
        }
        html.raw("</td><td><code>");
        html.text(
            &row.received_at
                .map_or_else(String::new, |at| at.to_string()),
        );
        html.raw("</code></td><td><code>");
        html.text(&logged.map_or_else(String::new, Time::to_string));
        html.raw("</code></td></tr>\n");
    }
    html.raw("</table>\n");
    if let Some(more) = more(rows.len(), MOST_PEOPLE, "signatures") {
        html.raw("<p>").text(&more).raw("</p>\n");
    }
    html.raw("<p>").text(&quorum(facts)).raw("</p>\n");
}

/// How many were needed, by the signed policy, and how many counted.
fn quorum(facts: &Facts<'_>) -> String {
    let (verified, policy) = (facts.verified, facts.verified.trusted().policy());
    let operation = &verified.request().operation;
    let approved = verified.approved_by().len();
    let approved = match verified.under() {
        Some(under) => format!(
            "No approval of its own was needed: of those who approved the standing order, which {} proposed, {approved} of {} needed counted when it was used.",
            (under.logged.decision.proposer.as_ref()).map_or("nobody", MemberId::as_str),
            under.approved.needed,
        ),
        None => format!(
            "Approved by {approved} of {} needed.",
            policy.to_approve(operation).get()
        ),
    };
    let accepted = match verified.by_executor() {
        Some(executor) => format!("The ring is routine: the result is accepted by {executor}."),
        None => format!(
            "Accepted by {} of {} needed.",
            verified.accepted_by().len(),
            policy.to_accept(operation).get()
        ),
    };
    format!("{approved} {accepted} The proposer does not count; what is marked * did not.")
}

/// Exceptions come before other steps where not all have room.
pub(super) fn steps(facts: &Facts<'_>, html: &mut Html) {
    html.heading("Steps, notes and exceptions");
    let all = &facts.transcript.record.steps;
    let exception = |step: &&Step| step.what == EXCEPTION_STEP;
    let exceptions = all.iter().filter(exception).count();
    let mut shown: Vec<(usize, &Step)> = all.iter().enumerate().collect();
    shown.sort_by_key(|(place, step)| (step.what != EXCEPTION_STEP, *place));
    shown.truncate(MOST_STEPS);
    shown.sort_by_key(|(place, _)| *place);
    html.raw("<p>")
        .text(&format!(
            "Steps: {}. Exceptions among them: {exceptions}.",
            all.len()
        ))
        .raw("</p>\n<table class=\"steps\">\n");
    for (_, step) in &shown {
        html.raw("<tr><td class=\"at\"><code>")
            .text(&step.at.to_string())
            .raw("</code></td>");
        html.raw(match step.what == EXCEPTION_STEP {
            true => "<td class=\"verb strong\">",
            false => "<td class=\"verb\">",
        });
        html.outside(&step.what, Room::new(1, 14))
            .raw("</td><td class=\"by\">");
        if let Some(witness) = &step.witness {
            html.outside(&witness.name, Room::new(1, 16))
                .raw("</td><td>");
            html.outside(&witness.note, Room::new(3, 76));
        } else {
            html.raw("</td><td>");
        }
        html.raw("</td></tr>\n");
    }
    html.raw("</table>\n");
    if let Some(more) = more(all.len(), MOST_STEPS, "steps") {
        html.raw("<p>").text(&more).raw("</p>\n");
    }
}

pub(super) fn witnesses(facts: &Facts<'_>, html: &mut Html) {
    html.heading("Attested by witnesses, who count towards nothing")
        .raw("<ul>\n");
    if facts.attested.is_empty() {
        html.raw("<li>none given with the transcript</li>\n");
    }
    for attested in facts.attested.iter().take(MOST_ATTESTATIONS) {
        html.raw("<li>");
        match attested {
            Ok(Attested { witness, note, .. }) => {
                let note = note
                    .as_deref()
                    .unwrap_or("nothing that differs from the transcript");
                html.outside(
                    &format!("{witness} attests this transcript: {note}"),
                    Room::new(2, 132),
                );
            }
            Err(why) => {
                html.outside(&format!("NOT VALID: {why}"), Room::new(2, 132));
            }
        }
        html.raw("</li>\n");
    }
    if let Some(more) = more(facts.attested.len(), MOST_ATTESTATIONS, "attestations") {
        html.raw("<li>").text(&more).raw("</li>\n");
    }
    html.raw("</ul>\n");
}

/// Who signs in ink: the administrator, the custodians who counted, and the witnesses who attested. A blank place where
/// there is nobody of the kind by name.
pub(super) fn signatures(facts: &Facts<'_>, html: &mut Html) {
    let roster = facts.verified.trusted().roster();
    let named = |role: Role| roster.active(role).map(|member| member.id.clone());
    let administrators: Vec<_> = named(Role::Administrator).take(1).collect();
    let counted: BTreeSet<_> = (facts.verified.approved_by().iter())
        .chain(facts.verified.accepted_by())
        .cloned()
        .collect();
    let attested = facts
        .attested
        .iter()
        .filter_map(|attested| attested.as_ref().ok());
    let mut witnesses: Vec<_> = attested.map(|attested| attested.witness.clone()).collect();
    if witnesses.is_empty() {
        witnesses = named(Role::Witness).collect();
    }
    let custodians: Vec<_> = counted.iter().cloned().collect();
    // One of each kind has a place, however many the others are.
    let left = MOST_PLACES - 1 - witnesses.len().clamp(1, 3);
    html.heading("Signatures in ink, with date")
        .raw("<div class=\"signatures\">\n");
    let groups = [
        ("Administrator", &administrators, 1),
        ("Custodian", &custodians, left),
        ("Witness", &witnesses, 3),
    ];
    for (role, people, most) in groups {
        if people.is_empty() {
            place(html, role, "");
        }
        for member in people.iter().take(most) {
            place(html, role, member.as_str());
        }
    }
    html.raw("</div>\n");
    let cut = custodians.len().saturating_sub(left) + witnesses.len().saturating_sub(3);
    if let Some(more) = more(cut, 0, "people") {
        html.raw("<p>").text(&more).raw("</p>\n");
    }
}

fn place(html: &mut Html, role: &str, member: &str) {
    html.raw("<div>")
        .text(role)
        .raw(" ")
        .outside(member, Room::new(1, 40))
        .raw("</div>\n");
}
