//! Ceremonies end to end, with signatures by the real `ssh-keygen`; every threat; every parser.

mod ceremony;
mod support;
mod threats;
mod transcripts;
