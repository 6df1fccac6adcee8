//! Ceremonies end to end.
