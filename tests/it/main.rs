//! The integration tests: one binary, a module for each subject.

mod audit;
mod demo;
mod dev;
mod embed;
mod ending;
mod failures;
mod fixtures;
mod gradual;
mod health;
mod kit;
mod lifecycle;
mod limits;
mod metrics;
mod outside;
mod permissions;
mod refusals;
mod relations;
mod repl;
mod restart;
mod schema;
mod shipped;
mod support;
mod swap;
mod tidy;
mod tutorial;
mod usage;
