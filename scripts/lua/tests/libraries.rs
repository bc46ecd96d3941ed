//! Pure-Lua libraries, unchanged as files of a module. They are not ours, so they are not here: `REPLUG_LUA_LIBRARIES` names
//! a folder with the files of some of them, as they stand in a module; of the rest nothing is said.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::host::Sources;

/// A library: the file or folder that must be there, the others that it takes, and a script that answers "ok".
const LIBRARIES: &[(&str, &[&str], &str)] = &[
    (
        "json.lua",
        &[],
        r#"
        local json = require("json")
        local text = json.encode({ 1, 2.5, "three", { a = true, b = "\n\"ü" }, {} })
        local back = json.decode(text)
        assert(back[1] == 1 and back[2] == 2.5 and back[4].a == true and back[4].b == "\n\"ü" and #back[5] == 0, text)
        local ok, why = pcall(json.decode, '{"a": [1, 2')
        assert(not ok and why:find("line 1"), why)"#,
    ),
    (
        "dkjson.lua",
        &[],
        r#"
        local json = require("dkjson")
        local text = json.encode({ 1, { a = "x" } }, { indent = true })
        local back, position, fault = json.decode(text)
        assert(back[2].a == "x" and not fault, text)
        assert(select(3, json.decode("[1, ")), "a fault")"#,
    ),
    (
        "middleclass.lua",
        &[],
        r#"
        local class = require("middleclass")
        local Animal = class("Animal")
        function Animal:initialize(name) self.name = name end
        function Animal.__eq(a, b) return a.name == b.name end
        local Dog = class("Dog", Animal)
        function Dog:speak() return self.name .. " barks" end
        local dog = Dog:new("Rex")
        assert(dog:speak() == "Rex barks" and dog:isInstanceOf(Animal) and tostring(Dog) == "class Dog")
        assert(dog == Dog("Rex"), "metamethods are inherited")"#,
    ),
    (
        "classic.lua",
        &[],
        r#"
        local Object = require("classic")
        local Point = Object:extend()
        function Point:new(x, y) self.x, self.y = x, y end
        local Rect = Point:extend()
        function Rect:new(x, y, w) Rect.super.new(self, x, y) self.w = w end
        local rect = Rect(1, 2, 3)
        assert(rect.x == 1 and rect.w == 3 and rect:is(Point) and not Point(1, 1):is(Rect))"#,
    ),
    (
        "lustache.lua",
        &["lustache/"],
        r#"
        local lustache = require("lustache")
        local page = "{{title}}: {{#items}}<{{name}}>{{/items}}{{^none}}none{{/none}} {{{raw}}}"
        local view = { title = "a & b", items = { { name = "x" }, { name = "y" } }, raw = "<b>" }
        local made = lustache:render(page, view)
        assert(made == "a &amp; b: <x><y>none <b>", made)"#,
    ),
    (
        "date.lua",
        &[],
        r#"
        local date = require("date")
        local d = date("2024-02-28T23:00:00Z")
        assert(d:adddays(1):fmt("%Y-%m-%d") == "2024-02-29")
        assert(date.diff(date(2025, 1, 1), date(2024, 1, 1)):spandays() == 366)
        assert(date(2024, 12, 30):getisoweeknumber() == 1 and date(true):getyear() >= 2024)"#,
    ),
    (
        "inspect.lua",
        &[],
        r#"
        local inspect = require("inspect")
        local t = { 1, 2, a = { b = "c" } }
        t.self = t
        local text = inspect(t)
        assert(text:find("<1>{", 1, true) and text:find("self = <table 1>", 1, true), text)"#,
    ),
    (
        "basexx.lua",
        &[],
        r#"
        local basexx = require("basexx")
        assert(basexx.to_base64("hello") == "aGVsbG8=" and basexx.from_base64("aGVsbG8=") == "hello")
        assert(basexx.to_base32("hi") == "NBUQ====" and basexx.from_hex("6869") == "hi")"#,
    ),
    (
        "argparse.lua",
        &[],
        r#"
        local argparse = require("argparse")
        local parser = argparse("script", "An example.")
        parser:argument("input")
        parser:option("-o --output"):default("a.out")
        parser:flag("-v --verbose"):count("*")
        local args = parser:parse({ "foo", "-vv", "--output=x" })
        assert(args.input == "foo" and args.output == "x" and args.verbose == 2)
        assert(parser:get_help():find("An example."))"#,
    ),
];

#[test]
fn libraries_from_the_wild_run_unchanged() {
    let Some(folder) = std::env::var_os("REPLUG_LUA_LIBRARIES") else {
        println!("REPLUG_LUA_LIBRARIES names no folder: no library is tried");
        return;
    };
    let (mut files, mut tried) = (BTreeMap::new(), Vec::new());
    read(Path::new(&folder), "", &mut files);
    for (main, others, script) in LIBRARIES {
        if !files.keys().any(|path| path.starts_with(main)) {
            continue;
        }
        let own = files.iter().filter(|(path, _)| path.starts_with(main) || others.iter().any(|o| path.starts_with(o)));
        let mut files: BTreeMap<String, Arc<str>> = own.map(|(path, text)| (path.clone(), text.clone())).collect();
        files.insert("main.lua".into(), handler(&format!("{script}\nreturn \"ok\"")).into());
        let program = match compile(&Sources { entry: "main.lua".into(), files }) {
            Ok(program) => program,
            Err(faults) => panic!("{main}: {}", faults[0]),
        };
        let mut vm = program.instantiate(Arc::new(Notes::default()), &generous(), &context()).unwrap();
        match vm.respond(&api(), &request(), &context()) {
            Ok(answer) => assert_eq!(text(&answer), "ok", "{main}"),
            Err(error) => panic!("{main}: {error}"),
        }
        tried.push(*main);
    }
    println!("tried: {tried:?}");
    assert!(tried.len() >= 4, "the folder has only {tried:?}");
}

fn read(folder: &Path, under: &str, files: &mut BTreeMap<String, Arc<str>>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{under}{}", path.file_name().unwrap().to_string_lossy());
        if path.is_dir() {
            read(&path, &format!("{name}/"), files);
        } else if name.ends_with(".lua") {
            files.insert(name, std::fs::read_to_string(&path).unwrap().into());
        }
    }
}
