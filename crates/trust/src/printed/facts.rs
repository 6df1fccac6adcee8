//! The first sheet: what was asked and done, and by which digests, key and log entry it is known.

use crate::approval::{NewKey, Outcome};
use crate::attestation::{Attested, NotAttested};
use crate::digest::Sha256Digest;
use crate::json::JsonError;
use crate::place::{Location, ReadBack};
use crate::review::review;
use crate::template::Template;
use crate::tlog::checkpoint::Checkpoint;
use crate::tlog::proof::TlogProof;
use crate::transcript::{Transcript, VerifiedTranscript};
use crate::words::words;

use super::html::{Html, Room};

/// Most sentences, keys and changes of the roster that are listed; the others are counted.
const MOST_SENTENCES: usize = 5;
const MOST_KEYS: usize = 3;
const MOST_SUBJECTS: usize = 3;

/// What the page is about.
pub(super) struct Facts<'a> {
    pub bytes: &'a [u8],
    pub transcript: &'a Transcript,
    pub verified: &'a VerifiedTranscript,
    pub attested: &'a [Result<Attested, NotAttested>],
}

/// A row of a table of facts.
fn fact(html: &mut Html, name: &'static str, value: impl FnOnce(&mut Html)) {
    html.raw("<tr><th>").raw(name).raw("</th><td>");
    value(html);
    html.raw("</td></tr>\n");
}

fn of_own(html: &mut Html, name: &'static str, value: &str) {
    fact(html, name, |html| {
        html.raw("<code>").text(value).raw("</code>");
    });
}

/// A digest in hex, and in words to be compared aloud.
fn digest(html: &mut Html, name: &'static str, digest: Sha256Digest) {
    fact(html, name, |html| {
        html.raw("<code class=\"strong\">")
            .text(&digest.to_string())
            .raw("</code><br><span class=\"words\">")
            .text(&words(digest.as_bytes()).replace('\n', " "))
            .raw("</span>");
    });
}

/// How many more there are than are listed.
pub(super) fn more(all: usize, most: usize, what: &str) -> Option<String> {
    let left = all.checked_sub(most).filter(|left| *left > 0)?;
    Some(format!("and {left} more {what}, in the transcript"))
}

impl Facts<'_> {
    pub fn title(&self) -> String {
        let request = self.verified.request();
        format!(
            "Record of a ceremony: {} at {}/{}",
            request.operation.word(),
            request.service,
            request.environment
        )
    }

    pub fn asked(&self, html: &mut Html) -> Result<(), JsonError> {
        let request = self.verified.request();
        html.heading("What was asked").raw("<ul>\n");
        let sentences = review(self.transcript.record.request.as_bytes(), None)?.summary;
        for sentence in sentences.iter().take(MOST_SENTENCES) {
            html.raw("<li>")
                .outside(sentence, Room::new(2, 132))
                .raw("</li>\n");
        }
        if let Some(more) = more(sentences.len(), MOST_SENTENCES, "sentences") {
            html.raw("<li>").text(&more).raw("</li>\n");
        }
        html.raw("</ul>\n<table class=\"facts\">\n");
        fact(html, "reason", |html| {
            html.outside(&request.reason, Room::new(3, 108));
        });
        if let Some(ticket) = &request.ticket {
            fact(html, "ticket", |html| {
                html.outside(ticket, Room::new(1, 108));
            });
        }
        let asked_by = match (&request.proposer, self.verified.under()) {
            (Some(proposer), _) => proposer.to_string(),
            (None, Some(under)) => format!(
                "nobody: use {} of {} of standing order {}",
                under.used.number, under.order.uses, under.used.id
            ),
            (None, None) => String::new(),
        };
        of_own(html, "proposed by", &asked_by);
        let (created, approve_by) = (request.created_at, request.approve_by);
        let execute_by = request.execute_by;
        of_own(
            html,
            "requested",
            &format!("{created}, to approve by {approve_by}, to carry out by {execute_by}"),
        );
        of_own(
            html,
            "carried out",
            &self.verified.statement().executed_at.to_string(),
        );
        let lines = request.lines.iter().take(MOST_SUBJECTS);
        let lines: Vec<_> = lines
            .map(|line| format!("{} (sequence {})", line.subject, line.sequence))
            .collect();
        fact(html, "subject", |html| {
            html.raw("<code>").text(&lines.join(", "));
            if let Some(more) = more(request.lines.len(), MOST_SUBJECTS, "subjects") {
                html.text(" ").text(&more);
            }
            html.raw("</code>");
        });
        let trusted = self.verified.trusted();
        let recoveries = match trusted.recoveries().len() {
            0 => String::new(),
            many => format!("; {many} of the changes by the recovery roster"),
        };
        of_own(
            html,
            "held under",
            &format!(
                "roster {}, policy {}, {} documents after the genesis{recoveries}",
                request.roster.version,
                request.policy.version,
                trusted.length().saturating_sub(1)
            ),
        );
        html.raw("</table>\n");
        Ok(())
    }

    pub fn digests(&self, html: &mut Html) {
        html.heading("Digests (SHA-256), in hexadecimal and in PGP words")
            .raw("<table class=\"facts\">\n");
        digest(
            html,
            "request (its id)",
            self.verified.statement().request_digest,
        );
        digest(html, "ceremony (statement)", self.verified.digest());
        digest(html, "transcript (its core)", self.verified.core_digest());
        of_own(
            html,
            "genesis",
            &self.verified.trusted().genesis().to_string(),
        );
        html.raw("</table>\n");
    }

    /// The key, and what the device told about it.
    pub fn done(&self, html: &mut Html) {
        html.heading("What was done")
            .raw("<table class=\"facts\">\n");
        let kids = self.verified.kids();
        for kid in kids.iter().take(MOST_KEYS) {
            of_own(html, "kid", kid.as_str());
        }
        if let Some(more) = more(kids.len(), MOST_KEYS, "keys") {
            of_own(html, "kid", &more);
        }
        match &self.verified.statement().outcome {
            Outcome::Generated(generated) => {
                match &generated.key {
                    NewKey::Public { spki_digest, .. } => {
                        of_own(html, "public key (SPKI)", &spki_digest.to_string());
                        of_own(html, "possession", "proven: the new key signed a challenge");
                    }
                    NewKey::Check { check_value, .. } => {
                        of_own(html, "check value", &check_value.to_string());
                        of_own(html, "possession", "stated, not proven: a key that wraps");
                    }
                }
                location(html, &generated.location);
                read_back(html, &generated.read_back);
                let attestation = match &generated.attestation {
                    Some(bytes) => format!("{} bytes, in the transcript", bytes.0.len()),
                    None => "none".to_owned(),
                };
                of_own(html, "device attestation", &attestation);
            }
            Outcome::Destroyed { .. } => {
                of_own(
                    html,
                    "stated",
                    "the private halves are destroyed at every location",
                );
            }
            Outcome::Revoked { .. } => of_own(html, "stated", "the key is revoked"),
            Outcome::Corrected(done) => {
                let (first, last, bound) = (done.first, done.last, done.bound);
                let done = format!("leaves {first} to {last} existed not after {bound}");
                of_own(html, "stated", &done);
            }
            Outcome::NewOrigin { root, size, .. } => {
                let done = format!("the new tree begins with {size} leaves, root {root}");
                of_own(html, "stated", &done);
            }
            Outcome::Ordered { id } => of_own(html, "standing order", &id.to_string()),
            Outcome::Resumed(_) => of_own(html, "stated", "signing goes on, as ordered"),
            Outcome::EmergencyRotated { kid, revoked } => {
                of_own(html, "the primary from now on", kid.as_str());
                of_own(html, "revoked as compromised", revoked.as_str());
            }
            Outcome::Ratified { rotation } => {
                of_own(html, "emergency rotation", &rotation.to_string());
            }
            Outcome::PolicySet(done) => {
                let (of, version) = (&done.key_type, done.version);
                of_own(
                    html,
                    "in force from now on",
                    &format!("version {version} of the rotation policy of {of}"),
                );
                of_own(html, "SHA-256 of the policy", &done.digest.to_string());
            }
        }
        html.raw("</table>\n");
    }

    /// The act that ended the ceremony in the log: it names the core.
    pub fn log(&self, html: &mut Html) {
        html.heading("In the log").raw("<table class=\"facts\">\n");
        let core = self.verified.core_digest().to_string();
        let mut acts = self.transcript.log_proofs.iter();
        let end = acts.find(|act| act.leaf.contains(&core));
        let proof = end.and_then(|last| TlogProof::parse(last.proof.as_bytes()).ok());
        let checkpoint =
            (proof.as_ref()).and_then(|proof| Checkpoint::parse(&proof.checkpoint.text).ok());
        match (proof, checkpoint) {
            (Some(proof), Some(checkpoint)) => {
                fact(html, "origin", |html| {
                    html.outside(&checkpoint.origin, Room::new(1, 108));
                });
                let acts = self.transcript.log_proofs.len();
                let index = format!(
                    "{}, which ends the ceremony; {acts} acts are proven",
                    proof.index
                );
                of_own(html, "index", &index);
                let root = format!("{}, of {} leaves", checkpoint.root, checkpoint.size);
                of_own(html, "root", &root);
            }
            _ => of_own(
                html,
                "index",
                "this file has no proofs of the log; that of a key at /v1/keys/KID/transcript has",
            ),
        }
        html.raw("</table>\n");
    }

    /// The command by which anybody checks the file.
    pub fn check(&self, html: &mut Html) {
        html.heading("How anybody checks this").raw("<p>")
            .raw("This sheet proves nothing by itself: a signature in ink says who was there. The transcript does; ")
            .raw("check it without a network, and compare the digests and the kid with those printed here:</p>\n<p><code>")
            .text(&format!(
                "chancery ceremony verify transcript.json --genesis {}",
                self.verified.trusted().genesis()
            ))
            .raw("</code><br><code>")
            .text(&format!("SHA-256 of the file: {}", Sha256Digest::of(self.bytes)))
            .raw("</code></p>\n");
    }

    pub fn foot(&self, html: &mut Html, sheet: u8) {
        let id = self.verified.statement().request_digest;
        html.raw("<p class=\"foot\">")
            .text(&format!("Ceremony {id}, sheet {sheet} of 2"))
            .raw("</p>\n");
    }
}

fn location(html: &mut Html, location: &Location) {
    let (device, object) = match location {
        Location::Pkcs11(at) => (
            format!("token {} (serial {})", at.token_label, at.token_serial),
            format!("{}, CKA_ID {}", at.label, at.cka_id),
        ),
        Location::KeyVault(at) => (
            format!("vault {}", at.vault),
            format!("{}, version {}", at.name, at.version),
        ),
    };
    fact(html, "device", |html| {
        html.outside(&device, Room::new(2, 108));
    });
    fact(html, "object", |html| {
        html.outside(&object, Room::new(2, 108));
    });
}

fn read_back(html: &mut Html, read_back: &ReadBack) {
    let told = match read_back {
        ReadBack::Pkcs11(told) => {
            let silent = |told: Option<bool>| match told {
                Some(true) => "true",
                Some(false) => "false",
                None => "not told",
            };
            format!(
                "{}; {}; always sensitive {}, never extractable {}, made on the token {}",
                told.key_spec,
                attributes(&told.template),
                silent(told.always_sensitive),
                silent(told.never_extractable),
                silent(told.local)
            )
        }
        ReadBack::KeyVault(told) => format!(
            "{}; enabled {}, exportable {}, hardware {}; {}; {}",
            told.key_spec,
            told.enabled,
            told.exportable,
            told.hardware,
            told.key_ops.join(" "),
            told.tag
        ),
    };
    fact(html, "read back", |html| {
        html.outside(&told, Room::new(3, 108));
    });
}

/// Which attributes the device gives as true; every other is false or does not apply.
fn attributes(template: &Template) -> String {
    let all = [
        ("token", template.token),
        ("private", template.private),
        ("sensitive", template.sensitive),
        ("EXTRACTABLE", template.extractable),
        ("modifiable", template.modifiable),
        ("sign", template.sign),
        ("decrypt", template.decrypt),
        ("unwrap", template.unwrap),
        ("derive", template.derive),
        ("encrypt", template.encrypt == Some(true)),
        ("wrap", template.wrap == Some(true)),
    ];
    let set = all.iter().filter(|(_, set)| *set).map(|(name, _)| *name);
    let set: Vec<_> = set.collect();
    let rest = match template.extractable {
        true => "",
        false => ", not extractable",
    };
    format!("{}{rest}", set.join(" "))
}
