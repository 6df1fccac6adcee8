//! The statements that both engines understand as they stand, each in the file of its subject. A
//! test prepares each of them on each engine; together with the contract suite that stands in for
//! checks at compile time.

/// Names the statements of one subject and lists them for that test.
macro_rules! statements {
    ($($(#[$doc:meta])* $name:ident = $sql:expr;)*) => {
        $($(#[$doc])* pub(crate) const $name: &str = $sql;)*
        #[cfg(test)]
        pub(crate) const STATEMENTS: &[&str] = &[$($name),*];
    };
}
pub(crate) use statements;
