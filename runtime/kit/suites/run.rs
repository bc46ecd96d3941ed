//! One test, from new state to its result.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use replug_scripts::{CallContext, Handler, Host, Limits, ScriptError, Suite, Vm};

use super::host::TestHost;
use super::report::{Failure, TestReport};
use super::stage::TestStage;
use super::state::State;
use super::world::World;

/// Wall-clock time of a whole test, with all calls that it waits for. Its own ticks and processor time are the module's.
const PATIENCE: Duration = Duration::from_secs(60);

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
    let state = Arc::new(State::new(sender));
    let host: Arc<dyn Host> = Arc::new(TestHost::new(world, &state));
    let stage = Arc::new(TestStage::new(world, &state, Arc::clone(&host), events));
    let run = || {
        let limits = Limits { wall_time: PATIENCE, ..world.limits };
        let call = world.context(PATIENCE);
        let mut vm = suite.open(host, stage, &limits, &call)?;
        work(vm.as_mut(), &call)
    };
    let done = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("test".into()).stack_size(world.limits.stack_size());
        let spawned = thread.spawn_scoped(scope, || catch_unwind(AssertUnwindSafe(run)));
        spawned.map_err(|error| Failure::plain(format!("no thread for the test: {error}"))).and_then(|thread| {
            match thread.join() {
                Ok(Ok(done)) => done.map_err(|error| Failure::of(&error)),
                _ => Err(Failure::plain("the test runner failed; this is a fault of Replug")),
            }
        })
    });
    (done, state.take_log())
}
