//! Alerts over long times: what fires, what is told, and that nothing flaps whatever fails.

use calendar::alerts::escalation::Ladder;
use calendar::alerts::machine::{Alert, Condition, News, Phase, Step, step};
use calendar::alerts::storm::{MOST_ALONE, MOST_ALONE_OF_ONE, MOST_OPEN, Observed, Write, look};
use calendar::alerts::{AlertName, Scope, Severity, rules};
use calendar::facts::VersionFacts;
use calendar::words::VersionState;
use calendar::{AssetFacts, Span, Time};
use proptest::prelude::*;

use crate::support::{asset, at, days, now, policies};

fn condition(name: AlertName, subject: &str, level: u8) -> Condition {
    Condition {
        name,
        subject: subject.to_owned(),
        level,
        detail: format!("level {level}"),
        by: None,
    }
}

/// What becomes of one alert, look by look.
struct Watched {
    alert: Option<Alert>,
    told: Vec<(Time, News)>,
}

impl Watched {
    fn new() -> Self {
        Self {
            alert: None,
            told: Vec::new(),
        }
    }

    fn sees(&mut self, seen: Option<&Condition>, now: Time) -> Option<News> {
        match step(self.alert.clone(), seen, now) {
            Step::Stays => None,
            Step::Goes => {
                self.alert = None;
                None
            }
            Step::Becomes(alert, news) => {
                self.alert = Some(alert);
                self.told.extend(news.map(|news| (now, news)));
                news
            }
        }
    }

    fn alert(&self) -> Alert {
        self.alert.clone().unwrap()
    }

    fn does(&mut self, done: (Alert, Option<News>), now: Time) {
        self.alert = Some(done.0);
        self.told.extend(done.1.map(|news| (now, news)));
    }

    fn news(&self) -> Vec<News> {
        self.told.iter().map(|(_, news)| *news).collect()
    }
}

/// Different for each seed, the same for the same one.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

#[test]
fn an_expiry_is_told_at_thirty_days_seven_and_one() {
    let end = at("2027-06-01");
    let mut asset = asset("external/www", "tls_certificate", end - days(365));
    asset.versions[0].expires_at = Some(end);
    let level = |left: Span| {
        let found = rules::of_assets(std::slice::from_ref(&asset), &policies(), end - left);
        let found = found.into_iter().find(|one| one.name == AlertName::Expiry);
        found.map_or(0, |one| one.level)
    };
    let second = Span::seconds(1);
    assert_eq!(level(days(30).plus(second)), 0);
    assert_eq!([level(days(30)), level(days(7).plus(second))], [1, 1]);
    assert_eq!([level(days(7)), level(days(1).plus(second))], [2, 2]);
    assert_eq!([level(days(1)), level(Span::ZERO)], [3, 3]);
    let of = |level| AlertName::Expiry.severity(level);
    assert_eq!(
        [of(1), of(2), of(3)],
        [Severity::Warning, Severity::Critical, Severity::Critical]
    );
}

#[test]
fn an_age_is_told_above_125_and_150_per_cent() {
    let since = at("2026-01-01");
    let asset = asset("external/partner", "api_key", since);
    // Of thirty days.
    let level = |age: Span| {
        let found = rules::of_assets(std::slice::from_ref(&asset), &policies(), since + age);
        let mut found = found.into_iter();
        found
            .find(|one| one.name == AlertName::RotationOverdue)
            .map_or(0, |one| one.level)
    };
    let percent = |percent: u64| Span::seconds(30 * 864 * percent);
    assert_eq!([level(percent(100)), level(percent(125))], [0, 0]);
    let second = Span::seconds(1);
    let just = |over: u64| level(percent(over).plus(second));
    assert_eq!([just(125), level(percent(150))], [1, 1]);
    assert_eq!([just(150), level(percent(900))], [2, 2]);
}

#[test]
fn what_is_replaced_when_it_expires_has_no_age() {
    let since = now() - days(4_000);
    let client = asset("external/client", "client_certificate", since);
    assert_eq!(rules::of_assets(&[client], &policies(), now()), []);
}

#[test]
fn a_second_version_that_nobody_uses_is_told() {
    let mut asset = asset("external/a", "api_key", now());
    let prepared = |number| VersionFacts {
        number,
        created_at: now(),
        expires_at: None,
        state: VersionState::Prepared { published_at: None },
    };
    asset.versions.push(prepared(2));
    let unused = |asset: &AssetFacts| {
        let found = rules::of_assets(std::slice::from_ref(asset), &policies(), now());
        found.iter().any(|one| one.name == AlertName::VersionUnused)
    };
    assert!(!unused(&asset), "the next one");
    asset.versions.push(prepared(3));
    assert!(unused(&asset));
}

#[test]
fn whoever_looked_after_a_warning_is_asked_again_when_it_becomes_critical() {
    let mut watched = Watched::new();
    let name = AlertName::Expiry;
    assert_eq!(
        watched.sees(Some(&condition(name, "a", 1)), now()),
        Some(News::Firing)
    );
    watched.does(watched.alert().acknowledge("olga", now()).unwrap(), now());
    assert_eq!(watched.alert().state(), "acknowledged");
    assert!(watched.alert().acknowledge("emil", now()).is_err());
    assert_eq!(
        watched.sees(Some(&condition(name, "a", 2)), now()),
        Some(News::Raised)
    );
    assert_eq!(watched.alert().state(), "firing");
    // What is less grave again stays what it was until it is over.
    assert_eq!(watched.sees(Some(&condition(name, "a", 1)), now()), None);
    assert_eq!(watched.alert().level, 2);
}

#[test]
fn nobody_looks_after_what_is_over_meanwhile() {
    let mut watched = Watched::new();
    let one = condition(AlertName::JobFailed, "a", 1);
    watched.sees(Some(&one), now());
    let fires = watched.alert();
    watched.sees(None, now());
    watched.sees(None, now() + Span::minutes(1));
    assert_eq!(watched.alert().state(), "resolved");
    assert!(watched.alert().acknowledge("olga", now()).is_err());
    // Acknowledged first, it resolves as ever.
    watched.alert = Some(fires.acknowledge("olga", now()).unwrap().0);
    watched.sees(None, now());
    let resolved = watched.sees(None, now() + Span::minutes(1));
    assert_eq!(resolved, Some(News::Resolved));
    assert_eq!(watched.alert().acknowledged.unwrap().by, "olga");
}

#[test]
fn a_silence_tells_nothing_and_at_its_end_what_still_fires() {
    let one = condition(AlertName::RotationOverdue, "a", 1);
    let until = now() + Span::hours(4);
    let mut watched = Watched::new();
    watched.sees(Some(&one), now());
    watched.does(
        watched.alert().silence("olga", until, now()).unwrap(),
        now(),
    );
    assert_eq!(watched.sees(Some(&one), now() + Span::hours(1)), None);
    assert_eq!(watched.sees(Some(&one), until), Some(News::Firing));
    assert_eq!(watched.alert().silence, None);
    assert_eq!(watched.news(), [News::Firing, News::Silenced, News::Firing]);
    // One that is looked after is not told again, and one that ended meanwhile neither.
    let mut acknowledged = Watched::new();
    acknowledged.sees(Some(&one), now());
    let silent = acknowledged
        .alert()
        .silence("olga", until, now())
        .unwrap()
        .0;
    acknowledged.alert = Some(silent.clone().acknowledge("olga", now()).unwrap().0);
    assert_eq!(acknowledged.sees(Some(&one), until), None);
    let mut ended = Watched::new();
    ended.alert = Some(silent);
    ended.sees(None, now() + Span::hours(1));
    assert_eq!(ended.sees(None, now() + Span::hours(2)), None);
    assert_eq!(ended.alert().state(), "resolved");
    assert_eq!(ended.sees(None, until), None);
    // By a person's word it is told at once.
    let mut early = Watched::new();
    early.sees(Some(&one), now());
    early.does(early.alert().silence("olga", until, now()).unwrap(), now());
    early.does(early.alert().unsilence(now()).unwrap(), now());
    assert_eq!(early.news().last(), Some(&News::Firing));
    assert!(early.alert().unsilence(now()).is_err());
    for wrong in [now(), now() + days(31)] {
        assert!(early.alert().silence("olga", wrong, now()).is_err());
    }
}

#[test]
fn threat_a_silence_of_a_warning_hides_the_critical() {
    let mut watched = Watched::new();
    let name = AlertName::Expiry;
    watched.sees(Some(&condition(name, "a", 1)), now());
    let silenced = watched.alert().silence("olga", now() + days(30), now());
    watched.does(silenced.unwrap(), now());
    let later = now() + days(23);
    assert_eq!(
        watched.sees(Some(&condition(name, "a", 2)), later),
        Some(News::Raised)
    );
    assert_eq!(watched.alert().silence, None);
}

#[test]
fn a_clock_that_jumps_neither_fires_nor_resolves_by_itself() {
    let one = condition(AlertName::KeyStoreUnavailable, "ring", 1);
    let mut watched = Watched::new();
    assert_eq!(watched.sees(Some(&one), now()), None);
    // Forward by a day: the second look decides, and it does not see it any more.
    assert_eq!(watched.sees(None, now() + days(1)), None);
    assert_eq!(watched.alert, None);
    // Back by an hour: the hold time begins anew.
    watched.sees(Some(&one), now());
    let back = now() - Span::hours(1);
    assert_eq!(watched.sees(Some(&one), back), None);
    assert_eq!(watched.sees(Some(&one), back + Span::minutes(1)), None);
    let fires = watched.sees(Some(&one), back + Span::minutes(2));
    assert_eq!(fires, Some(News::Firing));
    let later = back + Span::hours(3);
    assert_eq!(watched.sees(None, later), None);
    assert_eq!(watched.sees(None, later - Span::hours(2)), None);
    let again = later - Span::hours(2);
    assert_eq!(watched.sees(None, again + Span::minutes(9)), None);
    assert_eq!(
        watched.sees(None, again + Span::minutes(10)),
        Some(News::Resolved)
    );
}

/// A year in looks of a minute, in which the condition comes and goes at random, each time for a random time.
fn year(seed: u64, name: AlertName, longest: u64) -> (Watched, usize) {
    let mut dice = Dice(seed | 1);
    let mut watched = Watched::new();
    let (mut holds, mut left, mut begun) = (false, 0, 0);
    let start = now();
    let one = condition(name, "ring", 1);
    for minute in 0..365 * 24 * 60 {
        if left == 0 {
            holds = !holds;
            begun += usize::from(holds);
            left = 1 + dice.below(longest);
        }
        left -= 1;
        // One look in a hundred cannot read its facts, and decides nothing.
        if dice.below(100) == 0 {
            continue;
        }
        watched.sees(holds.then_some(&one), start + Span::minutes(minute));
    }
    (watched, begun)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn no_alert_flaps_over_a_year_with_random_faults(seed in any::<u64>(), longest in 2_u64..600) {
        let names = [AlertName::KeyStoreUnavailable, AlertName::JobFailed, AlertName::UsageHigh];
        for name in [names[usize::try_from(seed % 3).unwrap()]] {
            let (watched, begun) = year(seed, name, longest);
            let hold = name.hold();
            // Firing and resolved take turns, each for at least its hold time.
            for pair in watched.told.windows(2) {
                let [(first, was), (second, is)] = pair else { unreachable!() };
                prop_assert_ne!(was, is);
                let least = if *is == News::Resolved { hold.resolve } else { hold.fire };
                prop_assert!(second.since(*first) >= least, "{name} {pair:?}");
            }
            // However fast its condition comes and goes: in a day at most so often as hold times that double fit into it.
            let fired: Vec<Time> = watched.told.iter()
                .filter(|(_, news)| *news == News::Firing)
                .map(|(at, _)| *at)
                .collect();
            prop_assert!(fired.len() <= begun);
            for (index, first) in fired.iter().enumerate() {
                let day = fired[index..].iter().take_while(|at| at.since(*first) < days(1));
                prop_assert!(day.count() <= 12, "{name} {first}");
            }
        }
    }

    #[test]
    fn what_is_shorter_than_its_hold_time_is_never_told(seed in any::<u64>()) {
        let mut dice = Dice(seed | 1);
        let mut watched = Watched::new();
        let one = condition(AlertName::KeyStoreUnavailable, "ring", 1);
        let mut at = now();
        for _ in 0..20_000 {
            // A look that failed once, and one more within its hold time.
            for _ in 0..=dice.below(2) {
                watched.sees(Some(&one), at);
                at = at + Span::seconds(59);
            }
            for _ in 0..=dice.below(30) {
                watched.sees(None, at);
                at = at + Span::minutes(1);
            }
        }
        prop_assert_eq!(watched.told, []);
    }

    #[test]
    fn a_clock_that_jumps_about_for_a_year_makes_no_alert_flap(seed in any::<u64>()) {
        let mut dice = Dice(seed | 1);
        let mut watched = Watched::new();
        let one = condition(AlertName::KeyStoreUnavailable, "ring", 1);
        let (mut at, mut last) = (now() + days(30), None);
        for look in 0..50_000_u64 {
            match dice.below(50) {
                0 => at = at + Span::hours(dice.below(48)),
                1 => at = at - Span::hours(dice.below(48)),
                _ => at = at + Span::minutes(1),
            }
            let holds = (look / 37) % 2 == 0;
            let news = watched.sees(holds.then_some(&one), at);
            // Never by one look alone.
            if let Some(news) = news {
                if let Some((was, before)) = last {
                    prop_assert_ne!(was, news);
                    prop_assert!(look - before >= 2, "{look}");
                }
                last = Some((news, look));
            }
        }
    }
}

fn observed(scope: Scope, conditions: Vec<Condition>) -> Observed {
    Observed {
        scopes: [scope].into(),
        conditions,
        ..Observed::default()
    }
}

fn put(writes: &[Write]) -> Vec<Alert> {
    let put = writes.iter().filter_map(|write| match write {
        Write::Put(alert, _) => Some(alert.clone()),
        Write::Drop { .. } => None,
    });
    put.collect()
}

#[test]
fn what_cannot_be_read_resolves_nothing() {
    let one = condition(AlertName::RotationOverdue, "a", 1);
    let fires = look(
        Vec::new(),
        &observed(Scope::Assets, vec![one]),
        &Ladder::default(),
        now(),
    );
    let known = put(&fires.writes);
    for hours in 1..100 {
        let later = now() + Span::hours(hours);
        let nothing = look(
            known.clone(),
            &observed(Scope::Jobs, Vec::new()),
            &Ladder::default(),
            later,
        );
        assert_eq!(nothing.writes, []);
        let unread = look(
            known.clone(),
            &Observed::default(),
            &Ladder::default(),
            later,
        );
        assert_eq!(unread.writes, []);
    }
}

#[test]
fn what_is_not_read_of_a_scope_that_is_read_in_part_does_not_end_and_the_rest_fires() {
    let one = condition(AlertName::CompromiseReported, "cr_1", 1);
    let first = observed(Scope::Reports, vec![one]);
    let known = put(&look(Vec::new(), &first, &Ladder::default(), now()).writes);
    let two = condition(AlertName::CompromiseReported, "cr_2", 1);
    let part = Observed {
        partial: [Scope::Reports].into(),
        ..observed(Scope::Reports, vec![two])
    };
    let found = put(&look(known, &part, &Ladder::default(), now() + Span::minutes(1)).writes);
    let subjects: Vec<&str> = found.iter().map(|one| one.subject.as_str()).collect();
    assert_eq!(subjects, ["cr_2"]);
}

#[test]
fn threat_a_principal_that_reports_much_does_not_hide_the_report_of_another() {
    let said = |n: usize, by: &str| Condition {
        by: Some(by.to_owned()),
        ..condition(AlertName::CompromiseReported, &format!("cr_{n:05}"), 1)
    };
    let storm: Vec<Condition> = (0..100).map(|n| said(n, "scanner")).collect();
    let looked = |known: Vec<Alert>, conditions: &[Condition], minute| {
        let observed = observed(Scope::Reports, conditions.to_vec());
        let at = now() + Span::minutes(minute);
        put(&look(known, &observed, &Ladder::default(), at).writes)
    };
    let known = looked(Vec::new(), &storm, 0);
    let alone = known.iter().filter(|one| !one.together).count();
    assert_eq!((known.len(), alone), (100, MOST_ALONE_OF_ONE));
    let more = [said(100, "scanner"), said(101, "siem")];
    let mut fires = looked(known, &[&storm[..], &more].concat(), 1);
    fires.retain(|one| one.subject.as_str() >= "cr_00100");
    let together: Vec<bool> = fires.iter().map(|one| one.together).collect();
    assert_eq!(together, [true, false]);
}

#[test]
fn of_ten_thousand_conditions_twenty_are_told_alone_and_more_are_counted() {
    let all = |count: usize| {
        let of = |n| condition(AlertName::RotationOverdue, &format!("external/a{n:05}"), 1);
        observed(Scope::Assets, (0..count).map(of).collect())
    };
    let storm = look(
        Vec::new(),
        &all(MOST_OPEN + 2_000),
        &Ladder::default(),
        now(),
    );
    let known = put(&storm.writes);
    assert_eq!(known.len(), MOST_OPEN);
    assert_eq!(storm.left_out[&AlertName::RotationOverdue], 2_000);
    let alone = |alerts: &[Alert]| alerts.iter().filter(|one| !one.together).count();
    assert_eq!(alone(&known), MOST_ALONE);
    // The same again changes nothing, whichever are left out.
    let later = now() + Span::hours(1);
    let again = look(
        known.clone(),
        &all(MOST_OPEN + 2_000),
        &Ladder::default(),
        later,
    );
    assert_eq!(again.writes, []);
    // A new one of a crowd is one of the crowd, also when those that are told alone are over.
    let mut few = all(MOST_OPEN);
    few.conditions.drain(..MOST_ALONE);
    let first = look(known.clone(), &few, &Ladder::default(), later);
    let merged = merge(known, put(&first.writes));
    let second = look(
        merged.clone(),
        &few,
        &Ladder::default(),
        later + Span::minutes(1),
    );
    let merged = merge(merged, put(&second.writes));
    let over = merged
        .iter()
        .filter(|one| one.state() == "resolved")
        .count();
    assert_eq!(over, MOST_ALONE);
    few.conditions
        .push(condition(AlertName::RotationOverdue, "external/new", 2));
    let new = put(&look(merged, &few, &Ladder::default(), later + Span::hours(1)).writes);
    assert_eq!(new.len(), 1);
    assert!(new[0].together);
}

fn merge(mut known: Vec<Alert>, changed: Vec<Alert>) -> Vec<Alert> {
    for alert in changed {
        match known.iter_mut().find(|one| one.subject == alert.subject) {
            Some(one) => *one = alert,
            None => known.push(alert),
        }
    }
    known
}

#[test]
fn a_silence_outlives_the_end_of_an_alert_that_comes_back() {
    let one = condition(AlertName::JobFailed, "a", 1);
    let mut watched = Watched::new();
    watched.sees(Some(&one), now());
    let until = now() + days(2);
    watched.alert = Some(watched.alert().silence("olga", until, now()).unwrap().0);
    watched.sees(None, now());
    watched.sees(None, now() + Span::minutes(2));
    assert_eq!(
        watched.sees(Some(&one), now() + Span::minutes(3)),
        None,
        "silenced"
    );
    let alert = watched.alert();
    assert!(matches!(alert.phase, Phase::Firing { .. }));
    assert_eq!(
        (alert.episode, alert.resolves_after()),
        (1, Span::minutes(2))
    );
}

#[test]
fn a_hundred_thousand_assets_are_judged_in_a_fraction_of_five_seconds() {
    let policies = policies();
    let since = |n: u64| now() - days(n % 60);
    let assets: Vec<AssetFacts> = (0..100_000)
        .map(|n| asset(&format!("external/a{n:06}"), "api_key", since(n)))
        .collect();
    let began = std::time::Instant::now();
    let found = rules::of_assets(&assets, &policies, now());
    let overdue = found.len();
    let first = look(
        Vec::new(),
        &observed(Scope::Assets, found.clone()),
        &Ladder::default(),
        now(),
    );
    let again = look(
        put(&first.writes),
        &observed(Scope::Assets, found),
        &Ladder::default(),
        now(),
    );
    let took = began.elapsed();
    println!("100 000 assets judged, {overdue} overdue, looked at twice: {took:?}");
    // Above 37.5 of 60 days.
    assert_eq!(overdue, 36_654);
    assert_eq!((first.writes.len(), again.writes.len()), (MOST_OPEN, 0));
    assert!(took.as_secs() < 5, "{took:?}");
}
