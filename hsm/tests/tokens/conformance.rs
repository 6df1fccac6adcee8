//! What any token must do to be used by Chancery, run against `CHANCERY_TEST_MODULE` or SoftHSM; `second` runs all of it
//! again against kryoptic.

mod born;
mod refused;
mod second;
mod signed;
mod wrapped;
