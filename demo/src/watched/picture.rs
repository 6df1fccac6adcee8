//! A dashboard as one SVG: its panels side by side, each with its lines over the seconds of the demonstration.

use std::fmt::Write as _;

const COLUMNS: usize = 3;
const WIDTH: f64 = 380.0;
const HEIGHT: f64 = 190.0;
const TOP: f64 = 40.0;
const COLOURS: [&str; 8] = [
    "#3465a4", "#c17d11", "#4e9a06", "#75507b", "#cc0000", "#06989a", "#888a85", "#2e3436",
];

/// Lines that have a name beside them.
const NAMED: usize = 6;

/// What one panel shows.
pub struct Panel {
    pub title: String,
    /// As Grafana calls it.
    pub unit: String,
    pub series: Vec<Series>,
}

/// One line.
pub struct Series {
    pub name: String,
    /// Seconds since the beginning, and what was there.
    pub points: Vec<(f64, f64)>,
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// A number as people read it in this unit.
fn shown(value: f64, unit: &str) -> String {
    let short = |value: f64| match value.abs() {
        large if large >= 1e6 => format!("{:.1}M", value / 1e6),
        large if large >= 1e4 => format!("{:.0}k", value / 1e3),
        large if large >= 10.0 => format!("{value:.0}"),
        whole if whole.fract() == 0.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    };
    match unit {
        "percentunit" => format!("{:.0} %", value * 100.0),
        "s" if value.abs() >= 172_800.0 => format!("{} d", short(value / 86_400.0)),
        "s" if value.abs() >= 7_200.0 => format!("{} h", short(value / 3_600.0)),
        "s" if value != 0.0 && value.abs() < 1.0 => format!("{:.1} ms", value * 1_000.0),
        "s" => format!("{} s", short(value)),
        "bytes" => format!("{:.0} MiB", value / 1_048_576.0),
        "ops" | "reqps" => format!("{}/s", short(value)),
        _ => short(value),
    }
}

/// All panels under the title of their dashboard.
#[expect(
    clippy::cast_precision_loss,
    reason = "a dashboard has a few dozen panels"
)]
pub fn draw(title: &str, panels: &[Panel]) -> String {
    let rows = panels.len().div_ceil(COLUMNS);
    let (width, height) = (COLUMNS as f64 * WIDTH, TOP + rows as f64 * HEIGHT);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"24\" font-size=\"16\">{}</text>\n",
        escaped(title)
    );
    let points = panels.iter().flat_map(|panel| &panel.series);
    let points = points.flat_map(|series| &series.points);
    let last = points.map(|point| point.0).fold(1.0, f64::max);
    for (index, panel) in panels.iter().enumerate() {
        let x = (index % COLUMNS) as f64 * WIDTH;
        let y = TOP + (index / COLUMNS) as f64 * HEIGHT;
        // Writing into a String cannot fail.
        let _ = writeln!(
            svg,
            "<g transform=\"translate({x:.0},{y:.0})\">{}</g>",
            one(panel, last)
        );
    }
    svg + "</svg>\n"
}

fn one(panel: &Panel, last: f64) -> String {
    let (left, top, width, height) = (56.0, 24.0, WIDTH - 72.0, 92.0);
    let mut text = format!(
        "<text x=\"8\" y=\"14\" font-weight=\"bold\">{}</text>\
         <rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"#ccc\"/>",
        escaped(&panel.title)
    );
    if panel.series.iter().all(|series| series.points.is_empty()) {
        let _ = write!(
            text,
            "<text x=\"{}\" y=\"{}\" fill=\"#888\">nothing to show</text>",
            left + 8.0,
            top + 50.0
        );
        return text;
    }
    let values = panel.series.iter().flat_map(|series| &series.points);
    let (low, high) = values.fold((0.0_f64, 0.0_f64), |(low, high), point| {
        (low.min(point.1), high.max(point.1))
    });
    let high = if high > low { high } else { low + 1.0 };
    let _ = write!(
        text,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text><text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
         <text x=\"{}\" y=\"{}\" text-anchor=\"end\" fill=\"#888\">{last:.0} s</text>",
        left - 4.0,
        top + 9.0,
        shown(high, &panel.unit),
        left - 4.0,
        top + height,
        shown(low, &panel.unit),
        left + width,
        top + height + 12.0,
    );
    for (series, colour) in panel.series.iter().zip(COLOURS.iter().cycle()) {
        let points: Vec<String> = series
            .points
            .iter()
            .map(|(x, y)| {
                format!(
                    "{:.1},{:.1}",
                    left + width * x / last,
                    top + height * (1.0 - (y - low) / (high - low))
                )
            })
            .collect();
        let _ = write!(
            text,
            "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>",
            points.join(" ")
        );
    }
    for (index, (series, colour)) in panel.series.iter().zip(COLOURS).take(NAMED).enumerate() {
        let x = left + if index % 2 == 0 { 0.0 } else { width / 2.0 };
        let row = u8::try_from(index / 2).unwrap_or(0);
        let y = top + height + 26.0 + 13.0 * f64::from(row);
        let now = series.points.last().map_or(0.0, |point| point.1);
        let name: String = series.name.chars().take(20).collect();
        let _ = write!(
            text,
            "<rect x=\"{x:.0}\" y=\"{:.0}\" width=\"9\" height=\"3\" fill=\"{colour}\"/>\
             <text x=\"{:.0}\" y=\"{y:.0}\" font-size=\"10\">{} {}</text>",
            y - 4.0,
            x + 13.0,
            escaped(&name),
            shown(now, &panel.unit),
        );
    }
    text
}
