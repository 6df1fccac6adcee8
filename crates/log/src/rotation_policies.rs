//! Which policy of a critical key type is in force: the one that the newest leaf of a decision on it names, whose ceremony's
//! transcript verifies. Leaves are read from the newest on, because rows can be changed, and a row beside them says nothing by
//! itself. What a row or a leaf says otherwise is a fault and is not followed, so that nothing rotates by rules that no quorum
//! decided.

use std::collections::BTreeMap;

use calendar::{KeyTypes, PolicyDocument, Word};
use trust::chain::walk;
use trust::emergency::HeldUnder;
use trust::leaf::{ActKind, ActLeaf, Leaf};
use trust::order_log::Suspended;
use trust::request::RotationPolicy;
use trust::{
    KeyTypeName, Operation, Pin, Request, Sha256Digest, Time, Transcript, Trusted,
    VerifiedTranscript, error_chain,
};

use crate::emergency::execution;
use crate::rows::{ChainRowError, unverified_chains};
use crate::suspended::{SuspensionsError, suspended_by_log};
use store::{DocumentRow, KeyTypeRow, LeafRow, MAX_PAGE, PolicyRow, Store, policy_asset};

/// Leaves of decisions that are read together: most often the first one is in force.
const FEW: i64 = 16;

/// Faults that are told by name. More of them come from somebody who wrote as many into the database by hand.
const MOST_FAULTS: usize = 10;

/// How often the newest row is read again because another came meanwhile.
const ATTEMPTS: usize = 3;

/// The word of the leaf by which a policy takes effect.
const ACCEPTED: &str = "accepted";

/// Why nothing is known of policies.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    #[error("database error")]
    Store(#[from] store::Error),
    #[error("the suspensions in the database cannot be read")]
    Suspensions(#[from] SuspensionsError),
    #[error("the roster and policy are invalid")]
    Chain(#[from] ChainRowError),
    #[error("two key types have one name")]
    Types(#[from] calendar::key_type::Taken),
}

/// The policy of a critical key type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyInForce {
    /// As a quorum decided it, with the leaf that tells of it; none while the figures of the key type hold.
    pub decided: Option<PolicyRow>,
    /// The newest leaf that tells of a decision on it, whether it has effect or not.
    pub last: Option<i64>,
    /// What the database says otherwise, and is not followed; at most ten and how many more there are.
    pub faults: Vec<String>,
}

impl PolicyInForce {
    /// The document in force.
    pub fn document(&self, key_type: &calendar::key_type::KeyType) -> PolicyDocument {
        match &self.decided {
            Some(row) => row.document.clone(),
            None => PolicyDocument::standard(key_type),
        }
    }
}

/// The sixteen, and those that this installation added.
pub async fn key_types(store: &Store) -> Result<KeyTypes, PolicyError> {
    with_own(store.key_types().await?.all()?.into_iter())
}

/// The sixteen, and these.
pub(crate) fn with_own(rows: impl Iterator<Item = KeyTypeRow>) -> Result<KeyTypes, PolicyError> {
    let mut types = KeyTypes::standard();
    for row in rows {
        // A program that is newer than the row may have brought a type of the same name: its own counts.
        if types.get(row.key_type.name.as_str()).is_none() {
            types = types.with(row.key_type)?;
        }
    }
    Ok(types)
}

/// The policy of a critical key type that a quorum decided last.
pub async fn policy_in_force(
    store: &Store,
    pin: &Pin,
    key_type: &Word,
) -> Result<PolicyInForce, PolicyError> {
    let Ok(name) = key_type.as_str().parse::<KeyTypeName>() else {
        return Ok(PolicyInForce::default());
    };
    let mut newest = self::newest(store, key_type).await?;
    let mut found = decisions(store, pin, (key_type, &name)).await?;
    // One may have taken effect between the two.
    for _ in 0..ATTEMPTS {
        let now = self::newest(store, key_type).await?;
        if now == newest {
            break;
        }
        newest = now;
        found = decisions(store, pin, (key_type, &name)).await?;
    }
    let Found {
        mut policy,
        mut more,
    } = found;
    let fault = match newest {
        Ok(newest) => fault_of_row(&name, newest.as_ref(), policy.decided.as_ref()),
        Err(why) => Some(format!(
            "the policy of {name} in the database cannot be read: {why}"
        )),
    };
    // What is in force is told with it, so this one is never left out.
    if let Some(fault) = fault {
        policy.faults.insert(0, fault);
    }
    if policy.faults.len() > MOST_FAULTS {
        more += policy.faults.len() - MOST_FAULTS;
        policy.faults.truncate(MOST_FAULTS);
    }
    if more > 0 {
        policy.faults.push(format!("and {more} more of {name}"));
    }
    Ok(policy)
}

/// What the leaves say.
#[derive(Default)]
struct Found {
    policy: PolicyInForce,
    /// Faults beside those that are told.
    more: usize,
}

impl Found {
    fn tell(&mut self, fault: impl FnOnce() -> String) {
        match self.policy.faults.len() < MOST_FAULTS {
            true => self.policy.faults.push(fault()),
            false => self.more += 1,
        }
    }
}

/// By the leaves, from the newest on. The first that holds is in force, but where an older one decided a version that is not
/// lower: then the newer one was overtaken when it was accepted.
async fn decisions(
    store: &Store,
    pin: &Pin,
    (key_type, name): (&Word, &KeyTypeName),
) -> Result<Found, PolicyError> {
    let mut found = Found::default();
    let (mut before, mut together) = (i64::MAX, FEW);
    let mut reading = None;
    loop {
        let page = store.policy_decisions(key_type, before, together).await?;
        for row in &page {
            let act = match Leaf::parse(row.body.as_bytes()) {
                Ok(Leaf::Act(act)) if act.action == ACCEPTED => act,
                _ => continue,
            };
            found.policy.last = found.policy.last.max(Some(row.index));
            let decided = found.policy.decided.as_ref();
            let in_force = decided.map_or(0, |row| row.document.version.into());
            // What an older leaf says by itself decides only whether its ceremony is looked at.
            if act.version.is_none_or(|version| version < in_force) && decided.is_some() {
                continue;
            }
            let reading = match &mut reading {
                Some(reading) => reading,
                none => none.insert(Reading::new(store, pin, name).await?),
            };
            match (reading.leaf(row, &act).await?, &found.policy.decided) {
                (Ok(policy), None) => found.policy.decided = Some(policy),
                (Ok(policy), Some(overtaken)) => {
                    let (overtaken, version) =
                        (overtaken.document.version, policy.document.version);
                    found.tell(|| {
                        format!(
                            "version {overtaken} of the policy of {name} was accepted after version {version} and has no effect"
                        )
                    });
                    found.policy.decided = Some(policy);
                }
                // Behind it somebody decided anew.
                (Err(_), Some(_)) => {}
                (Err(why), None) => found.tell(|| {
                    format!(
                        "leaf {} tells of a decision on the policy of {name} that is invalid: {why}",
                        row.index
                    )
                }),
            }
        }
        match page.last() {
            Some(last) if page.len() as i64 == together => before = last.index,
            _ => return Ok(found),
        }
        // More come from many years, or from somebody who wrote as many.
        together = MAX_PAGE;
    }
}

/// The version that a leaf says a ceremony decided on the policy of a key type. Nothing is proven by it.
pub fn decided_version(leaf: &LeafRow, key_type: &Word) -> Option<u64> {
    match Leaf::parse(leaf.body.as_bytes()) {
        Ok(Leaf::Act(act)) if (act.kind, &*act.action) == (ActKind::Ceremony, ACCEPTED) => {
            let is_of = act.asset.as_deref() == Some(&*policy_asset(key_type.as_str()));
            act.version.filter(|_| is_of && act.reference.is_some())
        }
        _ => None,
    }
}

/// The newest row, or why it cannot be read.
async fn newest(
    store: &Store,
    key_type: &Word,
) -> Result<Result<Option<PolicyRow>, String>, store::Error> {
    match store.rotation_policy(key_type).await {
        Err(error) if error.is_corrupt() => Ok(Err(error_chain(&error))),
        row => row.map(Ok),
    }
}

/// What the newest row says otherwise than was decided.
fn fault_of_row(
    key_type: &KeyTypeName,
    newest: Option<&PolicyRow>,
    decided: Option<&PolicyRow>,
) -> Option<String> {
    let in_force = decided.map_or(1, |row| row.document.version);
    let stands = format!("version {in_force} stays in force");
    match (newest, decided) {
        (None, None) => None,
        (Some(row), Some(decided))
            if (&row.document, row.index) == (&decided.document, decided.index) =>
        {
            None
        }
        (Some(row), Some(decided)) if row.document.version == decided.document.version => {
            Some(format!(
                "version {in_force} of the policy of {key_type} in the database is not the one that was decided, which stays in force"
            ))
        }
        (Some(row), _) if row.document.version > in_force => Some(format!(
            "no ceremony of which the log tells decided version {} of the policy of {key_type}: {stands}",
            row.document.version
        )),
        _ => Some(format!(
            "version {in_force} of the policy of {key_type} was decided and is not in the database: {stands}"
        )),
    }
}

/// One look at the leaves of a policy. Each ceremony is proven once, however many leaves name it.
struct Reading<'a> {
    store: &'a Store,
    pin: &'a Pin,
    key_type: &'a KeyTypeName,
    documents: Vec<DocumentRow>,
    /// The present roster and policy, or why there are none.
    trusted: Option<Result<Trusted, String>>,
    suspensions: Option<Vec<Suspended>>,
    /// What each ceremony decided that has a transcript, at the first leaf that tells of it; or why it decided nothing.
    ceremonies: BTreeMap<String, Result<PolicyRow, String>>,
}

impl<'a> Reading<'a> {
    async fn new(
        store: &'a Store,
        pin: &'a Pin,
        key_type: &'a KeyTypeName,
    ) -> Result<Self, PolicyError> {
        Ok(Self {
            store,
            pin,
            key_type,
            documents: store.documents().await?,
            trusted: None,
            suspensions: None,
            ceremonies: BTreeMap::new(),
        })
    }

    /// What a leaf tells of, or why nothing was decided by it.
    async fn leaf(
        &mut self,
        leaf: &LeafRow,
        act: &ActLeaf,
    ) -> Result<Result<PolicyRow, String>, PolicyError> {
        let Some(ceremony) = act.reference.as_deref() else {
            return Ok(Err("it names no ceremony".to_owned()));
        };
        if act.version.and_then(|of| u32::try_from(of).ok()).is_none() {
            return Ok(Err("it names no version that there can be".to_owned()));
        }
        if !self.ceremonies.contains_key(ceremony) {
            let Some(bytes) = self.store.transcript(ceremony).await? else {
                return Ok(Err("its transcript is not in the database".to_owned()));
            };
            let decided = self.ceremony(ceremony, &bytes).await?;
            self.ceremonies.insert(ceremony.to_owned(), decided);
        }
        Ok(match self.ceremonies.get(ceremony) {
            Some(Ok(policy)) if policy.index == leaf.index => Ok(policy.clone()),
            // The same told again would bring back what another decision has replaced since.
            Some(Ok(policy)) => Err(format!("leaf {} told of it before", policy.index)),
            Some(Err(why)) => Err(why.clone()),
            None => Err("its transcript is not in the database".to_owned()),
        })
    }

    /// What a ceremony decided, or why it decided nothing.
    async fn ceremony(
        &mut self,
        ceremony: &str,
        bytes: &[u8],
    ) -> Result<Result<PolicyRow, String>, PolicyError> {
        // Signatures cost more than what is no policy of this key type by its own words.
        let named = Transcript::decode(bytes)
            .ok()
            .and_then(|transcript| Request::decode(transcript.record.request.as_bytes()).ok());
        if let Some(request) = named
            && !is_on(&request, self.key_type)
        {
            return Ok(Err("its ceremony is on something else".to_owned()));
        }
        let verified = match self.verified(ceremony, bytes)? {
            Ok(verified) => verified,
            Err(why) => return Ok(Err(why)),
        };
        let request = verified.request();
        let order = match &request.operation {
            Operation::RotationPolicy(order) if order.key_type == *self.key_type => order,
            _ => return Ok(Err("its ceremony is on something else".to_owned())),
        };
        let document = match document_of(order) {
            Ok(document) => document,
            Err(why) => return Ok(Err(why)),
        };
        let held = match HeldUnder::of(bytes, &verified) {
            Ok(held) => held,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let is_end = |row: &&LeafRow| match Leaf::parse(row.body.as_bytes()) {
            Ok(Leaf::Act(act)) => is_end(&act, order, verified.core_digest(), ceremony),
            _ => false,
        };
        let (mut from, mut executed) = (0, None);
        let end = loop {
            let page = self.store.leaves_of_ceremony(ceremony, from, MAX_PAGE);
            let page = page.await?;
            executed = executed.or_else(|| execution(&page, &held));
            if let Some(end) = page.iter().find(is_end) {
                break Some((end.index, Time::from_millis(end.time)));
            }
            match page.last() {
                Some(last) if page.len() as i64 == MAX_PAGE => from = last.index + 1,
                _ => break None,
            }
        };
        let Some((index, at)) = end else {
            return Ok(Err("it differs from its ceremony".to_owned()));
        };
        if let Err(why) = self.borne_out(&held, executed, (index, at)).await? {
            return Ok(Err(why));
        }
        Ok(Ok(PolicyRow {
            document,
            reason: request.reason.clone(),
            changed_by: decided_by(request),
            changed_at: at,
            index,
        }))
    }

    /// The transcript, under a chain of which the present one is a continuation.
    fn verified(
        &mut self,
        ceremony: &str,
        bytes: &[u8],
    ) -> Result<Result<VerifiedTranscript, String>, PolicyError> {
        let trusted = match &mut self.trusted {
            Some(trusted) => trusted,
            none => none.insert(trusted(&self.documents, self.pin)?),
        };
        let trusted = match trusted {
            Ok(trusted) => trusted,
            Err(why) => return Ok(Err(why.clone())),
        };
        let verified = match trust::verify_transcript(bytes, self.pin) {
            Ok(verified) => verified,
            Err(error) => return Ok(Err(error_chain(&error))),
        };
        if verified.statement().request_digest.to_string() != ceremony {
            return Ok(Err("its transcript is of another ceremony".to_owned()));
        }
        match trusted.extends(verified.trusted()) {
            true => Ok(Ok(verified)),
            false => Ok(Err(
                "it was approved under a different chain of rosters".to_owned()
            )),
        }
    }

    /// Whether enough of those who decided it counted by the log, in time, and it was carried out under a roster that held.
    async fn borne_out(
        &mut self,
        held: &HeldUnder,
        executed: Option<i64>,
        (index, at): (i64, Time),
    ) -> Result<Result<(), String>, PolicyError> {
        if at > held.execute_by {
            return Ok(Err("it was accepted after its deadline".to_owned()));
        }
        let next = usize::try_from(held.documents).ok();
        let next = next.and_then(|next| self.documents.get(next));
        // The leaf that ended the chain under which it was held, if one did.
        let before =
            |index: i64| next.is_none_or(|next| next.index.is_some_and(|ended| index < ended));
        if self.suspensions.is_none() {
            let all = suspended_by_log(self.store, self.pin, &self.documents, &[]);
            self.suspensions = Some(all.await?);
        }
        let suspensions = self.suspensions.as_deref().unwrap_or_default();
        if let Err(why) = held.check(executed, index, suspensions) {
            return Ok(Err(why.to_string()));
        }
        Ok(match before(index) || executed.is_some_and(before) {
            true => Ok(()),
            false => Err(
                "it was carried out under a roster or policy that did not hold any more".to_owned(),
            ),
        })
    }
}

/// The present roster and policy, or why there are none.
fn trusted(documents: &[DocumentRow], pin: &Pin) -> Result<Result<Trusted, String>, PolicyError> {
    let Some(chains) = unverified_chains(documents)? else {
        return Ok(Err("no roster is in the database".to_owned()));
    };
    Ok(walk(&chains, pin).map_err(|error| error_chain(&error)))
}

fn is_on(request: &Request, key_type: &KeyTypeName) -> bool {
    matches!(&request.operation, Operation::RotationPolicy(order) if order.key_type == *key_type)
}

/// As it was approved, to the byte.
fn document_of(order: &RotationPolicy) -> Result<PolicyDocument, String> {
    let document: PolicyDocument = trust::json::require_canonical(order.document.as_bytes())
        .map_err(|error| error.to_string())?;
    let again = trust::json::canonical(&document).map_err(|error| error.to_string())?;
    match again == order.document.as_bytes() {
        true => Ok(document),
        false => Err("the policy has members that this version does not know".to_owned()),
    }
}

/// The leaf by which a policy takes effect.
fn is_end(act: &ActLeaf, order: &RotationPolicy, core: Sha256Digest, ceremony: &str) -> bool {
    (act.kind, act.action.as_str()) == (ActKind::Ceremony, ACCEPTED)
        && act.reference.as_deref() == Some(ceremony)
        && act.digest == Some(core)
        && act.asset.as_deref() == Some(&*policy_asset(order.key_type.as_str()))
        && act.version == Some(order.version.into())
}

/// Who stands for a policy that a ceremony decided: its proposer, for those who approved it.
fn decided_by(request: &Request) -> String {
    let proposer = request.proposer.as_ref();
    proposer.map_or_else(String::new, |id| {
        trust::actor::Actor::Member(id.as_str()).to_string()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = concat!(
        r#"{"alerts":{"critical":"7d","last":"1d","warning":"30d"},"approval":"standing-order","grace":"for-ever","#,
        r#""interval":"90d","jitter":"7d","key_type":"signing","overlap":"1d","owner":"security","priority":"critical","#,
        r#""publish_safety":"1d","triggers":["time","event","manual"],"v":1,"version":1}"#
    );
    const WHOLE: &str = concat!(
        r#"{"alerts":{"critical":"5d","last":"12h","warning":"20d"},"approval":"ceremony","deviations":[{"#,
        r#""decided_by":"ciso","framework":"nist-sp-800-57","paragraph":"5.3.6 (1)","reason":"a migration","#,
        r#""until":"2027-01-31T00:00:00.000Z"}],"grace":"400d","interval":"1200d","jitter":"90m","key_type":"signing","#,
        r#""lifetime":"398d","overlap":"2d","owner":"security","priority":"critical","publicly_trusted":true,"#,
        r#""publish_safety":"36h","renew_before":"40d","triggers":["time","event","manual","expiry","usage"],"#,
        r#""usage_limit":5,"v":1,"version":7,"#,
        r#""windows":[{"days":["monday","sunday"],"from_minute":60,"until_minute":1440}]}"#
    );

    fn order(document: &str, version: u32) -> RotationPolicy {
        RotationPolicy {
            document: document.to_owned(),
            key_type: "signing".parse().unwrap(),
            replaces: LEAST.to_owned(),
            version,
        }
    }

    /// Signed once, it is read for ever: whoever makes this fail makes each decided policy a fault.
    #[test]
    fn what_a_quorum_signed_of_a_policy_is_read_to_the_byte() {
        let types = KeyTypes::standard();
        let standard = PolicyDocument::standard(types.get("signing").unwrap());
        let least = document_of(&order(LEAST, 1));
        assert_eq!(least, Ok(standard), "{least:?}");
        let whole = document_of(&order(WHOLE, 7)).unwrap();
        assert_eq!((whole.version, whole.windows.len()), (7, 1));
        assert_eq!((whole.usage_limit, whole.deviations.len()), (Some(5), 1));
        for unknown in [
            LEAST.replace("{\"alerts\"", "{\"a\":1,\"alerts\""),
            LEAST.replace(r#""v":1"#, r#""usage_limit":null,"v":1"#),
            LEAST.replace(
                r#""alerts":{"critical":"7d","last":"1d","warning":"30d"},"#,
                "",
            ),
        ] {
            assert!(document_of(&order(&unknown, 1)).is_err(), "{unknown}");
        }
    }
}
