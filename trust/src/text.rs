//! Text that a person reads before signing.

/// Whether a character can make a terminal show something else than what is there: control
/// characters, bidirectional overrides, invisible characters.
fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Whether `text` has 1 to `most` characters and shows what it is.
pub fn is_plain(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.chars().count()) && !text.chars().any(hides)
}

/// The text with every hiding character spelled out, for showing what has not been checked yet.
pub fn spelled_out(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if hides(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hides_is_neither_plain_nor_shown() {
        for text in [
            "a\u{1b}[2Jb",
            "a\nb",
            "a\u{202e}b",
            "a\u{200b}b",
            "a\u{feff}b",
            "a\u{7f}b",
        ] {
            assert!(!is_plain(text, 100), "{text:?}");
            let shown = spelled_out(text);
            assert!(is_plain(&shown, 100) && shown.contains("\\u{"), "{shown}");
        }
        assert!(is_plain("Grüße, \"世界\"", 100));
        assert_eq!(spelled_out("Grüße, \"世界\""), "Grüße, \"世界\"");
        assert!(!is_plain("", 100) && !is_plain("abc", 2));
    }
}
