//! The traffic shift of a gradual activation: gives a candidate more and more of the traffic as long as it does well.
//!
//! [`super::traffic`] decides; this looks at the clock, at the samples and at what the candidate reports, and commits the
//! weights; as long as the candidate has no share and its manifest wants a mirror, it gets copies of requests. Who steers it is
//! heard between two looks (see [`super::steer`]). A shift ends early when the candidate's tree gives up, when the version it
//! builds on is returned from, when a command that waits wants that (see [`super::lanes`]), and when the runtime stops.

use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

use super::analysis::Rules;
use super::attempt::Attempt;
use super::lanes::{Abort, asker};
use super::outcome::ShiftReport;
use super::plan::{Change, Share, Turn};
use super::probe::place;
use super::steer::{Given, Order, SteerReport, Steered};
use super::traffic::{Decision, Health, Shift};
use super::window::trigger_name;
use crate::actors::Instance;
use crate::actors::router::Taking;
use crate::manifest::TriggerKind;
use crate::monitor::Event;
use crate::store::audit::Kind;

impl Attempt<'_> {
    /// Shifts the traffic to the candidate up to the point where it takes everything, which is the next commit.
    ///
    /// # Errors
    /// Why the candidate is not to take over.
    pub(super) async fn shift(&mut self, baseline: &Arc<Instance>) -> Result<(), String> {
        let began = Instant::now();
        let candidate = self.instance()?;
        let shifted = self.shift_from(baseline, &candidate).await;
        // however it ended, nothing more is copied for it
        self.taking = None;
        // waiting for samples is no slowness of the steps
        self.deadline += began.elapsed();
        self.work.shared.metrics.activation(&self.key).shifted(began.elapsed());
        shifted
    }

    async fn shift_from(&mut self, baseline: &Arc<Instance>, candidate: &Arc<Instance>) -> Result<(), String> {
        let manifest = Arc::clone(&self.manifest);
        let activation = &manifest.lifecycle.activation;
        let rules = Rules::of(&self.triggers);
        let policies = (activation.on_pass, activation.on_inconclusive);
        let mut shift = Shift::new(&activation.traffic_shifting, policies, Instant::now());
        // nothing is routed to a candidate that is not well
        let verify = Change::Verify(self.key.clone());
        let health = tokio::select! {
            biased;
            why = given_up(self.work.aborted.clone(), false) => return Err(why),
            health = self.work.shared.hands.apply(&verify) => health,
        };
        health.map_err(|fault| format!("{}: {fault}", trigger_name(TriggerKind::HealthCheckFailure)))?;
        self.taking = match &activation.traffic_shifting.mirror {
            Some(mirror) if shift.is_mirroring() => Some(candidate.take_copies(mirror, baseline)),
            _ => None,
        };
        // before it is told of: who hears of the first weight may give an order
        let shared = Arc::clone(&self.work.shared);
        let mut steered = shared.helms.open(&self.key);
        self.route(shift.weight()).await?;
        let samples = |taking: &Option<Taking>| match taking {
            Some(copies) => copies.samples(),
            None => (candidate.metrics.stats.sample(), baseline.metrics.stats.sample()),
        };
        let mut since = samples(&self.taking);
        let metrics = self.work.shared.metrics.activation(&self.key);
        loop {
            if let Some(given) = self.wait_until(shift.due(), shift.is_held(), &mut steered).await? {
                place!(shared, &self.key.id, "steer", Before);
                let decision = self.take(given, &mut shift, &steered).await;
                place!(shared, &self.key.id, "steer", After);
                self.tell(shift.reports()).await?;
                match decision {
                    Decision::Route(weight) => {
                        self.route(weight).await?;
                        since = samples(&self.taking);
                    }
                    Decision::Promote => return Ok(()),
                    Decision::RollBack { reason, .. } => return Err(reason),
                    Decision::Wait | Decision::Hold { .. } => {}
                }
                continue;
            }
            let (of_candidate, of_baseline) = samples(&self.taking);
            let (seen, compared) = (of_candidate.since(&since.0), of_baseline.since(&since.1));
            let report = candidate.health.report();
            let detail = report.detail();
            let health = match Health::of(report.status, &detail) {
                // it was asked before, and its prober has not asked again yet
                Health::Unknown => Health::Passed,
                known => known,
            };
            let judging = shift.reports().len();
            let decision = shift.observe(Instant::now(), &seen, &compared, health, &rules);
            self.copy_while(&shift);
            if shift.reports().len() > judging && seen.requests() > 0 {
                metrics.judged(seen.error_rate());
            }
            self.tell(shift.reports()).await?;
            match decision {
                Decision::Wait => {}
                Decision::Hold { verdict, reason } => {
                    let (instance, detail) = (self.key.clone(), format!("{reason}; held"));
                    let (weight, verdict) = (shift.weight(), verdict.to_owned());
                    self.work.shared.events.emit(Event::Judged { instance, weight, verdict, detail });
                }
                Decision::Route(weight) => {
                    self.route(weight).await?;
                    since = samples(&self.taking);
                }
                Decision::Promote => return Ok(()),
                Decision::RollBack { trigger, reason } => {
                    return Err(
                        trigger.map_or(reason.clone(), |trigger| format!("{}: {reason}", trigger_name(trigger)))
                    );
                }
            }
        }
    }

    fn instance(&self) -> Result<Arc<Instance>, String> {
        let instance = self.work.shared.hands.instances.instance(&self.key);
        instance.ok_or_else(|| format!("internal error: {} was not started", self.key))
    }

    /// Lets nothing be copied from the verdict about the copies on.
    fn copy_while(&mut self, shift: &Shift) {
        if !shift.is_mirroring() {
            self.taking = None;
        }
    }

    async fn route(&mut self, weight: u8) -> Result<(), String> {
        place!(self.work.shared, &self.key.id, "shift", Before);
        let share = Share { key: self.key.clone(), weight };
        self.commit(Turn::Shift(share)).await?;
        place!(self.work.shared, &self.key.id, "shift", After);
        Ok(())
    }

    /// Takes an order. It is in the audit log before it is carried out, and not carried out if it cannot be there.
    async fn take(&mut self, given: Given, shift: &mut Shift, steered: &Steered<'_>) -> Decision {
        let Given { order, by, reply } = given;
        let shared = Arc::clone(&self.work.shared);
        let weight = shift.weight();
        let data = json!({ "done": order.done(), "weight": weight, "generation": self.key.generation });
        if let Err(error) = shared.audit(Kind::ShiftSteered, by.clone(), self.manifest.label(), data).await {
            let _ = reply.send(Err(error));
            return Decision::Wait;
        }
        let (now, who) = (Instant::now(), asker(by.who));
        let decision = match order {
            Order::Pause => {
                shift.pause();
                Decision::Wait
            }
            Order::Resume => {
                shift.resume(now);
                Decision::Wait
            }
            Order::Promote { full } => shift.promote(now, full, who),
            Order::Abort => {
                self.taking = None;
                Decision::RollBack { trigger: None, reason: format!("{who} gave it up") }
            }
        };
        // whoever hears the answer finds it so
        steered.set_paused(shift.is_paused());
        self.copy_while(shift);
        let next = match &decision {
            Decision::RollBack { .. } => 0,
            _ => shift.weight(),
        };
        let (id, version, done) = (self.manifest.id.clone(), self.manifest.version.to_string(), order.done());
        shared.events.emit(Event::ShiftSteered { instance: self.key.clone(), done, weight });
        let _ = reply.send(Ok(SteerReport { id, version, done: done.to_owned(), weight, next }));
        decision
    }

    /// Waits until `due`, or for something that has to be looked at at once, or for an order.
    async fn wait_until(
        &mut self,
        due: Instant,
        is_held: bool,
        steered: &mut Steered<'_>,
    ) -> Result<Option<Given>, String> {
        let aborted = self.work.aborted.clone();
        let sleep = tokio::time::sleep_until(due.into());
        tokio::pin!(sleep);
        loop {
            tokio::select! {
                // what ends it comes before what goes on
                biased;
                why = given_up(aborted.clone(), is_held) => return Err(why),
                given = steered.order() => return Ok(Some(given)),
                () = async { self.work.shared.stopping.wait().await; } => return Err("the runtime stops".to_owned()),
                event = self.events.recv() => {
                    let critical = match event.as_deref() {
                        Ok(Event::CriticalError { instance, reason }) if *instance == self.key => Some(reason.clone()),
                        Ok(Event::HealthChanged { instance, .. }) if *instance == self.key => return Ok(None),
                        Ok(_) => None,
                        Err(RecvError::Lagged(_)) => self.work.shared.hands.instances.gave_up(&self.key),
                        Err(RecvError::Closed) => return Err("the engine is gone".to_owned()),
                    };
                    if let Some(reason) = critical {
                        return Err(format!("{}: {reason}", trigger_name(TriggerKind::CriticalError)));
                    }
                }
                () = &mut sleep => return Ok(None),
            }
        }
    }

    /// Tells the intervals that were judged since it was asked last.
    async fn tell(&mut self, reports: &[ShiftReport]) -> Result<(), String> {
        let known = self.judged;
        self.judged = reports.len();
        for report in &reports[known.min(reports.len())..] {
            let ShiftReport { weight, verdict, detail, .. } = report.clone();
            self.work.shared.events.emit(Event::Judged { instance: self.key.clone(), weight, verdict, detail });
            self.entry.traffic_shift.push(report.clone());
        }
        if known == reports.len() {
            return Ok(());
        }
        let noted = self.work.shared.records.note(&self.key.id, &self.entry).await;
        noted.map_err(|error| error.to_string())
    }
}

/// Why a shift is to give up, as soon as it is.
async fn given_up(mut aborted: watch::Receiver<Option<Abort>>, is_held: bool) -> String {
    let reason = |abort: &Option<Abort>| abort.as_ref()?.reason(is_held).map(str::to_owned);
    let why = aborted.wait_for(|abort| reason(abort).is_some()).await;
    why.ok().and_then(|abort| reason(&abort)).unwrap_or_else(|| "the engine is gone".to_owned())
}
