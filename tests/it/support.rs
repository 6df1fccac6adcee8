//! What the integration tests share: a whole installation, made as an operator would make it, by the real binary.

pub mod agreement;
pub mod authority;
pub mod ceremony;
pub mod clocked;
pub mod custodian;
pub mod database;
pub mod executor;
pub mod forwarder;
pub mod http;
pub mod installation;
pub mod issuer;
pub mod kept;
pub mod load;
pub mod monitoring;
pub mod past;
pub mod process;
pub mod promql;
pub mod receiver;
pub mod rust_source;
pub mod simulated;
pub mod small_disk;
pub mod template;
pub mod verifier;
pub mod witness;
pub mod witnessed_log;
pub mod world;
