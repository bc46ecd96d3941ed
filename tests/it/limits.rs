//! Scripts that do not end by themselves, as a client sees them, and their neighbours.

use crate::support::{Module, Server, until};

const SHORT: &str = "runtime:\n  limits: { ticks: 50000000, cpuTime: 90ms, wallTime: 200ms, memory: 16MiB }\n";

#[tokio::test]
async fn a_limit_is_a_problem_of_its_own_and_the_next_call_is_fresh() {
    let body = "if req.query.spin then while true do end end\nif req.query.eat then local t = {} while true do t[#t + 1] = string.rep('x', 1000 + #t) end end\nreturn 'well'";
    let server = Server::with(&[
        Module::handler("greedy", "1.0.0", body).manifest(SHORT),
        Module::echo("calm", "1.0.0", "rhai"),
    ])
    .await;
    for query in ["spin=1", "eat=1"] {
        for _ in 0..3 {
            let answer = server.get(&format!("/api/greedy?{query}")).await;
            assert_eq!((answer.status, answer.problem().as_str()), (503, "limit-exceeded"));
            assert_eq!(answer.header("x-replug-module"), "greedy@1.0.0");
            assert_eq!(server.get("/api/greedy").await.body, "well");
            assert_eq!(server.get("/api/calm").await.status, 200);
        }
    }
    // verdicts are no crashes
    let metrics = server.metrics().await;
    assert!(metrics.contains("replug_limit_verdicts_total{module=\"greedy\",version=\"1.0.0\"} 6"), "{metrics}");
    assert!(!metrics.contains("replug_worker_restarts_total{module=\"greedy\",version=\"1.0.0\"} 1"), "{metrics}");
}

#[tokio::test]
async fn the_internals_of_a_script_go_to_the_log_and_not_to_the_client() {
    let server = Server::with(&[Module::handler("leaky", "1.0.0", "error('the secret is 4711')")]).await;
    let answer = server.get("/api/leaky").await;
    assert_eq!((answer.status, answer.problem().as_str()), (500, "script-error"));
    assert!(!answer.body.contains("4711"), "{answer:?}");
    assert!(server.logged().contains("4711") && server.logged().contains(answer.header("x-request-id")));
}

#[tokio::test]
async fn a_full_queue_answers_at_once_and_says_when_to_come_again() {
    let body = "local e = time.now() + 300 while time.now() < e do end return 'done'";
    let narrow = "runtime:\n  workers: 1\n  limits: { wallTime: 5s, cpuTime: 5s, ticks: 900000000000, queue: 1 }\n";
    let server = Server::with(&[Module::handler("slow", "1.0.0", body).manifest(narrow)]).await;
    let calls = (0..8).map(|_| server.get("/api/slow"));
    let answers = futures::future::join_all(calls).await;
    let full: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert!(!full.is_empty() && full.len() < 8, "{answers:?}");
    for answer in full {
        assert_eq!(answer.problem(), "overloaded");
        assert!(answer.header("retry-after").parse::<u64>().is_ok(), "{answer:?}");
    }
}

#[tokio::test]
async fn the_wall_time_of_a_call_holds_inside_host_functions_too() {
    let tables = "database: {}\nruntime:\n  limits: { wallTime: 300ms, cpuTime: 30s }\n";
    let endless = "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) as c from n";
    let lua = format!(
        r#"return {{ apis = {{ ["GET /api/lua"] = function() return {{ body = db.query("{endless}") }} end }} }}"#
    );
    let rhai = format!(r#"#{{ apis: #{{ "GET /api/rhai": || #{{ body: db.query("{endless}", []) }} }} }}"#);
    let modules = [
        Module::new("lua", "1.0.0").api("/api/lua", "GET").manifest(tables).lua(&lua),
        Module::new("rhai", "1.0.0").api("/api/rhai", "GET").manifest(tables).rhai(&rhai),
    ];
    let server = Server::with(&modules).await;
    for path in ["/api/lua", "/api/rhai"] {
        let started = std::time::Instant::now();
        let answer = server.get(path).await;
        assert!(["limit-exceeded", "timeout"].contains(&answer.problem().as_str()), "{answer:?}");
        // the gateway alone would have waited for ten seconds
        assert!(started.elapsed() < std::time::Duration::from_secs(8), "{:?}", started.elapsed());
    }
}

/// Two modules of which one VM holds on to its room while another one fills what is left.
fn crowded() -> [Module; 2] {
    let manifest = "runtime:\n  workers: 2\n  limits: { memory: 4MiB, ticks: 900000000000, cpuTime: 20s, wallTime: 30s }\npermissions:\n  resources: { memory: { maxHeapSize: 6MiB } }\n";
    let lua = r#"return { apis = { ["GET /api/lua"] = function(req)
  if req.query.fill then local t = {} while true do t[#t + 1] = ("x"):rep(1000) .. #t end end
  kv.put("held", 1)
  while kv.get("go") ~= 1 do for _ = 1, 10000 do end end
  return { body = "let go" }
end } }"#;
    // each value is bounded, so there are two dozen
    let each = |text: fn(usize) -> String| (0..24).map(text).collect::<Vec<_>>().join(" ");
    let rhai = format!(
        r#"fn answer(req) {{
    if req.query.fill != () {{
        {arrays}
        loop {{ let text = ""; text.pad(1000, "x"); {pushes} }}
    }}
    kv.put("held", 1);
    while kv.get("go") != 1 {{ for i in 0..1000 {{ }} }}
    #{{ body: "let go" }}
}}
#{{ apis: #{{ "GET /api/rhai": Fn("answer") }} }}"#,
        arrays = each(|index| format!("let kept{index} = [];")),
        pushes = each(|index| format!("kept{index}.push(text + {index});")),
    );
    let module = |id: &str| Module::new(id, "1.0.0").api(&format!("/api/{id}"), "GET").manifest(manifest);
    [module("lua").lua(lua), module("rhai").rhai(&rhai)]
}

#[tokio::test]
async fn a_vm_to_which_another_one_of_its_module_leaves_little_meets_a_smaller_limit_in_both_languages() {
    let server = Server::with(&crowded()).await;
    for id in ["lua", "rhai"] {
        // as what a call ended that fills its VM, and what the log says of it
        let filled = async || {
            let answer = server.get(&format!("/api/{id}?fill=1")).await;
            assert_eq!(answer.status, 503, "{id}: {answer:?}");
            let (logged, request) = (server.logged(), answer.header("x-request-id"));
            let line = logged.lines().find(|line| line.contains(request) && line.contains("a request failed"));
            (answer.problem(), line.unwrap_or_else(|| panic!("{id}: it is not in {logged}")).to_owned())
        };
        let number = |line: &str, after: &str| {
            let number = line.split(after).nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok());
            number.unwrap_or_else(|| panic!("{id}: {after}: {line}"))
        };
        let path = format!("/api/{id}");
        let holds = server.get(&path);
        let beside = async {
            until("it is held", async || server.ok(&["eval", id, "kv.get(\"held\")"]).await["value"] == 1).await;
            // six, of which the one that runs has four: that is no fault of this one
            let (problem, line) = filled().await;
            assert_eq!(problem, "overloaded", "{id}: {line}");
            assert!(number(&line, &format!("{id}@1.0.0#1 had ")) <= 2 << 20, "{line}");
            assert!(line.contains("`permissions.resources.memory.maxHeapSize`"), "{line}");
            server.ok(&["eval", id, "kv.put(\"go\", 1)"]).await;
        };
        let (held, ()) = tokio::join!(holds, beside);
        assert_eq!(held.body, "let go", "{id}");
        // it gives back what it does not hold a moment after its answer
        until("there is an equal share of the room", async || {
            let (problem, line) = filled().await;
            problem == "limit-exceeded" && (3073..=4096).contains(&number(&line, "the limit of "))
        })
        .await;
    }
}

/// Calls that nest as deep as the query says, or without end.
const NESTED: &str =
    "local n = tonumber(req.query.n) local function f(i) return i == n and 0 or 1 + f(i + 1) end return tostring(f(0))";

fn nesting(stack: &str) -> [Module; 2] {
    let manifest = format!(
        "runtime:\n  limits: {{ memory: 1MiB, ticks: 500000000, cpuTime: 5s, wallTime: 20s }}\npermissions:\n  resources:\n    memory: {{ maxStackSize: {stack} }}\n"
    );
    let rhai = "fn f(i, n) { if i == n { 0 } else { 1 + f(i + 1, n) } }\n#{ apis: #{ \"GET /api/rhai\": |req| f(0, req.query.n.parse_int()).to_string() } }";
    [
        Module::handler("lua", "1.0.0", NESTED).manifest(&manifest),
        Module::new("rhai", "1.0.0").api("/api/rhai", "GET").rhai(rhai).manifest(&manifest),
    ]
}

#[tokio::test]
async fn calls_without_end_end_the_call_and_not_the_process_with_the_least_stack() {
    let server = Server::with(&nesting("18MiB")).await;
    // calls of Lua functions stand in the heap, of which there is one mebibyte
    for (id, expected) in [("lua", (503, "limit-exceeded")), ("rhai", (500, "script-error"))] {
        for _ in 0..3 {
            assert_eq!(server.get(&format!("/api/{id}?n=20")).await.body, "20", "{id}");
            let answer = server.get(&format!("/api/{id}?n=-1")).await;
            assert_eq!((answer.status, answer.problem().as_str()), expected, "{id}: {answer:?}");
        }
    }
    assert!(server.logged().contains("calls nest too deep"), "{}", server.logged());
}

#[tokio::test]
async fn a_stack_that_is_narrowed_holds_for_the_threads_that_start_then() {
    let server = Server::with(&nesting("40MiB")).await;
    let deepest = async || {
        let (mut works, mut fails) = (0, 1000);
        while fails - works > 1 {
            let n = works + (fails - works) / 2;
            let answer = server.get(&format!("/api/rhai?n={n}")).await;
            *(if answer.status == 200 { &mut works } else { &mut fails }) = n;
        }
        works
    };
    let before = deepest().await;
    let little = server.run(&["permissions", "narrow", "rhai", "resources.memory.maxStackSize=17MiB"]).await;
    let (kind, said) = little.error();
    assert_eq!((little.code, kind.as_str()), (1, "bad-request"), "{said}");
    assert!(said.contains("need resources.memory.maxStackSize=18MiB at the least"), "{said}");
    assert_eq!(deepest().await, before);
    server.ok(&["permissions", "narrow", "rhai", "resources.memory.maxStackSize=20MiB"]).await;
    server.ok(&["deactivate", "rhai"]).await;
    server.ok(&["activate", "rhai"]).await;
    // 38 MiB were left for calls, and 18 are
    let after = deepest().await;
    assert!(after > before / 3 && after < before * 2 / 3, "{before}, then {after}");
}

#[tokio::test]
async fn a_stack_that_is_not_safe_is_a_fault_of_the_manifest() {
    let server = Server::with(&[]).await;
    let [_, module] = nesting("17MiB");
    let ran = server.run(&["register", &server.write(&module)]).await;
    let (kind, said) = ran.error();
    assert_eq!(kind, "manifest", "{said}");
    let expected = "maxStackSize: 17MiB are less than the 18MiB that VMs of 1MiB need";
    assert!(format!("{ran:?}").contains(expected), "{ran:?}");
}
