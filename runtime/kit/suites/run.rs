//! One test, from new state to its result.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Instant;

use replug_scripts::{CallContext, Handler, Host, Limits, ScriptError, Suite, Verdict, Vm};

use super::bounds::Bounds;
use super::host::TestHost;
use super::report::{Failure, TestReport};
use super::stage::TestStage;
use super::state::State;
use super::world::World;

/// The names of a file's tests, in order.
///
/// # Errors
/// The file does not load: the report of that.
pub(super) fn names(world: &Arc<World>, suite: &Suite, file: &str) -> Result<Vec<String>, Box<TestReport>> {
    let started = Instant::now();
    let (listed, log) = within(world, suite, |vm, _| {
        let tests = vm.exports().handlers.iter();
        Ok(tests.filter_map(|one| if let Handler::Test(name) = one { Some(name.to_string()) } else { None }).collect())
    });
    listed.map_err(|failure| Box::new(TestReport::of(file, file, Some(failure), started.elapsed(), log)))
}

/// Runs a test.
pub(super) fn one(world: &Arc<World>, suite: &Suite, file: &str, name: &str) -> TestReport {
    let started = Instant::now();
    let (done, log) = match world.renew() {
        Ok(()) => within(world, suite, |vm, call| vm.call(&Handler::Test(name.into()), &[], call).map(|_| ())),
        Err(cause) => (Err(Failure::plain(cause)), Vec::new()),
    };
    TestReport::of(file, name, done.err(), started.elapsed(), log)
}

/// Runs `work` in a new VM of the suite, on a thread whose stack is as large as the limits want it, and gives what was
/// logged with what came of it.
fn within<R: Send>(
    world: &Arc<World>,
    suite: &Suite,
    work: impl FnOnce(&mut dyn Vm, &CallContext) -> Result<R, ScriptError> + Send,
) -> (Result<R, Failure>, Vec<String>) {
    // a call waits for one thing at a time
    let (sender, events) = sync_channel(4);
    let state = Arc::new(State::new(sender, &world.bounds));
    let host: Arc<dyn Host> = Arc::new(TestHost::new(world, &state));
    state.actors.open(world, &host, state.end);
    let stage = Arc::new(TestStage::new(world, &state, Arc::clone(&host), events));
    let run = || {
        let limits = Limits { wall_time: world.bounds.wall_time, ..world.limits };
        let call = world.context(state.end);
        let mut vm = suite.open(host, stage, &limits, &call)?;
        work(vm.as_mut(), &call)
    };
    let done = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("test".into()).stack_size(world.limits.stack_size());
        let spawned = thread.spawn_scoped(scope, || catch_unwind(AssertUnwindSafe(run)));
        spawned.map_err(|error| Failure::plain(format!("no thread for the test: {error}"))).and_then(|thread| {
            match thread.join() {
                Ok(Ok(done)) => judged(&world.bounds, &state, done),
                _ => Err(Failure::plain("the test runner failed; this is a fault of Replug")),
            }
        })
    });
    state.actors.close();
    (done, state.take_log())
}

/// What a test came to. One that met a bound has failed, also where a script caught what it was told of it.
fn judged<R>(bounds: &Bounds, state: &State, done: Result<R, ScriptError>) -> Result<R, Failure> {
    let is_late = Instant::now() >= state.end;
    match done {
        Err(ScriptError::Limit(Verdict::WallTime(_))) => Err(Failure::plain(bounds.too_long())),
        Err(error) => {
            let mut failure = Failure::of(&error);
            if is_late {
                failure.message = format!("{}; it was here: {}", bounds.too_long(), failure.message);
            }
            Err(failure)
        }
        Ok(_) if is_late => Err(Failure::plain(bounds.too_long())),
        Ok(done) => state.held.refusal().map_or(Ok(done), |refusal| Err(Failure::plain(refusal))),
    }
}
