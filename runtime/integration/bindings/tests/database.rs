//! The database bindings.

use std::sync::Arc;

use tempfile::TempDir;

use super::subject;
use crate::engine::ports::{Binding, Migrator};
use crate::integration::database::Databases;
use crate::integration::migrations::Migrations;
use crate::integration::{DatabaseBinding, SchemaMigrator};

const MANIFEST: &str = "id: notes\nversion: 1.0.0\ndatabase: { migrations: [{ version: 1.0.0, file: 1.sql }, { version: 1.1.0, file: 2.sql }] }";

fn versions(versions: &[semver::Version]) -> Vec<String> {
    versions.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_file_is_made_for_who_declares_one_and_goes_with_the_last_that_needs_it_if_nothing_is_in_it() {
    let dir = TempDir::new().expect("a directory");
    let databases = Databases::open(dir.path().to_owned()).expect("a directory");
    let binding = DatabaseBinding::new(databases.clone(), crate::monitor::Aborts::default());
    let with = subject(MANIFEST, &[], &[]);
    let mut newer = with.clone();
    newer.key.generation = 2;
    for of in [&with, &with, &newer] {
        binding.prepare(of).await.expect("it is made, or is there");
    }
    assert!(binding.commit(&with).await.expect("nothing to check").is_empty());
    for _ in 0..2 {
        binding.undo(&newer).await.expect("it is closed");
    }
    assert!(databases.exists("notes"), "another version needs it");
    for _ in 0..2 {
        binding.undo(&with).await.expect("it is removed, or is gone");
    }
    assert!(std::fs::read_dir(dir.path()).expect("a folder").next().is_none(), "nothing was ever in it");
    let without = subject("id: other\nversion: 1.0.0", &[], &[]);
    binding.prepare(&without).await.expect("nothing to do");
    assert!(!databases.exists("other"));
}

#[tokio::test]
async fn a_file_with_something_in_it_stays_and_one_that_is_no_database_too() {
    let dir = TempDir::new().expect("a directory");
    let databases = Databases::open(dir.path().to_owned()).expect("a directory");
    let binding = DatabaseBinding::new(databases.clone(), crate::monitor::Aborts::default());
    let migrator = SchemaMigrator::new(Migrations::new(databases.clone()), crate::monitor::Aborts::default());
    let manifest = "id: notes\nversion: 1.0.0\ndatabase: { migrations: [{ version: 1.0.0, file: 1.sql }] }";
    let files = [("1.sql", "create table a (id integer)"), ("1.down.sql", "drop table a")];
    let of = subject(manifest, &[], &files);
    binding.prepare(&of).await.expect("it is made");
    let applied = migrator.up(&of).await.expect("it runs");
    binding.undo(&of).await.expect("it is closed");
    assert!(databases.exists("notes"));
    binding.prepare(&of).await.expect("it is there");
    migrator.down(&of, &applied).await.expect("it goes back");
    binding.undo(&of).await.expect("it is removed");
    assert!(!databases.exists("notes"));
    let odd = dir.path().join("notes.sqlite");
    std::fs::write(&odd, "no database, but somebody's").expect("a file");
    assert!(binding.prepare(&of).await.is_err());
    binding.undo(&of).await.expect("it is left alone");
    assert_eq!(std::fs::read_to_string(&odd).expect("a file"), "no database, but somebody's");
}

#[tokio::test]
async fn migrations_go_up_and_down_and_name_what_they_did() {
    let dir = TempDir::new().expect("a directory");
    let databases = Databases::open(dir.path().to_owned()).expect("a directory");
    let migrator = SchemaMigrator::new(Migrations::new(databases), crate::monitor::Aborts::default());
    let files = [
        ("1.sql", "create table a (id integer)"),
        ("1.down.sql", "drop table a"),
        ("2.sql", "create table b (id integer)"),
        ("2.down.sql", "drop table b"),
    ];
    let mut subject = subject(MANIFEST, &[], &files);
    assert_eq!(versions(&migrator.pending(&subject).await.expect("readable")), ["1.0.0", "1.1.0"]);
    assert_eq!(versions(&migrator.up(&subject).await.expect("they run")), ["1.0.0", "1.1.0"]);
    assert!(migrator.up(&subject).await.expect("nothing is pending").is_empty());
    migrator.down(&subject, &["1.1.0".parse().expect("a version")]).await.expect("it goes back");
    assert_eq!(versions(&migrator.pending(&subject).await.expect("readable")), ["1.1.0"]);
    let files = Arc::make_mut(&mut subject.files);
    files.insert("2.sql".into(), "create tabel b (id integer)".into());
    let fault = migrator.up(&subject).await.expect_err("it is no SQL");
    assert!(fault.to_string().contains("notes") && fault.to_string().contains("2.sql:1"), "{fault}");
}
