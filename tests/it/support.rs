//! A real runtime in a process of its own, driven from outside: sockets, the command line, signals.

mod module;
mod server;
mod terminal;
mod wait;

pub(crate) use module::Module;
pub(crate) use server::{Answer, Ran, Server, replug};
pub(crate) use terminal::Terminal;
pub(crate) use wait::{patience, until};
