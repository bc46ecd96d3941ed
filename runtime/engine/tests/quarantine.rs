//! Versions that brought the process down.

use std::io::Write as _;

use super::returning::TABLE;
use super::*;
use crate::engine::probe::{Act, Probe, When};
use crate::store::audit::{Kind, Who};

impl World {
    /// As if the process had aborted so often while it executed `label`.
    pub(super) fn aborted(&self, label: &str, times: usize) {
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

impl World {
    /// A start after a kill, at which any way down fails the test by what it leaves; whether one was run.
    async fn starts(&self) -> (Self, bool) {
        let (left, binding) = self.left();
        let probe: Arc<Probe> = Arc::default();
        probe.arm_for("a", ("rollback", When::Inside), 0, (Act::Say(""), usize::MAX));
        assert!(binding.probe.set(Arc::clone(&probe)).is_ok());
        let started = Self::over(left, binding).await;
        started.engine.resume().await;
        let ran = probe.met("a", ("rollback", When::Inside)) > 0;
        probe.disarm("a");
        (started, ran)
    }

    /// What its journal has open of `a` and owes, as `VERSION: MIGRATIONS`.
    fn owes(&self) -> Vec<String> {
        let open = self.engine.shared.records.all().unwrap().open;
        let owed = open.get("a").into_iter().flatten().filter_map(|entry| entry.owed.as_ref());
        owed.map(|owed| {
            format!(
                "{}: {}",
                owed.version,
                owed.migrations.iter().map(Version::to_string).collect::<Vec<_>>().join(" ")
            )
        })
        .collect()
    }

    /// Nothing was taken back of 2.0.0, an alarm says so, and 1.0.0 serves.
    fn keeps_what_is_owed(&self) {
        assert_eq!((self.routed("a").as_deref(), self.tables("a")), (Some("1.0.0"), vec!["2.0.0".to_owned()]));
        assert_eq!(self.owes(), ["2.0.0: 2.0.0"]);
        let of: Vec<_> = self.alarms.iter().filter(|(subject, _)| subject == "a@2.0.0").collect();
        let says = |words: &str| of.iter().any(|(_, message)| message.contains(words));
        assert!(says("a@2.0.0 is in quarantine") && says("replug activate a@2.0.0"), "{:?}", self.alarms);
        assert!(says("migrations of a version that does not serve are left"), "{:?}", self.alarms);
    }
}

#[tokio::test]
async fn a_start_takes_nothing_back_of_what_aborted_twice_until_somebody_tried_it_again() {
    let world = World::with_tables().await;
    world.aborted("a@2.0.0", 2);
    let (world, ran) = world.starts().await;
    world.keeps_what_is_owed();
    assert!(!ran, "its way down was run");
    assert_eq!(world.state("a@2.0.0"), State::Failed);
    let told = world.engine.history("a", 1).await.unwrap();
    let (world, ran) = world.starts().await;
    world.keeps_what_is_owed();
    assert!(!ran, "at the next start its way down was run");

    // whatever its activation comes to
    world.fail(&[(Place::Prepare, Fault::Error)]);
    let tried = world.engine.by(Who::Admin).activate("a", &Version::new(2, 0, 0), None).await.unwrap();
    assert_eq!(tried.outcome, Outcome::RolledBack, "{tried:?}");
    assert_eq!(world.tables("a"), ["2.0.0"], "it found them and made none");
    let (world, ran) = world.starts().await;
    assert!(ran && world.alarms.is_empty(), "{:?}", world.alarms);
    world.is_returned();
    assert_eq!(world.owes(), [""; 0]);
    let history = world.engine.history("a", 50).await.unwrap();
    assert!(history.iter().any(|entry| entry.number == told[0].number), "{history:?}");
}

#[tokio::test]
async fn a_rollback_that_owes_migrations_of_what_aborted_twice_is_told_once_and_keeps_them() {
    for by_quarantine in [true, false] {
        let world = Arc::new(World::with_tables_of(&TABLE.replace("200ms", "60s")).await);
        world.engine.confirm("a").await.unwrap();
        world.binding.pause(Place::Down, "a");
        let back = tokio::spawn({
            let world = Arc::clone(&world);
            async move { world.engine.rollback("a", None).await }
        });
        world.binding.reached.notified().await;
        if by_quarantine {
            world.aborted("a@2.0.0", 2);
        }
        let faults: &[_] = if by_quarantine { &[] } else { &[(Place::Down, Fault::Error)] };
        let first = world.killed_where(faults).await;
        world.binding.go.notify_one();
        back.await.unwrap().unwrap().ensure_serves().unwrap();
        assert_eq!((first.tables("a"), first.owes()), (vec!["2.0.0".to_owned()], vec!["2.0.0: 2.0.0".to_owned()]));
        let history = first.engine.history("a", 50).await.unwrap();
        assert!(history[0].command == "rollback" && history[0].ended.is_some(), "{history:?}");
        let recovered = async |world: &World| {
            let told = super::told::told(world).await;
            told.iter().filter(|(kind, ..)| *kind == Kind::Recovered).count()
        };
        let second = first.killed_where(faults).await;
        assert_eq!(second.engine.history("a", 50).await.unwrap(), history, "{by_quarantine}");
        assert_eq!(second.owes(), ["2.0.0: 2.0.0"], "{by_quarantine}");
        assert!(!second.alarms.is_empty());
        assert_eq!((recovered(&second).await, recovered(&first).await), (1, 1), "{by_quarantine}");
    }
}

#[tokio::test]
async fn nothing_is_let_go_of_what_aborted_twice_and_the_start_says_so() {
    let world = Arc::new(World::new().await);
    world.register("a", "1.0.0", "").await;
    let coming = world.paused(Place::Commit, "a@1.0.0").await;
    world.aborted("a@1.0.0", 2);
    let (left, binding) = world.left();
    let probe: Arc<Probe> = Arc::default();
    probe.arm("a", ("cleanup", When::Inside), 0, Act::Say(""));
    assert!(binding.probe.set(Arc::clone(&probe)).is_ok());
    let killed = World::over(left, binding).await;
    assert_eq!(probe.met("a", ("cleanup", When::Inside)), 0);
    let [(subject, message)] = killed.alarms.as_slice() else { panic!("{:?}", killed.alarms) };
    assert!(subject == "a@1.0.0" && message.contains("a@1.0.0 is in quarantine"), "{message}");
    assert_eq!(killed.engine.history("a", 1).await.unwrap()[0].outcome, Some(Outcome::Failed));
    world.binding.go.notify_one();
    coming.await.unwrap().unwrap().ensure_serves().unwrap();
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
