//! The `replug` binary.

fn main() {}
