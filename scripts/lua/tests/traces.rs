//! Where errors of Lua say that they come from.

use crate::testing::traces::{Row, assert_places};

const ENTRY: &str =
    "local lib = require(\"lib/a\")\nreturn { apis = { [\"GET /x\"] = function(req)\n\treturn lib.run(req)\nend } }";

const ROWS: &[Row<'_>] = &[
    (
        &[
            ("main.lua", ENTRY),
            ("lib/a.lua", "local b = require(\"lib/b\")\nreturn { run = function()\n\tb()\nend }"),
            ("lib/b.lua", "return function()\n\terror(\"no\")\nend"),
        ],
        "lib/b.lua:2: no",
        &["lib/b.lua:2", "lib/a.lua:3", "main.lua:3"],
    ),
    (
        &[
            ("main.lua", ENTRY),
            (
                "lib/a.lua",
                "return { run = function()\n\tlocal f = coroutine.wrap(function()\n\t\terror(\"no\")\n\tend)\n\treturn f()\nend }",
            ),
        ],
        "lib/a.lua:3: no",
        &["lib/a.lua:5 in run", "main.lua:3"],
    ),
    (
        &[
            ("main.lua", ENTRY),
            (
                "lib/a.lua",
                "return { run = function()\n\tlocal f = coroutine.wrap(function()\n\t\tdb.query(\"select\")\n\tend)\n\treturn f()\nend }",
            ),
        ],
        "permission denied",
        &["lib/a.lua:5 in run", "main.lua:3"],
    ),
    (
        &[
            ("main.lua", ENTRY),
            (
                "lib/a.lua",
                "return { run = function()\n\ttable.sort({ 1, 2 }, function(a, b)\n\t\treturn a.x < b\n\tend)\nend }",
            ),
        ],
        "lib/a.lua:3: ",
        &["lib/a.lua:3", "lib/a.lua:2 in run", "main.lua:3"],
    ),
    (
        &[
            ("main.lua", ENTRY),
            ("lib/a.lua", "return { run = function()\n\trequire(\"lib/b\")\nend }"),
            ("lib/b.lua", "local x = 1\nerror(\"no\")"),
        ],
        "lib/b.lua:2: no",
        &["lib/a.lua:2 in run", "main.lua:3"],
    ),
    (
        &[("main.lua", ENTRY), ("lib/a.lua", "return { run = function()\n\tdb.query(\"select\")\nend }")],
        "permission denied",
        &["lib/a.lua:2 in run", "main.lua:3"],
    ),
    (
        &[
            ("main.lua", ENTRY),
            (
                "lib/a.lua",
                "return { run = function(req)\n\tlocal t = setmetatable({}, { __index = function(t, k)\n\t\terror(\"no \" .. k)\n\tend })\n\treturn t.key\nend }",
            ),
        ],
        "lib/a.lua:3: no key",
        &["lib/a.lua:3", "lib/a.lua:5 in run", "main.lua:3"],
    ),
];

#[test]
fn errors_of_other_files_coroutines_and_callbacks_name_their_lines() {
    assert_places(ROWS);
}
