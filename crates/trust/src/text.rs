//! Text that a person reads before signing.

/// Whether a character can make a terminal show something else than what is there: control
/// characters (Cc), what Unicode calls Default_Ignorable_Code_Point (soft hyphen, fillers,
/// variation selectors, tags, zero width) or Bidi_Control, line and paragraph separators, and
/// interlinear annotation. Whole ranges, assigned or not, so that a later Unicode changes nothing.
fn hides(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
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
            "a\u{ad}b",
            "a\u{34f}b",
            "a\u{61c}b",
            "a\u{115f}b",
            "a\u{17b4}b",
            "a\u{180e}b",
            "a\u{3164}b",
            "a\u{fe0f}b",
            "a\u{ffa0}b",
            "a\u{fffb}b",
            "a\u{1bca0}b",
            "a\u{1d173}b",
            "a\u{e0041}b",
            "a\u{e01ef}b",
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
