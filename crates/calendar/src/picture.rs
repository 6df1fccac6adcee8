//! Pictures of a plan and of a simulated year: SVG, light, readable without colours, of a bounded size.
//!
//! A row is an asset, or a key type where there are many assets; a column is a day or a week. The darker a cell, the more
//! rotations begin in it, compared with the others of its row. A diamond is a ceremony, a bar above the cell something late, a pale band the time in which
//! two versions work.

use std::fmt::Write;

use crate::time::{Span, Time};

/// Most rows; what is more is one row of its own.
pub const MOST_ROWS: usize = 40;

/// Assets have rows of their own up to here, key types beyond.
pub const MOST_ASSET_ROWS: usize = 24;

/// No picture is larger, whatever it shows.
pub const MOST_BYTES: usize = 192 * 1_024;

/// The row of all that have none of their own.
const OTHERS: &str = "others";

/// Most columns.
const MOST_COLUMNS: u64 = 100;

/// Most characters of a label.
const LONGEST_LABEL: usize = 30;

const LABELS: usize = 230;
const TOP: usize = 74;
const ROW: usize = 22;
const WIDTH: usize = 1_060;

/// Pale to dark, so that they can be told apart in grey too.
const SHADES: [&str; 4] = ["#cfe3f5", "#8fbfe6", "#4a90c8", "#1f5f99"];

/// One cell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) count: u32,
    pub(crate) manual: bool,
    pub(crate) late: bool,
    pub(crate) band: bool,
}

/// One row.
#[derive(Clone, Debug)]
struct Row {
    label: String,
    total: u32,
    cells: Vec<Cell>,
}

/// A grid of rotations over time.
#[derive(Clone, Debug)]
pub(crate) struct Picture {
    title: String,
    remark: String,
    from: Time,
    /// Seconds of a column.
    step: u64,
    columns: usize,
    rows: Vec<Row>,
}

impl Picture {
    /// An empty one from `from` to `until`: a column for each day, or for as many days as give at most a hundred columns.
    pub(crate) fn new(title: String, remark: String, from: Time, until: Time) -> Self {
        let day = crate::time::DAY;
        let days = until.since(from).as_seconds().div_ceil(day).max(1);
        // A year by weeks, what is longer by more.
        let in_column = match days.div_ceil(MOST_COLUMNS) {
            1 => 1,
            2..=7 => 7,
            more => more,
        };
        let columns = usize::try_from(days.div_ceil(in_column)).unwrap_or(1);
        Self {
            title,
            remark,
            from,
            step: in_column * day,
            columns,
            rows: Vec::new(),
        }
    }

    /// The row of this label; new ones up to [`MOST_ROWS`], then one for all others.
    fn row(&mut self, label: &str) -> Option<&mut Row> {
        let found = self.rows.iter().position(|row| row.label == label);
        let index = match found {
            Some(index) => index,
            None if self.rows.len() < MOST_ROWS => self.push(label),
            None => {
                let others = self.rows.iter().position(|row| row.label == OTHERS);
                others.unwrap_or_else(|| self.push(OTHERS))
            }
        };
        self.rows.get_mut(index)
    }

    fn push(&mut self, label: &str) -> usize {
        self.rows.push(Row {
            label: label.to_owned(),
            total: 0,
            cells: vec![Cell::default(); self.columns],
        });
        self.rows.len() - 1
    }

    /// The column of an instant; that before the picture is in the first, what is after it in none.
    fn column(&self, at: Time) -> Option<usize> {
        let column = usize::try_from(at.since(self.from).as_seconds() / self.step).ok()?;
        (column < self.columns).then_some(column)
    }

    /// A rotation that begins at `at`.
    pub(crate) fn add(&mut self, label: &str, at: Time, manual: bool, late: bool) {
        let Some(column) = self.column(at) else {
            return;
        };
        let Some(row) = self.row(label) else {
            return;
        };
        row.total = row.total.saturating_add(1);
        if let Some(cell) = row.cells.get_mut(column) {
            cell.count = cell.count.saturating_add(1);
            cell.manual |= manual;
            cell.late |= late;
        }
    }

    /// A time in which two versions work.
    pub(crate) fn band(&mut self, label: &str, from: Time, until: Time) {
        let (Some(first), last) = (self.column(from), self.column(until)) else {
            return;
        };
        let last = last.unwrap_or(self.columns - 1);
        if let Some(row) = self.row(label) {
            row.cells
                .iter_mut()
                .take(last + 1)
                .skip(first)
                .for_each(|cell| cell.band = true);
        }
    }

    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let cell = ((WIDTH - LABELS - 60) / self.columns).max(4);
        let height = TOP + ROW * self.rows.len().max(1) + 56;
        let mut svg = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut svg, cell, height);
        svg
    }

    fn write(&self, svg: &mut String, cell: usize, height: usize) -> std::fmt::Result {
        writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\" font-family=\"system-ui,sans-serif\" font-size=\"12\" fill=\"#24303c\">"
        )?;
        writeln!(svg, "<title>{}</title>", escape(&self.title, 200))?;
        writeln!(
            svg,
            "<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>"
        )?;
        writeln!(
            svg,
            "<text x=\"16\" y=\"24\" font-size=\"16\" font-weight=\"600\">{}</text>",
            escape(&self.title, 120)
        )?;
        writeln!(
            svg,
            "<text x=\"16\" y=\"43\" fill=\"#5b6875\">{}</text>",
            escape(&self.remark, 150)
        )?;
        self.write_ticks(svg, cell, height)?;
        let mut rows: Vec<&Row> = self.rows.iter().collect();
        rows.sort_by_key(|row| (row.label == OTHERS, row.label.as_str()));
        for (index, row) in rows.into_iter().enumerate() {
            row.write(svg, TOP + index * ROW, cell, self.columns)?;
        }
        write_legend(svg, height - 20)?;
        svg.push_str("</svg>\n");
        Ok(())
    }

    /// A line and a date for about each twelfth part.
    fn write_ticks(&self, svg: &mut String, cell: usize, height: usize) -> std::fmt::Result {
        let every = self.columns.div_ceil(12).max(1);
        for column in (0..self.columns).step_by(every) {
            let x = LABELS + column * cell;
            let ahead = self.step.saturating_mul(column as u64);
            let date = (self.from + Span::seconds(ahead)).date();
            let bottom = height - 44;
            writeln!(svg, "<path d=\"M{x} {TOP}V{bottom}\" stroke=\"#e4e8ec\"/>")?;
            writeln!(
                svg,
                "<text x=\"{x}\" y=\"{}\" font-size=\"10\" fill=\"#5b6875\">{}</text>",
                TOP - 6,
                &date
            )?;
        }
        Ok(())
    }
}

impl Row {
    fn write(&self, svg: &mut String, y: usize, cell: usize, columns: usize) -> std::fmt::Result {
        write!(svg, "<g transform=\"translate({LABELS} {y})\">")?;
        write!(
            svg,
            "<text x=\"-12\" y=\"15\" text-anchor=\"end\">{}</text>",
            escape(&self.label, LONGEST_LABEL)
        )?;
        write!(
            svg,
            "<text x=\"{}\" y=\"15\" fill=\"#5b6875\">{}</text>",
            columns * cell + 8,
            self.total
        )?;
        let most = self.cells.iter().map(|each| each.count).max().unwrap_or(0);
        let band = runs(&self.cells, cell, 9, 4, |each| each.band);
        write_path(svg, &band, "#e6ebf0")?;
        for (level, shade) in SHADES.iter().enumerate() {
            let path = runs(&self.cells, cell, 3, 16, |each| {
                level_of(each.count, most) == Some(level)
            });
            write_path(svg, &path, shade)?;
        }
        write_path(
            svg,
            &runs(&self.cells, cell, 0, 3, |each| each.late),
            "#c0392b",
        )?;
        let mut diamonds = String::new();
        for (column, _) in self
            .cells
            .iter()
            .enumerate()
            .filter(|(_, each)| each.manual)
        {
            write!(diamonds, "M{} 6l4 5l-4 5l-4-5z", column * cell + cell / 2)?;
        }
        if !diamonds.is_empty() {
            write!(
                svg,
                "<path fill=\"#f2b84b\" stroke=\"#7a5200\" d=\"{diamonds}\"/>"
            )?;
        }
        svg.push_str("</g>\n");
        Ok(())
    }
}

/// Which of the four shades; the lowest for a single rotation among many.
fn level_of(count: u32, most: u32) -> Option<usize> {
    if count == 0 {
        return None;
    }
    let quarter = u64::from(count) * 4 / u64::from(most.max(1)).max(4);
    Some(usize::try_from(quarter).unwrap_or(3).min(3))
}

/// Rectangles over runs of cells that have something, as the data of one path.
fn runs(
    cells: &[Cell],
    width: usize,
    y: usize,
    height: usize,
    has: impl Fn(&Cell) -> bool,
) -> String {
    let mut path = String::new();
    let mut column = 0;
    while let Some(rest) = cells.get(column..).filter(|rest| !rest.is_empty()) {
        let length = rest.iter().take_while(|cell| has(cell)).count();
        if length > 0 {
            let (x, wide) = (column * width, length * width - 1);
            path.push_str(&format!("M{x} {y}h{wide}v{height}h-{wide}z"));
        }
        column += length.max(1);
    }
    path
}

fn write_path(svg: &mut String, data: &str, fill: &str) -> std::fmt::Result {
    if data.is_empty() {
        return Ok(());
    }
    write!(svg, "<path fill=\"{fill}\" d=\"{data}\"/>")
}

fn write_legend(svg: &mut String, y: usize) -> std::fmt::Result {
    let mut x = LABELS;
    for shade in SHADES {
        writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{}\" width=\"14\" height=\"12\" fill=\"{shade}\"/>",
            y - 10
        )?;
        x += 16;
    }
    let text = "few to many begin, by the row";
    writeln!(
        svg,
        "<text x=\"{}\" y=\"{y}\" fill=\"#5b6875\">{text}</text>",
        x + 6
    )?;
    x += 230;
    writeln!(
        svg,
        "<path d=\"M{x} {}l4 5l-4 5l-4-5z\" fill=\"#f2b84b\" stroke=\"#7a5200\"/>",
        y - 9
    )?;
    writeln!(
        svg,
        "<text x=\"{}\" y=\"{y}\" fill=\"#5b6875\">a ceremony is needed</text>",
        x + 10
    )?;
    x += 170;
    writeln!(
        svg,
        "<rect x=\"{x}\" y=\"{}\" width=\"14\" height=\"3\" fill=\"#c0392b\"/>",
        y - 6
    )?;
    writeln!(
        svg,
        "<text x=\"{}\" y=\"{y}\" fill=\"#5b6875\">late</text>",
        x + 20
    )?;
    x += 70;
    writeln!(
        svg,
        "<rect x=\"{x}\" y=\"{}\" width=\"14\" height=\"4\" fill=\"#e6ebf0\"/>",
        y - 6
    )?;
    writeln!(
        svg,
        "<text x=\"{}\" y=\"{y}\" fill=\"#5b6875\">two versions work</text>",
        x + 20
    )
}

/// Text for XML, shortened with an ellipsis. Names cannot hold what is escaped here; titles and reasons may.
pub(crate) fn escape(text: &str, longest: usize) -> String {
    let mut escaped = String::with_capacity(text.len());
    for (index, c) in text.chars().enumerate() {
        if index + 1 == longest && text.chars().count() > longest {
            escaped.push('…');
            break;
        }
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Not in XML 1.0.
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped_and_shortened() {
        assert_eq!(
            escape("<a href='x'>&\"\u{0}", 99),
            "&lt;a href=&#39;x&#39;&gt;&amp;&quot; "
        );
        assert_eq!(escape("abcdef", 4), "abc…");
        assert_eq!(escape("abcd", 4), "abcd");
    }

    #[test]
    fn the_largest_picture_is_within_its_bound() {
        let from = Time::from_hour(500_000);
        let mut picture = Picture::new(
            "t".repeat(999),
            "&".repeat(999),
            from,
            from + Span::days(100),
        );
        for row in 0..200 {
            for day in (0..100).step_by(2) {
                // No two cells beside each other alike.
                for _ in 0..=(day * 7 + row) % 13 {
                    picture.add(
                        &format!("{}{row}", "<".repeat(60)),
                        from + Span::days(day),
                        true,
                        true,
                    );
                }
                picture.band(
                    &format!("{}{row}", "<".repeat(60)),
                    from + Span::days(day),
                    from + Span::days(day),
                );
            }
        }
        let svg = picture.svg();
        assert!(svg.len() < MOST_BYTES, "{}", svg.len());
        assert!(svg.contains(">others<"));
    }
}
