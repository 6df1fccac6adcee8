//! What real HSMs, networks and operators do. Asserted throughout: no wrong signature ever leaves, and no request is lost
//! that its deadline allowed.

mod pin;
mod shim;
