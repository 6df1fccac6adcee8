//! Tests of rotation itself, from outside: over HTTP as any caller, with verifiers that know nothing of the service but its key
//! sets. They touch the ring that they are given and nothing else, and only in an installation that says that it is not
//! production: the service refuses them elsewhere.

mod api;
mod book;
mod finish;
mod flows;
mod judge;
mod latency;
mod load;
mod load_report;
mod plot;
mod report;
mod stranger;
mod watch;

use std::path::PathBuf;
use std::time::Duration;

use base::Env;
use base::settings::duration;
use calendar::Span;
use clap::Args;
use serde_json::json;
use tokio::time::{Instant, sleep};
use trust::text::spelled_out;
use trust::{Name, Sha256Digest, Time};

use super::super::World;
use super::place::{Place, lines_spelled_out};
pub use api::{Api, Service};
use api::{PolicyTimes, Rotation};
use book::{Book, Entry};
use report::{Check, Report};
use stranger::Stranger;
use verify::output::{Code, Failure, Output};
use watch::{Stop, Watch};

/// For the end of `--help`.
pub const TEST_HELP: &str = "The credential needs the roles administrator, auditor and signer:RING. Example:

  chancery rotation test --url https://seal.staging.example --access-token-file operator.token --ring records \\
      --within 60h --out rotation-test.json

Without a standing order the test waits for a ceremony and shows its command. Ctrl-C cancels what is not promoted; what is \
promoted goes on, and the report says so.";

/// For the end of `--help`.
pub const ROLL_BACK_HELP: &str = "The credential needs the roles administrator, auditor and signer:RING. Example:

  chancery rotation roll-back-test --url https://seal.staging.example --access-token-file operator.token --ring records \\
      --within 30h

The new key stays and is the next one of the ring.";

/// For the end of `--help`.
pub const ZERO_DOWNTIME_HELP: &str = "The credential needs the roles administrator, auditor and signer:RING. Example:

  chancery rotation zero-downtime-test --url https://seal.staging.example --access-token-file operator.token \\
      --ring records --rate 20 --concurrency 8 --within 30h --picture latency.svg \\
      --jwks-url https://cdn.staging.example/jwks.json

The test ends when the new key has signed for --after; the rotation goes on by itself. Each signature is a leaf for ever: --most \
bounds them.";

/// The longest limit of time.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The bounds of a pause between two looks.
const POLLS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(60));

/// How long it is asked whether a rotation was begun whose answer was lost.
const FOUND: Duration = Duration::from_secs(60);

/// Of an installation whose clock is moved policies do not say how long something takes.
const SIMULATION: &str = "simulation";

/// Signatures of a test that is not one of load are so far apart, unless something happened, and so many at most.
const BETWEEN: Duration = Duration::from_secs(30);
const MOST_SAMPLES: u64 = 10_000;

/// And so many more where something happened.
const MORE_SAMPLES: u64 = 1_000;

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
    let out = Place::of(options.out.as_deref())?;
    let exercise = Exercise::open("rotation", options, world, output).await?;
    let report = flows::rotation(exercise).await?;
    told(&report, [(out, json(&report)?)], output)
}

/// A rotation that is rolled back as soon as its key signs.
pub async fn roll_back(options: &Options, world: &World, output: &Output) -> Result<(), Failure> {
    let out = Place::of(options.out.as_deref())?;
    let exercise = Exercise::open("roll-back", options, world, output).await?;
    let report = flows::roll_back(exercise).await?;
    told(&report, [(out, json(&report)?)], output)
}

/// A rotation under load.
pub async fn zero_downtime(loaded: &Loaded, world: &World, output: &Output) -> Result<(), Failure> {
    let options = &loaded.options;
    if loaded.before.saturating_add(loaded.after) >= options.within {
        let text = "--before, --after: expected less than --within together";
        return Err(Failure::usage(text));
    }
    let picture = Place::of(loaded.picture.as_deref())?;
    let out = Place::of(options.out.as_deref())?;
    let exercise = Exercise::open("zero-downtime", options, world, output).await?;
    let report = flows::zero_downtime(exercise, loaded).await?;
    let drawn = report.load.as_ref().map(plot::svg).unwrap_or_default();
    let files = [(out, json(&report)?), (picture, drawn.into_bytes())];
    told(&report, files, output)
}

fn json(report: &Report) -> Result<Vec<u8>, Failure> {
    serde_json::to_vec_pretty(report).map_err(Failure::refused)
}

/// The report on the screen and as a file, in this order: what cannot be written is not lost. What failed is an exit code.
fn told(
    report: &Report,
    files: impl IntoIterator<Item = (Option<Place>, Vec<u8>)>,
    output: &Output,
) -> Result<(), Failure> {
    output.result(report, || lines_spelled_out(&report.text()));
    for (place, bytes) in files {
        if let Some(place) = place.filter(|_| !bytes.is_empty()) {
            place.write(&bytes)?;
        }
    }
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

/// Where the credential may not do what the test needs, the role that may.
fn needs(role: &str, failure: Failure) -> Failure {
    let told = failure.error.to_string();
    if !told.starts_with("401 ") && !told.starts_with("403 ") {
        return failure;
    }
    let said = format!("the test needs a credential with the role {role}");
    Failure::new(failure.code, failure.error.context(said))
}

/// What cannot come to its aim is not begun: a key is published for as long as the policy says before it signs.
fn long_enough(test: &str, within: Duration, policy: Option<PolicyTimes>) -> Result<(), Failure> {
    let Some(policy) = policy else { return Ok(()) };
    let seconds = |span: &str| span.parse::<Span>().map(Span::as_seconds).unwrap_or(0);
    let (publish, overlap) = (seconds(&policy.publish_safety), seconds(&policy.overlap));
    let takes = match test {
        "rotation" => publish.saturating_add(overlap),
        _ => publish,
    };
    match within.as_secs() > takes {
        true => Ok(()),
        false => Err(Failure::refused(format!(
            "--within: the policy publishes a key for {} before it signs and keeps the old one for {} then, so that this test takes more than {takes} s",
            policy.publish_safety, policy.overlap
        ))),
    }
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
    /// When the last signature was made outside of a load, and how far the rotation was.
    sampled: Option<(Instant, String)>,
}

impl<'a> Exercise<'a> {
    /// Nothing is changed here: whether the test can be held is found out first.
    async fn open(
        test: &'static str,
        options: &'a Options,
        world: &'a World,
        output: &'a Output,
    ) -> Result<Self, Failure> {
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
                spelled_out(status.by.as_deref().unwrap_or_default()),
                spelled_out(status.reason.as_deref().unwrap_or("no reason given")),
            )));
        }
        let may = api.may_read_leaves().await;
        may.map_err(|failure| needs("auditor", failure))?;
        let ring = options.ring.as_str();
        let asset = format!("signing/{ring}");
        let found = api.asset(&asset).await;
        let found = found.map_err(|failure| needs("administrator", failure))?;
        if status.environment != SIMULATION {
            long_enough(test, options.within, api.policy(&found.key_type).await?)?;
        }
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
            sampled: None,
        })
    }

    /// One signature where something happened since the last one, and now and then; each until the new key was seen to sign.
    async fn sample_at(&mut self, rotation: &Rotation) {
        let mark = rotation.mark();
        let signs = rotation.made.as_deref();
        let signs = signs.is_some_and(|kid| self.book.signed_by(kid));
        let awaited = rotation.promoted_at.is_some() && !signs;
        let last = self.sampled.as_ref();
        let same = last.is_some_and(|(_, then)| *then == mark) && !awaited;
        let most = match same {
            true => MOST_SAMPLES,
            false => MOST_SAMPLES + MORE_SAMPLES,
        };
        let made = self.book.signatures.made + self.book.signatures.failed;
        let soon = last.is_some_and(|(at, _)| at.elapsed() < BETWEEN);
        if (same && soon) || made >= most {
            return;
        }
        self.sampled = Some((Instant::now(), mark));
        self.sample().await;
    }

    /// One signature, verified at once.
    async fn sample(&mut self) {
        let number = self.book.signatures.made;
        let claims = json!({ "test": self.test, "number": number });
        let signed = self.api.sign(self.options.ring.as_str(), &claims).await;
        let signed = signed.map_err(|failure| format!("{:#}", failure.error));
        let rejected = match &signed {
            Ok(signed) => self.stranger.verify(signed).await,
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
        let rejected = self.stranger.verify(&signed).await;
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
        let newest = self.api.newest(&self.asset).await?;
        let stop = Stop::listening().await;
        let begun = self
            .api
            .begin(&self.key_type, &self.asset, &self.options.reason);
        let begun = match begun.await {
            Ok(begun) => begun,
            Err(failure) if failure.code == Code::Unavailable => {
                self.found(newest.as_ref(), failure).await?
            }
            Err(failure) if failure.code == Code::Refused => {
                let said = format!("no rotation of {} was begun", self.asset);
                return Err(Failure::new(Code::Refused, failure.error.context(said)));
            }
            Err(failure) => return Err(failure),
        };
        let pace = (self.options.poll, self.options.within);
        let own = (&self.api, self.env, self.output);
        Ok(Watch::new(own, (begun, stop), pace))
    }

    /// The answer to the beginning was lost: the rotation may have begun all the same, and is one of this test then.
    async fn found(&self, before: Option<&Rotation>, lost: Failure) -> Result<Rotation, Failure> {
        let until = Instant::now() + FOUND;
        let reason = format!("a test: {}", self.options.reason);
        loop {
            let is_own = |newest: &Rotation| {
                before.map(|one| &one.id) != Some(&newest.id)
                    && newest.reason.as_ref() == Some(&reason)
                    && !newest.is_over()
            };
            let newest = self.api.newest(&self.asset).await.ok().flatten();
            if let Some(newest) = newest.filter(is_own) {
                return Ok(newest);
            }
            if Instant::now() >= until {
                let said = format!(
                    "whether the rotation of {asset} was begun is not known; chancery rotation events --asset {asset} shows it, \
                     chancery rotation cancel EVENT ends it",
                    asset = self.asset
                );
                return Err(Failure::new(lost.code, lost.error.context(said)));
            }
            sleep(self.options.poll).await;
        }
    }
}

/// Whose caches are watched: of the ring's own set, and of what else is given.
fn strangers(options: &Options, api: &Api, world: &World) -> Result<Stranger, Failure> {
    let path = format!("/v1/rings/{}/jwks.json", options.ring);
    let mut stranger = Stranger::new(&world.env).with(&path, api.client().clone(), &path);
    for url in &options.jwks_urls {
        let connect = options.service.connect.elsewhere(url, &options.service.url);
        stranger = stranger.with_url(url, &connect)?;
    }
    Ok(stranger)
}
