//! The host of a test's VMs: the guard of production, with the parts that a test holds in its hands in front of it.

use std::sync::Arc;

use replug_scripts::{CallContext, Host, HostError, HostFn, Value, WallClock};

use super::state::State;
use super::world::World;
use crate::sandbox::{Guard, lines};

/// The host of both VMs of a test.
pub(super) struct TestHost {
    guard: Guard,
    state: Arc<State>,
    world: Arc<World>,
}

impl TestHost {
    pub(super) fn new(world: &Arc<World>, state: &Arc<State>) -> Self {
        let clock = Arc::clone(state);
        let guard = Guard::new(&world.key, &world.manifest, world.supplies(state));
        let guard = guard.with_clock(Arc::new(move || clock.clock.now()));
        Self { guard, state: Arc::clone(state), world: Arc::clone(world) }
    }
}

impl Host for TestHost {
    fn call(&self, function: HostFn, args: Vec<Value>, call: &CallContext) -> Result<Value, HostError> {
        let row = function.function();
        match row.group {
            "log" => {
                self.state.log(&lines::said(row.name, &args));
                Ok(Value::Null)
            }
            "config" if function == HostFn::ConfigGet => {
                let key = args.first().and_then(Value::as_str).map(str::to_owned);
                self.state.settings(key.as_deref(), || self.guard.call(function, args, call))
            }
            "http" => self.state.http.call(row.name, &args, &self.world.manifest.permissions, &self.state.held),
            _ => self.guard.call(function, args, call),
        }
    }

    fn clock(&self) -> Option<WallClock> {
        let state = Arc::clone(&self.state);
        Some(Arc::new(move || state.clock.now()))
    }
}
