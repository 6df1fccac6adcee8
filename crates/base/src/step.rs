//! Steps at which a test lets the process die, by their names. A build without debug assertions has none of it.

/// Ends the process at once, without anything that a drop would do, where `DIES_AT_STEP` names this step: `NAME`, or
/// `NAME:2` for the second time that it is reached.
#[cfg(debug_assertions)]
pub fn reached(step: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    static WANTED: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static SEEN: AtomicU32 = AtomicU32::new(0);
    let wanted = WANTED.get_or_init(|| {
        let text = std::env::var("DIES_AT_STEP").ok()?;
        Some(match text.split_once(':') {
            Some((name, count)) => (name.to_owned(), count.parse().ok()?),
            None => (text, 1),
        })
    });
    if let Some((name, count)) = wanted
        && name == step
        && SEEN.fetch_add(1, Ordering::Relaxed) + 1 == *count
    {
        std::process::abort();
    }
}

/// Nothing.
#[cfg(not(debug_assertions))]
pub fn reached(_step: &str) {}
