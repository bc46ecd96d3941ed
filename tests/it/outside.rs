//! What scripts reach outside the runtime, in both languages: what is granted works; what is not fails with the line of the
//! manifest that would grant it, and nothing happened.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::support::{Module, Server};

mod others;
mod quotas;

/// A module `ID-lua` and one `ID-rhai` whose `GET /api/ID-LANGUAGE` answers with the list of what these expressions give, each
/// `[kind, message]` of the error where it throws. The expressions mean the same in both languages; `{…}` of a map is `#{…}` in Rhai.
fn both(id: &str, version: &str, manifest: &str, expressions: &[&str]) -> [Module; 2] {
    let lua = expressions
        .iter()
        .map(|one| format!("run(function() return {} end)", one.replace("#{", "{").replace(": ", " = ")));
    let lua = format!(
        "local function run(f)\n  local ok, v = pcall(f)\n  if ok then return {{ v = v }} end\n  return {{ kind = v.kind, message = v.message }}\nend\nreturn {{ apis = {{ [\"GET /api/{id}-lua\"] = function() return {{ body = {{ {} }} }} end }} }}",
        lua.collect::<Vec<_>>().join(", ")
    );
    let rhai = expressions.iter().map(|one| {
        format!(
            "try {{ all.push(#{{ v: {one} }}); }} catch (e) {{ all.push(#{{ kind: e.kind, message: e.message }}); }}\n"
        )
    });
    let rhai = format!(
        "fn answer() {{ let all = [];\n{} #{{ body: all }} }}\n#{{ apis: #{{ \"GET /api/{id}-rhai\": Fn(\"answer\") }} }}",
        rhai.collect::<String>()
    );
    let module = |language: &str| {
        let name = format!("{id}-{language}");
        Module::new(&name, version).api(&format!("/api/{name}"), "GET").manifest(manifest)
    };
    [module("lua").lua(&lua), module("rhai").rhai(&rhai)]
}

/// What each expression gave.
async fn ask(server: &Server, id: &str) -> Vec<Value> {
    let answer = server.get(&format!("/api/{id}")).await;
    assert_eq!(answer.status, 200, "{answer:?}\n{}", server.logged());
    answer.json().as_array().expect("a list").clone()
}

fn refused(answer: &Value, kind: &str, part: &str) {
    assert_eq!(answer["kind"], kind, "{answer}");
    assert!(
        answer["message"].as_str().is_some_and(|message| message.contains(part)),
        "`{answer}` does not say `{part}`"
    );
}

const FILES: &str = "permissions:\n  system:\n    filesystem: [{ path: data, access: write }, { path: in }]\n";

#[tokio::test]
async fn files_are_reached_where_they_are_granted_and_nowhere_else() {
    let granted = [
        "fs.mkdir(\"data/empty\")",
        "fs.write(\"data/a/b.txt\", \"one\")",
        "fs.append(\"data/a/b.txt\", \" two\")",
        "fs.read(\"data/a/b.txt\")",
        "fs.list(\"data\")",
        "fs.stat(\"data/a/b.txt\").size",
        "fs.exists(\"data/none\")",
        "fs.remove(\"data/empty\")",
        "fs.read(\"data/none\")",
    ];
    let denied = [
        "fs.write(\"in/a\", \"x\")",
        "fs.append(\"other\", \"x\")",
        "fs.mkdir(\"other\")",
        "fs.remove(\"in\")",
        "fs.read(\"other\")",
        "fs.list(\".\")",
    ];
    let outside = [
        "fs.read(\"/etc/passwd\")",
        "fs.read(\"data/../../../audit\")",
        "fs.write(\"data/..\", \"x\")",
        "fs.read(\"data/a\\x00b\")",
    ];
    let all: Vec<&str> = granted.iter().chain(&denied).chain(&outside).copied().collect();
    let mut modules = both("files", "1.0.0", FILES, &all).to_vec();
    modules.extend(both("bare", "1.0.0", "", &["fs.write(\"data/x\", \"x\")", "fs.read(\"data/x\")"]));
    let server = Server::granting(&modules).await;
    for id in ["files-lua", "files-rhai"] {
        let answers = ask(&server, id).await;
        let list =
            json!([{ "name": "a", "kind": "folder", "size": 0 }, { "name": "empty", "kind": "folder", "size": 0 }]);
        let expected =
            [json!(true), Value::Null, Value::Null, json!("one two"), list, json!(7), json!(false), json!(true)];
        for (index, expected) in expected.iter().enumerate() {
            assert_eq!(
                answers[index].get("v").unwrap_or(&Value::Null),
                expected,
                "{}: {}",
                granted[index],
                answers[index]
            );
        }
        refused(&answers[8], "not-found", "fs.read: data/none: there is no such file");
        for (answer, asked) in answers[9..15].iter().zip(denied) {
            refused(answer, "permission-denied", "permissions: { system: { filesystem: [{ path: ");
            assert!(answer["message"].as_str().expect("a text").contains(&asked[..7]), "{answer}");
        }
        for answer in &answers[15..] {
            refused(answer, "invalid-argument", "is no path");
        }
        let folder = server.data().join("files").join(id);
        let names: Vec<_> =
            std::fs::read_dir(&folder).expect("it wrote").map(|entry| entry.expect("an entry").file_name()).collect();
        assert_eq!(names, ["data"], "nothing was made outside");
    }
    for id in ["bare-lua", "bare-rhai"] {
        for answer in ask(&server, id).await {
            refused(&answer, "permission-denied", "filesystem: [{ path: data/x, access: ");
        }
        assert!(!server.data().join("files").join(id).exists());
    }
}

#[tokio::test]
async fn files_are_shared_by_versions_and_stay_when_the_module_goes() {
    let [first, _] = both("kept", "1.0.0", FILES, &["fs.write(\"data/a\", \"kept\")"]);
    let [second, _] = both("kept", "2.0.0", FILES, &["fs.read(\"data/a\")"]);
    let server = Server::granting(&[first]).await;
    ask(&server, "kept-lua").await;
    server.settle(&second).await;
    assert_eq!(ask(&server, "kept-lua").await, [json!({ "v": "kept" })]);
    server.ok(&["deactivate", "kept-lua"]).await;
    server.ok(&["unregister", "kept-lua"]).await;
    assert!(!server.metrics().await.contains("kept-lua"), "{}", server.metrics().await);
    // the grants went with its last version
    server.ok(&["register", &server.write(&second)]).await;
    server.ok(&["permissions", "grant", "kept-lua"]).await;
    server.ok(&["activate", "kept-lua"]).await;
    assert_eq!(ask(&server, "kept-lua").await, [json!({ "v": "kept" })]);
}

#[tokio::test]
async fn variables_are_read_by_the_names_that_are_granted() {
    let granted = "permissions:\n  system:\n    environment: [PATH, REPLUG_TEST_UNSET]\n";
    let server = Server::granting(&both(
        "vars",
        "1.0.0",
        granted,
        &["env.get(\"PATH\")", "env.get(\"REPLUG_TEST_UNSET\")", "env.get(\"HOME\")"],
    ))
    .await;
    for id in ["vars-lua", "vars-rhai"] {
        let answers = ask(&server, id).await;
        assert_eq!(answers[0]["v"], json!(std::env::var("PATH").expect("there is one")));
        assert_eq!(answers[1].get("v").unwrap_or(&Value::Null), &Value::Null);
        refused(&answers[2], "permission-denied", "permissions: { system: { environment: [HOME] } }");
    }
}

#[tokio::test]
async fn what_scripts_count_is_shown_and_goes_with_the_module() {
    let expressions = [
        "metrics.count(\"orders\")",
        "metrics.count(\"orders\", 2, #{ kind: \"new\" })",
        "metrics.gauge(\"stock\", 1.5)",
        "metrics.observe(\"wait_seconds\", 0.02)",
        "metrics.gauge(\"Bad Name\", 1)",
        "metrics.count(\"orders\", -1)",
    ];
    let server = Server::granting(&both("counts", "1.0.0", "", &expressions)).await;
    for id in ["counts-lua", "counts-rhai"] {
        let answers = ask(&server, id).await;
        refused(&answers[4], "invalid-argument", "no name of a metric");
        refused(&answers[5], "invalid-argument", "from 0 on");
        let shown = server.metrics().await;
        for line in [
            format!("replug_module_orders_total{{module=\"{id}\",version=\"1.0.0\"}} 1"),
            format!("replug_module_orders_total{{kind=\"new\",module=\"{id}\",version=\"1.0.0\"}} 2"),
            format!("replug_module_stock{{module=\"{id}\",version=\"1.0.0\"}} 1.5"),
            format!("replug_module_wait_seconds_count{{module=\"{id}\",version=\"1.0.0\"}} 1"),
        ] {
            assert!(shown.contains(&line), "{line} in {shown}");
        }
    }
    server.ok(&["deactivate", "counts-lua"]).await;
    server.ok(&["unregister", "counts-lua"]).await;
    let shown = server.metrics().await;
    assert!(!shown.contains("counts-lua") && shown.contains("counts-rhai"), "{shown}");
}

/// A server that answers every request with `{"ok":true}`, and counts its connections.
async fn upstream() -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let connections = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut seen = [0; 4096];
                while matches!(stream.read(&mut seen).await, Ok(count) if count > 0) {
                    let answer =
                        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";
                    if stream.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (port, connections)
}

#[tokio::test]
async fn hosts_are_asked_where_they_are_granted_and_nothing_else_is_connected_to() {
    let ((port, connections), (closed, untouched)) = (upstream().await, upstream().await);
    let manifest = format!(
        "permissions:\n  system:\n    network: [{{ host: localhost, ports: [{port}] }}, {{ host: 127.0.0.1, ports: [{port}] }}]\n"
    );
    let url = format!("http://127.0.0.1:{port}/");
    let expressions = [
        format!("http.get(\"{url}\").body"),
        format!("json.decode(http.post(\"{url}\", #{{ a: 1 }}).body).ok"),
        format!("http.request(#{{ url: \"http://localhost:{port}/\", method: \"PUT\", timeout: 5000 }}).headers"),
        format!("http.get(\"http://127.0.0.1:{closed}/\")"),
        format!("http.get(\"http://127.0.0.2:{port}/\")"),
        "http.get(\"http://169.254.169.254/latest\")".to_owned(),
        "http.get(\"file:///etc/passwd\")".to_owned(),
        format!("http.get(\"{url}\", #{{ headers: #{{ host: \"x\" }} }})"),
        "http.post(1)".to_owned(),
    ];
    let expressions: Vec<&str> = expressions.iter().map(String::as_str).collect();
    let server = Server::granting(&both("asks", "1.0.0", &manifest, &expressions)).await;
    for id in ["asks-lua", "asks-rhai"] {
        let answers = ask(&server, id).await;
        assert_eq!(answers[0]["v"], json!("{\"ok\":true}"), "{}", answers[0]);
        assert_eq!(answers[1]["v"], json!(true), "{}", answers[1]);
        assert_eq!(answers[2]["v"]["content-type"], json!("application/json"), "{}", answers[2]);
        refused(&answers[3], "permission-denied", &format!("network: [{{ host: \"127.0.0.1\", ports: [{closed}] }}]"));
        refused(&answers[4], "permission-denied", "does not ask for system.network:127.0.0.2:");
        refused(&answers[5], "permission-denied", "does not ask for system.network:169.254.169.254:80");
        refused(&answers[6], "invalid-argument", "the scheme is file");
        refused(&answers[7], "invalid-argument", "`host` is set by the client itself");
        refused(&answers[8], "invalid-argument", "argument 1 must be a string");
        let shown = server.metrics().await;
        let line = format!("replug_http_client_seconds_count{{module=\"{id}\",version=\"1.0.0\"}} 3");
        assert!(shown.contains(&line), "{line} in {shown}");
    }
    assert!(connections.load(Ordering::SeqCst) > 0);
    assert_eq!(untouched.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn bounds_of_the_manifest_on_hosts_ports_and_plain_http_hold_beside_the_grant() {
    let ((open, connections), (shut, untouched)) = (upstream().await, upstream().await);
    let granted = format!("[{{ host: localhost, ports: [{open}, {shut}] }}, {{ host: 127.0.0.1, ports: [{open}] }}]");
    // the permissions begin in line 7 of each manifest
    let manifest =
        |bounds: &str| format!("permissions:\n  system:\n    network: {granted}\n  resources:\n    network:\n{bounds}");
    let listed = manifest(&format!("      allowedHosts: [localhost]\n      allowedPorts: [{open}, 443]\n"));
    let secure = manifest("      sslRequired: true\n");
    let asks = [
        format!("http.get(\"http://localhost:{open}/\").status"),
        format!("http.get(\"http://127.0.0.1:{open}/\")"),
        format!("http.request(#{{ url: \"http://localhost:{shut}/\" }})"),
    ];
    let asks = asks.each_ref().map(String::as_str);
    let mut modules = both("listed", "1.0.0", &listed, &asks).to_vec();
    modules.extend(both("secure", "1.0.0", &secure, &asks));
    let server = Server::granting(&modules).await;
    let entry = |entry: &str| {
        format!("`permissions: {{ resources: {{ network: {{ {entry} }} }} }}` in module.manifest.yaml would grant it")
    };
    for language in ["lua", "rhai"] {
        let before = connections.load(Ordering::SeqCst);
        let answers = ask(&server, &format!("secure-{language}")).await;
        for (answer, function) in answers.iter().zip(["http.get", "http.get", "http.request"]) {
            let why = "module.manifest.yaml:12 has sslRequired, so plain http is refused; use https";
            refused(
                answer,
                "permission-denied",
                &format!("permission denied: {function}: {why}; {}", entry("sslRequired: false")),
            );
        }
        assert_eq!(connections.load(Ordering::SeqCst), before, "nobody was connected to");

        let answers = ask(&server, &format!("listed-{language}")).await;
        assert_eq!(answers[0]["v"], json!(200), "{}", answers[0]);
        assert_eq!(connections.load(Ordering::SeqCst), before + 1, "the one that is allowed");
        let why = "127.0.0.1 is not among the allowedHosts of module.manifest.yaml:12";
        let hosts = entry("allowedHosts: [\"localhost\", \"127.0.0.1\"]");
        refused(&answers[1], "permission-denied", &format!("permission denied: http.get: {why}; {hosts}"));
        let why = format!("port {shut} is not among the allowedPorts of module.manifest.yaml:13");
        let ports = entry(&format!("allowedPorts: [{open}, 443, {shut}]"));
        refused(&answers[2], "permission-denied", &format!("permission denied: http.request: {why}; {ports}"));
    }
    assert_eq!(untouched.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn hashes_and_encodings_are_those_that_everybody_has() {
    let expressions = [
        "crypto.hash(\"sha256\", \"abc\")",
        "crypto.hash(\"sha512\", \"abc\")",
        "crypto.hash(\"blake3\", \"abc\")",
        "crypto.hash(\"md5\", \"abc\")",
        "crypto.encode(\"base64\", \"a?>~\")",
        "crypto.encode(\"base64url\", \"a?>~~\")",
        "crypto.encode(\"hex\", \"a?\")",
        "crypto.decode(\"base64\", \"YT8+fg\")",
        "crypto.decode(\"base64url\", crypto.encode(\"base64url\", \"a?>~~\"))",
        "crypto.decode(\"hex\", \"613F\")",
        "crypto.decode(\"hex\", \"6\")",
        "crypto.decode(\"base64\", \"!\")",
        "crypto.password_verify(\"x\", crypto.password_hash(\"x\"))",
        "crypto.password_verify(\"x\", \"$argon2id$v=19$m=1048576,t=2,p=1$c29tZXNhbHQ$aGFzaGhhc2hoYXNoaGFzaA\")",
    ];
    let server = Server::granting(&both("crypt", "1.0.0", "", &expressions)).await;
    for id in ["crypt-lua", "crypt-rhai"] {
        let answers = ask(&server, id).await;
        for (index, expected) in [
            (0, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (2, "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"),
            (4, "YT8+fg=="),
            (5, "YT8-fn4"),
            (6, "613f"),
            (7, "a?>~"),
            (8, "a?>~~"),
            (9, "a?"),
        ] {
            assert_eq!(answers[index]["v"], json!(expected), "{}: {}", expressions[index], answers[index]);
        }
        assert!(answers[1]["v"].as_str().is_some_and(|hash| hash.starts_with("ddaf35a193617aba") && hash.len() == 128));
        assert_eq!(answers[12]["v"], json!(true), "{}", answers[12]);
        for index in [3, 10, 11] {
            refused(&answers[index], "invalid-argument", "crypto.");
        }
        refused(&answers[13], "invalid-argument", "more than 64 MiB");
    }
}
