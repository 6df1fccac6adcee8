//! What each of the tests does, in its order.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::api::Rotation;
use super::load::{Load, Rate};
use super::load_report::Phase;
use super::report::{Check, Report};
use super::stranger::Stranger;
use super::watch::{Stop, Turn, Watch};
use super::{Exercise, Loaded};
use verify::output::{Code, Failure};

/// Turns after the promotion within which the new key has to sign: replicas follow the database by seconds.
const TURNS: usize = 60;

/// How long the old key may take to sign again after a roll-back.
const AGAIN: Duration = Duration::from_secs(60);

/// So long before something is to happen it is signed at the full rate again.
const SOON: Duration = Duration::from_secs(2 * 60);

/// Why a test came to its end before it came to its aim.
enum Cut {
    TimeUp,
    Interrupted,
    Failed(String),
}

impl Cut {
    fn check(&self, watch: &Watch<'_>) -> Check {
        let waits = watch.last().waits_for();
        let found = match self {
            Self::TimeUp => format!("the time of --within is over; the rotation {waits}"),
            Self::Interrupted => format!("interrupted; the rotation {waits}"),
            Self::Failed(why) => why.clone(),
        };
        Check::of("completed", false, found)
    }
}

/// A rotation that does not go on by itself, or ended otherwise than it should.
fn stuck(rotation: &Rotation, wanted: &str) -> Option<Cut> {
    let detail = rotation.detail.clone().unwrap_or_default();
    match rotation.state.as_str() {
        "failed" => Some(Cut::Failed(format!("a step failed for good: {detail}"))),
        state if rotation.is_over() && state != wanted => Some(Cut::Failed(format!(
            "somebody else ended the rotation: {state}"
        ))),
        _ => None,
    }
}

fn answered(watch: &Watch<'_>) -> Check {
    let away = watch.longest_away;
    let found = match away.is_zero() {
        true => "the service answered all the time".to_owned(),
        false => format!("the service was away for {:.1} s", away.as_secs_f64()),
    };
    Check::of("answered", away.is_zero(), found)
}

/// A step of what a test does while a rotation goes on; the rotation is asked in each turn.
async fn turn(watch: &mut Watch<'_>, wanted: &str) -> Result<Option<Rotation>, Cut> {
    match watch.turn().await {
        Ok(Turn::Is(rotation)) => match stuck(&rotation, wanted) {
            None => Ok(Some(*rotation)),
            Some(cut) => Err(cut),
        },
        Ok(Turn::Away) => Ok(None),
        Ok(Turn::TimeUp) => Err(Cut::TimeUp),
        Ok(Turn::Interrupted) => Err(Cut::Interrupted),
        Err(failure) => Err(Cut::Failed(format!("{:#}", failure.error))),
    }
}

/// Nothing was begun.
async fn nothing(exercise: Exercise<'_>) -> Result<Report, Failure> {
    let left = "nothing was begun".to_owned();
    exercise.finish((None, None), "retire", left).await
}

/// What the watch knows in the end.
struct Watched {
    last: Rotation,
    checks: Vec<Check>,
    left: String,
    stop: Stop,
}

impl Watched {
    async fn of(mut watch: Watch<'_>, cut: Option<Cut>) -> Self {
        if cut.is_some() {
            watch.refresh().await;
        }
        let mut checks = vec![match &cut {
            None => Check::of("completed", true, "all that was wanted happened"),
            Some(cut) => cut.check(&watch),
        }];
        checks.push(answered(&watch));
        let left = match cut {
            None => watch.left(),
            Some(_) => watch.leave().await,
        };
        Self {
            last: watch.last().clone(),
            checks,
            left,
            stop: watch.into_stop(),
        }
    }
}

/// From the first step to the end of the old key.
pub async fn rotation(mut exercise: Exercise<'_>) -> Result<Report, Failure> {
    if !exercise.before().await? {
        return nothing(exercise).await;
    }
    let mut watch = exercise.begin().await?;
    let cut = loop {
        match turn(&mut watch, "done").await {
            Ok(rotation) => {
                exercise.sample_at(watch.last()).await;
                if rotation.is_some_and(|one| one.is_over() || one.is_in_grace()) {
                    break None;
                }
            }
            Err(cut) => break Some(cut),
        }
    };
    let watched = Watched::of(watch, cut).await;
    exercise.checks.extend(watched.checks);
    let last = (Some(&watched.last), Some(watched.stop));
    exercise.finish(last, "retire", watched.left).await
}

/// Until the new key signs, and back.
pub async fn roll_back(mut exercise: Exercise<'_>) -> Result<Report, Failure> {
    if !exercise.before().await? {
        return nothing(exercise).await;
    }
    let mut watch = exercise.begin().await?;
    let (mut asked, mut turns) = (false, 0);
    let cut = loop {
        let rotation = match turn(&mut watch, "rolled-back").await {
            Ok(rotation) => rotation,
            Err(cut) => break Some(cut),
        };
        exercise.sample_at(watch.last()).await;
        let Some(rotation) = rotation else { continue };
        if rotation.is_over() {
            break None;
        }
        if rotation.retired_at.is_some() {
            break Some(Cut::Failed(
                "the old key was retired before it was rolled back: there is no way back any more"
                    .to_owned(),
            ));
        }
        if rotation.promoted_at.is_none() || asked {
            continue;
        }
        turns += 1;
        let signs = rotation.made.as_deref();
        let signs = signs.is_some_and(|kid| exercise.book.signed_by(kid));
        if !signs && turns < TURNS {
            continue;
        }
        watch.goes_back = true;
        match exercise.api.roll_back(&rotation.id).await {
            Ok(_) => asked = true,
            Err(failure) if failure.code == Code::Unavailable => {}
            Err(failure) => break Some(Cut::Failed(format!("{:#}", failure.error))),
        }
    };
    let is_back = cut.is_none();
    let mut watched = Watched::of(watch, cut).await;
    exercise.checks.extend(watched.checks);
    if is_back {
        exercise.signs_again(&mut watched.stop).await;
    }
    let last = (Some(&watched.last), Some(watched.stop));
    exercise.finish(last, "promote", watched.left).await
}

/// Until the new key has signed for a while, without a request that fails.
pub async fn zero_downtime(mut exercise: Exercise<'_>, loaded: &Loaded) -> Result<Report, Failure> {
    if !exercise.before().await? {
        return nothing(exercise).await;
    }
    let rate = Rate {
        per_second: loaded.rate,
        concurrency: loaded.concurrency,
        most: loaded.most,
    };
    let ring = loaded.options.ring.as_str();
    let book = std::mem::take(&mut exercise.book);
    let stranger = std::mem::replace(&mut exercise.stranger, Stranger::new(exercise.env));
    let load = Load::start(&exercise.api, ring, rate, &exercise.old, book, stranger);
    sleep(loaded.before).await;
    let mut watch = match exercise.begin().await {
        Ok(watch) => watch,
        Err(failure) => {
            load.end().await?;
            return Err(failure);
        }
    };
    load.begins();
    let mut until = None;
    let cut = loop {
        // A day of waiting needs no more than a sign of life.
        let rests = watch.rests().is_some_and(|rests| rests > SOON);
        let held = watch.last().waits.is_some() && watch.last().published_at.is_none();
        load.rests(until.is_none() && (rests || held));
        if let Err(cut) = turn(&mut watch, "done").await {
            break Some(cut);
        }
        if load.new_key_signs() && until.is_none() {
            until = Some(Instant::now() + loaded.after);
            watch.hurries = true;
        }
        if until.is_some_and(|until| Instant::now() >= until) {
            break None;
        }
        if load.is_used_up() {
            let most = loaded.most;
            break Some(Cut::Failed(format!(
                "{most} signatures were made before the new key signed for long enough: give more with --most, or a lower --rate"
            )));
        }
    };
    let (book, load, stranger) = load.end().await?;
    (exercise.book, exercise.stranger) = (book, stranger);
    let watched = Watched::of(watch, cut).await;
    exercise.checks.extend(watched.checks);
    let failed: u64 = load.phases.iter().map(|phase| phase.failed).sum();
    let found = format!(
        "{failed} requests failed; the longest gap between signatures was {:.1} ms",
        load.longest_gap_ms
    );
    exercise
        .checks
        .push(Check::of("no-downtime", failed == 0, found));
    let after = load.phase(Phase::After).map_or(0, |phase| phase.signatures);
    let found = format!("{after} signatures after the new key signed for the first time");
    exercise
        .checks
        .push(Check::of("new-key-signs", after > 0, found));
    let last = (Some(&watched.last), Some(watched.stop));
    let mut report = exercise.finish(last, "promote", watched.left).await?;
    report.load = Some(load);
    Ok(report)
}

impl Exercise<'_> {
    /// After a roll-back the old key signs, on whichever replica answers.
    async fn signs_again(&mut self, stop: &mut Stop) {
        let until = Instant::now() + AGAIN;
        while Instant::now() < until {
            self.sample().await;
            if self.book.last_kid.as_ref() == Some(&self.old) {
                break;
            }
            tokio::select! {
                () = sleep(self.options.poll) => {}
                () = stop.wanted() => break,
            }
        }
        let again = self.book.last_kid.as_ref() == Some(&self.old);
        let found = match again {
            true => "the old key signs again".to_owned(),
            false => "after the roll-back the old key does not sign".to_owned(),
        };
        self.checks
            .push(Check::of("old-key-signs-again", again, found));
    }
}
