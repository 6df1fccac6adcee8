//! What a monitor fetches: checkpoint, entries, tiles, key sets and transcripts of a service that it
//! does not trust.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;
use tokio::task::JoinSet;
use trust::tlog::checkpoint::{self, Checkpoint};
use trust::tlog::merkle::verify_consistency;
use trust::tlog::note::{Note, VerifierKey};
use trust::tlog::policy::{WitnessPolicy, Witnessed};
use trust::tlog::tile::{
    Resource, TileId, WIDTH, consistency_proof, decode_bundle, tiles_for_consistency,
};
use trust::{Kid, LOG_RING, PublicKey, Sha256Digest};

use crate::client::Client;
use crate::output::{Code, Failure};
use crate::watch::{Certificate, CheckedAct, CheckpointRelation, LogReader, Published, State};
use trust::acts::Act;
use trust::finding::Findings;

/// Bundles under way at once.
const AT_ONCE: u64 = 16;

type Known = Arc<Result<Certificate, String>>;

/// Where a log is read.
pub trait Source: Clone + Send + Sync + 'static {
    /// None where there is no such thing.
    fn find(&self, path: &str) -> impl Future<Output = Result<Option<Vec<u8>>, Failure>> + Send;
}

impl Source for Client {
    async fn find(&self, path: &str) -> Result<Option<Vec<u8>>, Failure> {
        Client::find(self, path).await
    }
}

/// A log that is followed.
pub struct Follower<S> {
    source: S,
    genesis: Sha256Digest,
    policy: Option<WitnessPolicy>,
    /// Transcripts never change, so each is verified once.
    certificates: HashMap<Kid, Known>,
}

/// One round.
pub struct Round {
    pub watch: LogReader,
    pub witnessed: Option<Witnessed>,
    pub checkpoint: Option<Checkpoint>,
    /// To be remembered: only of a log that has grown out of what was remembered before.
    pub state: Option<State>,
    pub findings: Findings,
}

impl<S: Source> Follower<S> {
    pub fn new(source: S, genesis: Sha256Digest, policy: Option<WitnessPolicy>) -> Self {
        Self {
            source,
            genesis,
            policy,
            certificates: HashMap::new(),
        }
    }

    /// Reads what is new and looks at the keys. `progress` is told how many entries of how many
    /// were read.
    pub async fn round(
        &mut self,
        before: Option<&State>,
        progress: impl FnMut(u64, u64),
    ) -> Result<Round, Failure> {
        let watch = LogReader::resume(self.genesis, before.cloned());
        let mut round = Round {
            watch: watch.map_err(|error| Failure::new(Code::Usage, error))?,
            witnessed: None,
            checkpoint: None,
            state: None,
            findings: Findings::default(),
        };
        let Some(bytes) = self.source.find("/log/checkpoint").await? else {
            let (code, what) = match before {
                Some(_) => ("shrunk", "the checkpoint is no longer published"),
                None => ("checkpoint", "no checkpoint is published"),
            };
            round.findings.add(code, None, what);
            return Ok(round);
        };
        if let Some(now) = self.open(&bytes, &mut round).await? {
            let whole;
            (round, whole) = self.read(&now, round, progress).await?;
            if whole {
                let note = String::from_utf8_lossy(&bytes);
                round.state = Some(round.watch.state(&now, &note));
            }
            round.checkpoint = Some(now);
        }
        self.sets(&mut round).await?;
        Ok(round)
    }

    /// The checkpoint, if a key of the log with a verified transcript has signed it.
    async fn open(
        &mut self,
        bytes: &[u8],
        round: &mut Round,
    ) -> Result<Option<Checkpoint>, Failure> {
        let note = match Note::parse(bytes) {
            Ok(note) => note,
            Err(error) => {
                round.findings.add("checkpoint", None, error.to_string());
                return Ok(None);
            }
        };
        let origin = note.text.lines().next().unwrap_or_default().to_owned();
        let mut kids = round.watch.log_keys();
        kids.extend(self.set(LOG_RING, &mut Findings::default()).await?);
        kids.sort_unstable();
        kids.dedup();
        let mut keys = Vec::new();
        for kid in &kids {
            if let Ok(certificate) = self.certificate(kid).await?.as_ref()
                && certificate.ring == LOG_RING
                && let Ok(key) = VerifierKey::for_log(&origin, &certificate.public)
            {
                keys.push(key);
            }
        }
        let opened = checkpoint::open(&note, &keys).and_then(|now| {
            let policy = self.policy.as_ref();
            let witnessed = policy.map(|policy| policy.satisfied(&note)).transpose()?;
            Ok((now, witnessed))
        });
        match opened {
            Ok((now, witnessed)) => {
                round.witnessed = witnessed;
                Ok(Some(now))
            }
            Err(error) => {
                let what = format!("the checkpoint is not signed by the log: {error}");
                round.findings.add("checkpoint", None, what);
                Ok(None)
            }
        }
    }

    /// Whether the log has grown from what is remembered to this checkpoint, its entries read and
    /// judged by what ceremonies say of the log.
    async fn read(
        &self,
        now: &Checkpoint,
        mut round: Round,
        mut progress: impl FnMut(u64, u64),
    ) -> Result<(Round, bool), Failure> {
        let before = round.watch.remembered();
        let (size, root) = before.map_or((0, None), |state| (state.size(), Some(state.root())));
        let relation = round.watch.relation(now);
        let wrong = match relation {
            CheckpointRelation::Same
            | CheckpointRelation::Grown
            | CheckpointRelation::Elsewhere => None,
            CheckpointRelation::Shrunk => {
                let what = format!("the log shrank from {size} to {} leaves", now.size);
                Some(("shrunk", what))
            }
            CheckpointRelation::Forked => {
                let what =
                    format!("the tree of {size} leaves differs from the one in the state file");
                Some(("forked", what))
            }
        };
        if let Some((code, what)) = wrong {
            round.findings.add(code, None, what);
            return Ok((round, false));
        }
        if let Some(root) = root
            && relation != CheckpointRelation::Same
            && !self.consistent(size, root, now).await?
        {
            if relation != CheckpointRelation::Elsewhere {
                let what = format!(
                    "the tree of {} leaves is not an extension of the tree of {size} leaves in the state file",
                    now.size
                );
                round.findings.add("forked", None, what);
                return Ok((round, false));
            }
            round.watch = round.watch.anew();
        }
        let mut whole = self.entries(now, &mut round, &mut progress).await?;
        if whole.is_ok() && !round.watch.unheard().is_empty() {
            let checked = self.checked(round.watch.unheard()).await?;
            let watch = round.watch.knowing(checked, now);
            round.watch = watch.map_err(|error| Failure::new(Code::Usage, error))?;
            round.findings = Findings::default();
            whole = self.entries(now, &mut round, &mut progress).await?;
        }
        if let Err(why) = whole {
            round.findings.add("entries", None, why);
            return Ok((round, false));
        }
        let follows = round.watch.follows(now, &mut round.findings);
        Ok((round, follows))
    }

    /// Acts on the log by the transcripts that they name.
    async fn checked(&self, acts: &[Act]) -> Result<Vec<CheckedAct>, Failure> {
        let mut checked = Vec::with_capacity(acts.len());
        for act in acts {
            // What stands in a log need not be what belongs into a path.
            let named = act.leaf.reference.as_deref().unwrap_or_default();
            let transcript = match named.parse::<Sha256Digest>() {
                Ok(named) => {
                    let path = format!("/v1/ceremonies/{named}/transcript");
                    self.source.find(&path).await?
                }
                Err(_) => None,
            };
            let transcript = transcript.as_deref();
            checked.push(CheckedAct::by(act.clone(), transcript, self.genesis));
        }
        Ok(checked)
    }

    /// By the log's own tiles, which prove it or do not.
    async fn consistent(
        &self,
        old: u64,
        root: Sha256Digest,
        now: &Checkpoint,
    ) -> Result<bool, Failure> {
        let mut tiles: BTreeMap<TileId, Vec<u8>> = BTreeMap::new();
        for tile in tiles_for_consistency(old, now.size) {
            if let Some(bytes) = file(&self.source, Resource::Tile(tile)).await? {
                tiles.insert(tile, bytes);
            }
        }
        let proof = consistency_proof(old, now.size, &mut |tile| {
            tiles.get(&tile).cloned().ok_or(())
        });
        let proof = match proof {
            Ok(proof) => proof,
            Err(_) => return Ok(false),
        };
        Ok(verify_consistency(old, now.size, root, now.root, &proof).is_ok())
    }

    /// Reads the entries that are new; or why they are not those of the tree.
    async fn entries(
        &self,
        now: &Checkpoint,
        round: &mut Round,
        progress: &mut impl FnMut(u64, u64),
    ) -> Result<Result<(), String>, Failure> {
        let wide = u64::from(WIDTH);
        // Where nothing is new, nothing is fetched.
        let end = match round.watch.size() < now.size {
            true => now.size.div_ceil(wide),
            false => 0,
        };
        let mut at = round.watch.size() / wide;
        while at < end {
            let to = end.min(at + AT_ONCE);
            let mut bundles = self.bundles(at..to, now.size).await?;
            for index in at..to {
                let Some(bytes) = bundles.remove(&index).flatten() else {
                    return Ok(Err(format!("entry bundle {index} is missing")));
                };
                let entries = match decode_bundle(&bytes) {
                    Ok(entries) => entries,
                    Err(error) => return Ok(Err(format!("bundle {index}: {error}"))),
                };
                let first = index * wide;
                let width = (now.size - first).min(wide) as usize;
                if entries.len() < width {
                    return Ok(Err(format!("entry bundle {index} is too short")));
                }
                let known = (round.watch.size() - first) as usize;
                for entry in &entries[known.min(width)..width] {
                    round.watch.entry(entry, &mut round.findings);
                }
            }
            at = to;
            progress(round.watch.size(), now.size);
        }
        Ok(match round.watch.ends_in(now) {
            true => Ok(()),
            false => Err("the entries do not match the signed tree".to_owned()),
        })
    }

    async fn bundles(
        &self,
        range: std::ops::Range<u64>,
        size: u64,
    ) -> Result<BTreeMap<u64, Option<Vec<u8>>>, Failure> {
        let mut under_way = JoinSet::new();
        for index in range {
            let source = self.source.clone();
            let width = (size - index * u64::from(WIDTH)).min(u64::from(WIDTH)) as u16;
            under_way.spawn(async move {
                let resource = Resource::Entries { index, width };
                Ok::<_, Failure>((index, file(&source, resource).await?))
            });
        }
        let mut bundles = BTreeMap::new();
        while let Some(done) = under_way.join_next().await {
            let (index, bytes) = done.map_err(|error| Failure::new(Code::Failed, error))??;
            bundles.insert(index, bytes);
        }
        Ok(bundles)
    }

    /// The published sets: the combined one, and that of each ring the log tells of.
    async fn sets(&mut self, round: &mut Round) -> Result<(), Failure> {
        let mut kids = self.set("", &mut round.findings).await?;
        for ring in round.watch.rings() {
            kids.extend(self.set(&ring, &mut round.findings).await?);
        }
        kids.sort_unstable();
        kids.dedup();
        let mut known = Vec::new();
        for kid in &kids {
            known.push((kid, self.certificate(kid).await?));
        }
        let published: Vec<Published<'_>> = known
            .iter()
            .map(|(kid, certificate)| Published {
                kid,
                certificate: certificate.as_ref().as_ref().map_err(String::as_str),
            })
            .collect();
        round.watch.published(&published, &mut round.findings);
        Ok(())
    }

    /// The keys of a ring's set; without a ring, of the combined one.
    async fn set(&self, ring: &str, findings: &mut Findings) -> Result<Vec<Kid>, Failure> {
        let path = match ring {
            "" => "/.well-known/jwks.json".to_owned(),
            ring => format!("/v1/rings/{ring}/jwks.json"),
        };
        // Without a key there is no set.
        let Some(bytes) = self.source.find(&path).await? else {
            return Ok(Vec::new());
        };
        let set: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let Some(keys) = set["keys"].as_array() else {
            findings.add("jwks", None, format!("{path} is not a JWK set"));
            return Ok(Vec::new());
        };
        let mut kids = Vec::new();
        for key in keys {
            match PublicKey::from_jwk_json(key.to_string().as_bytes()) {
                Ok(public) if Some(public.kid().as_str()) == key["kid"].as_str() => {
                    kids.push(public.kid());
                }
                _ => {
                    let what = format!("{path} contains a key whose kid is not its thumbprint");
                    findings.add("jwks", None, what);
                }
            }
        }
        Ok(kids)
    }

    /// The key by its transcript; or why it has none that holds.
    async fn certificate(&mut self, kid: &Kid) -> Result<Known, Failure> {
        if let Some(known) = self.certificates.get(kid) {
            return Ok(known.clone());
        }
        let path = format!("/v1/keys/{}/transcript", kid.as_str());
        // Asked for again in the next round: a replica may be a moment behind.
        let Some(bytes) = self.source.find(&path).await? else {
            return Ok(Arc::new(Err("no transcript".to_owned())));
        };
        let known = Arc::new(Certificate::verify(&bytes, self.genesis, kid));
        if known.is_ok() {
            self.certificates.insert(kid.clone(), known.clone());
        }
        Ok(known)
    }
}

/// A file of the log; a partial one may have gone when the full one was there.
async fn file(source: &impl Source, resource: Resource) -> Result<Option<Vec<u8>>, Failure> {
    if let Some(bytes) = source.find(&format!("/log/{}", resource.path())).await? {
        return Ok(Some(bytes));
    }
    let full = resource.full();
    match full == resource {
        true => Ok(None),
        false => source.find(&format!("/log/{}", full.path())).await,
    }
}

#[cfg(test)]
mod tests;
