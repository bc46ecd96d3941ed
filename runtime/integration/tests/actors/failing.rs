//! A service of the host that fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use replug_scripts::{HostError, HostErrorKind, Value};

use super::World;
use crate::integration::host::{HostService, HostServices, ServiceContext};

/// `gate.pass` fails so often, and then returns its arguments.
pub(super) struct Failing {
    kind: HostErrorKind,
    left: AtomicUsize,
    asked: AtomicUsize,
}

#[async_trait]
impl HostService for Failing {
    async fn call(&self, _: &str, args: Value, _: ServiceContext) -> Result<Value, HostError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)) {
            Ok(_) => Err(HostError::new(self.kind, "the host says no")),
            Err(_) => Ok(args),
        }
    }
}

impl Failing {
    /// How often it was called.
    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// It fails no more.
    pub(super) fn goes_well(&self) {
        self.left.store(0, Ordering::SeqCst);
    }
}

impl World {
    /// A world beside a service that fails so often.
    pub(super) async fn failing(kind: HostErrorKind, times: usize) -> (Self, Arc<Failing>) {
        let failing = Arc::new(Failing { kind, left: times.into(), asked: 0.into() });
        let services: Vec<(String, Arc<dyn HostService>)> = vec![("gate".to_owned(), failing.clone())];
        (Self::beside(HostServices::new(services).expect("a name that may be offered")).await, failing)
    }
}
