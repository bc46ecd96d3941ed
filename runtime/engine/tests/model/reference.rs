//! The model: what two slots are, by the table of states.

use std::collections::BTreeSet;

use super::{Does, Happens, How, PAST, PLACES, STAYING};

/// What a slot and its versions are, by the table of states.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Slot {
    pub(super) registered: BTreeSet<u64>,
    /// What a restart starts.
    pub(super) confirmed: Option<u64>,
    pub(super) provisional: Option<u64>,
    /// What a rollback of a confirmed version returns to.
    previous: Option<u64>,
}

impl Slot {
    pub(super) fn serving(&self) -> Option<u64> {
        self.provisional.or(self.confirmed)
    }

    pub(super) fn standby(&self) -> Option<u64> {
        self.provisional.and(self.confirmed)
    }

    pub(super) fn returns_to(&self) -> Option<u64> {
        if self.provisional.is_some() { self.confirmed } else { self.previous }
    }

    /// Whether an activation of the version starts it.
    fn starts(&self, version: u64) -> bool {
        self.registered.contains(&version) && ![self.serving(), self.standby()].contains(&Some(version))
    }

    /// Whether the version takes its traffic from another one, as its manifest says.
    fn shifts(&self, version: u64, how: How) -> bool {
        self.starts(version) && self.serving().is_some() && how != How::Instant
    }

    /// The slot after it, and whether the command is carried out; a command that is refused changes nothing.
    fn after(&self, does: &Does) -> (Self, bool) {
        let (mut next, known) = (self.clone(), |version: u64| self.registered.contains(&version));
        let done = match *does {
            Does::Register(version) => {
                next.registered.insert(version);
                true
            }
            Does::Activate(version, ..) if !known(version) => false,
            Does::Activate(version, ..) if self.serving() == Some(version) => true,
            Does::Activate(version, ..) if self.standby() == Some(version) => {
                next.provisional = None;
                true
            }
            // it is taken back, which is an outcome
            Does::Activate(_, Some((place, _)), how) if meets(how, place) => true,
            Does::Activate(version, _, how) if self.shifts(version, how) && is_ended(version, how) => true,
            Does::Activate(version, ..) if self.confirmed.is_none() => {
                (next.confirmed, next.previous) = (Some(version), None);
                true
            }
            Does::Activate(version, ..) => {
                next.provisional = Some(version);
                true
            }
            // what is confirmed at once is finished once it has taken over; the rest of it a kill takes back
            Does::KillIn(version, place) if self.starts(version) => {
                if self.confirmed.is_none() && place >= PAST {
                    (next.confirmed, next.previous) = (Some(version), None);
                }
                true
            }
            Does::KillIn(version, _) => {
                return (self.after(&Does::Activate(version, None, How::Gradual { goes_on: true })).0, true);
            }
            Does::Confirm => {
                if let Some(provisional) = next.provisional.take() {
                    next.previous = next.confirmed.replace(provisional);
                }
                self.serving().is_some()
            }
            Does::Rollback(to) => self.rolled_back(to, &mut next),
            Does::Deactivate => {
                (next.confirmed, next.provisional) = (None, None);
                self.serving().is_some()
            }
            Does::Unregister(version) => {
                let runs = self.serving() == Some(version) || self.standby() == Some(version);
                let done = known(version) && !runs;
                if done {
                    next.registered.remove(&version);
                    next.previous = next.previous.filter(|previous| *previous != version);
                }
                done
            }
            Does::Trip => {
                next.provisional = None;
                true
            }
        };
        if done { (next, true) } else { (self.clone(), false) }
    }

    fn rolled_back(&self, to: Option<u64>, next: &mut Self) -> bool {
        let Some(serving) = self.serving() else { return false };
        match to.or(self.returns_to()) {
            None => false,
            Some(target) if !self.registered.contains(&target) => false,
            Some(target) if target == serving => true,
            Some(target) if self.standby() == Some(target) => {
                next.provisional = None;
                true
            }
            // it is started anew, and what it takes the place of is nothing to return to
            Some(target) => {
                *next = Self { confirmed: Some(target), provisional: None, previous: None, ..self.clone() };
                true
            }
        }
    }
}

/// Whether an activation comes to the place: one at once has five steps only.
fn meets(how: How, place: usize) -> bool {
    how != How::Instant || !["migrate", "warmup", "verify"].contains(&PLACES[place].0)
}

/// Whether somebody ends its shift.
fn is_ended(version: u64, how: How) -> bool {
    version == STAYING && how == (How::Gradual { goes_on: false })
}

/// Both slots.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Model(pub(super) [Slot; 2]);

impl Model {
    /// Whether the module has what it needs, and takes nothing from who needs it.
    fn may(&self, module: usize, does: &Does) -> bool {
        let [needed, needs] = &self.0;
        match (module, does) {
            (1, Does::Activate(..) | Does::KillIn(..)) => needed.serving().is_some(),
            (0, Does::Deactivate) => needs.serving().is_none(),
            (0, Does::Unregister(version)) => {
                needs.registered.is_empty() || needed.registered.iter().any(|other| other != version)
            }
            _ => true,
        }
    }

    /// The model after it, and whether it is carried out.
    pub(super) fn after(&self, happens: &Happens) -> (Self, bool) {
        let mut next = self.clone();
        let (mut done, mut ends) = (true, true);
        if let Happens::To(module, does) = happens {
            ends = matches!(does, Does::KillIn(..));
            let may = self.may(*module, does);
            if may {
                (next.0[*module], done) = self.0[*module].after(does);
            }
            done = ends || (may && done);
        }
        if ends {
            next.0.iter_mut().for_each(|slot| slot.provisional = None);
        }
        (next, done)
    }

    /// Whether an activation of the version shifts traffic to it.
    pub(super) fn shifts(&self, module: usize, version: u64, how: How) -> bool {
        self.starts(module, version) && self.0[module].shifts(version, how)
    }

    /// Whether an activation of the version starts it.
    pub(super) fn starts(&self, module: usize, version: u64) -> bool {
        self.may(module, &Does::KillIn(version, 0)) && self.0[module].starts(version)
    }
}
