//! Additive changes only: what an older version of a module reads must stay, because both run at once while traffic shifts,
//! and the older one returns on a rollback.

use std::collections::BTreeMap;

use semver::Version;

use crate::integration::database::{Applied, Shape};

/// The tables that earlier migrations made, as they are before the next one.
pub(super) struct Baseline {
    tables: Shape,
    makers: BTreeMap<String, Version>,
}

impl Baseline {
    /// What `applied` made, as far as it is in `shape`.
    pub(super) fn new(applied: &[Applied], shape: &Shape) -> Self {
        let made = applied.iter().flat_map(|one| one.tables.iter().map(|table| (table.clone(), one.version.clone())));
        let makers: BTreeMap<String, Version> = made.collect();
        let tables = shape.iter().filter(|(table, _)| makers.contains_key(*table));
        Self { tables: tables.map(|(table, columns)| (table.clone(), columns.clone())).collect(), makers }
    }

    /// Whether all its tables and columns are in `shape`; the error names the first that is not.
    pub(super) fn is_kept(&self, shape: &Shape) -> Result<(), String> {
        for (table, columns) in &self.tables {
            let Some(now) = shape.get(table) else {
                return Err(self.refusal(table, "the table is dropped or renamed"));
            };
            if let Some(column) = columns.difference(now).next() {
                return Err(self.refusal(table, &format!("column `{column}` is dropped or renamed")));
            }
        }
        Ok(())
    }

    /// Whether all its tables are in `shape`.
    pub(super) fn has_tables(&self, shape: &Shape) -> Result<(), String> {
        match self.tables.keys().find(|table| !shape.contains_key(*table)) {
            None => Ok(()),
            Some(table) => Err(format!(
                "table `{table}` is gone, but migration {} made it, which stays applied",
                self.makers[table.as_str()]
            )),
        }
    }

    fn refusal(&self, table: &str, what: &str) -> String {
        format!(
            "additive changes only: {what}, but table `{table}` is migration {}'s and an older version of the module may still use it; \
             add a column or a table and leave the old one",
            self.makers[table]
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn shape(tables: &[(&str, &[&str])]) -> Shape {
        let columns = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        tables.iter().map(|(table, names)| ((*table).to_owned(), columns(names))).collect()
    }

    fn baseline() -> Baseline {
        let one = Applied {
            version: Version::new(1, 0, 0),
            checksum: String::new(),
            down: None,
            tables: BTreeSet::from(["notes".to_owned(), "dropped-since".to_owned()]),
        };
        Baseline::new(&[one], &shape(&[("notes", &["id", "text"]), ("others", &["id"])]))
    }

    #[test]
    fn more_tables_and_columns_are_kept() {
        baseline().is_kept(&shape(&[("notes", &["id", "text", "more"]), ("new", &["id"])])).unwrap();
    }

    #[test]
    fn a_missing_table_or_column_is_named_with_its_maker() {
        let error = baseline().is_kept(&shape(&[("others", &["id"])])).unwrap_err();
        assert!(error.starts_with("additive changes only: the table is dropped"), "{error}");
        assert!(error.contains("migration 1.0.0's"), "{error}");
        let error = baseline().is_kept(&shape(&[("notes", &["id"])])).unwrap_err();
        assert!(error.contains("column `text`"), "{error}");
    }

    #[test]
    fn tables_of_others_may_go() {
        baseline().is_kept(&shape(&[("notes", &["id", "text"])])).unwrap();
    }

    #[test]
    fn only_tables_count_on_the_way_back() {
        baseline().has_tables(&shape(&[("notes", &["id"])])).unwrap();
        assert!(baseline().has_tables(&shape(&[])).unwrap_err().contains("1.0.0"));
    }
}
