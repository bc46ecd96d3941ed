//! Where errors of Rhai say that they come from.

use crate::testing::traces::{Row, assert_places};

const ENTRY: &str = "fn handle(req) {\n    lib::a::run(req)\n}\n#{ apis: #{ \"GET /x\": Fn(\"handle\") } }";

const ROWS: &[Row<'_>] = &[
    (
        &[
            ("main.rhai", ENTRY),
            ("lib/a.rhai", "fn run(req) {\n    lib::b::deep(req)\n}"),
            ("lib/b.rhai", "fn deep(req) {\n    throw \"no\";\n}"),
        ],
        "lib/b.rhai:2: no",
        &["lib/b.rhai:2 in deep", "lib/a.rhai:2 in run", "main.rhai:2"],
    ),
    (
        &[
            ("main.rhai", ENTRY),
            ("lib/a.rhai", "fn run(req) {\n    [1, 2].map(|n| {\n        throw \"no\";\n    })\n}"),
        ],
        "lib/a.rhai:3: no",
        &["lib/a.rhai:3", "lib/a.rhai:2 in map", "lib/a.rhai:2 in run", "main.rhai:2"],
    ),
    (
        &[
            ("main.rhai", ENTRY),
            ("lib/a.rhai", "fn run(req) {\n    let f = || {\n        db.query(\"select\")\n    };\n    f.call()\n}"),
        ],
        "permission denied",
        &["lib/a.rhai:3", "lib/a.rhai:5 in run", "main.rhai:2"],
    ),
    (
        &[("main.rhai", ENTRY), ("lib/a.rhai", "fn run(req) {\n    let x = req.no.deeper;\n    x\n}")],
        "lib/a.rhai:2: ",
        &["lib/a.rhai:2 in run", "main.rhai:2"],
    ),
    (
        &[
            ("main.rhai", ENTRY),
            ("lib/a.rhai", "private fn inner(n) {\n    throw `no ${n}`;\n}\nfn run(req) {\n    inner(1)\n}"),
        ],
        "lib/a.rhai:2: no 1",
        &["lib/a.rhai:2 in inner", "lib/a.rhai:5 in run", "main.rhai:2"],
    ),
    (
        &[("main.rhai", "#{ apis: #{ \"GET /x\": |req| {\n    let n = [];\n    n[3]\n} } }")],
        "main.rhai:3: ",
        &["main.rhai:3"],
    ),
];

#[test]
fn errors_of_other_files_closures_and_modules_name_their_lines() {
    assert_places(ROWS);
}
