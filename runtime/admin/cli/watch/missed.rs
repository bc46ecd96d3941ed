//! What a module's history says of an end whose event was lost: a reader that lags is told how many it missed, not which.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::admin::CommandError;
use crate::admin::cli::client::{Body, Client};
use crate::admin::cli::requests;

/// More entries than can have begun while a reader lagged.
const ENTRIES: usize = 100;

/// How a module's commands ended, as far as they have.
pub(super) struct Outcomes {
    /// Newest first.
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    number: u64,
    command: String,
    version: String,
    outcome: Option<String>,
    reason: Option<String>,
}

impl Outcomes {
    pub(super) async fn of(id: &str, client: &Client) -> Result<Self, CommandError> {
        let path = format!("/v1/modules/{id}/history?limit={ENTRIES}");
        let answer = client.send(Method::GET, &path, Body::Empty).await?;
        Ok(Self { rows: requests::read(&answer)? })
    }

    /// Whether something has not ended.
    pub(super) fn any_runs(&self) -> bool {
        self.rows.iter().any(|row| row.outcome.is_none())
    }

    /// The first activation or rollback that ended since then, as the event which told of it.
    pub(super) fn first_end_since(&self, before: &Self, id: &str) -> Option<Value> {
        let row = self.rows.iter().rev().find(|row| row.ended_since(before))?;
        Some(json!({
            "event": "activationEnded",
            "instance": { "id": id, "version": row.version },
            "outcome": row.outcome,
            "reason": row.reason,
        }))
    }
}

impl Row {
    fn ended_since(&self, before: &Outcomes) -> bool {
        if self.outcome.is_none() || !matches!(&*self.command, "activate" | "rollback") {
            return false;
        }
        let known = before.rows.iter().find(|row| row.number == self.number).map(|row| row.outcome.as_deref());
        match known {
            // it had ended already, and was only confirmed
            Some(Some("provisional")) => self.outcome.as_deref().is_some_and(|outcome| !is_good(outcome)),
            Some(known) => known != self.outcome.as_deref(),
            None => before.rows.first().is_none_or(|newest| newest.number < self.number),
        }
    }
}

fn is_good(outcome: &str) -> bool {
    matches!(outcome, "active" | "provisional")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(rows: &[(u64, &str, Option<&str>)]) -> Outcomes {
        let row = |&(number, command, outcome): &(u64, &str, Option<&str>)| Row {
            number,
            command: command.to_owned(),
            version: format!("{number}.0.0"),
            outcome: outcome.map(str::to_owned),
            reason: None,
        };
        Outcomes { rows: rows.iter().map(row).collect() }
    }

    #[test]
    fn an_end_is_one_that_was_not_known_before() {
        let before = outcomes(&[
            (4, "activate", None),
            (3, "activate", Some("provisional")),
            (2, "deactivate", Some("inactive")),
            (1, "activate", Some("active")),
        ]);
        let since = |rows: &[(u64, &str, Option<&str>)]| {
            let event = outcomes(rows).first_end_since(&before, "a")?;
            Some(event["instance"]["version"].as_str()?.to_owned())
        };
        assert_eq!(since(&[(4, "activate", None), (3, "activate", Some("active"))]), None, "it was confirmed");
        assert_eq!(since(&[(3, "activate", Some("rolled-back"))]).as_deref(), Some("3.0.0"));
        assert_eq!(since(&[(4, "activate", Some("failed"))]).as_deref(), Some("4.0.0"));
        assert_eq!(since(&[(5, "deactivate", Some("inactive")), (4, "activate", None)]), None);
        let several = [(6, "rollback", Some("active")), (5, "activate", Some("active")), (4, "activate", None)];
        assert_eq!(since(&several).as_deref(), Some("5.0.0"), "the first of several");
        assert!(outcomes(&several).any_runs());
    }
}
