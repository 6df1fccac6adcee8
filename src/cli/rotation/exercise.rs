//! Tests of rotation itself, from outside: over HTTP as any caller, with verifiers that know nothing of the service but its key
//! sets. They touch the ring that they are given and nothing else, and only in an installation that says that it is not
//! production: the service refuses them elsewhere.

mod api;
mod book;
mod flows;
mod judge;
mod latency;
mod load;
mod load_report;
mod plot;
mod report;
mod stranger;
mod watch;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::Env;
use base::settings::duration;
use clap::Args;
use serde_json::json;
use tokio::time::{Instant, sleep};
use trust::verdict::Outcome;
use trust::{Name, Sha256Digest, Time};

use super::super::World;
pub use api::{Api, Service};
use book::{Book, Entry};
use judge::Seen;
use report::{Check, Report};
use stranger::{Rejected, Stranger};
use verify::output::{Code, Failure, Output};
use watch::{Stop, Watch};

/// For the end of `--help`.
pub const TEST_HELP: &str = "The credential needs the roles administrator, auditor and signer:RING. Example:

  chancery rotation test --url https://seal.staging.example --access-token-file operator.token --ring records \\
      --within 30h --out rotation-test.json

Without a standing order the test waits for a ceremony and shows its command. Ctrl-C cancels what is not promoted; what is \
promoted goes on, and the report says so.";

/// For the end of `--help`.
pub const ROLL_BACK_HELP: &str = "The credential needs the roles administrator, auditor and signer:RING. Example:

  chancery rotation roll-back-test --url https://seal.staging.example --access-token-file operator.token --ring records

The new key stays and is the next one of the ring.";

/// For the end of `--help`.
pub const ZERO_DOWNTIME_HELP: &str = "The credential needs the roles administrator, auditor and signer:RING. Example:

  chancery rotation zero-downtime-test --url https://seal.staging.example --access-token-file operator.token \\
      --ring records --rate 20 --concurrency 8 --jwks-url https://cdn.staging.example/jwks.json --picture latency.svg

The test ends when the new key has signed for --after; the rotation goes on by itself. Each signature is a leaf for ever: --most \
bounds them.";

/// The longest limit of time.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The bounds of a pause between two looks.
const POLLS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// How long it is waited for the checkpoint that covers a leaf.
const COVERED: Duration = Duration::from_secs(30);

/// Signatures before the rotation is begun.
const BEFORE: usize = 3;

/// Key sets beside the service's own.
const MOST_SETS: usize = 16;

/// What each of the tests is given.
#[derive(Debug, Clone, Args)]
pub struct Options {
    #[command(flatten)]
    service: Service,
    /// The ring that is rotated. Nothing else is touched.
    #[arg(long)]
    ring: Name,
    /// Where verifiers fetch key sets beside the service's own URL: another replica, a cache. May be given several times.
    #[arg(long = "jwks-url", id = "jwks_url", value_name = "URL")]
    jwks_urls: Vec<String>,
    /// The pinned digest of the genesis, by which evidence is verified; without it the one that the service names.
    #[arg(long)]
    genesis: Option<Sha256Digest>,
    /// How long the test may take. At its end what is not promoted is cancelled.
    #[arg(long, default_value = "3h", value_parser = duration::parse_positive)]
    within: Duration,
    /// How often the service is asked.
    #[arg(long, default_value = "2s", value_parser = duration::parse_positive)]
    poll: Duration,
    /// Why, in words for the record.
    #[arg(long, default_value = "a test of rotation")]
    reason: String,
    /// File for the report as JSON; never overwritten.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// How much is signed in the test of zero downtime.
#[derive(Debug, Clone, Args)]
pub struct Loaded {
    #[command(flatten)]
    options: Options,
    /// Signatures in a second.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// Requests at once at most.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    concurrency: u32,
    /// Signatures in all at most: each is a leaf of the log for ever. The test fails where they do not suffice.
    #[arg(long, default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=2_000_000))]
    most: u64,
    /// How long is signed before the rotation is begun.
    #[arg(long, default_value = "10s", value_parser = duration::parse_positive)]
    before: Duration,
    /// How long is signed after the new key signs.
    #[arg(long, default_value = "10s", value_parser = duration::parse_positive)]
    after: Duration,
    /// Also draw latency over time as a picture (SVG) into this file, which must not exist.
    #[arg(long)]
    picture: Option<PathBuf>,
}

/// A whole rotation.
pub async fn rotation(options: &Options, world: &World, output: &Output) -> Result<(), Failure> {
    let exercise = Exercise::open("rotation", options, world, output).await?;
    let report = flows::rotation(exercise).await?;
    told(report, options, output)
}

/// A rotation that is rolled back as soon as its key signs.
pub async fn roll_back(options: &Options, world: &World, output: &Output) -> Result<(), Failure> {
    let exercise = Exercise::open("roll-back", options, world, output).await?;
    let report = flows::roll_back(exercise).await?;
    told(report, options, output)
}

/// A rotation under load.
pub async fn zero_downtime(loaded: &Loaded, world: &World, output: &Output) -> Result<(), Failure> {
    not_there(loaded.picture.as_deref())?;
    let options = &loaded.options;
    let exercise = Exercise::open("zero-downtime", options, world, output).await?;
    let report = flows::zero_downtime(exercise, loaded).await?;
    if let (Some(file), Some(load)) = (&loaded.picture, &report.load) {
        fs::File::create_new(file)?.write_all(plot::svg(load).as_bytes())?;
    }
    told(report, options, output)
}

/// The report as a file and on the screen; what failed is an exit code.
fn told(report: Report, options: &Options, output: &Output) -> Result<(), Failure> {
    if let Some(out) = &options.out {
        let json = serde_json::to_vec_pretty(&report).map_err(Failure::refused)?;
        fs::File::create_new(out)?.write_all(&json)?;
    }
    output.result(&report, || report.text());
    match report.passed {
        true => Ok(()),
        false => {
            let test = report.test;
            Err(Failure::told(
                Code::Failed,
                format_args!("the {test} test failed"),
            ))
        }
    }
}

/// What cannot be written at the end is said before anything is begun.
fn not_there(file: Option<&Path>) -> Result<(), Failure> {
    match file.filter(|file| file.exists()) {
        None => Ok(()),
        Some(file) => {
            let file = file.display();
            Err(Failure::usage(format!(
                "{file} exists: it is never overwritten"
            )))
        }
    }
}

/// Where the credential may not do what the test needs, the role that may.
fn needs(role: &str, failure: Failure) -> Failure {
    let told = failure.error.to_string();
    if !told.starts_with("401 ") && !told.starts_with("403 ") {
        return failure;
    }
    let said = format!("the test needs a credential with the role {role}");
    Failure::new(failure.code, failure.error.context(said))
}

/// A test that is under way.
struct Exercise<'a> {
    test: &'static str,
    options: &'a Options,
    api: Api,
    env: &'a Env,
    output: &'a Output,
    stranger: Stranger,
    book: Book,
    environment: String,
    asset: String,
    key_type: String,
    /// The key that signed before.
    old: String,
    checks: Vec<Check>,
    began_at: Time,
}

impl<'a> Exercise<'a> {
    /// Nothing is changed here: whether the test can be held is found out first.
    async fn open(
        test: &'static str,
        options: &'a Options,
        world: &'a World,
        output: &'a Output,
    ) -> Result<Self, Failure> {
        not_there(options.out.as_deref())?;
        if options.within > LONGEST {
            return Err(Failure::usage("--within: expected at most 30d"));
        }
        if !(POLLS.0..=POLLS.1).contains(&options.poll) {
            return Err(Failure::usage("--poll: expected 100ms to 1m"));
        }
        if options.jwks_urls.len() > MOST_SETS {
            return Err(Failure::usage(format!(
                "--jwks-url: expected at most {MOST_SETS}"
            )));
        }
        let api = options.service.open()?;
        let status = api.status().await;
        let status = status.map_err(|failure| needs("administrator", failure))?;
        if !status.tests {
            return Err(Failure::refused(format!(
                "rotation is not tested in the environment {:?}: an installation that is not production says so by rotation.tests = true",
                status.environment
            )));
        }
        if status.paused {
            return Err(Failure::refused(format!(
                "the scheduler is paused since {} by {} ({}): chancery job resume",
                status.since.map(|at| at.to_string()).unwrap_or_default(),
                status.by.unwrap_or_default(),
                status
                    .reason
                    .unwrap_or_else(|| "no reason given".to_owned()),
            )));
        }
        let may = api.may_read_leaves().await;
        may.map_err(|failure| needs("auditor", failure))?;
        let ring = options.ring.as_str();
        let asset = format!("signing/{ring}");
        let found = api.asset(&asset).await;
        let found = found.map_err(|failure| needs("administrator", failure))?;
        let keys = api.ring(ring).await?;
        if keys.ring.usage != "structured" {
            return Err(Failure::refused(format!(
                "the ring {ring} makes {} signatures; the tests sign JWS",
                keys.ring.usage
            )));
        }
        let old = keys.ring.primary.filter(|_| found.state == "active");
        let old = old.ok_or_else(|| {
            Failure::refused(format!(
                "{asset} has no key that signs: there is nothing to rotate"
            ))
        })?;
        let orders = api.orders(Some(ring)).await?;
        match orders.first() {
            Some(order) => output.remark(format!(
                "Standing order {}: {} uses left{}.",
                order.order,
                order.left,
                match order.next_use_after {
                    Some(at) => format!(", the next not before {at}"),
                    None => String::new(),
                }
            )),
            None => output.remark(format!(
                "No standing order covers the ring: the test waits for a ceremony, whose command is shown when it is needed \
                 (chancery ceremony new generate --ring {ring} --ticket EVENT)."
            )),
        }
        let stranger = strangers(options, &api, world)?;
        Ok(Self {
            test,
            options,
            api,
            env: &world.env,
            output,
            stranger,
            book: Book::default(),
            environment: status.environment,
            asset,
            key_type: found.key_type,
            old,
            checks: Vec::new(),
            began_at: world.env.now(),
        })
    }

    /// One signature, verified at once.
    async fn sample(&mut self) {
        let number = self.book.signatures.made;
        let claims = json!({ "test": self.test, "number": number });
        let signed = self.api.sign(self.options.ring.as_str(), &claims).await;
        let signed = signed.map_err(|failure| format!("{:#}", failure.error));
        let rejected = match &signed {
            Ok(signed) => self.stranger.verify(&signed.jws).await,
            Err(_) => Vec::new(),
        };
        self.book.enter(Entry { signed, rejected });
    }

    /// Signatures before anything is begun: where they are not good, nothing is.
    async fn before(&mut self) -> Result<bool, Failure> {
        let ring = self.options.ring.as_str();
        let first = self.api.sign(ring, &json!({ "test": self.test })).await;
        let signed = first.map_err(|failure| needs(&format!("signer:{ring}"), failure))?;
        self.old.clone_from(&signed.kid);
        let rejected = self.stranger.verify(&signed.jws).await;
        let signed = Ok(signed);
        self.book.enter(Entry { signed, rejected });
        for _ in 1..BEFORE {
            self.sample().await;
        }
        let good = self.book.signatures.failed == 0 && self.book.signatures.rejected == 0;
        let found = match good {
            true => format!("{BEFORE} signatures, accepted by every verifier"),
            false => {
                "signatures are not good before anything was begun: nothing was begun".to_owned()
            }
        };
        self.checks.push(Check::of("before", good, found));
        Ok(good)
    }

    /// Begins the rotation, which is watched from then on.
    async fn begin(&self) -> Result<Watch<'a>, Failure> {
        let stop = Stop::listening().await;
        let begun = self
            .api
            .begin(&self.key_type, &self.asset, &self.options.reason);
        let begun = begun.await.map_err(|failure| match failure.code {
            Code::Refused => {
                let said = format!("no rotation of {} was begun", self.asset);
                Failure::new(Code::Refused, failure.error.context(said))
            }
            _ => failure,
        })?;
        let pace = (self.options.poll, self.options.within);
        let own = (&self.api, self.env, self.output);
        Ok(Watch::new(own, (begun, stop), pace))
    }

    /// All that is looked at when it is over. `wanted`: up to which step it was to come.
    async fn finish(
        mut self,
        last: Option<&api::Rotation>,
        wanted: &str,
        left: String,
    ) -> Result<Report, Failure> {
        self.output.remark("Verifying everything again.");
        let good = self.book.signatures.failed == 0 && self.book.signatures.rejected == 0;
        let counts = &self.book.signatures;
        let found = format!(
            "{} made, {} requests failed, {} not accepted",
            counts.made, counts.failed, counts.rejected
        );
        self.checks.push(Check::of("signatures", good, found));
        self.old_signatures().await;
        self.verdicts().await;
        let check = self.evidence().await;
        self.checks.push(check);
        let mut steps = Vec::new();
        let new = last.and_then(|rotation| rotation.made.clone());
        if let Some(rotation) = last {
            let seen = self.seen(new.as_deref()).await;
            if rotation.state == "rolled-back" {
                let again = seen.old_key.as_ref().and_then(|key| key.role.as_deref());
                let found = format!("the old key is {}", again.unwrap_or("no signer"));
                self.checks
                    .push(Check::of("keys", again == Some("primary"), found));
            }
            steps = judge::steps(rotation, &seen, wanted);
            let from = self.book.first_index.unwrap_or_default();
            match self.api.leaves(from).await {
                Ok(leaves) => self
                    .checks
                    .extend(judge::leaves(&leaves, rotation, &self.old)),
                Err(failure) => {
                    let why = format!("{:#}", failure.error);
                    self.checks.push(Check::of("leaves", false, why));
                }
            }
        }
        let mut report = Report {
            test: self.test,
            passed: false,
            url: self.options.service.url.clone(),
            environment: self.environment,
            ring: self.options.ring.to_string(),
            asset: self.asset,
            rotation: last.map(|rotation| rotation.id.clone()),
            old_kid: self.old,
            new_kid: new,
            began_at: self.began_at,
            ended_at: self.env.now(),
            key_sets: self
                .stranger
                .names()
                .into_iter()
                .map(str::to_owned)
                .collect(),
            steps,
            checks: self.checks,
            signatures: self.book.signatures,
            load: None,
            left,
        };
        report.passed = report.holds();
        Ok(report)
    }

    /// A verifier that starts now accepts what was signed before, during and after.
    async fn old_signatures(&mut self) {
        self.stranger.starts_anew();
        let mut rejected: Vec<Rejected> = Vec::new();
        let kept: Vec<String> = self.book.kept().iter().map(|one| one.jws.clone()).collect();
        for jws in &kept {
            for one in self.stranger.verify(jws).await {
                if !rejected.contains(&one) {
                    rejected.push(one);
                }
            }
        }
        let found = match rejected.first() {
            None => format!(
                "{} signatures of all keys, verified with fresh key sets",
                kept.len()
            ),
            Some(Rejected { by, why }) => format!("{by}: {why}"),
        };
        let check = Check::of("old-signatures", rejected.is_empty(), found);
        self.checks.push(check);
    }

    /// What the service itself says of the first signature of each key.
    async fn verdicts(&mut self) {
        let mut said = Vec::new();
        for signed in self.book.firsts() {
            said.push(match self.api.verdict(&signed.jws).await {
                Ok(verdict) => verdict,
                Err(failure) => format!("{:#}", failure.error),
            });
        }
        let good = |word: &String| ["VALID", "VALID_RETIRED_KEY"].contains(&word.as_str());
        let check = Check::of("verdicts", said.iter().all(good), said.join(", "));
        self.checks.push(check);
    }

    /// The first signature of each key, shown without the service. Checkpoints come a little later than leaves.
    async fn evidence(&self) -> Check {
        let check = |passed, found: String| Check::of("evidence", passed, found);
        let (genesis, whose) = match self.options.genesis {
            Some(genesis) => (genesis, "the pinned genesis"),
            None => match self.api.genesis().await {
                Ok(genesis) => (genesis, "the genesis that the service names (not pinned)"),
                Err(failure) => return check(false, format!("{:#}", failure.error)),
            },
        };
        let mut count = 0;
        for signed in self.book.firsts() {
            let until = Instant::now() + COVERED;
            let file = loop {
                match self.api.evidence(signed).await {
                    Ok(file) => break file,
                    Err(failure) if Instant::now() >= until => {
                        return check(false, format!("{}: {:#}", signed.kid, failure.error));
                    }
                    Err(_) => sleep(self.options.poll.min(Duration::from_secs(1))).await,
                }
            };
            match trust::evidence::verify(&file, genesis, None) {
                Ok(finding) => match finding.verdict.outcome {
                    Outcome::Valid | Outcome::ValidRetiredKey => count += 1,
                    other => return check(false, format!("{}: {other:?}", signed.kid)),
                },
                Err(error) => return check(false, format!("{}: {error}", signed.kid)),
            }
        }
        check(
            true,
            format!("a signature of each of {count} keys verifies offline, by {whose}"),
        )
    }

    async fn seen(&self, new: Option<&str>) -> Seen {
        let ring = self.api.ring(self.options.ring.as_str()).await.ok();
        let key = |kid: &str| {
            let keys = ring.as_ref().map(|ring| ring.keys.iter());
            keys.into_iter()
                .flatten()
                .find(|key| key.kid == kid)
                .cloned()
        };
        let transcript = match new {
            Some(kid) => self.api.has_transcript(kid).await.unwrap_or(false),
            None => false,
        };
        Seen {
            old: self.old.clone(),
            shown_at: new.and_then(|kid| self.stranger.shown_everywhere_at(kid)),
            new_signs: new.is_some_and(|kid| self.book.signed_by(kid)),
            old_key: key(&self.old),
            new_key: new.and_then(key),
            transcript,
        }
    }
}

/// Whose caches are watched: of the ring's own set, and of what else is given.
fn strangers(options: &Options, api: &Api, world: &World) -> Result<Stranger, Failure> {
    let path = format!("/v1/rings/{}/jwks.json", options.ring);
    let mut stranger = Stranger::new(&world.env).with(&path, api.client().clone(), &path);
    for url in &options.jwks_urls {
        stranger = stranger.with_url(url, &options.service.connect)?;
    }
    Ok(stranger)
}
