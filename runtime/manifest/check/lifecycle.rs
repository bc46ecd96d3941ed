//! `lifecycle`: how the module comes, goes and is replaced.

use std::collections::BTreeMap;

use super::super::parse::Scalar;
use super::super::{
    Activation, ActivationStrategy, AfterConfirm, Database, Deactivation, DeactivationStrategy, Lifecycle,
    MigrationPath, Mirror, NotificationChannel, OnInconclusive, OnPass, Rollback, RollbackTrigger, StickyBy, Threshold,
    TrafficShifting, TriggerKind, Updates,
};
use super::Checker;
use super::fields::{Fields, Item};

mod health;

const HOUR: u64 = 3_600_000;

const STRATEGIES: [(&str, ActivationStrategy); 2] =
    [("gradual", ActivationStrategy::Gradual), ("instant", ActivationStrategy::Instant)];

const TRIGGERS: [(&str, TriggerKind); 5] = [
    ("healthCheckFailure", TriggerKind::HealthCheckFailure),
    ("errorRateExceeded", TriggerKind::ErrorRateExceeded),
    ("responseTimeExceeded", TriggerKind::ResponseTimeExceeded),
    ("activationTimeout", TriggerKind::ActivationTimeout),
    ("criticalError", TriggerKind::CriticalError),
];

impl Checker<'_, '_> {
    /// `lifecycle`.
    pub(super) fn lifecycle(&mut self, item: &Item<'_>, database: Option<&Database>) -> Option<Lifecycle> {
        let mut fields = Fields::open(self, item)?;
        let activation = fields.read(self, "activation", |cx, item| cx.activation(item, database));
        let deactivation = fields.read(self, "deactivation", Self::deactivation).unwrap_or_default();
        let rollback = fields.read(self, "rollback", Self::rollback).unwrap_or_default();
        let updates = fields.read(self, "updates", Self::updates).unwrap_or_default();
        fields.close(self);
        Some(Lifecycle { activation: activation.unwrap_or_default(), deactivation, rollback, updates })
    }

    fn activation(&mut self, item: &Item<'_>, database: Option<&Database>) -> Option<Activation> {
        let mut fields = Fields::open(self, item)?;
        let chosen = fields.take(self, "strategy");
        let strategy = chosen.as_ref().and_then(|item| self.choice(item, &STRATEGIES));
        let strategy = strategy.unwrap_or(ActivationStrategy::Gradual);
        if let (ActivationStrategy::Instant, Some(item)) = (strategy, &chosen)
            && database.is_some_and(|database| !database.migrations.is_empty())
        {
            let message = format!("{}: an instant activation is refused while migrations are pending", item.path);
            self.report.warn(item.node.place, message, Some("write `strategy: gradual`".to_owned()));
        }
        let timeout = fields.read(self, "timeout", |cx, item| cx.duration(item, 1..=HOUR));
        let timeout = timeout.unwrap_or(strategy.default_timeout());
        let health_checks = fields.read(self, "healthChecks", |cx, item| {
            let mut seen = BTreeMap::new();
            cx.list(item, |cx, item| {
                let check = cx.health_check(item, database.is_some(), &mut seen)?;
                if check.timeout > timeout {
                    let message = format!("{}: the check may take longer than the whole activation", item.path);
                    let help = "raise activation.timeout, or lower the check's".to_owned();
                    cx.report.warn(item.node.place, message, Some(help));
                }
                Some(check)
            })
        });
        let triggers = fields.read(self, "rollbackTriggers", |cx, item| {
            let mut seen = BTreeMap::new();
            cx.list(item, |cx, item| {
                let trigger = cx.trigger(item)?;
                let name = TRIGGERS.iter().find(|(_, kind)| *kind == trigger.kind).map_or("", |(name, _)| *name);
                cx.unique(&mut seen, "rollback trigger", name, item).then_some(trigger)
            })
        });
        let shifting = fields.read(self, "trafficShifting", Self::traffic_shifting).unwrap_or_default();
        let sticky_by = fields.read(self, "stickyBy", Self::sticky_by).unwrap_or(StickyBy::None);
        let pass = [("promote", OnPass::Promote), ("hold", OnPass::Hold)];
        let on_pass = fields.read(self, "onPass", |cx, item| cx.choice(item, &pass));
        let inconclusive = [
            ("promote", OnInconclusive::Promote),
            ("hold", OnInconclusive::Hold),
            ("rollback", OnInconclusive::Rollback),
        ];
        let on_inconclusive = fields.read(self, "onInconclusive", |cx, item| cx.choice(item, &inconclusive));
        let confirm_window = fields.read(self, "confirmWindow", |cx, item| cx.duration(item, 0..=24 * HOUR));
        fields.close(self);
        Some(Activation {
            strategy,
            timeout,
            health_checks: health_checks.unwrap_or_default(),
            rollback_triggers: triggers.unwrap_or_else(|| strategy.default_triggers()),
            traffic_shifting: shifting,
            sticky_by,
            on_pass: on_pass.unwrap_or(OnPass::Promote),
            on_inconclusive: on_inconclusive.unwrap_or(OnInconclusive::Promote),
            confirm_window: confirm_window.unwrap_or(Activation::CONFIRM_WINDOW),
        })
    }

    /// A trigger's type, or a map with `type`, `threshold` and `afterConfirm`.
    fn trigger(&mut self, item: &Item<'_>) -> Option<RollbackTrigger> {
        if item.node.scalar().is_some() {
            return self.choice(item, &TRIGGERS).map(RollbackTrigger::new);
        }
        let mut fields = Fields::open(self, item)?;
        let kind = fields.required(self, "type", |cx, item| cx.choice(item, &TRIGGERS));
        let threshold = fields.take(self, "threshold");
        let after = [("alarm", AfterConfirm::Alarm), ("rollback", AfterConfirm::Rollback)];
        let after_confirm = fields.read(self, "afterConfirm", |cx, item| cx.choice(item, &after));
        fields.close(self);
        let kind = kind?;
        let threshold = threshold.and_then(|item| match kind {
            TriggerKind::ErrorRateExceeded => self.share(&item, 1.0).map(Threshold::Ratio),
            TriggerKind::ResponseTimeExceeded => self.duration(&item, 1..=HOUR).map(Threshold::Time),
            _ => {
                let message = format!("{}: this trigger has no threshold", item.path);
                let help =
                    "only errorRateExceeded (a share such as 0.05) and responseTimeExceeded (a duration) have one";
                self.fault(&item, message, Some(help.to_owned()));
                None
            }
        });
        Some(RollbackTrigger { kind, threshold, after_confirm: after_confirm.unwrap_or(AfterConfirm::Alarm) })
    }

    fn traffic_shifting(&mut self, item: &Item<'_>) -> Option<TrafficShifting> {
        let default = TrafficShifting::default();
        let mut fields = Fields::open(self, item)?;
        let initial = fields.read(self, "initial", |cx, item| cx.whole(item, 0..=100));
        let increment = fields.read(self, "increment", |cx, item| cx.whole(item, 1..=100));
        let increment = increment.unwrap_or(default.increment);
        let largest = fields.read(self, "maxIncrement", |cx, item| cx.whole(item, increment..=100));
        let interval = fields.read(self, "interval", |cx, item| cx.duration(item, 10..=HOUR));
        let mirror = fields.read(self, "mirror", Self::mirror).flatten();
        fields.close(self);
        Some(TrafficShifting {
            initial: initial.unwrap_or(default.initial),
            increment,
            // An increment above the default maximum is a wish for larger steps.
            max_increment: largest.unwrap_or(default.max_increment.max(increment)),
            interval: interval.unwrap_or(default.interval),
            mirror,
        })
    }

    /// `true`, `false`, or a map with `methods` and `share`.
    fn mirror(&mut self, item: &Item<'_>) -> Option<Option<Mirror>> {
        match item.node.scalar() {
            Some(Scalar::Bool(wanted)) => return Some(wanted.then(Mirror::default)),
            Some(_) if !item.node.is_null() => {
                self.expected(item, "true, false, or a map with `methods` and `share`");
                return None;
            }
            _ => {}
        }
        let default = Mirror::default();
        let mut fields = Fields::open(self, item)?;
        let methods = fields.read(self, "methods", Self::methods);
        let share = fields.read(self, "share", |cx, item| cx.whole(item, 1..=100));
        fields.close(self);
        Some(Some(Mirror { methods: methods.unwrap_or(default.methods), share: share.unwrap_or(default.share) }))
    }

    fn sticky_by(&mut self, item: &Item<'_>) -> Option<StickyBy> {
        let what = "none, principal, address, header:NAME or cookie:NAME";
        let text = self.string(item, what)?;
        // The characters of a token in HTTP, which names of headers and cookies are.
        let token = |name: &str| {
            (1..=64).contains(&name.len())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        };
        match text.split_once(':') {
            None if text == "none" => return Some(StickyBy::None),
            None if text == "principal" => return Some(StickyBy::Principal),
            None if text == "address" => return Some(StickyBy::Address),
            Some(("header", name)) if token(name) => return Some(StickyBy::Header(name.to_ascii_lowercase())),
            Some(("cookie", name)) if token(name) => return Some(StickyBy::Cookie(name.to_owned())),
            _ => {}
        }
        let near = self.report.suggest(text, ["none", "principal", "address", "header:NAME", "cookie:NAME"]);
        self.expected_with(item, what, near);
        None
    }

    fn deactivation(&mut self, item: &Item<'_>) -> Option<Deactivation> {
        let default = Deactivation::default();
        let strategies = [("graceful", DeactivationStrategy::Graceful), ("immediate", DeactivationStrategy::Immediate)];
        let mut fields = Fields::open(self, item)?;
        let strategy = fields.read(self, "strategy", |cx, item| cx.choice(item, &strategies));
        let timeout = fields.read(self, "timeout", |cx, item| cx.duration(item, 1..=HOUR));
        let cleanup = fields.read(self, "cleanup", |cx, item| {
            let mut seen = BTreeMap::new();
            cx.list(item, |cx, item| {
                let name = cx.identifier(item)?;
                cx.unique(&mut seen, "cleanup", &name, item).then_some(name)
            })
        });
        fields.close(self);
        Some(Deactivation {
            strategy: strategy.unwrap_or(default.strategy),
            timeout: timeout.unwrap_or(default.timeout),
            cleanup: cleanup.unwrap_or_default(),
        })
    }

    fn rollback(&mut self, item: &Item<'_>) -> Option<Rollback> {
        let default = Rollback::default();
        let mut fields = Fields::open(self, item)?;
        let timeout = fields.read(self, "timeout", |cx, item| cx.duration(item, 1..=HOUR));
        let preserve_data = fields.read(self, "preserveData", Self::boolean);
        let channels = fields.read(self, "notificationChannels", |cx, item| {
            let mut seen = BTreeMap::new();
            cx.list(item, |cx, item| {
                let channel = cx.channel(item)?;
                cx.unique(&mut seen, "channel", &channel.to_string(), item).then_some(channel)
            })
        });
        fields.close(self);
        Some(Rollback {
            timeout: timeout.unwrap_or(default.timeout),
            preserve_data: preserve_data.unwrap_or(default.preserve_data),
            notification_channels: channels.unwrap_or(default.notification_channels),
        })
    }

    fn channel(&mut self, item: &Item<'_>) -> Option<NotificationChannel> {
        match item.node.scalar() {
            Some(Scalar::Str("log")) => return Some(NotificationChannel::Log),
            Some(Scalar::Str("events")) => return Some(NotificationChannel::Events),
            Some(Scalar::Str(url)) if is_web_address(url) => {
                return Some(NotificationChannel::Webhook(url.to_owned()));
            }
            _ => {}
        }
        self.expected(item, "log, events, or a webhook's address such as https://example.org/hook");
        None
    }

    fn updates(&mut self, item: &Item<'_>) -> Option<Updates> {
        let mut fields = Fields::open(self, item)?;
        let supported = fields.read(self, "supported", Self::boolean).unwrap_or(true);
        let migration_paths = fields.read(self, "migrationPaths", |cx, item| cx.list(item, Self::migration_path));
        let compatibility = fields.read(self, "compatibility", |cx, item| {
            let mut compatibility = BTreeMap::new();
            for (entry, item) in cx.entries(item)? {
                let range = cx.range(&item);
                match entry.key.parse::<semver::Version>() {
                    Ok(version) => compatibility.extend(range.map(|range| (version, range))),
                    Err(error) => {
                        let message = format!("{}: the key is not a version: {error}", item.path);
                        let help = "write it as \"2.0.0\": \">=1.5\"".to_owned();
                        cx.report.fault(entry.place, message, Some(help));
                    }
                }
            }
            Some(compatibility)
        });
        fields.close(self);
        Some(Updates {
            supported,
            migration_paths: migration_paths.unwrap_or_default(),
            compatibility: compatibility.unwrap_or_default(),
        })
    }

    fn migration_path(&mut self, item: &Item<'_>) -> Option<MigrationPath> {
        let mut fields = Fields::open(self, item)?;
        let from = fields.required(self, "from", Self::range);
        let stops = fields.take(self, "via");
        let to = fields.required(self, "to", Self::version);
        let via = stops.and_then(|item| {
            let mut last: Option<semver::Version> = None;
            self.list(&item, |cx, item| {
                let version = cx.version(item)?;
                let above = |other: &Option<semver::Version>| other.as_ref().is_some_and(|other| version >= *other);
                if last.as_ref().is_some_and(|last| version <= *last) || above(&to) {
                    let message = format!("{}: {version} is not between the one before and `to`", item.path);
                    cx.fault(item, message, Some("the stops ascend and stay below `to`".to_owned()));
                }
                last = Some(version.clone());
                Some(version)
            })
        });
        fields.close(self);
        Some(MigrationPath { from: from?, via: via.unwrap_or_default(), to: to? })
    }
}

/// `http://` or `https://`, then a host, without user, spaces or control characters.
fn is_web_address(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let plain = text.bytes().all(|b| b.is_ascii_graphic() && !b"\\\"<>".contains(&b));
    text.len() <= 2048 && plain && !authority.is_empty() && !authority.starts_with(':') && !authority.contains('@')
}
