//! Ceremonies end to end, with signatures by the real `ssh-keygen`; every threat; every parser.

mod ceremony;
mod chains;
mod parsers;
mod requests;
mod ssh_signatures;
mod support;
mod threats;
mod transcripts;
