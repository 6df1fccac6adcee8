//! The record for paper, printed by a real browser: two sheets, whatever is in the transcript.

use std::path::Path;
use std::process::Command;

use base64ct::{Base64, Encoding as _};
use trust::attestation::Attestation;
use trust::chain::Change;
use trust::exception::{EXCEPTION_STEP, ExceptionBody};
use trust::format::V1;
use trust::leaf::{ActKind, ActLeaf};
use trust::printed::print;
use trust::transcript::{Logged, Record, Step, WitnessNote};
use trust::*;

use crate::recoveries::Lost;
use crate::support::ordered::{BEGINS, Ordered, request_for_order, request_under, standing_order};
use crate::support::{Custodian, NewKey, World, log, minute};
use crate::witnesses::attest;

/// Nothing of the machine's settings, and no network.
fn sheets(html: &str, paper: &str, at: &Path) -> usize {
    let page = at.join("record.html");
    // A browser prints on the paper of its settings; a sheet names its own for this test alone.
    let sized = html.replacen("@page {", &format!("@page {{ size: {paper};"), 1);
    // The policy names the style by its digest.
    let digest = |html: &str| {
        let style = html.split("<style>").nth(1).unwrap();
        let style = style.split("</style>").next().unwrap();
        Base64::encode_string(Sha256Digest::of(style.as_bytes()).as_bytes())
    };
    let sized = sized.replacen(&digest(html), &digest(&sized), 1);
    std::fs::write(&page, sized).unwrap();
    let pdf = at.join("record.pdf");
    let mut browser = Command::new("chromium");
    browser
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ])
        .args([
            "--no-first-run",
            "--disable-background-networking",
            "--no-pdf-header-footer",
        ])
        .args([
            "--proxy-server=127.0.0.1:9",
            "--host-resolver-rules=MAP * ~NOTFOUND",
        ])
        .arg(format!("--user-data-dir={}", at.join("profile").display()))
        .arg(format!("--print-to-pdf={}", pdf.display()))
        .arg(format!("file://{}", page.display()));
    let said = browser
        .env("HOME", at)
        .output()
        .expect("chromium is installed");
    let told = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && pdf.exists(), "{told}");
    let said = Command::new("pdfinfo").arg(&pdf).output();
    let said = said.expect("pdfinfo is installed");
    let told = String::from_utf8_lossy(&said.stdout).into_owned();
    let size = match paper {
        "A4" => "(A4)",
        _ => "(letter)",
    };
    assert!(told.contains(size), "{told}");
    let pages = told.lines().find_map(|line| line.strip_prefix("Pages:"));
    pages.unwrap().trim().parse().unwrap()
}

fn two_sheets(name: &str, html: &str) {
    let directory = tempfile::tempdir().unwrap();
    if let Ok(kept) = std::env::var("KEEP_RECORDS") {
        std::fs::write(Path::new(&kept).join(format!("{name}.html")), html).unwrap();
    }
    for paper in ["A4", "letter"] {
        assert_eq!(sheets(html, paper, directory.path()), 2, "{name}, {paper}");
    }
}

#[test]
fn the_smallest_record_prints_on_two_sheets() {
    let world = World::quick();
    let bytes = world.transcript().encode().unwrap();
    let html = print(&bytes, &world.pin, &[]).unwrap();
    two_sheets("smallest", &html);
}

/// Alice, Erin, Frank, Gina and Hugo after a recovery, an administrator, two witnesses and an executor.
struct Installation {
    lost: Lost,
    people: Vec<Custodian>,
    wendy: Custodian,
    walt: Custodian,
    robot: Custodian,
}

impl Installation {
    fn new() -> Self {
        let mut lost = Lost::new();
        let recovery = Box::new(lost.change());
        lost.world.chains.changes.push(Change::Recovery(recovery));
        let [gina, hugo, adam] = ["gina", "hugo", "adam"].map(Custodian::quick);
        let [wendy, walt, robot] = ["wendy", "walt", "robot"].map(Custodian::quick);
        let alice = Custodian::quick("alice");
        let [erin, frank] = ["erin", "frank"].map(Custodian::quick);
        let enrolled = lost.world.next_roster(
            |roster| {
                let custodians = [&gina, &hugo].map(|each| each.member(&[Role::Custodian]));
                roster.members.extend(custodians);
                roster.members.push(adam.member(&[Role::Administrator]));
                let witnesses = [&wendy, &walt].map(|each| each.member(&[Role::Witness]));
                roster.members.extend(witnesses);
                roster.members.push(robot.member(&[Role::Executor]));
            },
            &[
                &alice, &erin, &frank, &gina, &hugo, &adam, &wendy, &walt, &robot,
            ],
        );
        lost.world.chains.changes.push(Change::Roster(enrolled));
        lost.world.clock = 2 * 72 * 60;
        Self {
            lost,
            people: vec![alice, erin, frank, gina, hugo],
            wendy,
            walt,
            robot,
        }
    }

    fn world(&self) -> &World {
        &self.lost.world
    }

    /// Proposed by Adam, approved and accepted by all five.
    fn close(
        &self,
        request: &Request,
        order: Option<String>,
        outcome: Outcome,
        change: impl FnOnce(&mut Record),
    ) -> Transcript {
        let world = self.world();
        let people: Vec<_> = self.people.iter().collect();
        let adam = Custodian::quick("adam");
        let bytes = request.encode().unwrap();
        let under = order.is_some();
        let approvers: &[&Custodian] = if under { &[] } else { &people };
        let ceremony = Ceremony {
            proposal: (!under).then(|| world.proposal(&bytes, &adam)),
            order,
            ..world.ceremony(request, approvers)
        };
        let mut record = world.record(&ceremony);
        change(&mut record);
        let statement = world.statement(&record, outcome);
        let mut acceptance = world.acceptance(&statement, &people);
        acceptance.result = under.then(|| {
            world.signature(
                Purpose::Result,
                acceptance.statement.as_bytes(),
                &self.robot,
            )
        });
        Transcript {
            v: V1,
            record,
            acceptance,
            log_keys: vec![],
            log_proofs: vec![],
        }
    }

    fn proposed(&self, operation: Operation) -> Request {
        Request {
            proposer: Some("adam".parse().unwrap()),
            reason: "x".repeat(1_000),
            ticket: Some("W".repeat(200)),
            ..self.world().request_for(operation)
        }
    }

    fn attested(&self, transcript: &Transcript, note: &str) -> Vec<Attestation> {
        let bytes = transcript.encode().unwrap();
        let verified = verify_transcript(&bytes, &self.world().pin).unwrap();
        let stranger = Custodian::quick("stranger");
        let by = [&self.wendy, &self.walt, &stranger, &self.people[0]];
        let mut all: Vec<_> = by
            .map(|each| attest(self.world(), &verified, each, Some(note)))
            .into();
        all.extend(all.clone());
        all
    }
}

fn step(at: u64, what: &str, name: &str, note: &str) -> Step {
    Step {
        at: minute(at),
        what: what.to_owned(),
        witness: Some(WitnessNote {
            name: name.to_owned(),
            note: note.to_owned(),
        }),
    }
}

/// What somebody would write who wants to break the page.
const HOSTILE: &str = "</bdi></td></table></section><script>alert(1)</script><img src=x onerror='x'>\u{202e}evil\u{202c}";

#[test]
fn the_largest_record_prints_on_two_sheets() {
    let all = Installation::new();
    let mut generate = crate::support::generate("atp-integrity");
    generate.number = 2;
    generate.predecessor = Some(NewKey::generate().public().kid());
    let mut request = all.proposed(Operation::Generate(generate));
    (request.lines[0].sequence, request.lines[0].previous) = (2, Some(Sha256Digest::of(b"a")));
    let outcome = Outcome::Generated(NewKey::generate().generated(&request));
    let transcript = all.close(&request, None, outcome, |record| {
        let rejection = all.world().rejection(&request, &all.wendy);
        record.rejections = vec![rejection; 5];
        let exception = ExceptionBody {
            at: minute(3),
            decided_by: "gina".parse().unwrap(),
            exception: "W".repeat(1_000),
            request_digest: Sha256Digest::of(b"a"),
            v: V1,
        };
        let said = exception.step();
        record.steps = (0..40)
            .map(|at| step(at, "note", "wendy", HOSTILE))
            .collect();
        record
            .steps
            .extend((40..50).map(|at| step(at, EXCEPTION_STEP, "walt", &said)));
        record
            .steps
            .push(step(51, HOSTILE, HOSTILE, &"\u{fdfd}".repeat(30_000)));
        record.steps.push(step(
            52,
            &"W".repeat(65_536),
            "x",
            &"a\u{300}\u{300}\u{300}".repeat(20_000),
        ));
    });
    let attested = all.attested(&transcript, &"W".repeat(1_000));
    let html = print(&transcript.encode().unwrap(), &all.world().pin, &attested).unwrap();
    assert!(
        html.contains("and 43 more steps, in the transcript"),
        "{html}"
    );
    assert!(html.contains("Exceptions among them: 10."), "{html}");
    two_sheets("largest", &html);
}

/// With proofs of the log, and the order's transcript inside.
#[test]
fn the_record_of_an_orders_key_after_a_recovery_prints_on_two_sheets() {
    let mut all = Installation::new();
    let begins = all.world().clock;
    all.lost.world.clock = begins - 60;
    let mut order = standing_order(&all.robot);
    order.not_before = minute(begins);
    order.not_after = minute(begins + 30 * 24 * 60);
    let mut asked = all.proposed(Operation::Order(Box::new(order.clone())));
    asked.nonce = order.id;
    let ordered = Outcome::Ordered { id: order.id };
    let ordered = all.close(&asked, None, ordered, |_| ());
    let ordered = String::from_utf8(ordered.encode().unwrap()).unwrap();
    all.lost.world.clock = begins;
    let world = all.world();
    let request = Request {
        reason: "W".repeat(1_000),
        ..request_under(world, 1)
    };
    let made = Outcome::Generated(NewKey::generate().generated(&request));
    let mut transcript = all.close(&request, Some(ordered), made, |record| {
        record.steps = (0..20)
            .map(|at| step(at, "note", "wendy", HOSTILE))
            .collect();
    });
    let attested = all.attested(&transcript, "seen");
    let end = ActLeaf {
        digest: Some(transcript.core_digest().unwrap()),
        reference: Some(Sha256Digest::of(transcript.record.request.as_bytes()).to_string()),
        ..ActLeaf::new(
            ActKind::Ceremony,
            "accepted",
            "test",
            minute(world.clock + 20),
        )
    };
    let leaf = String::from_utf8(json::canonical(&end).unwrap()).unwrap();
    let proof = log::proof("seal.example/log", &all.lost.key, &[&leaf], 0).to_string();
    transcript.log_keys = vec![all.lost.birth.clone()];
    transcript.log_proofs = vec![Logged { leaf, proof }];
    let html = print(&transcript.encode().unwrap(), &world.pin, &attested).unwrap();
    for said in [
        "use 1 of 3 of standing order",
        "seal.example/log",
        "1 of the changes by the recovery roster",
    ] {
        assert!(html.contains(said), "{said}: {html}");
    }
    // Who ordered it, each of whom counted, and that nobody had to approve the key itself.
    let verb = |verb: &str| html.matches(&format!("<tr><td>{verb}</td>")).count();
    let count = (verb("order asked"), verb("ordered"), verb("approved"));
    assert_eq!(count, (1, 5, 0), "{html}");
    let own = "No approval of its own was needed: of those who approved the standing order, which adam proposed, 5 of";
    assert!(html.contains(own), "{html}");
    two_sheets("order", &html);
}

#[test]
fn an_approval_of_an_order_that_did_not_count_is_marked() {
    let (mut world, robot) = crate::support::ordered::world(true);
    let order = standing_order(&robot);
    let asked = request_for_order(&world, order.clone());
    let outcome = Outcome::Ordered { id: order.id };
    // Alice twice, and the proposer, who does not count.
    let approvers = [&world.alice, &world.bob, &world.alice, &world.carol];
    let ceremony = world.ceremony(&asked, &approvers);
    let record = world.record(&ceremony);
    let statement = world.statement(&record, outcome);
    let ordered = Transcript {
        v: V1,
        acceptance: world.acceptance(&statement, &[&world.alice, &world.bob]),
        record,
        log_keys: vec![],
        log_proofs: vec![],
    };
    world.clock = BEGINS;
    let of_order = Ordered {
        order: String::from_utf8(ordered.encode().unwrap()).unwrap(),
        robot,
        world,
    };
    let made = of_order.transcript(&of_order.request(1), &[]);
    let html = print(&made.encode().unwrap(), &of_order.world.pin, &[]).unwrap();
    let verb = |verb: &str| html.matches(&format!("<tr><td>{verb}</td>")).count();
    assert_eq!((verb("ordered"), verb("ordered *")), (2, 2), "{html}");
}

#[test]
fn what_is_written_into_a_ceremony_cannot_become_markup_or_turn_the_line() {
    let world = World::quick();
    let mut request = world.request();
    request.reason = HOSTILE.chars().filter(|c| *c < '\u{200b}').collect();
    let outcome = Outcome::Generated(NewKey::generate().generated(&request));
    let ceremony = world.ceremony(&request, &[&world.alice, &world.bob]);
    let mut record = world.record(&ceremony);
    record.steps = vec![step(1, HOSTILE, HOSTILE, HOSTILE)];
    let statement = world.statement(&record, outcome);
    let acceptance = world.acceptance(&statement, &[&world.alice, &world.bob]);
    let transcript = Transcript {
        v: V1,
        record,
        acceptance,
        log_keys: vec![],
        log_proofs: vec![],
    };
    let html = print(&transcript.encode().unwrap(), &world.pin, &[]).unwrap();
    for never in ["<script", "<img", "onerror='", "\u{202e}"] {
        assert!(!html.contains(never), "{never}: {html}");
    }
    assert!(
        html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{html}"
    );
    assert_eq!(html.matches("<section").count(), 2);
    assert_eq!(html.matches("<style>").count(), 1);
}

#[test]
fn a_transcript_that_does_not_verify_has_no_record() {
    let world = World::quick();
    let transcript = world.transcript();
    let mut changed = transcript.clone();
    changed.record.steps.clear();
    for (bytes, pin) in [
        (changed.encode().unwrap(), world.pin.clone()),
        (
            transcript.encode().unwrap(),
            Pin {
                genesis: Sha256Digest::of(b"another"),
                ..world.pin.clone()
            },
        ),
    ] {
        assert!(print(&bytes, &pin, &[]).is_err());
    }
}
