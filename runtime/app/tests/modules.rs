//! The modules of the matrix: each has one of everything that a version may leave behind.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Cell, Language, Wrong};

/// Each handler asks what to do there. `V` is its version, `ID` its id.
const LUA: &str = r#"
local function at(place)
  local what = services.call("place." .. place, {})
  if what == "throw" then error("broken on demand") end
  while what == "loop" do end
end
local function counts(name)
  return {
    init = function() return { by = "V", count = 0 } end,
    handle = function(state, message)
      if message == "add" then state.count += 1 end
      return { state = state, reply = state }
    end,
  }
end
return {
  init = function()
    at("init")
    kv.put("made V", "V")
    fs.write("data/V", "V")
    timers.every(100, "ID.tick", "shared V", { id = "shared" })
    timers.every(100, "ID.tick", "own V", { id = "own V" })
  end,
  warmup = function()
    at("warmup")
    if "V" == "1.0.0" then db.execute("insert or ignore into t1 values (7)") end
  end,
  health = function() at("health") return "healthy" end,
  shutdown = function() at("shutdown") end,
  cleanup = { sweep = function() at("sweep") end },
  upgrade = function(state) return { by = "V", count = state.count } end,
  apis = {
    ["GET /api/ID"] = function() return { body = "V" } end,
    ["GET /api/ID/V"] = function() return { body = "V" } end,
  },
  pages = {
    Home = function() return { body = "<p>V</p>" } end,
    Own = function() return { body = "<p>V</p>" } end,
  },
  services = {
    ["ID.look"] = function()
      local files = {}
      for _, file in fs.list("data") do table.insert(files, file.name) end
      return {
        version = "V",
        tables = db.query("select name from sqlite_schema where name like 't_' order by name"),
        keys = kv.list("made"),
        files = files,
      }
    end,
    ["ID.rows"] = function() return db.query("select n from t1") end,
    ["ID.add"] = function(actor) return actors.call(actor, "add") end,
    ["ID.say"] = function(what) events.publish("ID.said", what) end,
  },
  events = {
    ["ID.tick"] = function(message) services.call("place.ticked", message.payload) end,
    ["ID.said"] = function(message) services.call("place.heard", message.payload) end,
  },
  actors = { counter = counts(), LATE },
}
"#;

/// The same.
const RHAI: &str = r##"
fn at(place) {
  let what = services.call("place." + place, #{});
  if what == "throw" { throw "broken on demand"; }
  while what == "loop" {}
}
fn counts() {
  #{
    init: |ctx| #{ by: "V", count: 0 },
    handle: |state, message, ctx| {
      if message == "add" { state.count += 1; }
      #{ state: state, reply: state }
    },
  }
}
#{
  init: |ctx| {
    at("init");
    kv.put("made V", "V");
    fs.write("data/V", "V");
    timers.every(100, "ID.tick", "shared V", #{ id: "shared" });
    timers.every(100, "ID.tick", "own V", #{ id: "own V" });
  },
  warmup: |ctx| {
    at("warmup");
    if "V" == "1.0.0" { db.execute("insert or ignore into t1 values (7)"); }
  },
  health: |ctx| { at("health"); "healthy" },
  shutdown: |ctx| { at("shutdown"); },
  cleanup: #{ sweep: |ctx| { at("sweep"); } },
  upgrade: |state, from, actor| #{ by: "V", count: state.count },
  apis: #{
    "GET /api/ID": |req| #{ body: "V" },
    "GET /api/ID/V": |req| #{ body: "V" },
  },
  pages: #{
    Home: |req| #{ body: "<p>V</p>" },
    Own: |req| #{ body: "<p>V</p>" },
  },
  services: #{
    "ID.look": |args| #{
      version: "V",
      tables: db.query("select name from sqlite_schema where name like 't_' order by name"),
      keys: kv.list("made"),
      files: fs.list("data").map(|file| file.name),
    },
    "ID.rows": |args| db.query("select n from t1"),
    "ID.add": |actor| actors.call(actor, "add"),
    "ID.say": |what| { events.publish("ID.said", what); },
  },
  events: #{
    "ID.tick": |message| { services.call("place.ticked", message.payload); },
    "ID.said": |message| { services.call("place.heard", message.payload); },
  },
  actors: #{ counter: counts(), LATE },
}
"##;

impl Cell {
    /// The migrations of a version, as numbers of tables. An instant activation has none that is new.
    pub(super) fn migrations(&self, major: u64) -> std::ops::RangeInclusive<u64> {
        let last = match (self.kind.is_gradual(), self.kind.first) {
            (true, _) => major,
            (false, first) => u64::from(!first),
        };
        1..=last
    }
}

/// Writes the folder of a version of the cell's module.
pub(super) fn write(root: &Path, cell: &Cell, major: u64) -> PathBuf {
    let (id, version) = (&*cell.id, format!("{major}.0.0"));
    let dir = root.join(format!("{id}-{version}"));
    let put = |name: &str, text: &str| {
        std::fs::create_dir_all(&dir).expect("a folder");
        std::fs::write(dir.join(name), text).expect("a file");
    };
    let mut migrations = String::new();
    for number in cell.migrations(major) {
        let _ = write!(migrations, "{{ version: {number}.0.0, file: {number}.sql }}, ");
        put(&format!("{number}.sql"), &format!("create table t{number} (n integer primary key);"));
        put(&format!("{number}.down.sql"), &format!("drop table t{number};"));
    }
    if major == 2 && cell.wrong == Some(Wrong::Statement) {
        migrations.push_str("{ version: 2.0.1, file: broken.sql }");
        put("broken.sql", "create table t9 (n integer); insert into t9 select n from nowhere;");
        put("broken.down.sql", "drop table t9;");
    }
    // what stands before the cell's version is brought by the steps that migrate
    let strategy = if cell.kind.is_gradual() || major == 1 { "gradual" } else { "instant" };
    // where something hangs or loops it is waited for
    let quick = matches!(cell.wrong, Some(Wrong::Hang | Wrong::Loop));
    let (check, wall) = if quick { ("600ms", "1s") } else { ("10s", "10s") };
    let (time, preserve) = (cell.time().as_millis(), cell.kind.preserve);
    let late = if major == 1 { "" } else { ", { id: late }" };
    put(
        "module.manifest.yaml",
        &format!(
            "id: {id}\nname: The {id} {version}\nversion: {version}\ncapabilities: [{{ id: {id} }}]\n\
             apis: [{{ path: /api/{id}, methods: [GET] }}, {{ path: /api/{id}/{version}, methods: [GET] }}]\n\
             routes: [{{ path: /{id}, component: Home }}, {{ path: /{id}/{version}, component: Own }}]\n\
             database: {{ migrations: [{migrations}] }}\n\
             permissions: {{ system: {{ filesystem: [{{ path: data, access: write }}] }} }}\n\
             runtime: {{ workers: 1, limits: {{ cpuTime: 300ms, wallTime: {wall} }}, actors: [{{ id: counter }}{late}] }}\n\
             lifecycle:\n  deactivation: {{ timeout: 1s, cleanup: [sweep, clearCache, closeConnections] }}\n  \
             rollback: {{ preserveData: {preserve}, timeout: {time} }}\n  activation:\n    strategy: {strategy}\n    \
             timeout: {time}\n    confirmWindow: 1h\n    rollbackTriggers: [criticalError, healthCheckFailure]\n    \
             healthChecks: [{{ type: custom, timeout: {check}, interval: 1m, retries: 0 }}]\n    \
             trafficShifting: {{ interval: 10ms, increment: 40, maxIncrement: 40 }}\n"
        ),
    );
    let (name, script, late) = match cell.kind.language {
        Language::Lua => ("main.lua", LUA, "late = counts()"),
        Language::Rhai => ("main.rhai", RHAI, "late: counts()"),
    };
    let late = if major == 1 { "" } else { late };
    put(name, &script.replace("LATE", late).replace("ID", id).replace('V', &version));
    dir
}

/// A module that ticks, and has a page of the shell.
pub(super) fn clock(root: &Path) -> PathBuf {
    let dir = root.join("clock");
    std::fs::create_dir_all(&dir).expect("a folder");
    let manifest = "id: clock\nname: Clock\nversion: 1.0.0\nroutes: [{ path: /clock, component: Clock }]\n\
                    lifecycle: { activation: { trafficShifting: { interval: 10ms } } }\n";
    std::fs::write(dir.join("module.manifest.yaml"), manifest).expect("a file");
    let script = r#"return {
      init = function() timers.every(100, "clock.tick", "clock", { id = "clock" }) end,
      pages = { Clock = function() return { body = "tick" } end },
      events = { ["clock.tick"] = function(message) services.call("place.ticked", message.payload) end },
    }"#;
    std::fs::write(dir.join("main.lua"), script).expect("a file");
    dir
}
