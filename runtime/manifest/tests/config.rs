//! Settings and files.

use super::check;

#[test]
fn files_stay_in_the_modules_folder() {
    check(
        r#"runtime: { entry: ../main.lua }
                  ^ runtime.entry: expected the path of a file of the module (`..` leaves the folder), found `../main.lua`
                    help: name a file inside the module's folder, with `/` between folders
database:
  migrations:
    - { version: 1.0.0, file: /etc/passwd.sql }
                              ^ database.migrations[0].file: expected the path of a file of the module (it is absolute), found `/etc/passwd.sql`
                                help: name a file inside the module's folder, with `/` between folders
    - { version: 1.1.0, file: "C:\\x.sql" }
                              ^ database.migrations[1].file: expected the path of a file of the module (it has a backslash), found `C:\\x.sql`
                                help: name a file inside the module's folder, with `/` between folders
    - { version: 1.2.0, file: "a\\b.sql" }
                              ^ database.migrations[2].file: expected the path of a file of the module (it has a backslash), found `a\\b.sql`
                                help: name a file inside the module's folder, with `/` between folders
    - { version: 1.3.0, file: "a//b.sql" }
                              ^ database.migrations[3].file: expected the path of a file of the module (it has an empty part), found `a//b.sql`
                                help: name a file inside the module's folder, with `/` between folders
    - { version: 1.4.0, file: "./b.sql" }
                              ^ database.migrations[4].file: expected the path of a file of the module (it has a part `.`), found `./b.sql`
                                help: name a file inside the module's folder, with `/` between folders
    - { version: 1.5.0, file: "b.txt", down: "C:b.sql" }
                              ^ database.migrations[5].file: expected the path of a .sql file, found `b.txt`
                                             ^ database.migrations[5].down: expected the path of a file of the module (it has a colon, as drives have), found `C:b.sql`
                                               help: name a file inside the module's folder, with `/` between folders
components:
  - { id: A, file: "" }
                   ^ components[0].file: expected the path of a file of the module (it is empty), found an empty string
                     help: name a file inside the module's folder, with `/` between folders
  - { id: B, file: "x/../../y.js" }
                   ^ components[1].file: expected the path of a file of the module (`..` leaves the folder), found `x/../../y.js`
                     help: name a file inside the module's folder, with `/` between folders
permissions:
  system:
    filesystem: [{ path: / }, { path: data/.. }, { path: data }]
                         ^ permissions.system.filesystem[0].path: expected a path in the module's data (it is absolute), found `/`
                           help: name a file or folder inside the module's data folder, with `/` between folders
                                      ^ permissions.system.filesystem[1].path: expected a path in the module's data (`..` leaves the folder), found `data/..`
                                        help: name a file or folder inside the module's data folder, with `/` between folders
"#,
    );
}

#[test]
fn migrations_ascend() {
    check(
        r#"database:
  migrations:
    - { version: 1.1.0, file: a.sql }
    - { version: 1.0.0, file: b.sql }
                 ^ database.migrations[1].version: 1.0.0 is not above 1.1.0 of line 5
                   help: migrations stand in ascending order, each version once
    - { version: 1.0.0, file: c.sql }
                 ^ database.migrations[2].version: 1.0.0 is not above 1.0.0 of line 6
                   help: migrations stand in ascending order, each version once
    - { version: 2.0.0, file: d.sql, down: d.down.sql, irreversible: true }
                                           ^ database.migrations[3].down: an irreversible migration has no way down
                                             help: keep one of the two
    - { file: e.sql }
      ^ database.migrations[4]: missing `version`
    - { version: 3.0.0 }
      ^ database.migrations[5]: missing `file`
"#,
    );
}

#[test]
fn settings_fit_their_own_schema() {
    check(
        r#"config:
  schema:
    a: { type: number, default: ten }
                                ^ config.schema.a.default: must be a number, found "ten"
    b: { type: number, default: 5, min: 10 }
                                ^ config.schema.b.default: must be at least 10, found 5
    c: { type: number, min: 5, max: 1 }
                                    ^ config.schema.c.max: max 1 is below min 5
                                      help: exchange them
    d: { type: integer, default: 1.5 }
                                 ^ config.schema.d.default: must be a whole number, found 1.5
    e: { type: string, default: abcdef, max: 3 }
                                ^ config.schema.e.default: must be at most 3 characters long, found 6
    f: { type: string, enum: [x, y], default: z }
                                              ^ config.schema.f.default: must be one of "x", "y", found "z"
    g: { type: boolean, min: 1 }
                             ^ config.schema.g.min: this type has no bounds
                               help: remove it: only numbers, strings and arrays are measured
    h: { type: array, items: integer, default: [1, two] }
                                               ^ config.schema.h.default: item 1 must be a whole number, found "two"
    i: { type: text }
               ^ config.schema.i.type: expected one of number, integer, string, boolean, array, object, found `text`
    j: { default: 1 }
       ^ config.schema.j: missing `type`
    k: { type: string, secret: true, default: hunter2 }
                                              ^ config.schema.k.default: a secret has no default
                                                help: manifests are shown to everyone: set the secret by reference
    l: { type: string, items: string }
                              ^ config.schema.l.items: only an array has items
                                help: remove it
    m n: { type: string }
    ^ `m n` cannot be the name of a setting
      help: letters, digits, `_`, `-` and `.`, beginning with a letter or underscore
    o: number
       ^ config.schema.o: expected a map, found `number`
    p: { type: number, default: .inf }
                                ^ config.schema.p.default: expected a finite number, found the number .inf
    q: { type: string, enum: [] }
                             ^ config.schema.q.enum: no value is allowed
                               help: name one, or remove it
    r: { type: object, default: { a: [1, null] } }
    s: { type: number, enum: [1, 2], default: 2.0, min: 1 }
"#,
    );
}

#[test]
fn the_two_forms_of_a_configuration_are_one() {
    check(
        r#"config:
  schema:
    a: { type: number, default: 1 }
    b: { type: number }
configSchema:
  a: { type: number }
  ^ the setting `a` is also described in line 5
    help: `configSchema` is another name of `config.schema`: keep one of the two
  c: { type: string, max: 3 }
defaultConfig:
  a: 2
     ^ defaultConfig.a: another default of this setting stands in line 5
       help: keep one of the two
  b: 3
  c: long
     ^ defaultConfig.c: must be at most 3 characters long, found 4
  d: 1
  ^ defaultConfig: the setting `d` is not described
    help: describe it in config.schema, with its type
"#,
    );
}
