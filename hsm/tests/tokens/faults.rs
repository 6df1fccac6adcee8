//! What real HSMs, networks and operators do. Asserted throughout: no wrong signature ever leaves, and no request is lost
//! that its deadline allowed.

mod birth;
mod load;
mod memory;
mod network;
mod pin;
mod probe;
mod settings;
mod shim;
mod storage;
mod workers;
mod wrapping;
