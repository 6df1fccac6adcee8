//! Medians, percentiles and spread.

/// What was seen over the repetitions.
#[derive(Clone, Copy)]
pub struct Summary {
    pub median: f64,
    pub low: f64,
    pub high: f64,
    pub count: usize,
}

pub fn summary(values: &[f64]) -> Summary {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Summary {
        median: middle(&sorted),
        low: sorted.first().copied().unwrap_or(f64::NAN),
        high: sorted.last().copied().unwrap_or(f64::NAN),
        count: sorted.len(),
    }
}

pub fn median(values: &[f64]) -> f64 {
    summary(values).median
}

fn middle(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => (sorted[even / 2 - 1] + sorted[even / 2]) / 2.0,
    }
}

/// Nearest rank; sorts in place.
pub fn percentile(values: &mut [f64], percent: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    values.sort_by(f64::total_cmp);
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values[rank.clamp(1, values.len()) - 1]
}

/// The straight line through the points (least squares) at another place.
pub fn extended(points: &[(f64, f64)], to: f64) -> f64 {
    let (x, y) = centre(points);
    y + slope(points) * (to - x)
}

fn centre(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    points.iter().fold((0.0, 0.0), |(x, y), point| {
        (x + point.0 / count, y + point.1 / count)
    })
}

/// Slope of the straight line through the points, by least squares.
pub fn slope(points: &[(f64, f64)]) -> f64 {
    let (x, y) = centre(points);
    let (above, below) = points.iter().fold((0.0, 0.0), |(above, below), point| {
        (
            above + (point.0 - x) * (point.1 - y),
            below + (point.0 - x).powi(2),
        )
    });
    above / below
}
