//! Versions that brought the process down.

use std::io::Write as _;

use super::*;
use crate::store::audit::Who;

impl World {
    /// As if the process had aborted so often while it executed `label`.
    fn aborted(&self, label: &str, times: usize) {
        let mut file = std::fs::File::options().append(true).open(self.path().join("aborts")).unwrap();
        file.write_all(format!("{label}\n").repeat(times).as_bytes()).unwrap();
    }

    /// 1.0.0 of `a` and `b` serve.
    async fn two() -> Self {
        let world = Self::new().await;
        for id in ["a", "b"] {
            world.register(id, "1.0.0", "").await;
            world.serves(&format!("{id}@1.0.0")).await;
        }
        world
    }
}

#[tokio::test]
async fn what_aborted_twice_is_not_started_again_and_the_rest_serves() {
    let world = World::two().await;
    world.aborted("a@1.0.0", 2);
    world.aborted("b@1.0.0", 1);
    let world = world.restarted().await;
    let troubles = world.engine.resume().await;
    assert_eq!((world.routed("a"), world.routed("b").as_deref()), (None, Some("1.0.0")));
    assert!(troubles.len() == 1 && troubles[0].contains("a@1.0.0 is in quarantine"), "{troubles:?}");
    assert_eq!(world.state("a@1.0.0"), State::Failed);
    let last = world.engine.history("a", 1).await.unwrap().remove(0);
    assert_eq!((last.command.as_str(), last.outcome), ("resume", Some(Outcome::Failed)));

    // the runtime itself leaves it so, at the next start as well
    let refused = world.activate("a@1.0.0").await.unwrap_err();
    assert!(matches!(refused, EngineError::Quarantined { count: 2, .. }), "{refused}");
    let world = world.restarted().await;
    world.engine.resume().await;
    assert_eq!(world.routed("a"), None);

    // a person tries it again, and that is remembered
    world.engine.by(Who::Admin).activate("a", &Version::new(1, 0, 0), None).await.unwrap().ensure_serves().unwrap();
    let world = world.restarted().await;
    assert_eq!(world.engine.resume().await, [""; 0]);
    assert_eq!(world.routed("a").as_deref(), Some("1.0.0"));
}

#[tokio::test]
async fn a_quarantine_is_of_one_version_and_others_are_free() {
    let world = World::two().await;
    world.register("a", "1.1.0", "").await;
    world.aborted("a@1.0.0", 5);
    let world = world.restarted().await;
    world.engine.resume().await;
    world.activate("a@1.1.0").await.unwrap().ensure_serves().unwrap();
    assert_eq!(world.routed("a").as_deref(), Some("1.1.0"));
}

#[tokio::test]
async fn kills_name_nobody() {
    let mut world = World::two().await;
    for _ in 0..10 {
        let killed = world.killed().await;
        assert_eq!(killed.engine.resume().await, [""; 0]);
        world = killed;
    }
    assert_eq!((world.routed("a").as_deref(), world.routed("b").as_deref()), (Some("1.0.0"), Some("1.0.0")));
}
