//! The integrator against everything that can go wrong between two of its steps. The database is a
//! real one; the objects are in memory; the log's key is made here.

mod faults;
mod kept;
mod new_origin;
mod prune;
mod recover;
mod rules;
mod trouble;
mod world;
