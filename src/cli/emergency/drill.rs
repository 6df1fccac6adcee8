//! A drill: an emergency from its detection to its end on a ring that is there for it, with a clock. Signatures are made
//! with the keys that are given, or waited for as files, as in any ceremony.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use trust::leaf::{ActKind, DRILL};
use trust::{MemberId, Name, Purpose, Role, Roster};

use super::super::context::failed;
use super::super::genesis::write;
use super::super::{CliContext, World, ssh};
use super::clock::{DrillReport, read_back};
use keyring::ceremony::{
    CeremonyService, Draft, EmergencyReport, ProposalInput, Report, SigningPayload,
};
use log::Event;
use store::Change;
use verify::output::{Failure, Output};

/// How often it is looked for signatures.
const EVERY: Duration = Duration::from_millis(200);

/// The rotation of a drill has to be ratified as any other.
const RATIFY_WITHIN: Duration = Duration::from_secs(24 * 60 * 60);

/// Until when requests of a drill can be approved and carried out.
const OPEN: Duration = Duration::from_secs(2 * 60 * 60);

#[derive(Debug, Args)]
pub struct Drill {
    /// The ring, whose name is `drill` or begins with `drill-`. It needs a standby key that is published for
    /// `publish_safety`.
    #[arg(long)]
    ring: Name,
    /// Do nothing, and read the last drill of the ring back from the log.
    #[arg(long)]
    report: bool,
    /// The member who proposes the ceremonies, and whose approval does not count.
    #[arg(long, required_unless_present = "report")]
    proposer: Option<MemberId>,
    /// `MEMBER=KEY`: a member's SSH key. Whoever has none here signs the files in `--directory`.
    #[arg(long = "key", id = "key", value_parser = parse_key)]
    keys: Vec<(MemberId, PathBuf)>,
    /// Where the files to sign are written, and signatures are looked for: of FILE each FILE.*.sig.
    #[arg(long)]
    directory: Option<PathBuf>,
    /// Why, in words for the record.
    #[arg(long, default_value = "a drill")]
    reason: String,
    /// File for the report as JSON; never overwritten.
    #[arg(long)]
    out: Option<PathBuf>,
}

fn parse_key(text: &str) -> Result<(MemberId, PathBuf), String> {
    let (member, key) = text.split_once('=').ok_or("expected MEMBER=KEY")?;
    let member = member.parse().map_err(|_| "expected the id of a member")?;
    Ok((member, PathBuf::from(key)))
}

/// Whether a ring is there for drills: what happens to its keys happens to nobody else's signatures.
fn is_for_drills(ring: &Name) -> bool {
    ring.as_str() == "drill" || ring.as_str().starts_with("drill-")
}

pub async fn run(path: &Path, drill: Drill, world: &World, output: &Output) -> Result<(), Failure> {
    if !is_for_drills(&drill.ring) {
        return Err(Failure::refused(format!(
            "{} is no ring for drills: its name has to be `drill` or begin with `drill-`",
            drill.ring
        )));
    }
    let open = CliContext::new(path, world).await?;
    if !drill.report {
        let service = open.ceremonies(world);
        let held = Held {
            open: &open,
            world,
            output,
            drill: &drill,
            service,
        };
        held.play().await?;
    }
    let report = read_back(&open.store, drill.ring.as_str()).await?;
    let report =
        report.ok_or_else(|| Failure::refused("the log tells of no drill of this ring"))?;
    told(&report, &drill, output)
}

fn told(report: &DrillReport, drill: &Drill, output: &Output) -> Result<(), Failure> {
    if let Some(out) = &drill.out {
        let json = serde_json::to_vec_pretty(report).map_err(Failure::refused)?;
        write(out, &json)?;
    }
    output.result(report, || report.to_string());
    match report.in_time {
        true => Ok(()),
        false => Err(Failure::refused(
            "the drill is not complete, or took too long",
        )),
    }
}

/// A drill that is being held.
struct Held<'a> {
    open: &'a CliContext,
    world: &'a World,
    output: &'a Output,
    drill: &'a Drill,
    service: CeremonyService,
}

impl Held<'_> {
    /// Each step is an act of the ordinary kind; if we die in between, the commands of docs/EMERGENCY.md go on.
    async fn play(&self) -> Result<(), Failure> {
        let ring = Some(&self.drill.ring);
        self.detect().await?;
        self.stop().await?;
        let rotation = self.propose(|_| {
            Ok(Draft::EmergencyRotation {
                standby: None,
                compromised_since: self.world.env.now(),
                ratify_within: RATIFY_WITHIN,
            })
        });
        let rotation = rotation.await?;
        self.finish("2-rotation", &rotation).await?;
        let ratification = self.propose(|_| Ok(Draft::Ratification { rotation: None }));
        self.finish("3-ratification", &ratification.await?).await?;
        let resume = self.propose(|state| {
            let ends = state.to_end(ring);
            let ends = ends.ok_or_else(|| Failure::refused("the ring is not stopped"))?;
            Ok(Draft::Resume { ends })
        });
        self.finish("4-resume", &resume.await?).await
    }

    /// The clock begins with a leaf.
    async fn detect(&self) -> Result<(), Failure> {
        let snapshot = self.open.snapshot().await?;
        let ring = snapshot.rings.get(self.drill.ring.as_str());
        let ring =
            ring.ok_or_else(|| Failure::usage(format!("unknown ring {}", self.drill.ring)))?;
        let now = self.world.env.now();
        if ring.successor(&self.open.settings.safety, now).is_none() {
            return Err(Failure::refused(
                "the ring has no standby key that verifiers have had for publish_safety",
            ));
        }
        let event = Event {
            reason: Some(&self.drill.reason),
            ring: Some(self.drill.ring.as_str()),
            ..Event::new(ActKind::Emergency, DRILL, &self.open.actor, now)
        };
        self.open.commit(&Change::Record, &event).await?;
        self.output.remark("detected: the clock runs");
        Ok(())
    }

    async fn stop(&self) -> Result<(), Failure> {
        let draft = self
            .service
            .stop_draft(Some(&self.drill.ring), &self.drill.reason, OPEN);
        let body = draft.await.map_err(failed)?;
        let payload = self.service.stop_payload(&body).map_err(failed)?;
        let bytes = body.encode().map_err(Failure::refused)?;
        let wanted = Wanted {
            file: "1-stop",
            payload: &payload,
            roles: &[Role::OnCall, Role::Custodian],
            proposer: false,
        };
        let take = async |signature: String| {
            let snapshot = self.open.snapshot().await?;
            let stop = self.service.stop(bytes.clone(), &signature, &snapshot);
            stop.await.map_err(failed)?;
            Ok(true)
        };
        self.signatures(&wanted, take).await
    }

    /// Files a ceremony with its proposer's signature; its id.
    async fn propose(
        &self,
        draft: impl FnOnce(&EmergencyReport) -> Result<Draft, Failure>,
    ) -> Result<String, Failure> {
        let snapshot = self.open.snapshot().await?;
        let draft = draft(&self.service.emergency_report(&snapshot))?;
        let now = self.world.env.now();
        let proposer = self.drill.proposer.clone();
        let input = ProposalInput {
            ring: Some(self.drill.ring.clone()),
            proposer: proposer.ok_or_else(|| Failure::usage("--proposer is required"))?,
            reason: self.drill.reason.clone(),
            ticket: None,
            approve_by: now + OPEN,
            execute_by: now + OPEN,
            draft,
        };
        let request = self.service.draft_request(input, &snapshot).await;
        let request = request.map_err(failed)?;
        let payload = CeremonyService::proposal_payload(&request).map_err(failed)?;
        let bytes = request.encode().map_err(Failure::refused)?;
        let word = request.operation.word();
        let file = format!("{word}-proposal");
        let wanted = Wanted {
            file: &file,
            payload: &payload,
            roles: &[],
            proposer: true,
        };
        let mut id = String::new();
        let take = async |signature: String| {
            let filed = self.service.propose(bytes.clone(), &signature).await;
            id = filed.map_err(failed)?;
            Ok(true)
        };
        self.signatures(&wanted, take).await?;
        Ok(id)
    }

    /// From the first approval to the last acceptance.
    async fn finish(&self, file: &str, id: &str) -> Result<(), Failure> {
        let payload = self.service.approval_payload(id).await.map_err(failed)?;
        let approve = format!("{file}-approve");
        let done = |report: Report| report.state.as_str() != "proposed";
        let wanted = Wanted {
            file: &approve,
            payload: &payload,
            roles: &[Role::SecurityLead, Role::OnCallManager, Role::Custodian],
            proposer: false,
        };
        let take = async |signature: String| {
            let approved = self.service.approve(id, &signature).await;
            approved.map(done).map_err(failed)
        };
        self.signatures(&wanted, take).await?;
        let snapshot = self
            .open
            .snapshot_with(self.service.kids(id).await.map_err(failed)?);
        let executed = self.service.execute(id, None, &*snapshot.await?).await;
        executed.map_err(failed)?;
        self.output.remark(format!("{file}: carried out"));
        let payload = self.service.acceptance_payload(id).await.map_err(failed)?;
        let accept = format!("{file}-accept");
        let wanted = Wanted {
            file: &accept,
            payload: &payload,
            roles: &[Role::Custodian],
            proposer: false,
        };
        let take = async |signature: String| {
            let accepted = self.service.accept(id, &signature).await;
            let report = accepted.map_err(failed)?;
            Ok(report.state.as_str() == "closed")
        };
        self.signatures(&wanted, take).await?;
        self.output.remark(format!("{file}: closed"));
        Ok(())
    }

    /// Takes signatures until one completes what is wanted: by the keys that are given, then those that come as files.
    async fn signatures(
        &self,
        wanted: &Wanted<'_>,
        mut take: impl AsyncFnMut(String) -> Result<bool, Failure>,
    ) -> Result<(), Failure> {
        let (namespace, bytes) = (&wanted.payload.namespace, &wanted.payload.bytes);
        let snapshot = self.open.snapshot().await?;
        let roster = snapshot.trusted().map(trust::Trusted::roster);
        for (member, key) in &self.drill.keys {
            if !roster.is_some_and(|roster| self.asks(wanted, member, roster)) {
                continue;
            }
            let signature = ssh::sign(key, namespace, bytes)?;
            match take(signature).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                // Whoever fills no role of this ceremony.
                Err(failure) => self.output.remark(format!("{member}: {:#}", failure.error)),
            }
        }
        let Some(directory) = &self.drill.directory else {
            return Err(Failure::usage(format!(
                "signatures for {} are missing: give more --key, or a --directory",
                wanted.file
            )));
        };
        let file = directory.join(wanted.file);
        write(&file, bytes)?;
        let name = file.display();
        self.output.remark(format!(
            "to sign: ssh-keygen -Y sign -n {namespace} -f KEY < {name} > {name}.YOU.sig"
        ));
        let mut seen = BTreeSet::new();
        loop {
            for signature in signatures_of(directory, wanted.file)? {
                if !seen.insert(signature.clone()) {
                    continue;
                }
                let text = fs::read_to_string(&signature).map_err(Failure::unavailable)?;
                match take(text).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    Err(failure) => {
                        let name = signature.display();
                        self.output.remark(format!("{name}: {:#}", failure.error));
                    }
                }
            }
            tokio::time::sleep(EVERY).await;
        }
    }

    fn asks(&self, wanted: &Wanted<'_>, member: &MemberId, roster: &Roster) -> bool {
        let proposes = self.drill.proposer.as_ref() == Some(member);
        let listed = roster.member(member);
        let has = listed.is_some_and(|member| {
            let mut roles = member.roles.iter();
            roles.any(|role| wanted.roles.contains(role))
        });
        match wanted.proposer {
            true => proposes,
            false => has && (!proposes || wanted.payload.namespace.contains(Purpose::Stop.word())),
        }
    }
}

/// What is to be signed, and by whom.
struct Wanted<'a> {
    file: &'a str,
    payload: &'a SigningPayload,
    /// One of them.
    roles: &'a [Role],
    /// By the proposer alone.
    proposer: bool,
}

/// Of `FILE` each `FILE.*.sig`, by name.
fn signatures_of(directory: &Path, file: &str) -> Result<BTreeSet<PathBuf>, Failure> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(directory).map_err(Failure::unavailable)? {
        let entry = entry.map_err(Failure::unavailable)?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        let mine = name
            .strip_prefix(file)
            .is_some_and(|rest| rest.starts_with('.'));
        if mine && name.ends_with(".sig") {
            found.insert(entry.path());
        }
    }
    Ok(found)
}
