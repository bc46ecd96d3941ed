//! `lifecycle.activation.healthChecks[]`: the full form of the specification and the short forms of its sample.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::super::{HealthCheck, HealthCheckKind, Place};
use super::super::Checker;
use super::super::fields::{Fields, Item};
use super::super::names::{is_identifier, is_service};
use super::HOUR;

#[derive(Clone, Copy, PartialEq)]
enum Type {
    Endpoint,
    Database,
    Service,
    Custom,
}

const TYPES: [(&str, Type); 4] =
    [("endpoint", Type::Endpoint), ("database", Type::Database), ("service", Type::Service), ("custom", Type::Custom)];

impl Checker<'_, '_> {
    /// One health check; its id must be new in `seen`.
    pub(super) fn health_check(
        &mut self,
        item: &Item<'_>,
        has_database: bool,
        seen: &mut BTreeMap<String, Place>,
    ) -> Option<HealthCheck> {
        let mut fields = Fields::open(self, item)?;
        let id = fields.read(self, "id", Self::name);
        let kind = fields.take(self, "type");
        let config = fields.take(self, "config");
        let mut short = Vec::new();
        for (key, name) in TYPES {
            short.extend(fields.take(self, key).map(|item| (key, name, item)));
        }
        let timeout = fields.read(self, "timeout", |cx, item| cx.duration(item, 1..=300_000));
        let interval = fields.read(self, "interval", |cx, item| cx.duration(item, 100..=HOUR));
        let retries = fields.read(self, "retries", |cx, item| cx.whole(item, 0..=100));
        let critical = fields.read(self, "critical", Self::boolean);
        let (kind, name) = match (short.as_slice(), kind) {
            ([], None) => {
                let help =
                    "write `endpoint: /health`, `database: NAME`, `service: CAPABILITY.METHOD` or `custom: NAME`";
                fields.missing(self, "what to check", Some(help.to_owned()));
                fields.close(self);
                return None;
            }
            ([(_, kind, item)], None) => {
                if let Some(config) = &config {
                    let help = "the short form holds all: remove `config`".to_owned();
                    self.fault(config, format!("{}: only a check with `type` has it", config.path), Some(help));
                }
                fields.close(self);
                self.short_form(*kind, item)?
            }
            ([], Some(kind)) => {
                fields.close(self);
                let kind = self.choice(&kind, &TYPES)?;
                self.full_form(kind, config.as_ref(), item)?
            }
            ([.., (key, _, second)], _) => {
                let message = format!("{}: a check asks one thing, and `{key}` is a second", second.path);
                self.fault(second, message, Some("make it a check of its own".to_owned()));
                fields.close(self);
                return None;
            }
        };
        if kind == HealthCheckKind::Database && !has_database {
            let message = format!("{}: the module has no `database` to check", item.path);
            self.fault(item, message, Some("declare `database`, or remove this check".to_owned()));
        }
        let id = id.unwrap_or(name);
        self.unique(seen, "health check", &id, item).then_some(HealthCheck {
            id,
            kind,
            timeout: timeout.unwrap_or(Duration::from_secs(5)),
            interval: interval.unwrap_or(Duration::from_secs(10)),
            retries: retries.unwrap_or(2),
            critical: critical.unwrap_or(true),
        })
    }

    /// `endpoint: PATH` and the like; the second value is the check's id.
    fn short_form(&mut self, kind: Type, item: &Item<'_>) -> Option<(HealthCheckKind, String)> {
        match kind {
            Type::Endpoint => {
                let path = self.url_path_without_parameters(item)?;
                Some((HealthCheckKind::Endpoint { path: path.clone() }, path))
            }
            Type::Service => {
                let service = self.service(item)?;
                Some((HealthCheckKind::Service { service: service.clone() }, service))
            }
            Type::Database => Some((HealthCheckKind::Database, self.check_name(item)?)),
            Type::Custom => Some((HealthCheckKind::Custom, self.check_name(item)?)),
        }
    }

    /// `type` and `config`; the second value is the check's id when it has none.
    fn full_form(
        &mut self,
        kind: Type,
        config: Option<&Item<'_>>,
        check: &Item<'_>,
    ) -> Option<(HealthCheckKind, String)> {
        let (key, example) = match kind {
            Type::Endpoint => ("path", "config: { path: /health }"),
            Type::Service => ("service", "config: { service: reports.ping }"),
            Type::Database | Type::Custom => {
                if let Some(fields) = config.and_then(|item| Fields::open(self, item)) {
                    fields.close(self);
                }
                return Some(match kind {
                    Type::Database => (HealthCheckKind::Database, "database".to_owned()),
                    _ => (HealthCheckKind::Custom, "custom".to_owned()),
                });
            }
        };
        let Some(config) = config else {
            self.fault(check, format!("{}: missing `config`", check.path), Some(format!("write `{example}`")));
            return None;
        };
        let mut fields = Fields::open(self, config)?;
        let read = fields.required(self, key, |cx, item| cx.short_form(kind, item));
        fields.close(self);
        read
    }

    fn url_path_without_parameters(&mut self, item: &Item<'_>) -> Option<String> {
        let path = self.url_path(item)?;
        if !path.contains('{') {
            return Some(path);
        }
        self.expected(item, "a path without parameters");
        None
    }

    fn service(&mut self, item: &Item<'_>) -> Option<String> {
        let help = "a capability, a dot, and one of its methods: reports.ping";
        self.word(item, "the name of a service", help, is_service)
    }

    fn check_name(&mut self, item: &Item<'_>) -> Option<String> {
        let help = "letters, digits, `_`, `-` and `.`, beginning with a letter or underscore";
        self.word(item, "the name of the check", help, |text| is_identifier(text, "-."))
    }
}
