//! What modules use, as an administrator sees it, against what the process really takes.

use serde_json::Value;

use crate::support::{Module, Server};

const LIMITS: &str = "runtime: { limits: { memory: 96MiB, cpuTime: 60s, wallTime: 60s, ticks: 100000000000 } }\n";

/// Modules that build values of `n` parts and hold them until somebody puts `go`.
fn holders() -> [Module; 2] {
    let lua = r#"return { apis = { ["GET /api/lua"] = function(req)
        local kept, n = {}, tonumber(req.query.n)
        for i = 1, n do kept[i] = { id = i, name = "item " .. i } end
        kv.put("full", n)
        while kv.get("go") ~= n do for _ = 1, 100000 do end end
        return { body = tostring(#kept) }
    end } }"#;
    // the texts of one value are bounded: a dozen arrays
    let each = |text: fn(usize) -> String, between: &str| (0..12).map(text).collect::<Vec<_>>().join(between);
    let rhai = format!(
        r#"fn hold(req) {{
    let n = parse_int(req.query.n);
    {arrays}
    for i in 0..n {{
        let text = "item " + i;
        text.pad(10000, ".");
        switch i % 12 {{ {pushes} }}
    }}
    kv.put("full", n);
    while kv.get("go") != n {{ for i in 0..1000 {{ }} }}
    #{{ body: ({lengths}).to_string() }}
}}
#{{ apis: #{{ "GET /api/rhai": Fn("hold") }} }}"#,
        arrays = each(|index| format!("let kept{index} = [];"), " "),
        pushes = each(|index| format!("{index} => kept{index}.push(text)"), ", "),
        lengths = each(|index| format!("kept{index}.len()"), " + "),
    );
    let module = |id: &str| Module::new(id, "1.0.0").api(&format!("/api/{id}"), "GET").manifest(LIMITS);
    [module("lua").lua(lua), module("rhai").rhai(&rhai)]
}

/// The modules, each with how many parts it is to hold. Rhai sums up the sizes of an array's parts at every push: fewer and larger
/// ones.
const fn parts(n: u64) -> [(&'static str, u64); 2] {
    [("lua", n), ("rhai", n / 100)]
}

/// What the process and its modules use once these hold values of so many parts.
async fn held(server: &Server, parts: &[(&str, u64)]) -> Value {
    let calls = parts.iter().map(|(id, n)| async move { server.get(&format!("/api/{id}?n={n}")).await.body });
    let mut hold = std::pin::pin!(futures::future::join_all(calls));
    let look = async {
        for (id, n) in parts {
            while server.ok(&["eval", id, "kv.get(\"full\")"]).await["value"] != *n {}
        }
        server.resource("/v1/usage").await
    };
    let usage = tokio::select! {
        answers = &mut hold => panic!("they did not wait: {answers:?}\n{}", server.logged()),
        usage = look => usage,
    };
    for (id, n) in parts {
        server.ok(&["eval", id, &format!("kv.put(\"go\", {n})")]).await;
    }
    assert_eq!(hold.await, parts.iter().map(|(_, n)| n.to_string()).collect::<Vec<_>>());
    usage
}

/// Bytes that the heaps of the modules hold, and those that the process takes.
fn bytes(usage: &Value) -> (f64, f64) {
    let rows = usage["modules"].as_array().expect("modules").iter();
    let counted = rows.map(|row| row["memory"].as_f64().expect("bytes")).sum();
    (counted, usage["process"]["memory"].as_f64().expect("bytes"))
}

/// What is counted of the difference is what is taken for it, within a tenth.
fn agree(few: &Value, many: &Value) -> f64 {
    let ((counted, taken), (before, taken_before)) = (bytes(many), bytes(few));
    let (counted, taken) = (counted - before, taken - taken_before);
    assert!((counted / taken - 1.0).abs() < 0.1, "{counted} counted, {taken} taken: {few} {many}");
    counted
}

#[tokio::test]
async fn the_heap_of_each_language_alone_is_what_the_process_takes_for_it() {
    for (index, module) in holders().into_iter().enumerate() {
        let server = Server::lean(&[module]).await;
        let few = held(&server, &parts(300)[index..=index]).await;
        let many = held(&server, &parts(300_000)[index..=index]).await;
        let counted = agree(&few, &many);
        assert!(counted > 25e6, "{many}");
    }
}

#[tokio::test]
async fn the_heaps_of_scripts_add_up_to_what_the_process_takes_for_them() {
    let server = Server::lean(&holders()).await;
    let (few, many) = (held(&server, &parts(300)).await, held(&server, &parts(300_000)).await);
    let counted = agree(&few, &many);
    assert!(counted > 55e6, "{many}");
    for row in many["modules"].as_array().expect("modules") {
        let at = |name: &str| row[name].as_f64().expect("a number");
        assert!(at("peakMemory") >= at("memory") && at("memory") > 25e6 && at("cpuMillis") > 0.0, "{row}");
        assert!(at("calls") >= 1.0 && row["storage"]["kv"].as_u64() > Some(0), "{row}");
    }
    assert_eq!(server.ok(&["top"]).await["modules"].as_array().map(Vec::len), Some(2));
    // what it was asked and answered
    let lua = server.ok(&["top", "lua"]).await;
    assert!(lua["requests"]["sent"].as_u64() >= Some(8), "{lua}");
    assert_eq!(lua["quotas"]["memory"], 100 << 20);
}
