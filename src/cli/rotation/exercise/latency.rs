//! Latencies in bounded memory: percentiles of a phase, and their course over the whole test.

use std::time::Duration;

use serde::Serialize;

/// Neighbouring classes of a histogram differ by so much.
const CLASS: f64 = 1.02;

/// Points of a course at most; beyond that two become one.
const MOST_POINTS: usize = 240;

/// How wide a point is at first.
const FIRST_WIDTH: Duration = Duration::from_millis(100);

/// Counts by classes of latency, each two percent wider than the one before it.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    longest: Duration,
}

/// A point of a course.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Point {
    pub signatures: u64,
    pub failed: u64,
    pub longest_ms: f64,
}

/// How latency went, from the beginning of a test.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Course {
    /// Milliseconds that a point is wide.
    pub width_ms: u64,
    pub points: Vec<Point>,
}

pub fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the logarithm of a latency of at least a microsecond: 0 to a few thousand"
)]
fn class_of(latency: Duration) -> usize {
    let micros = (latency.as_secs_f64() * 1e6).max(1.0);
    micros.log(CLASS).round() as usize
}

impl Histogram {
    pub fn add(&mut self, latency: Duration) {
        let class = class_of(latency);
        if self.counts.len() <= class {
            self.counts.resize(class + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(class) {
            *count += 1;
        }
        self.count += 1;
        self.longest = self.longest.max(latency);
    }

    /// The latency that this share of all is not longer than, to two percent.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of a test do not come near 2^53"
    )]
    pub fn percentile(&self, share: f64) -> Duration {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (class, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted && *count > 0 {
                let micros = CLASS.powf(class as f64);
                return Duration::from_secs_f64(micros / 1e6).min(self.longest);
            }
        }
        self.longest
    }

    pub fn longest(&self) -> Duration {
        self.longest
    }

    pub fn count(&self) -> u64 {
        self.count
    }
}

impl Default for Course {
    fn default() -> Self {
        Self {
            width_ms: millis_of(FIRST_WIDTH),
            points: Vec::new(),
        }
    }
}

fn millis_of(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Course {
    /// What came at this time from the beginning: its latency, or none for a failure.
    pub fn add(&mut self, at: Duration, latency: Option<Duration>) {
        let at = millis_of(at);
        while at / self.width_ms >= MOST_POINTS as u64 {
            let pairs = self.points.chunks(2);
            self.points = pairs.map(joined).collect();
            self.width_ms *= 2;
        }
        let place = usize::try_from(at / self.width_ms).unwrap_or(usize::MAX);
        if self.points.len() <= place {
            self.points.resize(place + 1, Point::default());
        }
        let Some(point) = self.points.get_mut(place) else {
            return;
        };
        match latency {
            Some(latency) => {
                point.signatures += 1;
                point.longest_ms = point.longest_ms.max(millis(latency));
            }
            None => point.failed += 1,
        }
    }
}

fn joined(pair: &[Point]) -> Point {
    pair.iter().fold(Point::default(), |sum, point| Point {
        signatures: sum.signatures + point.signatures,
        failed: sum.failed + point.failed,
        longest_ms: sum.longest_ms.max(point.longest_ms),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_right_to_two_percent() {
        let mut histogram = Histogram::default();
        for ms in 1..=1_000 {
            histogram.add(Duration::from_millis(ms));
        }
        for (share, expected) in [(0.5, 500.0), (0.95, 950.0), (0.99, 990.0), (1.0, 1_000.0)] {
            let found = millis(histogram.percentile(share));
            assert!(
                (found - expected).abs() <= expected * 0.02,
                "{share}: {found}"
            );
        }
        assert_eq!(histogram.longest(), Duration::from_secs(1));
        assert_eq!(Histogram::default().percentile(0.5), Duration::ZERO);
    }

    #[test]
    fn a_course_has_as_many_points_after_a_day_as_after_a_minute() {
        let mut course = Course::default();
        let day = 86_400;
        for second in 0..day {
            let at = Duration::from_secs(second);
            let latency = Duration::from_millis(if second == 50_000 { 900 } else { 5 });
            course.add(at, (second % 1_000 != 0).then_some(latency));
        }
        assert!((100..=MOST_POINTS).contains(&course.points.len()));
        let sum = |of: fn(&Point) -> u64| course.points.iter().map(of).sum::<u64>();
        assert_eq!(sum(|point| point.failed), 87);
        assert_eq!(
            sum(|point| point.signatures) + sum(|point| point.failed),
            day
        );
        let longest = course.points.iter().map(|point| point.longest_ms);
        // That second was a failure's.
        assert_eq!(longest.fold(0.0, f64::max), 5.0);
    }
}
