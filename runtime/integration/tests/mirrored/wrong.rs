//! Calls that fail whoever makes them: a copy must show it.

use super::{SHOP, Shop};

/// One at least of each group of functions that a copy is refused.
const WRONG: [&str; 23] = [
    r#"kv.put(string.rep("k", 2000), 1)"#,
    r#"kv.put("a", 1, { ttl = -1 })"#,
    r#"kv.delete(7)"#,
    r#"kv.cas(string.rep("k", 2000), 1, 2)"#,
    r#"fs.write("elsewhere/a", "x")"#,
    r#"fs.append("data/a", 7)"#,
    r#"fs.remove("../a")"#,
    r#"db.execute("insert into nothing (n) values (1)")"#,
    r#"db.execute("insert into t (n) values (?)", { 1, 2 })"#,
    r#"db.transaction({ "insert into t (n) values (1)", "select nothing from t" })"#,
    r#"db.of("third", "insert into t (n) values (1)")"#,
    r#"db.of("reading", "insert into t (n) values (1)")"#,
    r#"events.publish("other.made", 1)"#,
    r#"actors.send("nobody", 1)"#,
    r#"actors.call("counter", 1, -1)"#,
    r#"timers.after(1, "shop.made", 1)"#,
    r#"timers.cancel(7)"#,
    r#"services.call("nobody.read", {})"#,
    r#"services.call("other.nothing", {})"#,
    r#"services.request("GET", "/elsewhere")"#,
    r#"services.render("Others")"#,
    r#"services.invalidate("other")"#,
    r#"metrics.count("asked", "many")"#,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_call_is_wrong_with_it_in_a_copy() {
    let shop = Shop::new(false).await;
    shop.databases.create("reading").expect("a file");
    let (mut apis, mut handlers) = (String::from("apis:\n"), String::new());
    for (index, call) in WRONG.iter().enumerate() {
        apis += &format!("  - {{ path: /t/{index}, methods: [GET] }}\n");
        handlers += &format!(
            "[\"GET /t/{index}\"] = function() local ok, fault = pcall(function() return {call} end)\n\
             return {{ body = if ok then \"done\" else fault.kind }} end,\n"
        );
    }
    let reading = "database: [{ module: reading, access: read }, ";
    let shops = SHOP.replace("1.0.0\ncap", "2.0.0\ncap").replace("database: [", reading);
    let manifest = format!("{shops}{apis}");
    let script =
        format!("return {{ apis = {{ {handlers} }},\nactors = {{ counter = {{ handle = function() end }} }} }}");
    shop.world.grant(&manifest).await;
    let candidate = shop.world.start(&manifest, &script).await;
    let shop = Shop { instance: candidate, ..shop };
    for (index, call) in WRONG.iter().enumerate() {
        let (of_client, _) = shop.ask(&index.to_string(), false).await;
        assert!(!["done", "mirrored"].contains(&of_client.as_str()), "{call}: {of_client}");
        assert_eq!(shop.ask(&index.to_string(), true).await, (of_client, false), "{call}");
    }
}
