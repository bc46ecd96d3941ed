//! `config`, and its other form at the top of the manifest: `configSchema` and `defaultConfig`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::super::parse::{Entry, Scalar, shown};
use super::super::{Config, ConfigKey, ConfigKind, Place};
use super::Checker;
use super::fields::{Fields, Item};
use super::names::{KEY_HELP, is_key};

const KINDS: [(&str, ConfigKind); 6] = [
    ("number", ConfigKind::Number),
    ("integer", ConfigKind::Integer),
    ("string", ConfigKind::String),
    ("boolean", ConfigKind::Boolean),
    ("array", ConfigKind::Array),
    ("object", ConfigKind::Object),
];

/// The keys read so far, each with the place of the key and, if it has one, of its default.
type Keys = BTreeMap<String, (ConfigKey, Place, Option<Place>)>;

impl Checker<'_, '_> {
    /// `config`, `configSchema` and `defaultConfig` of the whole manifest. Also learns the declared permissions.
    pub(super) fn config(&mut self, top: &mut Fields<'_>) -> Config {
        let mut keys = Keys::new();
        let mut permissions = Vec::new();
        if let Some(item) = top.take(self, "config")
            && let Some(mut fields) = Fields::open(self, &item)
        {
            fields.read(self, "schema", |cx, item| cx.schema(item, &mut keys));
            let before = self.report.count();
            permissions = fields.read(self, "permissions", Self::declared).unwrap_or_default();
            self.declared_whole = self.report.count() == before;
            fields.close(self);
        }
        top.read(self, "configSchema", |cx, item| cx.schema(item, &mut keys));
        top.read(self, "defaultConfig", |cx, item| cx.defaults(item, &mut keys));
        self.declared.clone_from(&permissions);
        Config { schema: keys.into_iter().map(|(name, (key, ..))| (name, key)).collect(), permissions }
    }

    fn declared(&mut self, item: &Item<'_>) -> Option<Vec<String>> {
        let mut seen = BTreeMap::new();
        self.list(item, |cx, item| {
            let name = cx.permission(item)?;
            cx.unique(&mut seen, "permission", &name, item).then_some(name)
        })
    }

    fn schema(&mut self, item: &Item<'_>, keys: &mut Keys) -> Option<()> {
        for (entry, item) in self.entries(item)? {
            if !self.is_setting(entry) {
                continue;
            }
            if let Some((_, first, _)) = keys.get(&entry.key) {
                let message = format!("the setting `{}` is also described in line {}", entry.key, first.line);
                let help = "`configSchema` is another name of `config.schema`: keep one of the two".to_owned();
                self.report.fault(entry.place, message, Some(help));
                continue;
            }
            if let Some((key, default)) = self.setting(&item) {
                keys.insert(entry.key.clone(), (key, entry.place, default));
            } else {
                // Unreadable, but there: its default and its second description are judged no further.
                continue;
            }
        }
        Some(())
    }

    fn is_setting(&mut self, entry: &Entry) -> bool {
        let ok = is_key(&entry.key);
        if !ok {
            let message = format!("`{}` cannot be the name of a setting", shown(&entry.key));
            self.report.fault(entry.place, message, Some(KEY_HELP.to_owned()));
        }
        ok
    }

    fn setting(&mut self, item: &Item<'_>) -> Option<(ConfigKey, Option<Place>)> {
        let mut fields = Fields::open(self, item)?;
        let kind = fields.required(self, "type", |cx, item| cx.choice(item, &KINDS));
        let default = fields.take(self, "default");
        let min = fields.take(self, "min");
        let max = fields.take(self, "max");
        let options = fields.take(self, "enum");
        let items = fields.take(self, "items");
        let required = fields.read(self, "required", Self::boolean).unwrap_or(false);
        let secret = fields.read(self, "secret", Self::boolean).unwrap_or(false);
        let description = fields.read(self, "description", Self::description).unwrap_or_default();
        fields.close(self);
        let kind = kind?;
        let mut key = ConfigKey {
            kind,
            default: None,
            min: None,
            max: None,
            options: Vec::new(),
            items: None,
            required,
            secret,
            description,
        };
        key.min = min.as_ref().and_then(|item| self.bound(item, kind));
        key.max = max.as_ref().and_then(|item| self.bound(item, kind));
        if let (Some(least), Some(most), Some(item)) = (key.min, key.max, &max)
            && least > most
        {
            let message = format!("{}: max {most} is below min {least}", item.path);
            self.fault(item, message, Some("exchange them".to_owned()));
            (key.min, key.max) = (None, None);
        }
        key.items = items.as_ref().and_then(|item| self.item_kind(item, kind));
        key.options = options.as_ref().and_then(|item| self.options(item, &key)).unwrap_or_default();
        if let Some(item) = &default {
            key.default = self.default_value(item, &key);
        }
        Some((key, default.map(|item| item.node.place)))
    }

    /// `min` or `max`: of a number, of characters or of items.
    fn bound(&mut self, item: &Item<'_>, kind: ConfigKind) -> Option<f64> {
        match kind {
            ConfigKind::Number | ConfigKind::Integer => self.number(item),
            ConfigKind::String | ConfigKind::Array => self.whole(item, 0..=1_048_576_u32).map(f64::from),
            ConfigKind::Boolean | ConfigKind::Object => {
                let help = "remove it: only numbers, strings and arrays are measured".to_owned();
                self.fault(item, format!("{}: this type has no bounds", item.path), Some(help));
                None
            }
        }
    }

    /// `items`: the type of an array's items, as a word or as a map with `type`.
    fn item_kind(&mut self, item: &Item<'_>, kind: ConfigKind) -> Option<ConfigKind> {
        if kind != ConfigKind::Array {
            self.fault(item, format!("{}: only an array has items", item.path), Some("remove it".to_owned()));
            return None;
        }
        if matches!(item.node.scalar(), Some(Scalar::Str(_))) {
            return self.choice(item, &KINDS);
        }
        let mut fields = Fields::open(self, item)?;
        let kind = fields.required(self, "type", |cx, item| cx.choice(item, &KINDS));
        fields.close(self);
        kind
    }

    /// `enum`: at least one value, each of the setting's type and within its bounds.
    fn options(&mut self, item: &Item<'_>, key: &ConfigKey) -> Option<Vec<Value>> {
        let before = self.report.count();
        let options = self.list(item, |cx, item| {
            let value = cx.json(item)?;
            cx.fits(item, key, &value).then_some(value)
        })?;
        if options.is_empty() && self.report.count() == before {
            self.fault(item, format!("{}: no value is allowed", item.path), Some("name one, or remove it".to_owned()));
        }
        Some(options)
    }

    fn default_value(&mut self, item: &Item<'_>, key: &ConfigKey) -> Option<Value> {
        if key.secret {
            let help = "manifests are shown to everyone: set the secret by reference".to_owned();
            self.fault(item, format!("{}: a secret has no default", item.path), Some(help));
            return None;
        }
        let value = self.json(item)?;
        self.fits(item, key, &value).then_some(value)
    }

    fn fits(&mut self, item: &Item<'_>, key: &ConfigKey, value: &Value) -> bool {
        match key.admits(value) {
            Ok(()) => true,
            Err(why) => {
                self.fault(item, format!("{}: {why}", item.path), None);
                false
            }
        }
    }

    /// `defaultConfig`: defaults of settings that are described elsewhere.
    fn defaults(&mut self, item: &Item<'_>, keys: &mut Keys) -> Option<()> {
        for (entry, item) in self.entries(item)? {
            let Some((key, _, given)) = keys.get_mut(&entry.key) else {
                let near = self.report.suggest(&entry.key, keys.keys().map(String::as_str));
                let message = format!("defaultConfig: the setting `{}` is not described", shown(&entry.key));
                let help = near.unwrap_or_else(|| "describe it in config.schema, with its type".to_owned());
                self.report.fault(entry.place, message, Some(help));
                continue;
            };
            let Some(value) = self.default_value(&item, key) else { continue };
            match given {
                Some(first) if key.default.as_ref() != Some(&value) => {
                    let line = first.line;
                    let message = format!("{}: another default of this setting stands in line {line}", item.path);
                    self.fault(&item, message, Some("keep one of the two".to_owned()));
                }
                _ => key.default = Some(value),
            }
        }
        Some(())
    }
}
