//! A service of the host that answers when the test lets it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use replug_scripts::{HostError, Value};
use tokio::sync::Semaphore;

use super::World;
use crate::integration::host::{HostService, HostServices, ServiceContext};

/// How long a test waits for what must happen.
const SOON: Duration = Duration::from_secs(20);

/// `gate.pass` returns its arguments once the gate was opened for it.
pub(super) struct Gatekeeper {
    waiting: Semaphore,
    open: Semaphore,
}

impl Default for Gatekeeper {
    fn default() -> Self {
        Self { waiting: Semaphore::new(0), open: Semaphore::new(0) }
    }
}

#[async_trait]
impl HostService for Gatekeeper {
    async fn call(&self, _: &str, args: Value, _: ServiceContext) -> Result<Value, HostError> {
        self.waiting.add_permits(1);
        self.open.acquire().await.expect("it stays").forget();
        Ok(args)
    }
}

impl World {
    /// A world beside a gatekeeper.
    pub(super) async fn gated() -> (Self, Arc<Gatekeeper>) {
        let gate = Arc::new(Gatekeeper::default());
        (Self::beside(gate.offered()).await, gate)
    }
}

impl Gatekeeper {
    /// What the host offers.
    fn offered(self: &Arc<Self>) -> HostServices {
        let services: Vec<(String, Arc<dyn HostService>)> = vec![("gate".to_owned(), self.clone())];
        HostServices::new(services).expect("a name that may be offered")
    }

    /// Waits until so many more calls have come.
    pub(super) async fn reached(&self, calls: u32) {
        let come = tokio::time::timeout(SOON, self.waiting.acquire_many(calls));
        come.await.expect("they come").expect("it stays").forget();
    }

    /// Lets so many calls pass.
    pub(super) fn open(&self, calls: usize) {
        self.open.add_permits(calls);
    }
}

/// Waits for something that gives no other sign.
pub(super) async fn until(what: impl Fn() -> bool) {
    tokio::time::timeout(SOON, async {
        while !what() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it comes about");
}
