//! What SQL may do, asked by SQLite for each action while it compiles a statement (the "authorizer"). It sees what views,
//! triggers and common table expressions reach as well, whatever the text looks like.

use rusqlite::hooks::AuthAction;

/// Who wrote the statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Author {
    /// This runtime: everything is allowed.
    Runtime,
    /// A script: reads and changes rows.
    Script,
    /// A migration: changes the schema too.
    Migration,
}

/// What is allowed, and what must be known about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// Nothing.
    Plain,
    /// A function is called.
    Call,
    /// The schema changes.
    Schema,
}

/// Tables of the runtime, in every module's file.
const RESERVED: &str = "_replug";

/// Functions that reach out of the database.
const FORBIDDEN: [&str; 3] = ["load_extension", "fts3_tokenizer", "sqlite_log"];

/// Virtual tables that a migration may make: full text and ranges.
const VIRTUAL: [&str; 2] = ["fts5", "rtree"];

/// Tables that show the raw file.
const RAW: [&str; 2] = ["dbstat", "sqlite_dbpage"];

/// Pragmas that those virtual tables read by themselves; they tell nothing.
const READ_PRAGMAS: [&str; 2] = ["data_version", "page_size"];

const TRANSACTION: &str = "transactions are the runtime's: each call is one, use db.transaction for several statements";
const SCHEMA: &str = "schema changes belong in migrations: add a file to `database.migrations` of the manifest";

/// Whether `author` may do `action`; the error is what the author reads.
pub(super) fn judge(author: Author, action: AuthAction<'_>) -> Result<Note, String> {
    use AuthAction as A;
    if author == Author::Runtime {
        return Ok(Note::Plain);
    }
    match action {
        A::Select | A::Recursive => Ok(Note::Plain),
        A::Function { function_name } => function(function_name),
        A::Read { table_name, .. } => {
            own(table_name)?;
            if is_one_of(table_name, &RAW) {
                Err(format!("table {table_name} is not for modules"))
            } else {
                Ok(Note::Plain)
            }
        }
        A::Insert { table_name } | A::Update { table_name, .. } | A::Delete { table_name } => {
            own(table_name)?;
            let internal = starts_with(table_name, "sqlite_") && !table_name.eq_ignore_ascii_case("sqlite_sequence");
            // A migration's own CREATE and ALTER write there; by hand SQLite refuses it to everyone.
            if internal && author == Author::Script {
                return Err(format!("table {table_name} is SQLite's own: {SCHEMA}"));
            }
            Ok(Note::Plain)
        }
        A::Transaction { .. } | A::Savepoint { .. } => Err(TRANSACTION.to_owned()),
        A::Attach { .. } | A::Detach { .. } => {
            Err("a module has one database: ATTACH and DETACH are refused".to_owned())
        }
        A::Pragma { pragma_name, pragma_value: None } if is_one_of(pragma_name, &READ_PRAGMAS) => Ok(Note::Plain),
        A::Pragma { pragma_name, .. } => {
            Err(format!("PRAGMA {pragma_name} is refused: the schema can be read from the table sqlite_schema"))
        }
        A::Unknown { code, .. } => Err(format!("action {code} is refused")),
        _ if author == Author::Script => Err(SCHEMA.to_owned()),
        action => schema(action),
    }
}

fn function(name: &str) -> Result<Note, String> {
    if is_one_of(name, &FORBIDDEN) {
        return Err(format!("function {name} is refused"));
    }
    Ok(Note::Call)
}

/// The schema changes of a migration.
fn schema(action: AuthAction<'_>) -> Result<Note, String> {
    use AuthAction as A;
    match action {
        A::CreateTempIndex { .. }
        | A::CreateTempTable { .. }
        | A::CreateTempTrigger { .. }
        | A::CreateTempView { .. }
        | A::DropTempIndex { .. }
        | A::DropTempTable { .. }
        | A::DropTempTrigger { .. }
        | A::DropTempView { .. } => {
            return Err(
                "temporary tables, views and triggers would not outlive the migration: leave TEMP out".to_owned()
            );
        }
        A::CreateVtable { module_name, .. } if !is_one_of(module_name, &VIRTUAL) => {
            return Err(format!(
                "virtual tables of {module_name} are refused: only {} are known",
                VIRTUAL.join(" and ")
            ));
        }
        A::CreateTable { table_name }
        | A::DropTable { table_name }
        | A::AlterTable { table_name, .. }
        | A::CreateVtable { table_name, .. }
        | A::DropVtable { table_name, .. } => own(table_name)?,
        A::CreateIndex { index_name: name, table_name }
        | A::DropIndex { index_name: name, table_name }
        | A::CreateTrigger { trigger_name: name, table_name }
        | A::DropTrigger { trigger_name: name, table_name } => {
            own(name)?;
            own(table_name)?;
        }
        A::CreateView { view_name } | A::DropView { view_name } => own(view_name)?,
        // They touch no names; without one they take every table.
        A::Reindex { .. } | A::Analyze { .. } => {}
        _ => return Err("this kind of statement is refused".to_owned()),
    }
    Ok(Note::Schema)
}

fn own(name: &str) -> Result<(), String> {
    if starts_with(name, RESERVED) {
        return Err(format!("{name} is the runtime's: names that begin with {RESERVED} are refused"));
    }
    Ok(())
}

/// SQLite compares names without regard to case, in ASCII.
fn starts_with(name: &str, prefix: &str) -> bool {
    name.as_bytes().get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|one| one.eq_ignore_ascii_case(name))
}
