//! `database`: the steps of the module's schema.

use super::super::{Database, Migration};
use super::Checker;
use super::fields::{Fields, Item};

impl Checker<'_, '_> {
    /// `database`.
    pub(super) fn database(&mut self, item: &Item<'_>) -> Option<Database> {
        let mut fields = Fields::open(self, item)?;
        let migrations = fields.read(self, "migrations", |cx, item| {
            let mut before: Option<(semver::Version, usize)> = None;
            let mut files = std::collections::BTreeMap::new();
            cx.list(item, |cx, item| {
                let mut fields = Fields::open(cx, item)?;
                let version = fields.required(cx, "version", |cx, item| {
                    let version = cx.version(item)?;
                    if let Some((last, line)) = &before
                        && version.cmp_precedence(last).is_le()
                    {
                        let message = format!("{}: {version} is not above {last} of line {line}", item.path);
                        let help = "migrations stand in ascending order, each version once".to_owned();
                        cx.fault(item, message, Some(help));
                    }
                    before = Some((version.clone(), item.node.place.line));
                    Some(version)
                });
                let file = fields.required(cx, "file", |cx, item| {
                    let file = cx.sql_file(item)?;
                    cx.unique(&mut files, "migration file", &file, item).then_some(file)
                });
                let down = fields.take(cx, "down");
                let down_file = down.as_ref().and_then(|item| {
                    let file = cx.sql_file(item)?;
                    cx.unique(&mut files, "migration file", &file, item).then_some(file)
                });
                let irreversible = fields.read(cx, "irreversible", Self::boolean).unwrap_or(false);
                if let (true, Some(down)) = (irreversible, &down) {
                    let help = "keep one of the two".to_owned();
                    cx.fault(down, format!("{}: an irreversible migration has no way down", down.path), Some(help));
                }
                fields.close(cx);
                Some(Migration { version: version?, file: file?, down: down_file, irreversible })
            })
        });
        fields.close(self);
        Some(Database { migrations: migrations.unwrap_or_default() })
    }

    fn sql_file(&mut self, item: &Item<'_>) -> Option<String> {
        let file = self.file(item)?;
        if file.ends_with(".sql") {
            return Some(file);
        }
        self.expected(item, "the path of a .sql file");
        None
    }
}
