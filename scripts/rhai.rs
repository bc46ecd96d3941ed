//! The Rhai host.
//!
//! A [`RhaiProgram`] holds the syntax trees of a module's files. A VM is an engine with its own limits and the handlers of
//! the entry script; trees, packages and host functions are shared by all VMs. The other files are static modules by their
//! path: `lib/util.rhai` is `lib::util`.

mod calls;
mod casing;
mod cells;
mod convert;
mod engine;
mod exchange;
mod files;
mod gates;
mod heap;
mod json;
mod leads;
mod qualify;
mod shown;
mod sifting;
mod sorting;
mod suite;
mod texts;
mod thrown;
mod vm;
mod weight;

use std::sync::Arc;

use crate::error::{ScriptError, SourceFault};
use crate::host::{Around, CallContext, Host, Language, Program, Sources, Vm};
use crate::limits::Limits;
use crate::observe;
use crate::suite::Stage;
use crate::value::Value;

/// Whether the memory of Rhai scripts is counted exactly in this process: the crate was built with `jemalloc` and
/// jemalloc is the process's allocator. Otherwise size caps and an estimate bound it, to about three times the limit.
#[must_use]
pub fn counts_rhai_memory() -> bool {
    heap::live().is_some()
}

/// A module's compiled files.
pub(crate) struct RhaiProgram {
    files: Arc<files::Files>,
}

impl RhaiProgram {
    /// Compiles every file of `sources`.
    ///
    /// # Errors
    /// The first fault of each file that does not compile or is larger than 1 MiB.
    pub(crate) fn compile(sources: &Sources) -> Result<Self, Vec<SourceFault>> {
        Self::compile_within(sources, &|work| work())
    }

    /// The same where `around` surrounds what is done on the compiler's thread.
    ///
    /// # Errors
    /// As [`RhaiProgram::compile`].
    pub(crate) fn compile_within(sources: &Sources, around: &Around<'_>) -> Result<Self, Vec<SourceFault>> {
        Ok(Self { files: Arc::new(files::compile(sources, around)?) })
    }
}

impl RhaiProgram {
    /// See [`crate::Suite::open`].
    pub(crate) fn open_suite(
        &self,
        host: Arc<dyn Host>,
        stage: Arc<dyn Stage>,
        limits: &Limits,
        call: &CallContext,
    ) -> Result<Box<dyn Vm>, ScriptError> {
        Ok(Box::new(vm::RhaiVm::suite(&self.files, host, stage, limits, call)?))
    }

    /// Runs the entry in a VM of its own and gives what it returned.
    pub(crate) fn value(&self, host: Arc<dyn Host>, limits: &Limits, call: &CallContext) -> Result<Value, ScriptError> {
        vm::RhaiVm::value(&self.files, host, limits, call)
    }
}

impl Program for RhaiProgram {
    fn language(&self) -> Language {
        Language::Rhai
    }

    fn instantiate(
        &self,
        host: Arc<dyn Host>,
        limits: &Limits,
        call: &CallContext,
    ) -> Result<Box<dyn Vm>, ScriptError> {
        observe::gives_way(call.deadline);
        Ok(Box::new(vm::RhaiVm::new(&self.files, host, limits, call)?))
    }
}

#[cfg(test)]
mod tests;
