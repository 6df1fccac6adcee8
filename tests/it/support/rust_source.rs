//! As much of Rust's grammar as the layering rules need: tokens with their lines, attributes, inline modules and paths.
//! Not a parser: it sees names where they are written, not what macros make of them.

/// An identifier, `::`, or one character of punctuation. Comments are dropped and literals become `""`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    pub line: usize,
}

/// A path as it stands in the source, with groups multiplied out: `use a::{b, c::d}` is `a::b` and `a::c::d`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    pub segments: Vec<String>,
    pub line: usize,
    /// Names of the inline modules around it, outermost first.
    pub inside: Vec<String>,
    /// Whether one of those is `#[cfg(test)]`.
    pub in_test: bool,
}

pub fn tokens(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let at = |i: usize| text.get(i).copied().unwrap_or('\0');
    let mut found = Vec::new();
    let mut line = 1;
    let mut i = 0;
    while i < text.len() {
        let start = i;
        let c = text[i];
        let mut token = None;
        if c == '/' && at(i + 1) == '/' {
            while i < text.len() && text[i] != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            i = end_of_block_comment(&text, i);
        } else if let Some(end) = end_of_string(&text, i) {
            i = end;
            token = Some("\"\"".to_owned());
        } else if c == '\'' {
            // A quote opens a character only if another closes it; otherwise it is a lifetime.
            if at(i + 1) == '\\' || at(i + 2) == '\'' {
                i += if at(i + 1) == '\\' { 3 } else { 2 };
                while i < text.len() && text[i] != '\'' {
                    i += 1;
                }
                token = Some("\"\"".to_owned());
            }
            i += 1;
        } else if c.is_alphanumeric() || c == '_' {
            while at(i).is_alphanumeric() || at(i) == '_' {
                i += 1;
            }
            if c == 'r' && i == start + 1 && at(i) == '#' {
                // `r#type` is the identifier `type`; raw strings were seen above.
                i += 1;
                continue;
            }
            token = Some(text[start..i].iter().collect());
        } else if c == ':' && at(i + 1) == ':' {
            i += 2;
            token = Some("::".to_owned());
        } else {
            i += 1;
            if !c.is_whitespace() {
                token = Some(c.to_string());
            }
        }
        if let Some(text) = token {
            found.push(Token { text, line });
        }
        line += text[start..i.min(text.len())]
            .iter()
            .filter(|c| **c == '\n')
            .count();
    }
    found
}

fn end_of_block_comment(text: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut i = start;
    while i < text.len() {
        match (text[i], text.get(i + 1)) {
            ('/', Some('*')) => (depth, i) = (depth + 1, i + 2),
            ('*', Some('/')) => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            break;
        }
    }
    i
}

/// Where the string literal that begins at `start` ends, if one begins there: `"…"`, `b"…"`, `c"…"`, `r#"…"#`, `br"…"`.
fn end_of_string(text: &[char], start: usize) -> Option<usize> {
    let mut i = start;
    let preceded = start > 0 && (text[start - 1].is_alphanumeric() || text[start - 1] == '_');
    if matches!(text.get(i), Some('b' | 'c')) && !preceded {
        i += 1;
    }
    let raw = text.get(i) == Some(&'r') && !(preceded && i == start);
    if raw {
        i += 1;
    }
    let hashes = text[i..].iter().take_while(|c| raw && **c == '#').count();
    i += hashes;
    if text.get(i) != Some(&'"') {
        return None;
    }
    i += 1;
    while i < text.len() {
        if text[i] == '\\' && !raw {
            i += 1;
        } else if text[i] == '"'
            && text[i + 1..].iter().take_while(|c| **c == '#').count() >= hashes
        {
            return Some(i + 1 + hashes);
        }
        i += 1;
    }
    Some(i)
}

/// The attributes of a file: the tokens between the brackets of `#[…]` and `#![…]`, with the line they begin on.
pub fn attributes(tokens: &[Token]) -> Vec<(usize, Vec<&str>)> {
    let mut found = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let open = if text(tokens, i + 1) == "!" {
            i + 2
        } else {
            i + 1
        };
        if token.text == "#" && text(tokens, open) == "[" {
            let end = closing(tokens, open);
            found.push((
                token.line,
                tokens[open + 1..end]
                    .iter()
                    .map(|t| t.text.as_str())
                    .collect(),
            ));
        }
    }
    found
}

/// Every path of a file, in `use` declarations and elsewhere.
pub fn paths(tokens: &[Token]) -> Vec<Path> {
    let mut found = Vec::new();
    // One entry for each open brace: the inline module it opens, if it opens one.
    let mut braces: Vec<Option<(String, bool)>> = Vec::new();
    let mut i = 0;
    while i < tokens.len() {
        match text(tokens, i) {
            "{" => {
                let opens_module =
                    i >= 2 && text(tokens, i - 2) == "mod" && is_name(text(tokens, i - 1));
                braces.push(
                    opens_module.then(|| (tokens[i - 1].text.clone(), is_for_tests(tokens, i - 2))),
                );
            }
            "}" => {
                braces.pop();
            }
            name if is_name(name) && begins_path(tokens, i) => {
                let mut here = Vec::new();
                i = walk(tokens, i, &[], &mut here);
                let modules: Vec<&(String, bool)> = braces.iter().flatten().collect();
                for (segments, line) in here {
                    found.push(Path {
                        segments,
                        line,
                        inside: modules.iter().map(|m| m.0.clone()).collect(),
                        in_test: modules.iter().any(|m| m.1),
                    });
                }
                continue;
            }
            _ => {}
        }
        i += 1;
    }
    found
}

fn begins_path(tokens: &[Token], i: usize) -> bool {
    let before = if i == 0 { "" } else { text(tokens, i - 1) };
    let qualifier = text(tokens, i.wrapping_sub(2));
    let continues =
        before == "::" && ((is_name(qualifier) && qualifier != "use") || qualifier == ">");
    let declared =
        before == "use" || (before == "crate" && i >= 2 && text(tokens, i - 2) == "extern");
    text(tokens, i) != "use"
        && before != "."
        && !continues
        && (text(tokens, i + 1) == "::" || declared)
}

/// Follows one path tree from the name at `i` and returns the place behind it.
fn walk(
    tokens: &[Token],
    i: usize,
    prefix: &[String],
    out: &mut Vec<(Vec<String>, usize)>,
) -> usize {
    let mut segments = prefix.to_vec();
    segments.push(tokens[i].text.clone());
    if text(tokens, i + 1) == "::" && is_name(text(tokens, i + 2)) {
        return walk(tokens, i + 2, &segments, out);
    }
    if text(tokens, i + 1) != "::" || text(tokens, i + 2) != "{" {
        out.push((segments, tokens[i].line));
        return i + 1;
    }
    let end = closing(tokens, i + 2);
    let mut at = i + 3;
    while at < end {
        if is_name(text(tokens, at)) && text(tokens, at - 1) != "as" {
            at = walk(tokens, at, &segments, out);
        } else {
            at += 1;
        }
    }
    end + 1
}

/// Whether the item at `i` (a `mod`) carries `#[cfg(test)]`.
fn is_for_tests(tokens: &[Token], mut i: usize) -> bool {
    if i > 0 && text(tokens, i - 1) == "pub" {
        i -= 1;
    }
    while i > 0 && text(tokens, i - 1) == "]" {
        let mut open = i - 1;
        while open > 0 && text(tokens, open) != "#" {
            open -= 1;
        }
        let words: Vec<&str> = tokens[open..i].iter().map(|t| t.text.as_str()).collect();
        if words.contains(&"cfg") && words.contains(&"test") && !words.contains(&"not") {
            return true;
        }
        i = open;
    }
    false
}

/// The index of the bracket that closes the one at `open`.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "[" | "{" | "(" => depth += 1,
            "]" | "}" | ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i;
        }
    }
    tokens.len()
}

fn text(tokens: &[Token], i: usize) -> &str {
    tokens.get(i).map_or("", |t| t.text.as_str())
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}
