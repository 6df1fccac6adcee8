//! A ceremony that is held on files, because the log in which it would stand is halted: one file with everything that a
//! transcript will have. Whoever adds a signature counts it by the same tally as the service, from the pinned genesis.

use serde::{Deserialize, Serialize};
use trust::approval::{Acceptance, Approval, Outcome, acceptance_message};
use trust::chain::Chains;
use trust::format::V1;
use trust::request::NewOrigin;
use trust::tally::{AcceptanceTally, Standing, Tally, tally_acceptance};
use trust::transcript::{Record, VerifiedTranscript};
use trust::{
    History, Member, MemberSignature, Operation, Pin, Purpose, Request, Role, Sha256Digest, Time,
    Transcript, Trusted, json, verify_transcript,
};

use super::error::{Error, describe};
use super::execute::stated;
use super::report::{Report, members, not_counted};
use super::service::{CeremonyService, SigningPayload};
use super::vote::normalized;

/// How it was carried out, as its record says.
const HOW: &str = "held on files";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Kind {
    #[serde(rename = "chancery-bundle")]
    ChanceryBundle,
}

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    acceptances: Vec<MemberSignature>,
    record: Record,
    /// What custodians accept, as soon as enough of them have approved.
    statement: Option<String>,
    #[serde(rename = "type")]
    kind: Kind,
    v: V1,
}

/// Where a bundle stands.
#[derive(Debug, Clone, Serialize)]
pub struct BundleReport {
    #[serde(flatten)]
    pub report: Report,
    /// Custodians whose signature would count and is not there.
    pub missing: Vec<String>,
    /// What is due.
    pub next: &'static str,
}

impl Bundle {
    /// Without a signature.
    pub(super) fn new(request: &Request, chains: Chains) -> Result<Self, Error> {
        let new = Self {
            acceptances: Vec::new(),
            record: Record {
                v: V1,
                chains,
                request: text(request.encode()?)?,
                order: None,
                proposal: None,
                approvals: Vec::new(),
                rejections: Vec::new(),
                cancellations: Vec::new(),
                suspensions: Vec::new(),
                steps: Vec::new(),
            },
            statement: None,
            kind: Kind::ChanceryBundle,
            v: V1,
        };
        new.order()?;
        Ok(new)
    }

    /// Nothing in it is verified by that.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let bundle: Self = json::require_canonical(bytes)?;
        bundle.order()?;
        Ok(bundle)
    }

    pub fn encode(&self) -> Result<Vec<u8>, Error> {
        Ok(json::canonical(self)?)
    }

    pub fn request(&self) -> Result<Request, Error> {
        Ok(Request::decode(self.record.request.as_bytes())?)
    }

    /// The ceremony's id.
    pub fn id(&self) -> String {
        Sha256Digest::of(self.record.request.as_bytes()).to_string()
    }

    /// What is to be done: only a new origin is held on files.
    pub fn order(&self) -> Result<NewOrigin, Error> {
        match self.request()?.operation {
            Operation::NewOrigin(order) => Ok(order),
            other => Err(Error::Unfit(format!(
                "a {} is not held on files",
                other.word()
            ))),
        }
    }

    /// What is signed to approve.
    pub fn approval_payload(&self) -> Result<SigningPayload, Error> {
        let request = self.request()?;
        Ok(SigningPayload {
            namespace: request.namespace(Purpose::Approve).to_string(),
            bytes: request.message(Purpose::Approve, self.record.request.as_bytes()),
        })
    }

    /// What is signed to accept.
    pub fn acceptance_payload(&self) -> Result<SigningPayload, Error> {
        let request = self.request()?;
        let statement = self.statement.as_ref().ok_or_else(|| Error::State {
            found: "proposed".to_owned(),
            needed: "approved by enough",
        })?;
        Ok(SigningPayload {
            namespace: request.namespace(Purpose::Accept).to_string(),
            bytes: acceptance_message(&request, statement.as_bytes()),
        })
    }

    fn trusted(&self, pin: &Pin) -> Result<Trusted, Error> {
        Ok(trust::chain::walk(&self.record.chains, pin)?)
    }

    fn tally(&self, trusted: &Trusted, now: Time) -> Tally {
        let history = History::claimed_by(self.record.request.as_bytes());
        trust::tally(trusted, &self.record.ceremony(), &history, now)
    }

    fn acceptances(
        &self,
        trusted: &Trusted,
        statement: &str,
        signatures: Vec<MemberSignature>,
    ) -> Result<AcceptanceTally, Error> {
        let acceptance = Acceptance {
            result: None,
            statement: statement.to_owned(),
            signatures,
        };
        Ok(tally_acceptance(trusted, &self.record, &acceptance)?)
    }

    /// Takes the signature that is due: the proposer's, then approvals, then acceptances. One that does not count is
    /// refused, with the reason.
    pub fn add(&mut self, signature: &str, pin: &Pin, now: Time) -> Result<(), Error> {
        let trusted = self.trusted(pin)?;
        let signature = normalized(signature)?;
        if let Some(statement) = &self.statement {
            let mut all = self.acceptances.clone();
            all.push(signature);
            let last = all.len() - 1;
            let tally = self.acceptances(&trusted, statement, all.clone())?;
            if let Some(not) = tally.not_counted.iter().find(|not| not.index == last) {
                return Err(Error::DoesNotCount(not.why.to_string()));
            }
            self.acceptances = all;
            return Ok(());
        }
        let mut next = self.clone();
        let received = Approval {
            signature,
            received_at: now,
        };
        match next.record.proposal {
            None => next.record.proposal = Some(received),
            Some(_) => next.record.approvals.push(received),
        }
        let tally = next.tally(&trusted, now);
        if let Standing::Refused(_) | Standing::Expired { .. } = &tally.standing {
            return Err(Error::NotApproved(tally.into_standing()));
        }
        let last = next.record.approvals.len().checked_sub(1);
        if let Some(not) = tally.not_counted.iter().find(|not| Some(not.index) == last) {
            return Err(Error::DoesNotCount(not.why.to_string()));
        }
        if tally.standing == Standing::Approved {
            next.state(now)?;
        }
        *self = next;
        Ok(())
    }

    /// Approved: what was ordered is what will be done, and the record is closed.
    fn state(&mut self, now: Time) -> Result<(), Error> {
        let NewOrigin {
            origin, root, size, ..
        } = self.order()?;
        let outcome = Outcome::NewOrigin { origin, root, size };
        let executed_at = now.max(self.request()?.created_at);
        let stated = stated(self.record.clone(), outcome, executed_at, HOW)?;
        self.record = stated.record;
        self.statement = Some(stated.acceptance.statement);
        Ok(())
    }

    /// Counts everything anew.
    pub fn report(&self, pin: &Pin, now: Time) -> Result<BundleReport, Error> {
        let trusted = self.trusted(pin)?;
        let request = self.request()?;
        let mut report = Report::of(&request, self.id());
        let tally;
        let (counted, complete) = match &self.statement {
            Some(statement) => {
                let tally = self.acceptances(&trusted, statement, self.acceptances.clone())?;
                report.approved_by = members(tally.approved_by().iter());
                report.accepted_by = members(tally.counted.iter().map(|c| &c.member));
                report.acceptances_needed = Some(tally.needed.get());
                report.not_counted = not_counted(&tally.not_counted);
                report.state = "approved".to_owned();
                let missing = tally.missing();
                report.standing = match missing {
                    0 => "accepted".to_owned(),
                    _ => format!("waiting for {missing} more acceptance(s)"),
                };
                (report.accepted_by.clone(), missing == 0)
            }
            None => {
                tally = self.tally(&trusted, now);
                report.approved_by = members(tally.counted.iter().map(|c| &c.member));
                report.approvals_needed = tally.needed.map(trust::Threshold::get);
                report.not_counted = not_counted(&tally.not_counted);
                report.state = "proposed".to_owned();
                report.standing = describe(&tally);
                (report.approved_by.clone(), false)
            }
        };
        let next = match (&self.statement, &self.record.proposal) {
            (None, None) => {
                "the proposer signs the file written by --out, and `chancery ceremony bundle add` adds the signature"
            }
            (None, Some(_)) => {
                "custodians sign what `chancery ceremony request` writes, and `chancery ceremony bundle add` adds each signature"
            }
            (Some(_), _) if !complete => {
                "custodians sign what `chancery ceremony acceptance` writes, and `chancery ceremony bundle add` adds each signature"
            }
            _ => "set log.origin and log.tiles, then `chancery ceremony bundle apply`",
        };
        let may = |member: &&Member| {
            member.active
                && member.roles.contains(&Role::Custodian)
                && Some(&member.id) != request.proposer.as_ref()
        };
        let others = trusted.roster().members.iter().filter(may);
        let missing = others.map(|member| member.id.to_string());
        let missing = missing.filter(|member| !complete && !counted.contains(member));
        Ok(BundleReport {
            missing: missing.collect(),
            report,
            next,
        })
    }

    /// The transcript, verified as a stranger would, from its bytes.
    pub(super) fn finished(&self, pin: &Pin) -> Result<(Transcript, VerifiedTranscript), Error> {
        // Says what is missing, where a transcript would only be incomplete.
        self.acceptance_payload()?;
        let transcript = Transcript {
            v: V1,
            record: self.record.clone(),
            acceptance: Acceptance {
                result: None,
                statement: self.statement.clone().unwrap_or_default(),
                signatures: self.acceptances.clone(),
            },
            log_keys: Vec::new(),
            log_proofs: Vec::new(),
        };
        let verified = verify_transcript(&transcript.encode()?, pin)?;
        Ok((transcript, verified))
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }
}

impl std::fmt::Display for BundleReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.report.fmt(f)?;
        if !self.missing.is_empty() {
            writeln!(f, "not signed   {}", self.missing.join(", "))?;
        }
        writeln!(f, "next         {}", self.next)
    }
}

fn text(bytes: Vec<u8>) -> Result<String, Error> {
    String::from_utf8(bytes).map_err(|_| Error::Unfit("a document is not UTF-8".to_owned()))
}

impl CeremonyService {
    /// A bundle of this request, without a signature.
    pub async fn bundle(&self, request: &Request) -> Result<Bundle, Error> {
        let (chains, _) = self.trusted().await?;
        Bundle::new(request, chains.as_ref().clone())
    }
}
