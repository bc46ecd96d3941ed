//! Child specifications are data, as in OTP: who, how to start it, when to restart it, how long it may take to stop.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use ractor::{ActorCell, SpawnErr};

use crate::manifest::RestartStrategy;

/// When a child that ended is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// However it ended.
    #[default]
    Permanent,
    /// Only when it failed.
    Transient,
    /// Never.
    Temporary,
}

/// Which other children go down and up with one that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// None.
    #[default]
    OneForOne,
    /// All of them.
    OneForAll,
    /// Those that were started after it.
    RestForOne,
}

/// Starts a child linked to the supervisor it is given.
pub type Start = Arc<dyn Fn(ActorCell) -> BoxFuture<'static, Result<ActorCell, SpawnErr>> + Send + Sync>;

/// One child of a supervisor.
#[derive(Clone)]
pub struct ChildSpec {
    /// Its name among its siblings.
    pub id: String,
    /// How to start it.
    pub start: Start,
    /// When to start it again; default permanent.
    pub restart: Restart,
    /// How long it may take to stop before it is killed; 5 s is usual.
    pub shutdown: Duration,
}

impl fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChildSpec")
            .field("id", &self.id)
            .field("restart", &self.restart)
            .field("shutdown", &self.shutdown)
            .finish_non_exhaustive()
    }
}

impl Restart {
    /// Whether a child that ended is started again; `abnormal`: it failed rather than stopped.
    #[must_use]
    pub const fn applies(self, abnormal: bool) -> bool {
        match self {
            Self::Permanent => true,
            Self::Transient => abnormal,
            Self::Temporary => false,
        }
    }
}

impl From<RestartStrategy> for Strategy {
    fn from(strategy: RestartStrategy) -> Self {
        match strategy {
            RestartStrategy::OneForOne => Self::OneForOne,
            RestartStrategy::OneForAll => Self::OneForAll,
            RestartStrategy::RestForOne => Self::RestForOne,
        }
    }
}

impl Strategy {
    /// The children, by position in start order, that go down and up when the one at `failed` of `count` does.
    #[must_use]
    pub fn affected(self, failed: usize, count: usize) -> std::ops::Range<usize> {
        match self {
            Self::OneForOne => failed..failed + 1,
            Self::OneForAll => 0..count,
            Self::RestForOne => failed..count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restart_types_mean_what_otp_means() {
        let table =
            [(Restart::Permanent, true, true), (Restart::Transient, false, true), (Restart::Temporary, false, false)];
        for (restart, normal, abnormal) in table {
            assert_eq!(restart.applies(false), normal, "{restart:?} after a normal end");
            assert_eq!(restart.applies(true), abnormal, "{restart:?} after a failure");
        }
    }

    #[test]
    fn strategies_take_the_children_they_name() {
        assert_eq!(Strategy::OneForOne.affected(1, 4), 1..2);
        assert_eq!(Strategy::RestForOne.affected(1, 4), 1..4);
        assert_eq!(Strategy::OneForAll.affected(1, 4), 0..4);
    }
}
