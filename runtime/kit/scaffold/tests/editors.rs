//! What the files for editors say of Lua is what its virtual machines are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use replug_scripts::{CallContext, Host, HostError, HostErrorKind, HostFn, Language, Limits, Sources, Value, evaluate};

/// The globals that Luau's own definitions have, of libraries those parts which a VM could be without.
const OF_LUAU: &str = "_G _VERSION assert bit32 buffer collectgarbage coroutine debug debug.info debug.traceback error gcinfo \
    getfenv getmetatable ipairs loadstring math newproxy next os os.clock os.date os.difftime os.time pairs pcall print rawequal \
    rawget rawlen rawset require select setfenv setmetatable string table tonumber tostring type typeof unpack utf8 vector xpcall";

/// Reaches nothing.
struct Nothing;

impl Host for Nothing {
    fn call(&self, function: HostFn, _: Vec<Value>, _: &CallContext) -> Result<Value, HostError> {
        Err(HostError::new(HostErrorKind::Failed, format!("{} is not here", function.path())))
    }
}

/// The value of an expression in a VM such as a module's.
fn value(code: &str) -> Value {
    let (limits, files) = (Limits::default(), Sources { entry: "main.lua".into(), files: BTreeMap::new() });
    let call = CallContext {
        module: "m".into(),
        version: "1.0.0".into(),
        request_id: "test".into(),
        caller: None,
        deadline: Instant::now() + Duration::from_secs(5),
        chain: Vec::new(),
        hops: 0,
        principal: None,
        mirrored: None,
        readying: None,
    };
    evaluate(Language::Lua, code, &files, Arc::new(Nothing), &limits, &call)
        .unwrap_or_else(|error| panic!("{code}: {error}"))
}

#[test]
fn editors_are_told_to_forget_those_globals_of_luau_that_a_vm_has_not() {
    let settings: serde_json::Value = serde_json::from_str(include_str!("../lua/settings.json")).unwrap();
    assert_eq!(settings["luau-lsp.platform.type"], "standard", "else editors know more globals");
    let disabled: Vec<&str> = settings["luau-lsp.types.disabledGlobals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    let known: Vec<&str> = OF_LUAU.split_whitespace().collect();
    for name in &disabled {
        assert!(known.contains(name), "{name}");
    }
    for name in known {
        let is_there = value(&format!("{name} ~= nil")) == true.into();
        assert_eq!(is_there, !disabled.contains(&name), "{name}");
    }
    // what is here and not in Luau's definitions would have to be declared by ours
    let parts = value("(function() local all = {} for name in os do all[name] = true end return all end)()");
    let names = ["clock", "date", "difftime", "time"].map(|name| (name, true.into()));
    assert_eq!(parts, Value::map(names));
}
