//! What lives around a module: its events and timers, and what belongs to other modules.

use super::super::bounds::Bounds;
use super::{bodies_within, messages, ran};

const MANIFEST: &str = "id: shop\nversion: 1.0.0\n\
    apis: [{ path: /api/shop, methods: [POST], permissions: [] }, \
           { path: '/api/shop/{what}', methods: [GET], permissions: [] }]\n\
    dependencies: [{ id: stock, required: false }]\n\
    runtime: { actors: [{ id: counter }], limits: { cpuTime: 2s, wallTime: 10s } }\n\
    permissions: { system: { database: [{ module: stock }] }, application: { apis: ['/api/stock/*'], components: [Chart], \
                   configurations: [{ module: stock, keys: [unit] }] } }\n";

const LUA: &str = r#"
local ask = {
    setting = function() return config.of("stock", "unit") end,
    rows = function() return db.of("stock", "select n from t where a = ? and b = ?", { 1, 2 }) end,
    api = function() return services.request("GET", "/api/stock/1", { query = { full = "yes" } }) end,
    drawn = function() return services.render("Chart", { query = { n = "3" } }) end,
    reply = function() return actors.call("counter", 1) end,
    sent = function() return actors.send("counter", 2) end,
    added = function()
        actors.send("counter", 10)
        local before = kv.get("heard")
        local sum = actors.call("counter", 5)
        actors.send("counter", 100)
        return { sum = sum, before = before, after = kv.get("heard") }
    end,
    circle = function() return actors.call("counter", "self") end,
    broken = function() return actors.call("counter", "bad") end,
    late = function() actors.send("counter", "bad") end,
    stop = function() return actors.call("counter", "stop") end,
    time = function() return os.time() end,
    day = function() return os.date("!%Y-%m-%d") .. os.date("!%d", 0) .. os.time({ year = 1970, month = 1, day = 1, hour = 12 }) end,
}
return {
    init = function() timers.every(1000, "shop.tick", { n = 1 }, { id = "beat" }) end,
    apis = {
        ["POST /api/shop"] = function(req)
            events.publish("shop.sold", { item = req.body })
            timers.after(5000, "shop.late")
            assert(kv.get("sold") ~= req.body)
            return { status = 201 }
        end,
        ["GET /api/shop/{what}"] = function(req) return { body = { v = ask[req.params.what]() } } end,
    },
    actors = {
        counter = {
            init = function() return { n = 1 } end,
            handle = function(state, message)
                if message == "self" then return { reply = actors.call("counter", 1) } end
                if message == "bad" then error("no number") end
                if message == "stop" then return { reply = state.n, stop = true } end
                kv.put("heard", message)
                return { state = { n = state.n + message }, reply = state.n + message }
            end,
        },
    },
    events = {
        ["shop.sold"] = function(event, ctx)
            kv.put("sold", event.payload.item)
            events.publish("shop.told", event.publisher .. ctx.caller .. event.topic)
        end,
        ["shop.tick"] = function(event)
            kv.put("ticks", (kv.get("ticks") or 0) + event.payload.n)
            kv.put("at", time.now())
        end,
        ["shop.late"] = function() kv.put("late", time.now()) end,
        ["shop.bad"] = function()
            error({ status = 404, title = "no", detail = "not here" })
        end,
        ["shop.circle"] = function() events.publish("shop.circle") end,
        ["stock.low"] = function(event) kv.put("low", event.publisher .. event.payload) end,
    },
}
"#;

const FILES: [(&str, &str); 2] = [("module.manifest.yaml", MANIFEST), ("main.lua", LUA)];

fn assert_holds(lua: &str, rhai: &str) {
    let said = bodies_within(Bounds::default(), &FILES, lua, rhai);
    assert_eq!(said, ["it: held", "it: held"], "{lua}");
}

fn assert_fails(lua: &str, rhai: &str, part: &str) {
    for said in bodies_within(Bounds::default(), &FILES, lua, rhai) {
        assert!(said.contains(part), "{lua}: {said}");
    }
}

#[test]
fn what_the_module_publishes_reaches_its_handlers_after_the_call_and_is_remembered() {
    assert_holds(
        "assert.equal(test.request({ method = 'POST', path = '/api/shop', body = 'tea' }).status, 201)\n\
         assert.equal(kv.get('sold'), 'tea')\nassert.equal(test.published('shop.sold'), { { item = 'tea' } })\n\
         assert.equal(test.published('shop.told'), { 'shopshopshop.sold' })\nassert.equal(test.published('shop.none'), {})\n\
         events.publish('shop.sold', { item = 'own' })\ntest.clock.advance(0)\nassert.equal(kv.get('sold'), 'own')",
        "assert.equal(test.request(#{method: \"POST\", path: \"/api/shop\", body: \"tea\"}).status, 201);\n\
         assert.equal(kv.get(\"sold\"), \"tea\");\nassert.equal(test.published(\"shop.sold\"), [#{item: \"tea\"}]);\n\
         assert.equal(test.published(\"shop.told\"), [\"shopshopshop.sold\"]);\nassert.equal(test.published(\"shop.none\"), []);\n\
         events.publish(\"shop.sold\", #{item: \"own\"});\ntest.clock.advance(0);\nassert.equal(kv.get(\"sold\"), \"own\");",
    );
}

#[test]
fn a_test_publishes_for_other_modules() {
    assert_holds(
        "test.publish('stock.low', ' tea')\nassert.equal(kv.get('low'), 'stock tea')\n\
         assert.equal(test.published('stock.low'), {})",
        "test.publish(\"stock.low\", \" tea\");\nassert.equal(kv.get(\"low\"), \"stock tea\");\n\
         assert.equal(test.published(\"stock.low\"), []);",
    );
    for (topic, part) in [
        ("shop.none", "no handler events[\"shop.none\"]"),
        ("other.low", "the module hears its own topics, `shop.…`, and those of the modules it depends on"),
        ("shop.bad", "events[\"shop.bad\"] failed: 404 no: not here"),
        ("shop.circle", "events follow from each other more than 8 deep"),
    ] {
        assert_fails(&format!("test.publish('{topic}')"), &format!("test.publish(\"{topic}\");"), part);
    }
}

#[test]
fn timers_tick_when_the_clock_is_advanced_each_at_its_time() {
    assert_holds(
        "test.clock.set(1000)\ntest.request({ method = 'POST', path = '/api/shop', body = 'tea' })\n\
         assert.equal(kv.get('ticks'), nil)\ntest.clock.advance(2500)\n\
         assert.equal({ kv.get('ticks'), kv.get('at'), time.now() }, { 2, 3000, 3500 })\n\
         test.clock.set(900000)\nassert.equal(kv.get('late'), nil)\ntest.clock.advance(2500)\n\
         assert.equal({ kv.get('ticks'), kv.get('late'), time.now() }, { 5, 902500, 902500 })\n\
         assert.ok(timers.cancel('beat'))\ntest.clock.advance(60000)\nassert.equal(kv.get('ticks'), 5)\n\
         assert.equal(kv.get('late'), 902500)",
        "test.clock.set(1000);\ntest.request(#{method: \"POST\", path: \"/api/shop\", body: \"tea\"});\n\
         assert.equal(kv.get(\"ticks\"), ());\ntest.clock.advance(2500);\n\
         assert.equal([kv.get(\"ticks\"), kv.get(\"at\"), time.now()], [2, 3000, 3500]);\n\
         test.clock.set(900000);\nassert.equal(kv.get(\"late\"), ());\ntest.clock.advance(2500);\n\
         assert.equal([kv.get(\"ticks\"), kv.get(\"late\"), time.now()], [5, 902500, 902500]);\n\
         assert.ok(timers.cancel(\"beat\"));\ntest.clock.advance(60000);\nassert.equal(kv.get(\"ticks\"), 5);\n\
         assert.equal(kv.get(\"late\"), 902500);",
    );
    assert_fails(
        "timers.every(10, 'shop.idle')\ntest.clock.advance(200000)",
        "timers.every(10, \"shop.idle\");\ntest.clock.advance(200000);",
        "more than 10000 events, ticks and messages follow from one call",
    );
}

#[test]
fn what_belongs_to_other_modules_is_played() {
    let lua = "local function got(what) return test.request({ path = '/api/shop/' .. what }).json.v end\n\
         test.service('config.of stock.unit', 'kg')\nassert.equal(got('setting'), 'kg')\n\
         test.service('db.of stock', function(asked) return { { n = #asked.params } } end)\n\
         assert.equal(got('rows'), { { n = 2 } })\n\
         assert.equal(test.calls('db.of stock')[1].sql, 'select n from t where a = ? and b = ?')\n\
         test.service('services.request GET /api/stock/1', { body = { n = 4 } })\n\
         assert.equal(got('api'), { status = 200, headers = {}, body = '{\"n\":4}' })\n\
         assert.equal(test.calls('services.request GET /api/stock/1')[1].query, { full = 'yes' })\n\
         test.service('services.render Chart', function(asked) return { body = asked.query.n } end)\n\
         assert.equal(got('drawn').body, '3')\n\
         test.service('actors.call counter', function(n) return n + 1 end)\nassert.equal(got('reply'), 2)\n\
         test.service('actors.send counter', nil)\ngot('sent')\nassert.equal(test.calls('actors.send counter'), { 2 })";
    let rhai = "let got = |what| test.request(#{path: `/api/shop/${what}`}).json.v;\n\
         test.service(\"config.of stock.unit\", \"kg\");\nassert.equal(got.call(\"setting\"), \"kg\");\n\
         test.service(\"db.of stock\", |asked| [#{n: asked.params.len()}]);\n\
         assert.equal(got.call(\"rows\"), [#{n: 2}]);\n\
         assert.equal(test.calls(\"db.of stock\")[0].sql, \"select n from t where a = ? and b = ?\");\n\
         test.service(\"services.request GET /api/stock/1\", #{body: #{n: 4}});\n\
         assert.equal(got.call(\"api\"), #{status: 200, headers: #{}, body: `{\"n\":4}`});\n\
         assert.equal(test.calls(\"services.request GET /api/stock/1\")[0].query, #{full: \"yes\"});\n\
         test.service(\"services.render Chart\", |asked| #{body: asked.query.n});\n\
         assert.equal(got.call(\"drawn\").body, \"3\");\n\
         test.service(\"actors.call counter\", |n| n + 1);\nassert.equal(got.call(\"reply\"), 2);\n\
         test.service(\"actors.send counter\", ());\ngot.call(\"sent\");\nassert.equal(test.calls(\"actors.send counter\"), [2]);";
    assert_holds(lua, rhai);
    for (what, name) in [
        ("setting", "config.of stock.unit"),
        ("rows", "db.of stock"),
        ("api", "services.request GET /api/stock/1"),
        ("drawn", "services.render Chart"),
    ] {
        assert_fails(
            &format!("test.request({{ path = '/api/shop/{what}' }})"),
            &format!("test.request(#{{path: \"/api/shop/{what}\"}});"),
            &format!("nothing stands in for {name} in this test; test.service(\"{name}\", answer) does"),
        );
    }
}

#[test]
fn actors_have_their_messages_in_order_and_keep_their_state() {
    assert_holds(
        "local function got(what) return test.request({ path = '/api/shop/' .. what }).json.v end\n\
         assert.equal(got('added'), { sum = 16, after = 5 })\nassert.equal(kv.get('heard'), 100)\n\
         assert.equal(got('reply'), 117)\nassert.equal(actors.call('counter', 3), 120)\nassert.equal(got('stop'), 120)\n\
         assert.equal(got('reply'), 2)",
        "let got = |what| test.request(#{path: `/api/shop/${what}`}).json.v;\n\
         assert.equal(got.call(\"added\"), #{sum: 16, after: 5});\nassert.equal(kv.get(\"heard\"), 100);\n\
         assert.equal(got.call(\"reply\"), 117);\nassert.equal(actors.call(\"counter\", 3), 120);\n\
         assert.equal(got.call(\"stop\"), 120);\nassert.equal(got.call(\"reply\"), 2);",
    );
    for (what, part) in [
        ("circle", "counter waits for itself"),
        ("broken", "actors[\"counter\"].handle failed: main.lua:"),
        ("late", "actors[\"counter\"].handle failed: main.lua:"),
    ] {
        assert_fails(
            &format!("test.request({{ path = '/api/shop/{what}' }})"),
            &format!("test.request(#{{path: \"/api/shop/{what}\"}});"),
            part,
        );
    }
}

#[test]
fn the_clock_of_lua_is_the_tests_too() {
    let text = "return { it = function()\ntest.clock.set(86400000)\nassert.equal(os.time(), 86400)\n\
        assert.equal(os.date('!%d'), '02')\nassert.equal(os.date('!%d', 0), '01')\n\
        assert.equal(test.request({ path = '/api/shop/time' }).json.v, 86400)\n\
        assert.equal(test.request({ path = '/api/shop/day' }).json.v, '1970-01-020143200')\n\
        test.clock.advance(1999)\nassert.equal(os.time(), 86401)\nend }";
    let report = ran(&[FILES[0], FILES[1], ("tests/a.lua", text)]);
    assert_eq!(messages(&report), ["it: held"]);
}
