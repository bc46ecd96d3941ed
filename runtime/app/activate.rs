//! An activation by the host, with what may be said of it before it begins.

use std::str::FromStr;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use semver::Version;

use super::Runtime;
use crate::engine::{ActivationReport, Forecast};
use crate::error::Error;
use crate::manifest::ActivationStrategy;
use crate::registry::versions::ModuleRef;
use crate::store::audit::Who;

/// An activation that begins when it is awaited: see [`Runtime::activate`].
#[must_use = "an activation begins when it is awaited"]
#[derive(Clone, Debug)]
pub struct Activate<'a> {
    runtime: &'a Runtime,
    module: String,
    others: Vec<String>,
    strategy: Option<ActivationStrategy>,
}

impl Runtime {
    /// Activates `ID@VERSION`, or the newest version of `ID`. Await it; before that, [`Activate::strategy`] may say how.
    /// It returns when the version serves or when everything is as it was, and says which: a version that was rolled
    /// back is an answer, not an error, so look at [`ActivationReport::serves`] or go on with
    /// [`ActivationReport::ensure_serves`].
    ///
    /// The activation goes on if the caller stops waiting.
    ///
    /// ```no_run
    /// # async fn example(runtime: replug::Runtime) -> Result<(), Box<dyn std::error::Error>> {
    /// use replug::ActivationStrategy;
    ///
    /// let report = runtime.activate("shop@1.1.0").strategy(ActivationStrategy::Instant).await?;
    /// if !report.serves() {
    ///     println!("{} is {:?}: {:?}", report.version, report.outcome, report.reason);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// No such version, or the engine refuses; nothing was changed then.
    pub fn activate(&self, module: impl Into<String>) -> Activate<'_> {
        Activate { runtime: self, module: module.into(), others: Vec::new(), strategy: None }
    }
}

impl Activate<'_> {
    /// By this strategy rather than by the manifest's.
    pub fn strategy(self, strategy: ActivationStrategy) -> Self {
        Self { strategy: Some(strategy), ..self }
    }

    /// Together with `ID@VERSION`, or the newest version of `ID`: as one set, all of whose versions take over by one switch,
    /// are confirmed as one, and return as one. May be said several times; the report has the others in
    /// [`ActivationReport::set`].
    pub fn with(mut self, module: impl Into<String>) -> Self {
        self.others.push(module.into());
        self
    }

    /// What it would do, without doing it: the steps, what changes, what has to do with it, and what it would be refused for.
    ///
    /// # Errors
    /// No such version, or what there is to know cannot be read.
    pub async fn plan(self) -> Result<Forecast, Error> {
        let (members, engine) = (self.members()?, &self.runtime.engine);
        Ok(match &*members {
            [(id, version)] => engine.forecast(id, version, self.strategy).await?,
            members => engine.forecast_set(members, self.strategy).await?,
        })
    }

    /// The versions that are named.
    fn members(&self) -> Result<Vec<(String, Version)>, Error> {
        let (snapshot, mut members) = (self.runtime.registry.snapshot(), Vec::new());
        for label in std::iter::once(&self.module).chain(&self.others) {
            let manifest = &snapshot.resolve(&ModuleRef::from_str(label)?)?.manifest;
            members.push((manifest.id.clone(), manifest.version.clone()));
        }
        Ok(members)
    }

    async fn run(self) -> Result<ActivationReport, Error> {
        let (members, Self { runtime, strategy, .. }) = (self.members()?, self);
        let engine = runtime.engine.by(Who::Host);
        Ok(match &*members {
            [(id, version)] => engine.activate(id, version, strategy).await?,
            members => engine.activate_set(members, strategy).await?,
        })
    }
}

impl<'a> IntoFuture for Activate<'a> {
    type Output = Result<ActivationReport, Error>;
    type IntoFuture = BoxFuture<'a, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        self.run().boxed()
    }
}
