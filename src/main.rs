//! Wires everything; the only file that names everything.

mod store;

fn main() {}
