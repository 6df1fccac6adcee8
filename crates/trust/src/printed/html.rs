//! Writes HTML. Markup is what is written in this program; whatever comes from outside goes through [`Html::outside`].

use crate::text::spelled_out;

/// A page while it is written.
#[derive(Default)]
pub(super) struct Html(String);

/// In how many printed lines a text from outside has its place, and how many columns of the fixed font each has.
#[derive(Clone, Copy)]
pub(super) struct Room {
    pub lines: usize,
    pub columns: usize,
}

impl Room {
    pub const fn new(lines: usize, columns: usize) -> Self {
        Self { lines, columns }
    }

    fn class(self) -> &'static str {
        match self.lines {
            1 => "<bdi class=\"one\">",
            2 => "<bdi class=\"two\">",
            _ => "<bdi class=\"three\">",
        }
    }
}

impl Html {
    /// Markup, which no text from outside can become.
    pub fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Words of this program with values of it: digests, instants, names of a closed form.
    pub fn text(&mut self, text: &str) -> &mut Self {
        for c in spelled_out(text).chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                other => self.0.push(other),
            }
        }
        self
    }

    /// What somebody wrote, in its room and isolated from the direction of its neighbours. What does not fit is cut, and
    /// that is said in front of it, where nothing can hide it; in few columns where the words would take most of the room.
    pub fn outside(&mut self, text: &str, room: Room) -> &mut Self {
        let whole = spelled_out(text);
        let columns = room.lines * room.columns;
        self.raw(room.class());
        match cut(&whole, columns) {
            None => self.text(&whole),
            Some(_) => {
                let mut notice = format!(
                    "[cut, {} characters in the transcript] ",
                    text.chars().count()
                );
                let short = notice.len() * 3 > columns * 2;
                if short {
                    // At least as wide as what is said in the end.
                    notice = format!("[+{}]", whole.chars().count());
                }
                let left = columns.saturating_sub(notice.len());
                let end = cut(&whole, left).unwrap_or(whole.len());
                let (shown, rest) = whole.split_at_checked(end).unwrap_or_default();
                if short {
                    notice = format!("[+{}]", rest.chars().count());
                }
                self.text(&notice).text(shown)
            }
        };
        self.raw("</bdi>")
    }

    /// A heading of this program.
    pub fn heading(&mut self, text: &'static str) -> &mut Self {
        self.raw("<h2>").raw(text).raw("</h2>\n")
    }

    pub fn finish(self) -> String {
        self.0
    }
}

/// Where a text has to end to fit so many columns; none if it fits. What is not ASCII counts for two: a fixed font has
/// no other guarantee.
fn cut(text: &str, columns: usize) -> Option<usize> {
    let mut used = 0;
    text.char_indices().find_map(|(at, c)| {
        used += if c.is_ascii() { 1 } else { 2 };
        (used > columns).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, room: Room) -> String {
        let mut html = Html::default();
        html.outside(text, room);
        html.finish()
    }

    #[test]
    fn what_comes_from_outside_is_text_and_has_its_room() {
        let room = Room::new(1, 80);
        assert_eq!(
            shown("<script>alert('\"&\")</script>", room),
            "<bdi class=\"one\">&lt;script&gt;alert(&#39;&quot;&amp;&quot;)&lt;/script&gt;</bdi>"
        );
        assert_eq!(
            shown("a\u{202e}b\n", room),
            "<bdi class=\"one\">a\\u{202e}b\\u{a}</bdi>"
        );
        let long = shown(&"x".repeat(65_536), room);
        assert!(
            long.contains("[cut, 65536 characters in the transcript] xxx") && long.len() < 120,
            "{long}"
        );
        let exact = shown(&"x".repeat(80), room);
        assert!(!exact.contains("cut"), "{exact}");
        // The longest id of a member in the narrowest room: what is left of it is more than the notice.
        let narrow = Room::new(1, 14);
        let id = "administrator-".repeat(5);
        assert_eq!(
            shown(&id[..63], narrow),
            "<bdi class=\"one\">[+54]administr</bdi>"
        );
        assert_eq!(
            shown("fifteen-letters", narrow),
            "<bdi class=\"one\">[+6]fifteen-l</bdi>"
        );
        assert_eq!(
            shown("fourteen-chars", narrow),
            "<bdi class=\"one\">fourteen-chars</bdi>"
        );
        // Wide ones.
        assert!(shown(&"界".repeat(41), room).contains("[cut, 41"));
        assert!(!shown(&"界".repeat(40), room).contains("cut"));
    }
}
