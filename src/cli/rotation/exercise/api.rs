//! The service whose rotation is tested, as its callers see it.

use std::path::PathBuf;

use clap::Args;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use trust::{Chains, Kid, Sha256Digest, Time, base64url};

use verify::client::{Client, Connect};
use verify::output::Failure;

/// Leaves of a page.
const PAGE: i64 = 1_000;

/// Leaves that are read for one report at most.
const MOST_LEAVES: i64 = 2_000_000;

/// Pages of standing orders that are looked through.
const ORDER_PAGES: usize = 10;

/// Where the service is, and who calls.
#[derive(Debug, Clone, Args)]
pub struct Service {
    /// Base URL of the service.
    #[arg(long)]
    pub url: String,
    /// File containing the access token. It may be absent with a client certificate that is mapped.
    #[arg(long, required_unless_present = "client_certificate")]
    access_token_file: Option<PathBuf>,
    #[command(flatten)]
    pub connect: Connect,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Api {
    client: Client,
}

/// `GET /v1/key-rotation/scheduler/status`.
#[derive(Debug, Clone, Deserialize)]
pub struct Status {
    #[serde(default)]
    pub environment: String,
    #[serde(default)]
    pub tests: bool,
    pub paused: bool,
    pub since: Option<Time>,
    pub by: Option<String>,
    pub reason: Option<String>,
    #[serde(default)]
    pub jobs: Vec<Job>,
}

/// A job of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Job {
    pub name: String,
    pub last: Option<JobRun>,
}

/// Its last run.
#[derive(Debug, Clone, Deserialize)]
pub struct JobRun {
    pub state: String,
}

/// What is looked at of an asset.
#[derive(Debug, Clone, Deserialize)]
pub struct Asset {
    pub key_type: String,
    pub state: String,
}

/// A ring with the keys that are in memory.
#[derive(Debug, Clone, Deserialize)]
pub struct Ring {
    pub ring: RingFacts,
    pub keys: Vec<Key>,
}

/// What is looked at of a ring.
#[derive(Debug, Clone, Deserialize)]
pub struct RingFacts {
    pub usage: String,
    pub primary: Option<String>,
}

/// A key where it stands.
#[derive(Debug, Clone, Deserialize)]
pub struct Key {
    pub kid: String,
    pub state: String,
    pub role: Option<String>,
}

/// A standing order.
#[derive(Debug, Clone, Deserialize)]
pub struct Order {
    pub order: String,
    pub ring: String,
    pub state: String,
    pub left: u32,
    pub next_use_after: Option<Time>,
}

/// A rotation with its validation report.
#[derive(Debug, Clone, Deserialize)]
pub struct Rotation {
    pub id: String,
    pub state: String,
    pub made: Option<String>,
    /// The standing order, and the ceremony under it that makes the new key.
    #[serde(default)]
    pub order: Option<String>,
    #[serde(default)]
    pub ceremony: Option<String>,
    pub published_at: Option<Time>,
    pub promoted_at: Option<Time>,
    pub retired_at: Option<Time>,
    pub ended_at: Option<Time>,
    pub waits: Option<String>,
    pub detail: Option<String>,
    pub look_at: Option<Time>,
    #[serde(default)]
    pub reason: Option<String>,
    #[serde(default)]
    pub steps: Vec<Attempt>,
}

/// How long the steps of a rotation take at least.
#[derive(Debug, Clone, Deserialize)]
pub struct PolicyTimes {
    pub publish_safety: String,
    pub overlap: String,
}

/// An attempt at a step of it.
#[derive(Debug, Clone, Deserialize)]
pub struct Attempt {
    pub step: String,
    pub attempt: u32,
    pub started_at: Time,
    pub ended_at: Option<Time>,
    pub outcome: Option<String>,
    pub why: Option<String>,
    #[serde(default)]
    pub evidence: Value,
}

/// A signature.
#[derive(Debug, Clone, Deserialize)]
pub struct Signed {
    pub jws: String,
    pub kid: String,
    pub log_index: i64,
    pub salt: String,
    /// What was asked to be signed, in base64url.
    #[serde(skip)]
    pub payload: String,
}

/// What is looked at of a leaf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    pub index: i64,
    pub kind: String,
    pub kid: Option<String>,
    pub action: Option<String>,
    pub reference: Option<String>,
}

impl Rotation {
    /// Nothing happens any more.
    pub fn is_over(&self) -> bool {
        self.ended_at.is_some()
    }

    /// Another one where something happened.
    pub fn mark(&self) -> String {
        let ended = self.steps.iter().filter(|step| step.ended_at.is_some());
        format!("{} {} {:?}", self.state, ended.count(), self.promoted_at)
    }

    /// The last attempt at a step.
    pub fn attempt(&self, step: &str) -> Option<&Attempt> {
        self.steps.iter().rfind(|attempt| attempt.step == step)
    }

    /// The old key can do nothing new any more, and what is left waits for the end of its grace.
    pub fn is_in_grace(&self) -> bool {
        let waits = self.detail.as_deref().unwrap_or_default();
        self.retired_at.is_some() && !self.is_over() && waits.starts_with("until ")
    }

    /// What it waits for, and until when, in words.
    pub fn waits_for(&self) -> String {
        let detail = self.detail.clone().unwrap_or_default();
        match &self.waits {
            Some(waits) if detail.is_empty() || detail == *waits => format!("waits ({waits})"),
            Some(waits) => format!("waits ({waits}): {detail}"),
            None if detail.starts_with("until ") => format!("waits {detail}"),
            None => self.state.clone(),
        }
    }
}

impl Service {
    pub fn open(&self) -> Result<Api, Failure> {
        let client = match &self.access_token_file {
            Some(file) => Client::with_token_file(&self.url, &self.connect, file)?,
            None => Client::new(&self.url, &self.connect, None)?,
        };
        Ok(Api { client })
    }
}

/// As it stands in a path.
fn escaped(asset: &str) -> String {
    asset.replace('/', "%2F")
}

impl Api {
    /// Without credentials, for what anybody may fetch.
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let bytes = self.client.get_with(path, &[]).await?;
        read(path, &bytes)
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Failure> {
        let bytes = self.client.post_for_bytes(path, body).await?;
        read(path, &bytes)
    }

    pub async fn status(&self) -> Result<Status, Failure> {
        self.get("/v1/key-rotation/scheduler/status").await
    }

    pub async fn asset(&self, asset: &str) -> Result<Asset, Failure> {
        self.get(&format!("/v1/assets/{}", escaped(asset))).await
    }

    pub async fn ring(&self, ring: &str) -> Result<Ring, Failure> {
        self.get(&format!("/v1/rings/{ring}")).await
    }

    /// Those that could permit the next key of a ring.
    pub async fn orders(&self, ring: Option<&str>) -> Result<Vec<Order>, Failure> {
        #[derive(Deserialize)]
        struct Page {
            orders: Vec<Order>,
            next: Option<String>,
        }
        let mut found = Vec::new();
        let mut after = String::new();
        for _ in 0..ORDER_PAGES {
            let page: Page = self.get(&format!("/v1/orders?limit=100{after}")).await?;
            let of_ring = |order: &Order| ring.is_none_or(|ring| order.ring == ring);
            let usable = |order: &Order| order.state == "active" && order.left > 0;
            found.extend(page.orders.into_iter().filter(of_ring).filter(usable));
            match page.next {
                Some(next) if base64url::decode(&next).is_some() => {
                    after = format!("&after={next}");
                }
                Some(_) => {
                    let text = "the orders: what follows a page is not in base64url";
                    return Err(Failure::unavailable(anyhow::anyhow!(text)));
                }
                None => break,
            }
        }
        Ok(found)
    }

    /// The times of a key type's policy.
    pub async fn policy(&self, key_type: &str) -> Result<Option<PolicyTimes>, Failure> {
        #[derive(Deserialize)]
        struct Policies {
            policies: Vec<Policy>,
        }
        #[derive(Deserialize)]
        struct Policy {
            document: Document,
        }
        #[derive(Deserialize)]
        struct Document {
            key_type: String,
            #[serde(flatten)]
            times: PolicyTimes,
        }
        let all: Policies = self.get("/v1/policies").await?;
        let mut documents = all.policies.into_iter().map(|policy| policy.document);
        let found = documents.find(|document| document.key_type == key_type);
        Ok(found.map(|document| document.times))
    }

    /// The newest rotation of an asset.
    pub async fn newest(&self, asset: &str) -> Result<Option<Rotation>, Failure> {
        #[derive(Deserialize)]
        struct Page {
            events: Vec<Rotation>,
        }
        let path = format!("/v1/key-rotation/events?limit=1&asset={}", escaped(asset));
        let page: Page = self.get(&path).await?;
        Ok(page.events.into_iter().next())
    }

    /// Begins a rotation of one asset as a test; the service refuses that where it is production.
    pub async fn begin(
        &self,
        key_type: &str,
        asset: &str,
        reason: &str,
    ) -> Result<Rotation, Failure> {
        #[derive(Deserialize)]
        struct Made {
            events: Vec<Rotation>,
        }
        let body = json!({
            "key_type": key_type, "asset": asset, "force": true, "test": true, "reason": reason,
        });
        let made: Made = self.post("/v1/key-rotation/schedule", &body).await?;
        let mut events = made.events.into_iter();
        events.next().ok_or_else(|| {
            Failure::refused(format!(
                "the service made no rotation of {asset}: another one was begun at the same time, or the plan has no hour for it"
            ))
        })
    }

    pub async fn rotation(&self, id: &str) -> Result<Rotation, Failure> {
        self.get(&format!("/v1/key-rotation/events/{id}")).await
    }

    pub async fn cancel(&self, id: &str) -> Result<Rotation, Failure> {
        let path = format!("/v1/key-rotation/events/{id}/cancel");
        self.post(&path, &json!({})).await
    }

    pub async fn roll_back(&self, id: &str) -> Result<Rotation, Failure> {
        let path = format!("/v1/key-rotation/events/{id}/roll-back");
        self.post(&path, &json!({})).await
    }

    /// A compact JWS over claims.
    pub async fn sign(&self, ring: &str, claims: &Value) -> Result<Signed, Failure> {
        let payload = base64url::encode(claims.to_string().as_bytes());
        let body = json!({ "format": "jws", "payload": payload });
        let path = format!("/v1/rings/{ring}/sign");
        let signed: Signed = self.post(&path, &body).await?;
        // It is not trusted: kids are counted, and go into paths and onto the screen.
        let kid = signed.kid.parse::<Kid>();
        kid.map_err(|error| Failure::unavailable(anyhow::anyhow!("{path}: its kid: {error}")))?;
        Ok(Signed { payload, ..signed })
    }

    /// What the service itself says of a signature.
    pub async fn verdict(&self, jws: &str) -> Result<String, Failure> {
        let answer: Value = self.post("/v1/verify", &json!({ "jws": jws })).await?;
        Ok(answer["verdict"].as_str().unwrap_or_default().to_owned())
    }

    /// Whether the transcript of a key's ceremony is public.
    pub async fn has_transcript(&self, kid: &str) -> Result<bool, Failure> {
        let path = format!("/v1/keys/{kid}/transcript");
        Ok(self.client.find(&path).await?.is_some())
    }

    /// The file that shows what a signature is worth without the service.
    pub async fn evidence(&self, signed: &Signed) -> Result<Vec<u8>, Failure> {
        let body = json!({ "signature": { "jws": signed.jws }, "salt": signed.salt });
        self.client.post_for_bytes("/v1/evidence", &body).await
    }

    /// As the service names it; whoever wants to rely on it pins it.
    pub async fn genesis(&self) -> Result<Sha256Digest, Failure> {
        let bytes = self.client.get_with("/v1/trust", &[]).await?;
        let chains: Chains = trust::json::require_canonical(&bytes).map_err(Failure::refused)?;
        Ok(Sha256Digest::of(chains.genesis.body.as_bytes()))
    }

    /// Whether the caller may read the audit trail.
    pub async fn may_read_leaves(&self) -> Result<(), Failure> {
        self.get::<Value>("/v1/audit?limit=1").await.map(drop)
    }

    /// The leaves from an index on that are wanted, asked in their order.
    pub async fn leaves(
        &self,
        from: i64,
        mut wanted: impl FnMut(&Leaf) -> bool,
    ) -> Result<Vec<Leaf>, Failure> {
        #[derive(Deserialize)]
        struct Row {
            index: i64,
            kind: String,
            kid: Option<String>,
            leaf: Value,
        }
        #[derive(Deserialize)]
        struct Page {
            leaves: Vec<Row>,
            next: Option<i64>,
        }
        let (mut all, mut next) = (Vec::new(), from);
        loop {
            let path = format!("/v1/audit?from={next}&limit={PAGE}");
            let page: Page = self.get(&path).await?;
            let text = |leaf: &Value, member: &str| leaf[member].as_str().map(str::to_owned);
            let leaves = page.leaves.into_iter().map(|row| Leaf {
                action: text(&row.leaf, "action"),
                reference: text(&row.leaf, "ref"),
                index: row.index,
                kind: row.kind,
                kid: row.kid,
            });
            all.extend(leaves.filter(&mut wanted));
            match page.next {
                Some(after) if after > next && after - from < MOST_LEAVES => next = after,
                Some(_) => {
                    return Err(Failure::refused(format!(
                        "more than {MOST_LEAVES} leaves were written meanwhile: they are not read"
                    )));
                }
                None => return Ok(all),
            }
        }
    }
}

fn read<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(bytes).map_err(|error| {
        Failure::unavailable(anyhow::anyhow!(
            "{path}: an answer that was not expected: {error}"
        ))
    })
}
