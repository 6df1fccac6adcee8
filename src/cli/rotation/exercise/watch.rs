//! A rotation as somebody outside watches it: what it does, what it waits for and until when, with a limit of time and an end by
//! Ctrl-C.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use base::Env;
use base::signals::shutdown_signal;
use tokio::time::{Instant, sleep_until};
use trust::text::spelled_out;

use super::api::{Api, Rotation};
use verify::output::{Code, Failure, Output};

/// A wait that is longer is looked at more rarely.
const LONG: Duration = Duration::from_secs(10 * 60);

/// By so much, and no more rarely than that.
const RARELY: u32 = 15;
const RAREST: Duration = Duration::from_secs(60);

/// How long it is waited for the end of a rotation that was cancelled.
const CANCELLED: Duration = Duration::from_secs(90);

/// What became of a turn.
pub enum Turn {
    /// The rotation as it is now.
    Is(Box<Rotation>),
    /// The service was away; it is asked again.
    Away,
    /// The limit of time is reached.
    TimeUp,
    /// Somebody wants an end.
    Interrupted,
}

/// Somebody wants an end, as often as they say so. From its making on the process does not die of that.
pub struct Stop(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Stop {
    pub async fn listening() -> Self {
        let mut wanted: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async {
            shutdown_signal().await;
        });
        // It listens since it was asked for the first time.
        let mut early = false;
        poll_fn(|context| {
            early = wanted.as_mut().poll(context).is_ready();
            Poll::Ready(())
        })
        .await;
        match early {
            true => Self(Box::pin(std::future::ready(()))),
            false => Self(wanted),
        }
    }

    /// Returns when an end is wanted; the next time, when it is wanted again.
    pub async fn wanted(&mut self) {
        self.0.as_mut().await;
        *self = Self::listening().await;
    }
}

/// Looks at one rotation again and again.
pub struct Watch<'a> {
    api: Api,
    env: Env,
    output: &'a Output,
    id: String,
    poll: Duration,
    until: Instant,
    stop: Stop,
    last: Rotation,
    told: String,
    steps_told: usize,
    away: Option<Instant>,
    /// The longest time that the service did not answer.
    pub longest_away: Duration,
    /// A roll-back was asked for, or may have been.
    pub goes_back: bool,
    /// It is looked at often, whatever the rotation waits for.
    pub hurries: bool,
}

impl<'a> Watch<'a> {
    pub fn new(
        (api, env, output): (&Api, &Env, &'a Output),
        (rotation, stop): (Rotation, Stop),
        (poll, within): (Duration, Duration),
    ) -> Self {
        let id = rotation.id.clone();
        let new = Self {
            api: api.clone(),
            env: env.clone(),
            output,
            id,
            poll,
            until: Instant::now() + within,
            stop,
            last: rotation,
            told: String::new(),
            steps_told: 0,
            away: None,
            longest_away: Duration::ZERO,
            goes_back: false,
            hurries: false,
        };
        new.say(&format!("begun: {}", new.id));
        new
    }

    /// As it was seen last.
    pub fn last(&self) -> &Rotation {
        &self.last
    }

    /// The next look, after a pause.
    pub async fn turn(&mut self) -> Result<Turn, Failure> {
        let next = Instant::now() + self.pause();
        tokio::select! {
            () = sleep_until(next.min(self.until)) => {}
            () = self.stop.wanted() => return Ok(Turn::Interrupted),
        }
        if Instant::now() >= self.until {
            return Ok(Turn::TimeUp);
        }
        let asked = tokio::select! {
            asked = self.api.rotation(&self.id) => asked,
            () = self.stop.wanted() => return Ok(Turn::Interrupted),
        };
        match asked {
            Ok(rotation) => {
                if let Some(since) = self.away.take() {
                    self.longest_away = self.longest_away.max(since.elapsed());
                    self.say("the service answers again");
                }
                self.tell(&rotation);
                self.last = rotation.clone();
                Ok(Turn::Is(Box::new(rotation)))
            }
            Err(failure) if failure.code == Code::Unavailable => {
                if self.away.is_none() {
                    self.say(&format!("the service is away: {:#}", failure.error));
                }
                let since = *self.away.get_or_insert_with(Instant::now);
                self.longest_away = self.longest_away.max(since.elapsed());
                Ok(Turn::Away)
            }
            Err(failure) => Err(failure),
        }
    }

    /// For how long nothing happens, as far as the service knows; none where it may be at any time.
    pub fn rests(&self) -> Option<Duration> {
        let until = self.last.look_at.filter(|_| self.last.waits.is_none());
        until.map(|at| at.since(self.env.now()))
    }

    fn pause(&self) -> Duration {
        match self.rests() {
            Some(rests) if rests > LONG && !self.hurries => {
                self.poll.saturating_mul(RARELY).min(RAREST).max(self.poll)
            }
            _ => self.poll,
        }
    }

    fn say(&self, what: &str) {
        let what = spelled_out(what);
        self.output.remark(format!("{}  {what}", self.env.now()));
    }

    /// What is new.
    fn tell(&mut self, rotation: &Rotation) {
        let ended: Vec<String> = rotation
            .steps
            .iter()
            .filter_map(|attempt| {
                let took = attempt.ended_at?.since(attempt.started_at).as_secs();
                let outcome = attempt.outcome.as_deref()?;
                let why = attempt.why.as_deref().map(|why| format!(": {why}"));
                let why = why.unwrap_or_default();
                Some(format!("{:<10} {outcome} ({took} s){why}", attempt.step))
            })
            .collect();
        for line in ended.iter().skip(self.steps_told) {
            self.say(line);
        }
        self.steps_told = ended.len();
        let now = match rotation.is_over() {
            true => format!("the rotation is over: {}", rotation.state),
            false => rotation.waits_for(),
        };
        if now != self.told {
            self.say(&now);
            self.told = now;
        }
    }

    /// How it is left where nothing is done any more.
    pub fn left(&self) -> String {
        left(&self.last, self.goes_back)
    }

    /// Whether somebody wants an end is asked elsewhere from now on.
    pub fn into_stop(self) -> Stop {
        self.stop
    }

    /// As it is now, where the service says so.
    pub async fn refresh(&mut self) {
        if let Ok(rotation) = self.api.rotation(&self.id).await {
            self.last = rotation;
        }
    }

    /// Leaves the installation in a state that is said: what is not promoted is cancelled, what is goes on.
    pub async fn leave(&mut self) -> String {
        let id = &self.id;
        if self.last.is_over() || self.last.promoted_at.is_some() {
            return self.left();
        }
        let again = format!("to end it: chancery rotation cancel {id}");
        if let Err(failure) = self.api.cancel(id).await {
            let why = format!("{:#}", failure.error);
            return format!("the rotation could not be cancelled ({why}) and goes on; {again}");
        }
        self.say("cancelled: the service ends it when it looks again");
        let until = Instant::now() + CANCELLED;
        while Instant::now() < until {
            let (api, poll) = (&self.api, self.poll);
            let look = async move {
                let found = api.rotation(id).await;
                let found = found.ok().filter(Rotation::is_over);
                if found.is_none() {
                    sleep_until(Instant::now() + poll).await;
                }
                found
            };
            let found = tokio::select! {
                found = look => found,
                () = self.stop.wanted() => break,
            };
            if let Some(rotation) = found {
                self.last = rotation;
                return self.left();
            }
        }
        format!("the rotation {id} is marked as cancelled; it ends when the service looks again")
    }
}

/// How a rotation leaves its installation.
fn left(rotation: &Rotation, goes_back: bool) -> String {
    let id = &rotation.id;
    match rotation.state.as_str() {
        "done" => "the rotation is done; the new key signs, the old one is retired".to_owned(),
        "cancelled" if rotation.made.is_some() => {
            "the rotation is cancelled; the old key signs, the new one is the standby of the next rotation".to_owned()
        }
        "cancelled" => match (&rotation.order, &rotation.ceremony) {
            (Some(order), Some(ceremony)) => format!(
                "the rotation is cancelled; the old key signs; a use of the standing order {order} is spent: its executor makes the key of ceremony {ceremony} when it comes to it, a standby of the next rotation"
            ),
            _ => "the rotation is cancelled; the old key signs".to_owned(),
        },
        "rolled-back" => "the rotation is rolled back; the old key signs".to_owned(),
        _ if rotation.is_in_grace() => {
            let waits = rotation.detail.as_deref().unwrap_or_default();
            format!("the new key signs, the old one is retired and waits {waits} for the end of its grace; the rotation {id} ends by itself")
        }
        _ if rotation.promoted_at.is_some() && goes_back => {
            let show = format!("chancery rotation show {id}");
            format!("the new key signs; a roll-back was asked for, and the service does it by itself. Whether it did: {show}")
        }
        _ if rotation.promoted_at.is_some() => {
            let waits = rotation.waits_for();
            format!(
                "the new key signs; the rotation {id} goes on by itself and retires the old one ({waits}). To undo it: chancery rotation roll-back {id}"
            )
        }
        _ => format!("the rotation {id} goes on by itself ({})", rotation.waits_for()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What was asked of the executor is not called back.
    #[test]
    fn a_rotation_that_is_cancelled_while_the_executor_is_waited_for_says_what_comes() {
        let rotation = |ceremony: Option<&str>| -> Rotation {
            serde_json::from_value(json!({
                "id": "kr_1", "state": "cancelled", "made": null, "published_at": null,
                "promoted_at": null, "retired_at": null, "ended_at": "2026-11-30T10:00:00.000Z",
                "waits": null, "detail": null, "look_at": null, "order": ceremony.map(|_| "so_1"),
                "ceremony": ceremony,
            }))
            .unwrap()
        };
        let said = left(&rotation(Some("c1")), false);
        assert!(
            said.contains("order so_1 is spent") && said.contains("ceremony c1"),
            "{said}"
        );
        let said = left(&rotation(None), false);
        assert_eq!(said, "the rotation is cancelled; the old key signs");
    }

    #[test]
    fn a_rotation_whose_roll_back_was_asked_for_does_not_go_on() {
        let rotation: Rotation = serde_json::from_value(json!({
            "id": "kr_1", "state": "waiting", "made": "new", "published_at": null,
            "promoted_at": "2026-11-30T10:00:00.000Z", "retired_at": null, "ended_at": null,
            "waits": null, "detail": null, "look_at": null,
        }))
        .unwrap();
        assert!(left(&rotation, false).contains("To undo it: chancery rotation roll-back kr_1"));
        let back = left(&rotation, true);
        assert!(
            back.contains("was asked for") && !back.contains("goes on by itself"),
            "{back}"
        );
    }
}
