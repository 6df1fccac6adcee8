//! Small plots as SVG: bars, dots of repetitions, and a line over time.

use std::fmt::Write as _;

const WIDTH: f64 = 640.0;
const LEFT: f64 = 190.0;
const ROW: f64 = 26.0;
const COLOURS: [&str; 4] = ["#3465a4", "#c17d11", "#4e9a06", "#75507b"];

pub struct Plot {
    pub name: String,
    pub svg: String,
}

fn frame(name: &str, title: &str, height: f64, body: &str) -> Plot {
    let svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"10\" y=\"18\" font-size=\"14\">{}</text>\n{body}</svg>\n",
        escaped(title)
    );
    Plot {
        name: name.to_owned(),
        svg,
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

/// Three digits that matter.
pub fn short(value: f64) -> String {
    match value.abs() {
        large if large >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        middle if middle >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

pub fn bars(name: &str, title: &str, unit: &str, bars: &[(String, f64)]) -> Plot {
    let most = bars
        .iter()
        .map(|(_, value)| *value)
        .fold(f64::MIN_POSITIVE, f64::max);
    let mut body = String::new();
    for (index, (label, value)) in bars.iter().enumerate() {
        let y = 32.0 + ROW * index as f64;
        let width = (WIDTH - LEFT - 110.0) * value / most;
        // Writing into a String cannot fail.
        let _ = writeln!(
            body,
            "<text x=\"10\" y=\"{:.0}\">{}</text><rect x=\"{LEFT}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"18\" \
             fill=\"{}\"/><text x=\"{:.0}\" y=\"{:.0}\">{} {unit}</text>",
            y + 13.0,
            escaped(label),
            COLOURS[0],
            LEFT + width + 6.0,
            y + 13.0,
            short(*value),
        );
    }
    frame(name, title, 44.0 + ROW * bars.len() as f64, &body)
}

/// One row for each series, one dot for each repetition, from zero.
pub fn dots(name: &str, title: &str, unit: &str, series: &[(&str, &[f64])]) -> Plot {
    let all = series.iter().flat_map(|(_, values)| values.iter().copied());
    let most = all.fold(f64::MIN_POSITIVE, f64::max);
    let span = WIDTH - LEFT - 110.0;
    let mut body = String::new();
    for (index, (label, values)) in series.iter().enumerate() {
        let y = 41.0 + ROW * index as f64;
        let median = super::stats::median(values);
        let _ = writeln!(
            body,
            "<text x=\"10\" y=\"{:.0}\">{}</text><line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"#ccc\"/>\
             <text x=\"{}\" y=\"{:.0}\">{} {unit}</text>",
            y + 4.0,
            escaped(label),
            LEFT + span,
            LEFT + span + 10.0,
            y + 4.0,
            short(median),
        );
        for value in *values {
            let _ = writeln!(
                body,
                "<circle cx=\"{:.1}\" cy=\"{y}\" r=\"5\" fill=\"{}\" fill-opacity=\"0.7\"/>",
                LEFT + span * value / most,
                COLOURS[index % COLOURS.len()],
            );
        }
    }
    frame(name, title, 50.0 + ROW * series.len() as f64, &body)
}

/// A line through points, both axes from zero.
pub fn line(name: &str, title: &str, points: &[(f64, f64)]) -> Plot {
    let (width, height, left, top) = (WIDTH - 90.0, 180.0, 60.0, 34.0);
    let most =
        |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).fold(f64::MIN_POSITIVE, f64::max);
    let (right, high) = (most(|point| point.0), most(|point| point.1));
    let path: Vec<String> = points
        .iter()
        .map(|(x, y)| {
            format!(
                "{:.1},{:.1}",
                left + width * x / right,
                top + height * (1.0 - y / high)
            )
        })
        .collect();
    let body = format!(
        "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"#ccc\"/>\n\
         <polyline fill=\"none\" stroke=\"{}\" stroke-width=\"2\" points=\"{}\"/>\n\
         <text x=\"6\" y=\"{:.0}\">{}</text><text x=\"{:.0}\" y=\"{:.0}\">{}</text>\n",
        COLOURS[0],
        path.join(" "),
        top + 10.0,
        short(high),
        left + width - 30.0,
        top + height + 16.0,
        short(right),
    );
    frame(name, title, top + height + 26.0, &body)
}
