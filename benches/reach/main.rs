//! Performance: every figure is a ratio within one run (docs/PERFORMANCE.md).

fn main() {}
