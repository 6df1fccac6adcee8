//! The PKCS#11 layer: a vendor's library in processes that can be killed.
//!
//! The service holds a [`Supervisor`]. It starts worker processes (this same program, under a hidden sub-command
//! whose body is [`worker_main`]), hands them work over a socket pair and gets verified signatures back. Nothing in the
//! service's own process ever loads a vendor library or sees a PIN: a library that crashes, hangs or finalises under a
//! signing thread costs a worker and some milliseconds, not the service.
//!
//! What a caller may do is cut by trait: [`Sign`] and [`Wrap`] for replicas, [`Administer`] for the executor, whose every dangerous
//! call consumes a [`Warrant`].

mod api;
mod ckr;
mod config;
mod error;
mod frame;
mod health;
mod key;
mod profile;
mod supervisor;
mod uri;
mod worker;
mod wrap;

pub use api::{
    Administer, Attributes, DestroyOrder, DestroyWrapOrder, GenerateOrder, GenerateWrapOrder,
    Generated, GeneratedWrap, Given, ObjectClass, ObjectInfo, PrivateTemplate, Reply, Sign,
    SignRequest, TokenIdentity, Warrant, WrapTemplate,
};
pub use config::{Power, TokenConfig};
pub use error::{Act, Class, Error, ObjectWord};
pub use health::{Counters, Health, ProcessHealth, State};
pub use key::{CkaId, KeyRef, KeySpec, Scheme, Signature};
pub use profile::{ProfileNotes, profiles};
pub use supervisor::Supervisor;
pub use uri::{PinSource, Pkcs11Uri, UriError};
pub use worker::worker_main;
pub use wrap::{BATCH, Dek, Wrap, WrapRef, WrapReply, WrapWork, WrappedDek};
