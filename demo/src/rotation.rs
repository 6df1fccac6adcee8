//! Rotations by the scheduler alone, under a standing order: a quarter in a minute, by a clock that the demonstration moves. A
//! cache that does not show the new key holds its promotion, and a rotation is rolled back.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow};
use serde_json::{Value, json};
use testkit::installation::text;
use trust::Time;

use super::front::Front;
use super::mail::Mail;
use super::stage::{Scene, Stage};
use super::watched::Prometheus;
use super::{LOG_FILES, RING, orders};
use base::system::now;
use verify::output::{Code, Failure, Output};

/// Two of them have to agree.
const CUSTODIANS: [&str; 3] = ["ada", "grace", "mary"];

const DAY: Duration = Duration::from_secs(86_400);

/// How often it is looked for what has to be told of, and a second.
const MINUTE: Duration = Duration::from_secs(61);
const TOLD: &str = "a minute: those whom it concerns are told";

/// After which security is told of what nobody looks after, and a second.
const QUARTER: Duration = Duration::from_secs(901);

/// Lines that are signed before and after.
const LINES: usize = 20;

/// How long what was asked for may take, by the clock on the wall.
const PATIENCE: Duration = Duration::from_secs(60);

/// By this clock all processes go; it is how far they are ahead, in seconds.
const CLOCK: &str = "clock";

/// A simulation with the real figures: published for a day, rotated after ninety.
pub fn scene(front: &Front) -> Scene {
    Scene {
        environment: "simulation",
        publish_safety: DAY,
        settings: vec![
            ("simulation", format!("clock_file = \"{CLOCK}\"")),
            ("rotation", "every = \"200ms\"".to_owned()),
            (
                "rotation.probes.front",
                format!("url = \"{}\"\nallow_private = true", front.url()),
            ),
        ],
    }
}

/// The installation, and what time it is there.
struct Calendar<'a> {
    stage: &'a Stage,
    output: &'a Output,
    asset: String,
}

/// `pictures`: where those of the dashboards go.
pub async fn play(
    stage: &mut Stage,
    front: &Front,
    pictures: Option<&Path>,
    output: &Output,
) -> Result<(), Failure> {
    let act = |text: &str| output.remark(format!("\n== {text}"));
    for custodian in CUSTODIANS {
        stage.installation.add_custodian(custodian, "ed25519")?;
    }
    stage.installation.add_executor(orders::EXECUTOR)?;
    stage.installation.routine_rings = vec![RING.to_owned()];
    stage.installation.found()?;

    act(
        "A ring that signs, and a standing order for its next keys: two of three custodians have approved them for a year",
    );
    stage.installation.install()?;
    let mail = Mail::start(stage, &CUSTODIANS, output)?;
    stage.chancery(&["ring", "create", RING, "--algorithm", "ES256", "--apply"])?;
    let words = ["ceremony", "new", "generate", "--ring", RING];
    let first = [&words[..], &["--lifetime", "400d"]].concat();
    stage.installation.hold(&first, "ada", "first key")?;
    stage.serve()?;
    stage.access_token("integrity-service", RING)?;
    let stage = &*stage;
    let watched = Prometheus::start(stage, output)?;
    let calendar = Calendar {
        stage,
        output,
        asset: format!("signing/{RING}"),
    };
    calendar.goes_on(DAY, "a day: the key has been published long enough")?;
    stage.chancery(&["ring", "rotate", RING, "--apply"])?;
    let words = ["ceremony", "new", "order", "--ring", RING];
    let of = [
        "--executor",
        orders::EXECUTOR,
        "--uses",
        "4",
        "--every",
        "1d",
    ];
    let times = ["--lifetime", "400d", "--activate-after", "24h"];
    let order = [&words[..], &of, &times].concat();
    stage
        .installation
        .hold(&order, "grace", "quarterly rotations")?;
    let order = text(&stage.quietly(&["order", "list"])?[0], "order")?;
    output.remark("$ chancery --config executor.toml executor &");
    let _executor = orders::apart(stage)?;
    let (log_file, lines) = stage.log_lines(&LOG_FILES, LINES)?;
    stage.sign_lines("lines.txt", "before.jws", RING).await?;

    act("The next ninety days: what rotates when, by which jobs");
    stage.shown(&["rotation", "plan", "--svg", "plan.svg"])?;
    stage.shown(&["job", "list"])?;

    act("Nobody does anything: the daily check makes the rotation, the executor its key");
    let plan = stage.quietly(&["rotation", "plan"])?;
    let slot = time(&plan["rotations"][0], "slot")?;
    calendar.goes_on(
        slot.since(calendar.now()?) - DAY,
        "the day before the hour that the plan gave it",
    )?;
    let begun = calendar.until("a rotation", None, |event| event["id"].is_string())?;
    let due = text(&begun, "id")?;
    calendar.until("its key is published", Some(&due), |event| {
        event["published_at"].is_string()
    })?;

    act(
        "A cache in front of the service does not show the new key: the promotion waits, and says why",
    );
    let held = calendar.until("the cache is asked", Some(&due), |event| {
        event["waits"] == "propagation"
    })?;
    stage.shown(&["rotation", "show", &due])?;
    stage.shown(&["ring", "show", RING])?;
    calendar.goes_on(MINUTE, TOLD)?;
    if let Some(mail) = &mail {
        mail.to("grace", "A rotation waits", output)?.show(output);
    }
    output.remark("  (the cache fetches the key set anew)");
    let set = stage.client()?.get("/.well-known/jwks.json").await?;
    front.refreshed(set);

    act("It shows it: the new key signs, and a day later the old one is retired");
    let promoted = calendar.until("it signs", Some(&due), |event| {
        event["promoted_at"].is_string()
    })?;
    stage.sign_lines("lines.txt", "after.jws", RING).await?;
    let done = calendar.until("it is done", Some(&due), |event| event["state"] == "done")?;
    stage.shown(&["rotation", "show", &due])?;
    stage.shown(&["ring", "show", RING])?;
    let old = stage.verify("before.jws").await?;
    let new = stage.verify("after.jws").await?;

    act("Another one by hand, which callers do not bear: it is rolled back");
    let words = [
        "rotation",
        "schedule",
        "signing",
        "--asset",
        &calendar.asset,
    ];
    let more = ["--force", "--reason", "a new library"];
    let made = stage.chancery(&[&words[..], &more].concat())?;
    let second = text(&made[0], "id")?;
    calendar.until("its key is published", Some(&second), |event| {
        event["published_at"].is_string()
    })?;
    let set = stage.client()?.get("/.well-known/jwks.json").await?;
    front.refreshed(set);
    calendar.until("it signs", Some(&second), |event| {
        event["promoted_at"].is_string()
    })?;
    let words = ["rotation", "roll-back", &second];
    stage.chancery(&[&words[..], &["--reason", "callers fail"]].concat())?;
    let back = calendar.until("it is rolled back", Some(&second), |event| {
        event["state"] == "rolled-back"
    })?;
    calendar.goes_on(MINUTE, TOLD)?;
    if let Some(mail) = &mail {
        mail.to("ada", "rolled back", output)?;
    }
    stage.shown(&["ring", "show", RING])?;
    stage.sign_lines("lines.txt", "back.jws", RING).await?;
    let after_roll_back = stage.verify("back.jws").await?;

    act(
        "A secret scanner reports the key of the ring: an alert fires, climbs a level while nobody looks, is acknowledged, and ends",
    );
    let climbed = calendar.alert_climbs(mail.as_ref())?;

    act("What is written about it");
    stage.shown(&["rotation", "events"])?;
    stage.shown(&["order", "show", &order])?;
    stage.shown(&["job", "list"])?;
    stage.shown(&["rotation", "report"])?;
    stage.shown(&["audit", "list", "--acts", "--limit", "1000"])?;
    stage.chancery(&["log", "check"])?;

    let mut firing = Vec::new();
    if let Some(prometheus) = &watched {
        firing = prometheus.firing()?;
        for (name, count) in &firing {
            output.remark(format!("  an alert fires: {name}, {count} times"));
        }
        let into = stage.installation.file("metrics");
        let drawn = prometheus.draw(pictures.unwrap_or(&into))?;
        output.remark(format!("  {drawn} pictures of dashboards were drawn"));
    }

    let order = stage.quietly(&["order", "show", &order])?;
    let ring = stage.quietly(&["ring", "show", RING])?;
    let picture = fs::read_to_string(stage.installation.file("plan.svg"))?;
    let summary = json!({
        "log_file": log_file, "lines": lines,
        "rotation": due, "trigger": done["trigger"], "consent": done["consent"], "requested_by": done["requested_by"],
        "due": done["due"], "promoted_at": promoted["promoted_at"], "late": done["late"],
        "held_by": held["waits"], "why": held["detail"],
        "verdicts_old": old, "verdicts_new": new,
        "rolled_back": back["id"], "state": back["state"], "verdicts_after_roll_back": after_roll_back,
        "told_by_mail": mail.is_some(), "alert": climbed["state"], "alert_level": climbed["escalation"]["level"], "watched": watched.is_some(), "alerts": firing, "uses_left": order["left"], "primary": ring["primary"], "picture_bytes": picture.len(),
    });
    output.result(&summary, || describe(&summary));
    let all = |verdicts: &Value, word: &str| verdicts[word].as_u64() == Some(lines as u64);
    let good = done["state"] == "done"
        && done["trigger"] == "time"
        && done["consent"] == "order"
        && done["late"] == false
        && held["detail"].to_string().contains("front")
        && back["state"] == "rolled-back"
        && all(&old, "VALID_RETIRED_KEY")
        && all(&new, "VALID")
        && all(&after_roll_back, "VALID")
        && order["left"] == 2
        && climbed["state"] == "resolved"
        && climbed["escalation"]["level"] == "security"
        && picture.starts_with("<svg");
    match good {
        true => Ok(()),
        false => Err(Failure::new(
            Code::Failed,
            anyhow!("the demonstration failed: {summary}"),
        )),
    }
}

impl Calendar<'_> {
    /// From a report to the end of its alert, each step with the mail that tells of it.
    fn alert_climbs(&self, mail: Option<&Mail>) -> Result<Value, Failure> {
        let shows = |who: &str, words: &str| {
            let mail = mail.map(|mail| mail.to(who, words, self.output));
            mail.transpose()
                .map(|message| message.inspect(|message| message.show(self.output)))
        };
        let words = ["emergency", "report", "finding-7", "--asset", &self.asset];
        let more = ["--source", "secret scanner", "--reason", "it is in a log"];
        let report = self.stage.chancery(&[&words[..], &more].concat())?;
        let (id, alert) = (text(&report, "id")?, text(&report, "alert")?);
        let level =
            |level: &'static str| move |alert: &Value| alert["escalation"]["level"] == level;
        self.alert_is(&alert, level("operations"))?;
        shows("operations", "compromise-reported")?;
        self.goes_on(QUARTER, "a quarter of an hour, and nobody looks after it")?;
        self.alert_is(&alert, level("security"))?;
        shows("security", "compromise-reported")?;
        self.stage.shown(&["alert", "show", &alert])?;
        let words = [
            "alert",
            "acknowledge",
            &alert,
            "--reason",
            "mary looks at it",
        ];
        self.stage.chancery(&words)?;
        shows("security", "acknowledged")?;
        let words = [
            "emergency",
            "dismiss",
            &id,
            "--reason",
            "a key of the tests",
        ];
        self.stage.chancery(&words)?;
        let over = |alert: &Value| alert["state"] == "resolved";
        let resolved = self.alert_is(&alert, over)?;
        shows("security", "resolved")?;
        Ok(resolved)
    }

    /// Looks at an alert until it is so; each look of the service takes a minute of its clock.
    fn alert_is(&self, alert: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value, Failure> {
        let end = Instant::now() + PATIENCE;
        loop {
            // There is none before the first look.
            let shown = self.stage.quietly(&["alert", "show", alert]);
            if let Some(shown) = shown.ok().filter(&is_so) {
                return Ok(shown);
            }
            if Instant::now() > end {
                return Err(anyhow!("{alert}: it never came to it").into());
            }
            self.goes_on(MINUTE, "a minute: it is looked again")?;
            sleep(Duration::from_millis(400));
        }
    }

    /// How far the clock of the installation is ahead.
    fn ahead(&self) -> Result<Duration, Failure> {
        let file = self.stage.installation.file(CLOCK);
        match fs::read_to_string(file) {
            Ok(text) => Ok(Duration::from_secs(
                text.trim().parse().context("the clock")?,
            )),
            Err(_) => Ok(Duration::ZERO),
        }
    }

    fn now(&self) -> Result<Time, Failure> {
        Ok(now() + self.ahead()?)
    }

    fn goes_on(&self, time: Duration, why: &str) -> Result<(), Failure> {
        let seconds = (self.ahead()? + time).as_secs();
        let file = self.stage.installation.file(CLOCK);
        // Whole or not at all: it is read all the time.
        let new = self.stage.installation.file("clock.new");
        fs::write(&new, seconds.to_string())?;
        fs::rename(new, file)?;
        let now = self.now()?;
        self.output
            .remark(format!("$ echo {seconds} > {CLOCK}    # {why}: {now}"));
        Ok(())
    }

    /// Looks at a rotation, or for one that is open, until it is so, and lets the time go on whenever that is all that it waits
    /// for.
    fn until(
        &self,
        what: &str,
        id: Option<&str>,
        is_so: impl Fn(&Value) -> bool,
    ) -> Result<Value, Failure> {
        let end = Instant::now() + PATIENCE;
        loop {
            let event = match id {
                Some(id) => self.stage.quietly(&["rotation", "show", id])?,
                None => {
                    let words = ["rotation", "events", "--asset", &self.asset];
                    let mut events = self.stage.quietly(&words)?;
                    // None of them yet, perhaps.
                    events.get_mut(0).map(Value::take).unwrap_or_default()
                }
            };
            if is_so(&event) {
                return Ok(event);
            }
            if Instant::now() > end {
                return Err(anyhow!("{what}: it never came to it: {event}").into());
            }
            let look_at = event["look_at"].as_str();
            let look_at: Option<Time> = look_at.and_then(|at| at.parse().ok());
            if event["waits"] == "executor" {
                // It goes by the clock on the wall.
                sleep(Duration::from_millis(700));
            }
            let now = self.now()?;
            match look_at.filter(|at| *at > now) {
                Some(at) => self.goes_on(at.since(now) + Duration::from_secs(1), what)?,
                None => sleep(Duration::from_millis(100)),
            }
        }
    }
}

fn time(value: &Value, name: &str) -> Result<Time, Failure> {
    let time = text(value, name)?.parse();
    Ok(time.map_err(|error| anyhow!("{name}: {error}"))?)
}

fn describe(summary: &Value) -> String {
    let text = |name: &str| match &summary[name] {
        Value::String(text) => text.clone(),
        Value::Object(counts) => counts
            .iter()
            .map(|(verdict, count)| format!("{count} × {verdict}"))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    };
    format!(
        "\nSummary\n\
         \x20 rotation              {}: by {}, under a standing {}, asked for by {}\n\
         \x20 due                   {}; the new key signs since {}\n\
         \x20 held meanwhile        {}: {}\n\
         \x20 old signatures        {}\n\
         \x20 new signatures        {}\n\
         \x20 another rotation      {}: {}; signatures then: {}\n\
         \x20 told by mail          {}\n\
         \x20 an alert              climbed to {}, then {}\n\
         \x20 the order             {} of 4 uses left",
        text("rotation"),
        text("trigger"),
        text("consent"),
        text("requested_by"),
        text("due"),
        text("promoted_at"),
        text("held_by"),
        text("why"),
        text("verdicts_old"),
        text("verdicts_new"),
        text("rolled_back"),
        text("state"),
        text("verdicts_after_roll_back"),
        text("told_by_mail"),
        text("alert_level"),
        text("alert"),
        text("uses_left"),
    )
}
