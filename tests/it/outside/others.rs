//! What belongs to other modules, asked for in both languages: what is granted works; what is not fails with the line of the
//! manifest, and the other module did not notice.

use super::*;

/// Counts who asks it, and has a table.
fn shop() -> Module {
    let lua = r#"local function count(answer)
  kv.put("asked", (kv.get("asked") or 0) + 1)
  return answer
end
return {
  apis = {
    ["GET /api/shop"] = function() return count({ body = "article" }) end,
    ["GET /api/shop/state"] = function()
      return { body = { asked = kv.get("asked") or 0, rows = db.query("select count(*) as n from t")[1].n } }
    end,
  },
  pages = { Cart = function() return count("<p>cart</p>") end },
}"#;
    Module::new("shop", "1.0.0")
        .api("/api/shop", "GET")
        .api("/api/shop/state", "GET")
        .manifest("routes: [{ path: /shop/cart, component: Cart }]\n")
        .manifest("config: { schema: { currency: { type: string, default: EUR } } }\n")
        .manifest("database: { migrations: [{ version: 1.0.0, file: one.sql }] }\n")
        .file("one.sql", "create table t (n integer)")
        .lua(lua)
}

/// How often the shop was asked, and how many rows it has.
async fn state(server: &Server) -> (Value, Value) {
    let state = server.get("/api/shop/state").await.json();
    (state["asked"].clone(), state["rows"].clone())
}

/// A use, what it gives where it is granted, the permission with its line, and what a manifest without it does not ask for.
type Row = (&'static str, Value, &'static str, usize, &'static str);

fn rows() -> [Row; 6] {
    let database = "system.database:shop:write";
    [
        ("db.of(\"shop\", \"insert into t values (7)\").changes", json!(1), database, 9, "system.database:shop:read"),
        (
            "db.of(\"shop\", \"select max(n) as n from t\")",
            json!([{ "n": 7 }]),
            database,
            9,
            "system.database:shop:read",
        ),
        (
            "config.of(\"shop\", \"currency\")",
            json!("EUR"),
            "application.configurations:shop.currency",
            14,
            "application.configurations:shop.currency",
        ),
        (
            "services.request(\"GET\", \"/api/shop\").body",
            json!("article"),
            "application.apis:/api/shop",
            12,
            "application.apis:/api/shop nor for application.routes:/api/shop",
        ),
        (
            "services.request(\"GET\", \"/shop/cart\").body",
            json!("<p>cart</p>"),
            "application.routes:/shop/*",
            11,
            "application.apis:/shop/cart nor for application.routes:/shop/cart",
        ),
        (
            "services.render(\"Cart\").body",
            json!("<p>cart</p>"),
            "application.components:Cart",
            13,
            "application.components:Cart",
        ),
    ]
}

const ASKS: &str = "permissions:
  system:
    database: [{ module: shop, access: write }, { module: caller }]
  application:
    routes: [/shop/*]
    apis: [/api/shop]
    components: [Cart]
    configurations: [{ module: shop, keys: [currency] }]
";

#[tokio::test]
async fn what_belongs_to_another_module_is_reached_as_far_as_it_is_granted_in_both_languages() {
    let rows = rows();
    let uses: Vec<&str> = rows.iter().map(|row| row.0).chain(["db.for_caller(\"select 1\")"]).collect();
    let mut modules = vec![shop()];
    modules.extend(both("reader", "1.0.0", ASKS, &uses));
    modules.extend(both("bare", "1.0.0", "", &uses));
    let server = Server::granting(&modules).await;
    for id in ["bare-lua", "bare-rhai"] {
        let answers = ask(&server, id).await;
        for (answer, (used, _, _, _, not_asked)) in answers.iter().zip(&rows) {
            let function = used.split('(').next().expect("a function");
            let why = format!("permission denied: {function}: this module does not ask for {not_asked}; ");
            refused(answer, "permission-denied", &why);
            refused(answer, "permission-denied", &format!("replug permissions grant {id}"));
        }
        let why = "permission denied: db.for_caller: this module does not ask for the databases of its callers; ";
        refused(&answers[6], "permission-denied", why);
        assert_eq!(state(&server).await, (json!(0), json!(0)), "{id}");
    }
    for (id, (asked, rows_of_t)) in [("reader-lua", (3, 1)), ("reader-rhai", (6, 2))] {
        let answers = ask(&server, id).await;
        for (answer, (used, given, ..)) in answers.iter().zip(&rows) {
            assert_eq!(&answer["v"], given, "{id}: {used}: {answer}");
        }
        refused(&answers[6], "not-found", "nobody called");
        assert_eq!(state(&server).await, (json!(asked), json!(rows_of_t)), "{id}");
    }
    for id in ["reader-lua", "reader-rhai"] {
        let mut denied: Vec<&str> = rows[1..].iter().map(|row| row.2).collect();
        denied.push("system.database:caller:read");
        server.ok(&[&["permissions", "deny", id], denied.as_slice()].concat()).await;
        let answers = ask(&server, id).await;
        let lines = rows.iter().map(|row| (row.0, row.2, row.3)).chain([(uses[6], "system.database:caller:read", 9)]);
        for (answer, (used, permission, line)) in answers.iter().zip(lines) {
            let function = used.split('(').next().expect("a function");
            let why = format!(
                "permission denied: {function}: module.manifest.yaml:{line} asks for {permission}, which an administrator denied"
            );
            refused(answer, "permission-denied", &why);
            let way = format!("an administrator grants it: replug permissions grant {id} '{permission}'");
            refused(answer, "permission-denied", &way);
        }
        assert_eq!(state(&server).await, (json!(6), json!(2)), "{id}");
    }
}
