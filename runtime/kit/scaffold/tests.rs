use tempfile::TempDir;

use super::*;

#[cfg(feature = "lua")]
mod editors;

#[test]
fn a_new_module_holds_what_its_language_needs_and_says_what_to_do_next() {
    let dir = TempDir::new().unwrap();
    for (language, entry) in [(Language::Lua, "main.lua"), (Language::Rhai, "main.rhai")] {
        let id = format!("price-list.{}", language.ending());
        let made = create(language, &id, dir.path()).unwrap();
        assert!(made.files.iter().any(|file| file == entry) && made.files.iter().any(|file| file == "README.md"));
        assert!(made.next.iter().all(|line| line.starts_with("replug ") && line.contains(&id)));
        for file in &made.files {
            let text = fs::read_to_string(made.dir.join(file)).unwrap();
            assert!(!text.contains("{{"), "{file}");
        }
    }
}

#[test]
fn nothing_that_is_there_is_touched_and_no_other_name_is_taken() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("taken"), "mine").unwrap();
    let error = create(Language::Lua, "taken", dir.path()).unwrap_err();
    assert!(matches!(error, KitError::Exists(_)), "{error}");
    assert_eq!(fs::read_to_string(dir.path().join("taken")).unwrap(), "mine");
    for name in ["", "A", "a/b", "..", "a b", ".a", "a..b", "a\n"] {
        assert!(matches!(create(Language::Rhai, name, dir.path()), Err(KitError::Name(_))), "{name:?}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_folder_with_spaces_is_shown_as_a_shell_takes_it() {
    assert_eq!(shown(Path::new("a b/it's")), "'a b/it'\\''s'");
    assert_eq!(shown(Path::new("./a/b-c.d")), "./a/b-c.d");
}
