//! Places in commands where tests let them fail, hang, panic or stop: before, inside and after each of their steps. Outside
//! tests there is nothing at them.

/// A place in a command of the module of this id. In a test that wants it the command fails here, and it returns the error.
macro_rules! place {
    ($shared:expr, $id:expr, $step:expr, $when:ident $(, $error:expr)?) => {
        #[cfg(test)]
        {
            let met = $shared.probe.at($id, $step, $crate::engine::probe::When::$when).await;
            met$(.map_err($error))??;
        }
    };
}
pub(super) use place;

/// The same for each of these modules, whose slots are switched.
macro_rules! places {
    ($shared:expr, $ids:expr, $step:expr, $when:ident) => {
        #[cfg(test)]
        for id in $ids {
            let met = $shared.probe.at(id, $step, $crate::engine::probe::When::$when).await;
            met.map_err(EngineError::Internal)?;
        }
    };
}
pub(super) use places;

#[cfg(test)]
pub(crate) use armed::{Act, Probe, When};

#[cfg(test)]
impl super::Engine {
    /// The places at which its commands can be made to fail.
    pub(crate) fn probe(&self) -> std::sync::Arc<Probe> {
        std::sync::Arc::clone(&self.shared.probe)
    }
}

#[cfg(test)]
mod armed {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tokio::sync::Notify;

    /// Where in a step.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) enum When {
        Before,
        Inside,
        After,
    }

    /// What happens there.
    #[derive(Clone, Debug)]
    pub(crate) enum Act {
        Error,
        Panic,
        /// It never goes on.
        Hang,
        /// It goes on too late.
        Stall(Duration),
        /// It waits until it is told to go on, which the test does once it has seen what it wants.
        Freeze(Arc<Notify>),
        /// A script that asks what to do is told this.
        Say(&'static str),
        /// From now on this happens inside that step.
        Then(&'static str, Box<Act>),
        /// The process ends.
        Abort,
    }

    /// One place of one module, where something is to happen as often as `left` says, the first `skip` times not counted.
    struct Armed {
        id: String,
        step: &'static str,
        when: When,
        skip: usize,
        left: usize,
        act: Act,
    }

    /// The places that a test has armed, and those that commands came to.
    #[derive(Default)]
    pub(crate) struct Probe {
        armed: Mutex<Vec<Armed>>,
        met: Mutex<Vec<(String, &'static str, When)>>,
        /// The version by module that a test is about, where it is not 2.0.0.
        subjects: Mutex<BTreeMap<String, &'static str>>,
        /// Told for each place where something happens.
        pub(crate) reached: Notify,
    }

    impl Probe {
        /// Lets `act` happen once, the `skip`-th time after the first that the module comes there.
        pub(crate) fn arm(&self, id: &str, (step, when): (&'static str, When), skip: usize, act: Act) {
            self.arm_for(id, (step, when), skip, (act, 1));
        }

        /// The same, for `left` times.
        pub(crate) fn arm_for(
            &self,
            id: &str,
            (step, when): (&'static str, When),
            skip: usize,
            (act, left): (Act, usize),
        ) {
            self.armed.lock().unwrap().push(Armed { id: id.to_owned(), step, when, skip, left, act });
        }

        /// Nothing happens to the module any more.
        pub(crate) fn disarm(&self, id: &str) {
            self.armed.lock().unwrap().retain(|armed| armed.id != id);
        }

        /// How often something happened there.
        pub(crate) fn met(&self, id: &str, (step, when): (&str, When)) -> usize {
            let met = self.met.lock().unwrap();
            met.iter().filter(|(of, at, now)| of == id && *at == step && *now == when).count()
        }

        fn take(&self, id: &str, step: &str, when: When) -> Option<Act> {
            let mut all = self.armed.lock().unwrap();
            let armed = all.iter_mut().find(|it| it.id == id && it.step == step && it.when == when && it.left > 0)?;
            if armed.skip > 0 {
                armed.skip -= 1;
                return None;
            }
            armed.left -= 1;
            self.met.lock().unwrap().push((id.to_owned(), armed.step, when));
            Some(armed.act.clone())
        }

        /// A command of the module comes to this place.
        pub(crate) async fn at(&self, id: &str, step: &str, when: When) -> Result<(), String> {
            self.happen(id, step, when).await.map(drop)
        }

        /// From now on scripts of this version of the module are told what to do as they start and are asked for their health.
        pub(crate) fn is_about(&self, id: &str, version: &'static str) {
            self.subjects.lock().unwrap().insert(id.to_owned(), version);
        }

        /// Whether a script of this version asks for what was armed. What serves beside the version that a test is about gets
        /// VMs, and is asked for its health, whenever its turn comes.
        pub(crate) fn asks(&self, id: &str, version: &str, step: &str) -> bool {
            let about = self.subjects.lock().unwrap().get(id).copied().unwrap_or("2.0.0");
            !matches!(step, "init" | "health") || version == about
        }

        /// Inside a step somebody asks what to do.
        pub(crate) async fn asked(&self, id: &str, step: &str) -> Result<&'static str, String> {
            self.happen(id, step, When::Inside).await
        }

        async fn happen(&self, id: &str, step: &str, when: When) -> Result<&'static str, String> {
            let Some(act) = self.take(id, step, when) else { return Ok("") };
            self.reached.notify_one();
            match act {
                Act::Say(what) => return Ok(what),
                Act::Then(step, act) => self.arm_for(id, (step, When::Inside), 0, (*act, usize::MAX)),
                Act::Error => return Err("broken on demand".to_owned()),
                Act::Panic => panic!("panics on demand"),
                Act::Hang => std::future::pending().await,
                Act::Stall(time) => {
                    tokio::time::sleep(time).await;
                }
                Act::Freeze(go) => {
                    go.notified().await;
                }
                Act::Abort => std::process::abort(),
            }
            Ok("")
        }
    }
}
