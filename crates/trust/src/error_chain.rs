/// An error and its sources in one line, for events and findings: `Display` never repeats a source.
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        let told = source.to_string();
        // Some errors tell of their source themselves.
        if !text.ends_with(&told) {
            text.push_str(": ");
            text.push_str(&told);
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the file cannot be read")]
    struct Outer(#[source] fmt::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("the file cannot be read: {0}")]
    struct Telling(#[source] fmt::Error);

    #[test]
    fn a_source_that_is_told_already_is_not_told_twice() {
        let inner = fmt::Error.to_string();
        assert_eq!(
            error_chain(&Telling(fmt::Error)),
            format!("the file cannot be read: {inner}")
        );
    }

    #[test]
    fn an_error_is_told_with_its_sources() {
        let inner = fmt::Error.to_string();
        assert_eq!(
            error_chain(&Outer(fmt::Error)),
            format!("the file cannot be read: {inner}")
        );
    }
}
