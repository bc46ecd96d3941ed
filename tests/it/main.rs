//! The integration tests: one binary, a module for each subject.

mod audit;
mod embed;
mod failures;
mod fixtures;
mod gradual;
mod lifecycle;
mod limits;
mod refusals;
mod repl;
mod restart;
mod schema;
mod shipped;
mod support;
mod swap;
mod tidy;
