//! Operations: commands that run on while clients come and go.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::watch;

use super::CommandError;

/// Operations that run at once; one more is refused.
const MAX_RUNNING: usize = 256;

/// Ended operations that are remembered; the oldest is forgotten for the next.
const MAX_ENDED: usize = 1000;

/// An operation at one moment.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationView {
    /// Its id, never used twice.
    pub id: String,
    /// The verb.
    pub verb: &'static str,
    /// The module.
    pub module: String,
    /// The id of the request that began it, which the audit log has with what it did.
    pub request_id: Option<Arc<str>>,
    /// Whether it runs, and how it ended.
    pub state: OperationState,
    /// When it began, in milliseconds since 1970.
    pub started_at: u64,
    /// When it ended.
    pub ended_at: Option<u64>,
    /// The command's result, once it is done: an activation's report, whatever its outcome.
    pub result: Option<Arc<RawValue>>,
    /// Why the command was refused or could not be carried out.
    pub error: Option<CommandError>,
}

/// Whether an operation runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OperationState {
    /// It runs.
    Running,
    /// It ended with a result.
    Done,
    /// It ended with an error.
    Failed,
}

/// The operations of this process.
#[derive(Clone)]
pub(super) struct Operations {
    /// Tells the ids of this process from those of the one before.
    epoch: u64,
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    begun: u64,
    all: BTreeMap<String, watch::Receiver<OperationView>>,
    ended: VecDeque<String>,
}

impl Default for Operations {
    fn default() -> Self {
        Self { epoch: now(), table: Arc::default() }
    }
}

impl Operations {
    /// Runs `job` to its end on a task of its own and gives the operation as it begins.
    ///
    /// # Errors
    /// Too many run; `job` was not started.
    pub(super) fn start<T: Serialize + Send + 'static>(
        &self,
        verb: &'static str,
        module: String,
        request_id: Option<Arc<str>>,
        job: impl Future<Output = Result<T, CommandError>> + Send + 'static,
    ) -> Result<OperationView, CommandError> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if table.all.len() - table.ended.len() >= MAX_RUNNING {
            let message = format!("{MAX_RUNNING} operations run already");
            return Err(CommandError::new("too-many-operations", message).with_help("wait until some have ended"));
        }
        table.begun += 1;
        let view = OperationView {
            id: format!("{:x}-{}", self.epoch, table.begun),
            verb,
            module,
            request_id,
            state: OperationState::Running,
            started_at: now(),
            ended_at: None,
            result: None,
            error: None,
        };
        let (sender, receiver) = watch::channel(view.clone());
        table.all.insert(view.id.clone(), receiver);
        drop(table);
        let (operations, id) = (self.clone(), view.id.clone());
        tokio::spawn(async move {
            // A task of its own, so that a panic in it ends the operation instead of leaving it running for ever.
            let outcome = match tokio::spawn(job).await {
                Ok(Ok(result)) => serde_json::value::to_raw_value(&result)
                    .map_err(|error| CommandError::new("internal", format!("the result cannot be told: {error}"))),
                Ok(Err(error)) => Err(error),
                Err(error) => Err(CommandError::new("internal", format!("the command broke off: {error}"))),
            };
            sender.send_modify(|view| view.end(outcome));
            operations.ended(id);
        });
        Ok(view)
    }

    /// The operation, once it has ended or `wait` is over. `None`: there is none of that id, or it was forgotten.
    pub(super) async fn get(&self, id: &str, wait: Duration) -> Option<OperationView> {
        let found = self.table.lock().unwrap_or_else(PoisonError::into_inner).all.get(id).cloned();
        let mut receiver = found?;
        // Whichever comes first: the end, the end of the wait, or of the runtime.
        let _ = tokio::time::timeout(wait, receiver.wait_for(|view| view.state != OperationState::Running)).await;
        let view = receiver.borrow().clone();
        Some(view)
    }

    /// The operations, the newest first, at most `limit`; those of `module` if one is named.
    pub(super) fn list(&self, module: Option<&str>, limit: usize) -> Vec<OperationView> {
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let views = table.all.values().map(|operation| operation.borrow().clone());
        let mut views: Vec<_> = views.filter(|view| module.is_none_or(|module| view.module == module)).collect();
        views.sort_by_key(|view| std::cmp::Reverse(number(&view.id)));
        views.truncate(limit);
        views
    }

    /// Whether the id is one of a process before this one.
    pub(super) fn is_of_another(&self, id: &str) -> bool {
        let epoch = id.split_once('-').map(|(epoch, _)| u64::from_str_radix(epoch, 16));
        number(id).is_some() && matches!(epoch, Some(Ok(epoch)) if epoch != self.epoch)
    }

    fn ended(&self, id: String) {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.ended.push_back(id);
        while table.ended.len() > MAX_ENDED {
            if let Some(oldest) = table.ended.pop_front() {
                table.all.remove(&oldest);
            }
        }
    }
}

impl OperationView {
    fn end(&mut self, outcome: Result<Box<RawValue>, CommandError>) {
        self.ended_at = Some(now());
        match outcome {
            Ok(result) => (self.state, self.result) = (OperationState::Done, Some(result.into())),
            Err(error) => (self.state, self.error) = (OperationState::Failed, Some(error)),
        }
    }
}

/// How many operations its process had begun with this one.
fn number(id: &str) -> Option<u64> {
    id.split_once('-')?.1.parse().ok()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn an_operation_is_seen_running_and_then_with_its_result() {
        let operations = Operations::default();
        let (go, gate) = tokio::sync::oneshot::channel::<u32>();
        let begun = operations.start("activate", "m".into(), None, async { Ok(gate.await.unwrap()) }).unwrap();
        assert_eq!(begun.state, OperationState::Running);
        let seen = operations.get(&begun.id, Duration::ZERO).await.unwrap();
        assert_eq!((seen.state, seen.ended_at), (OperationState::Running, None));
        go.send(7).unwrap();
        let ended = operations.get(&begun.id, LONG).await.unwrap();
        assert_eq!(ended.state, OperationState::Done);
        assert_eq!(ended.result.unwrap().get(), "7");
        assert!(ended.ended_at.unwrap() >= ended.started_at);
    }

    #[tokio::test]
    async fn an_error_and_a_panic_both_end_the_operation_with_an_error() {
        let operations = Operations::default();
        let refused = async { Err::<(), _>(CommandError::new("runs", "it runs")) };
        let refused = operations.start("deactivate", "m".into(), None, refused).unwrap();
        let ended = operations.get(&refused.id, LONG).await.unwrap();
        assert_eq!((ended.state, ended.error.unwrap().kind.as_ref()), (OperationState::Failed, "runs"));

        let broken = async { if true { panic!("boom") } else { Ok(()) } };
        let broken = operations.start("activate", "m".into(), None, broken).unwrap();
        let ended = operations.get(&broken.id, LONG).await.unwrap();
        assert_eq!((ended.state, ended.error.unwrap().kind.as_ref()), (OperationState::Failed, "internal"));
    }

    #[tokio::test]
    async fn a_thousand_ended_ones_are_kept_and_running_ones_always() {
        let operations = Operations::default();
        let (_go, gate) = tokio::sync::oneshot::channel::<()>();
        let running = operations.start("activate", "r".into(), None, async { Ok(gate.await.is_ok()) }).unwrap();
        let mut ids = Vec::new();
        for n in 0..MAX_ENDED + 5 {
            let begun = operations.start("activate", "m".into(), None, async move { Ok(n) }).unwrap();
            // Waiting for it keeps the order of the ends.
            operations.get(&begun.id, LONG).await.unwrap();
            ids.push(begun.id);
        }
        while operations.table.lock().unwrap().ended.len() < MAX_ENDED
            || operations.get(&ids[4], Duration::ZERO).await.is_some()
        {
            tokio::task::yield_now().await;
        }
        assert!(operations.get(&ids[5], Duration::ZERO).await.is_some());
        assert!(operations.get(&running.id, Duration::ZERO).await.is_some());
        assert_eq!(operations.table.lock().unwrap().all.len(), MAX_ENDED + 1);
    }

    #[tokio::test]
    async fn one_too_many_is_refused() {
        let operations = Operations::default();
        let forever = std::future::pending::<Result<(), CommandError>>;
        for _ in 0..MAX_RUNNING {
            operations.start("activate", "m".into(), None, forever()).unwrap();
        }
        let error = operations.start("activate", "m".into(), None, forever()).unwrap_err();
        assert_eq!(error.kind, "too-many-operations");
    }
}
