//! The VM of a test file.

use std::sync::Arc;

use rhai::{Dynamic, FnPtr, Map};

use super::{Files, RhaiVm, finished};
use crate::contract;
use crate::error::ScriptError;
use crate::host::{CallContext, Handler, Host};
use crate::limits::Limits;
use crate::rhai::convert::{self, kind};
use crate::rhai::{cells, suite, thrown};
use crate::suite::Stage;
use crate::value::Value;

impl RhaiVm {
    /// Makes a VM with `test` and `assert`, and runs the top level of the test file.
    pub(in crate::rhai) fn suite(
        files: &Arc<Files>,
        host: Arc<dyn Host>,
        stage: Arc<dyn Stage>,
        limits: &Limits,
        call: &CallContext,
    ) -> Result<Self, ScriptError> {
        let mut vm = Self::closed(files, host, limits);
        vm.suite = Some(suite::open(stage, Arc::clone(files)));
        vm.engine.register_global_module(suite::module().into());
        vm.engine.register_type_with_name::<suite::Group>("test functions");
        vm.top_level(call, |vm, exported| vm.export_tests(exported))?;
        Ok(vm)
    }

    /// Makes a VM, runs the entry's top level, and gives what it returned as plain data.
    pub(in crate::rhai) fn value(
        files: &Arc<Files>,
        host: Arc<dyn Host>,
        limits: &Limits,
        call: &CallContext,
    ) -> Result<Value, ScriptError> {
        Self::closed(files, host, limits).top_level(call, |_, value| {
            let leave = |unfit| ScriptError::Contract(format!("the value cannot leave the script: {unfit}"));
            convert::to_host(value).map_err(leave)
        })
    }

    /// Runs the top levels: of the other files, then of the entry, whose value `read` takes over.
    pub(super) fn top_level<R>(
        &mut self,
        call: &CallContext,
        read: impl FnOnce(&mut Self, &Dynamic) -> Result<R, ScriptError>,
    ) -> Result<R, ScriptError> {
        self.run(call, |vm| {
            let files = Arc::clone(&vm.files);
            files.register(&mut vm.engine).map_err(|(file, error)| thrown::error(&error, &file))?;
            let exported = finished(vm.engine.eval_ast::<Dynamic>(&files.ast));
            let exported = exported.map_err(|error| thrown::error(&error, &files.entry))?;
            cells::keep_all();
            read(vm, &exported)
        })
    }

    fn export_tests(&mut self, exported: &Dynamic) -> Result<(), ScriptError> {
        let Some(tests) = exported.read_lock::<Map>() else {
            let message = format!("a test file must return a map of tests, but returned {}", kind(exported));
            return Err(ScriptError::Contract(message));
        };
        for (name, test) in tests.iter() {
            contract::check_count(self.handlers.len())?;
            let handler = Handler::Test(name.as_str().into());
            let Some(function) = test.read_lock::<FnPtr>() else {
                return Err(ScriptError::Contract(format!("{handler} must be a function, found {}", kind(test))));
            };
            if self.files.parameters(function.fn_name(), 0).is_none() {
                let message = format!("{handler} must be a function that the test file defines");
                return Err(ScriptError::Contract(message));
            }
            self.handlers.insert(handler, test.clone());
        }
        self.exports.handlers = self.handlers.keys().cloned().collect();
        Ok(())
    }
}
