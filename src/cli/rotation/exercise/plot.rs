//! Latency over the time of a test: as a table with a line of text, and as a picture (SVG).

use verify::output::table;

use super::load_report::LoadReport;

/// Columns of the line of text.
const COLUMNS: usize = 60;

/// Heights of a column, lowest first.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 240.0;
const MARGIN: f64 = 40.0;

/// For people: percentiles by phase, the longest gap, and how the longest latency went.
pub fn text(report: &LoadReport) -> String {
    let rows = report.phases.iter().map(|phase| {
        let ms = |value: f64| format!("{value:.1} ms");
        [
            phase.phase.word().to_owned(),
            phase.signatures.to_string(),
            phase.failed.to_string(),
            ms(phase.p50_ms),
            ms(phase.p95_ms),
            ms(phase.p99_ms),
            ms(phase.longest_ms),
        ]
    });
    let header = [
        "phase",
        "signatures",
        "failed",
        "half in",
        "95 % in",
        "99 % in",
        "longest",
    ];
    format!(
        "{}\n\nlongest gap  {:.1} ms without a signature\n{}\n",
        table(&header, rows),
        report.longest_gap_ms,
        line(report)
    )
}

/// The longest latency of each column; a column with a failure is `X`, one without a signature empty.
fn line(report: &LoadReport) -> String {
    let points = &report.course.points;
    let together = points.len().div_ceil(COLUMNS).max(1);
    let highest = highest(report);
    let columns = points.chunks(together).map(|some| {
        let longest = some
            .iter()
            .map(|point| point.longest_ms)
            .fold(0.0, f64::max);
        if some.iter().any(|point| point.failed > 0) {
            'X'
        } else if longest <= 0.0 {
            ' '
        } else {
            height(longest / highest)
        }
    });
    let line: String = columns.collect();
    let width = report.course.width_ms * together as u64;
    format!(
        "latency      {line}\n             a column is {width} ms, its height the longest latency (at most {highest:.1} ms), X a failure"
    )
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 8"
)]
fn height(share: f64) -> char {
    let place = (share.clamp(0.0, 1.0) * 7.0).round() as usize;
    HEIGHTS.get(place).copied().unwrap_or('█')
}

fn highest(report: &LoadReport) -> f64 {
    let longest = report.course.points.iter().map(|point| point.longest_ms);
    longest.fold(1.0, f64::max)
}

/// A bar for each point, failures in red, and a line where the new key signs.
#[expect(
    clippy::cast_precision_loss,
    reason = "points and milliseconds of a test do not come near 2^53"
)]
pub fn svg(report: &LoadReport) -> String {
    let points = &report.course.points;
    let count = points.len().max(1) as f64;
    let (inner, high) = (WIDTH - 2.0 * MARGIN, HEIGHT - 2.0 * MARGIN);
    let (wide, highest) = (inner / count, highest(report));
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <title>Latency of signatures during a rotation</title>\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    for (place, point) in points.iter().enumerate() {
        let x = MARGIN + place as f64 * wide;
        let tall = match point.failed {
            0 => high * point.longest_ms / highest,
            _ => high,
        };
        let fill = if point.failed > 0 {
            "#c62828"
        } else {
            "#1565c0"
        };
        let y = HEIGHT - MARGIN - tall;
        text.push_str(&format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{tall:.1}\" fill=\"{fill}\"/>\n",
            (wide * 0.9).max(0.5)
        ));
    }
    let whole = (report.course.width_ms * points.len() as u64) as f64;
    if let Some(after) = report.new_key_after_ms.filter(|_| whole > 0.0) {
        let x = MARGIN + inner * (after as f64 / whole).clamp(0.0, 1.0);
        text.push_str(&format!(
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{MARGIN}\" y2=\"{:.1}\" stroke=\"#2e7d32\" stroke-dasharray=\"4 3\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"#2e7d32\">the new key signs</text>\n",
            HEIGHT - MARGIN,
            x + 4.0,
            MARGIN - 6.0
        ));
    }
    text.push_str(&format!(
        "<text x=\"{MARGIN}\" y=\"20\">longest latency, up to {highest:.1} ms; failures red</text>\n\
         <text x=\"{MARGIN}\" y=\"{:.1}\">0 s</text>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{:.0} s</text>\n</svg>\n",
        HEIGHT - 12.0,
        WIDTH - MARGIN,
        HEIGHT - 12.0,
        whole / 1_000.0
    ));
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::latency::Course;
    use super::*;

    fn report() -> LoadReport {
        let mut course = Course::default();
        for ms in [0, 100, 200, 300] {
            course.add(Duration::from_millis(ms), Some(Duration::from_millis(8)));
        }
        course.add(Duration::from_millis(400), None);
        LoadReport {
            rate_per_second: 10,
            concurrency: 1,
            longest_gap_ms: 100.0,
            phases: Vec::new(),
            new_key_after_ms: Some(250),
            course,
        }
    }

    #[test]
    fn a_failure_stands_out() {
        let line = text(&report());
        assert!(line.contains("████X"), "{line}");
        let picture = svg(&report());
        assert_eq!(picture.matches("#c62828").count(), 1);
        assert!(picture.contains("the new key signs") && picture.ends_with("</svg>\n"));
    }
}
