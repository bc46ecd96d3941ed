//! What waits for a module: the room that it takes, who hears of what fails, and the time that passes.

use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use replug_scripts::{Host, Stage, SuiteFn, Value};

use super::super::actors::Message;
use super::super::bounds::Bounds;
use super::super::host::TestHost;
use super::super::residence::Waiting;
use super::super::stage::TestStage;
use super::super::state::State;
use super::super::world::World;
use super::{bodies_within, folder, messages, ran};
use crate::registry::Bundle;

const MANIFEST: &str = "id: shop\nversion: 1.0.0\n\
    apis: [{ path: '/api/shop/{what}', methods: [GET], permissions: [] }]\n\
    dependencies: [{ id: stock, required: false }]\n\
    runtime: { actors: [{ id: counter }, { id: helper }], limits: { ticks: 1000000000, cpuTime: 10s } }\n";

const LUA: &str = r#"
local function wait(millis)
    local started = time.now()
    while time.now() < started + millis do end
end
local ask = {
    bad = function()
        actors.send("counter", "bad")
        actors.send("counter", 10)
        local _, reply = pcall(actors.call, "counter", 1)
        return reply
    end,
    caught = function()
        pcall(services.call, "stock.price")
        return "caught"
    end,
    own = function() return actors.call("counter", "own") end,
    long = function()
        actors.call("helper", "sends", 200)
        wait(250)
        return actors.call("counter", 1)
    end,
    late = function()
        local _, refused = pcall(actors.call, "counter", "loop", 50)
        actors.send("counter", 4)
        return { kind = refused.kind, said = refused.message, reply = actors.call("counter", 1) }
    end,
    sleepy = function()
        local _, refused = pcall(actors.call, "counter", "loop", 50)
        actors.send("counter", 4)
        return refused.kind
    end,
}
return {
    apis = {
        ["GET /api/shop/{what}"] = function(req)
            local v = ask[req.params.what]()
            kv.put("v", v)
            return { body = { v = v } }
        end,
    },
    actors = {
        counter = {
            init = function() return 1 end,
            handle = function(state, message)
                if message == "bad" then error("no number") end
                if message == "loop" then while true do end end
                if message == "own" then
                    actors.send("counter", 7)
                    local _, refused = pcall(actors.call, "counter", 1)
                    return { reply = refused.kind }
                end
                kv.put("heard", message)
                if type(message) ~= "number" then return { reply = #message } end
                return { state = state + message, reply = state + message }
            end,
        },
        helper = { handle = function() actors.send("counter", 2) end },
    },
    events = {
        ["shop.tick"] = function(event) actors.send("counter", event.payload) end,
        ["shop.many"] = function(event)
            for _ = 1, 10 do actors.send("counter", event.payload) end
            error("enough")
        end,
        ["shop.slow"] = function()
            kv.put("before", time.now())
            services.call("stock.price")
            kv.put("after", time.now())
        end,
        ["shop.beat"] = function() kv.put("beats", (kv.get("beats") or "") .. time.now() .. " ") end,
    },
}
"#;

const FILES: [(&str, &str); 2] = [("module.manifest.yaml", MANIFEST), ("main.lua", LUA)];

const SMALL: Bounds = Bounds { wall_time: Duration::from_secs(60), held: 64 << 10 };

fn assert_holds(lua: &str, rhai: &str) {
    assert_eq!(bodies_within(Bounds::default(), &FILES, lua, rhai), ["it: held", "it: held"], "{lua}");
}

/// What comes of this with `x`, a text of 1,000 letters.
fn with_text(lua: &str, rhai: &str) -> Vec<String> {
    let lua = format!("local x = ('x'):rep(1000) {lua}");
    let rhai = format!("let x = \"\"; x.pad(1000, \"x\"); {rhai}");
    bodies_within(SMALL, &FILES, &lua, &rhai)
}

#[test]
fn what_was_delivered_replaced_or_cancelled_takes_no_more_room() {
    for (lua, rhai) in [
        (
            "timers.every(1000, 'shop.tick', x) test.clock.advance(200000) assert.equal(kv.get('heard'), x)",
            "timers.every(1000, \"shop.tick\", x); test.clock.advance(200000); assert.equal(kv.get(\"heard\"), x);",
        ),
        (
            // what is published is remembered too, once
            "for i = 1, 40 do events.publish('shop.none', x) test.clock.advance(0) end",
            "for i in 0..40 { events.publish(\"shop.none\", x); test.clock.advance(0); }",
        ),
        ("for i = 1, 100 do test.publish('shop.tick', x) end", "for i in 0..100 { test.publish(\"shop.tick\", x); }"),
        (
            "for i = 1, 100 do assert.fails(function() test.publish('shop.many', x) end, 'enough') end",
            "for i in 0..100 { assert.fails(|| test.publish(\"shop.many\", x), \"enough\"); }",
        ),
        (
            "for i = 1, 100 do actors.send('counter', x) assert.equal(actors.call('counter', x), 1000) end",
            "for i in 0..100 { actors.send(\"counter\", x); assert.equal(actors.call(\"counter\", x), 1000); }",
        ),
        (
            "for i = 1, 100 do timers.every(1000 + i, 'shop.none', x, { id = 'one' }) end",
            "for i in 0..100 { timers.every(1000 + i, \"shop.none\", x, #{ id: \"one\" }); }",
        ),
        (
            "for i = 1, 100 do timers.every(1000, 'shop.none', x, { id = 'one' }) end",
            "for i in 0..100 { timers.every(1000, \"shop.none\", x, #{ id: \"one\" }); }",
        ),
        (
            "for i = 1, 100 do assert.ok(timers.cancel(timers.every(1000, 'shop.none', x))) end",
            "for i in 0..100 { assert.ok(timers.cancel(timers.every(1000, \"shop.none\", x))); }",
        ),
        (
            "for i = 1, 100 do timers.after(10, 'shop.none', x) test.clock.advance(10) end",
            "for i in 0..100 { timers.after(10, \"shop.none\", x); test.clock.advance(10); }",
        ),
    ] {
        assert_eq!(with_text(lua, rhai), ["it: held", "it: held"], "{lua}");
    }
}

#[test]
fn what_waits_or_is_remembered_takes_room() {
    for (lua, rhai, path) in [
        ("actors.send('counter', x)", "actors.send(\"counter\", x);", "actors.send"),
        ("timers.every(1000, 'shop.none', x)", "timers.every(1000, \"shop.none\", x);", "timers.every: timers"),
        ("pcall(events.publish, 'shop.none', x)", "events.publish(\"shop.none\", x);", "events.publish"),
        (
            "events.publish('shop.none', x) test.clock.advance(0)",
            "events.publish(\"shop.none\", x); test.clock.advance(0);",
            "events.publish",
        ),
    ] {
        let (lua, rhai) = (format!("for i = 1, 100 do {lua} end"), format!("for i in 0..100 {{ {rhai} }}"));
        for said in with_text(&lua, &rhai) {
            assert!(said.contains(&format!("{path}: 6")), "{lua}: {said}");
            let end = " events, messages and timers would be held; 65536 are the most for a test";
            assert!(said.ends_with(end), "{lua}: {said}");
        }
    }
}

#[test]
fn what_fails_before_a_call_of_its_actor_fails_the_function_of_the_test_and_not_the_caller() {
    assert_holds(
        "assert.fails(function() test.request({ path = '/api/shop/bad' }) end, 'actors[\"counter\"].handle failed: main.lua:')\n\
         assert.equal(kv.get('v'), 12)\nassert.equal(actors.call('counter', 1), 13)",
        "assert.fails(|| test.request(#{path: \"/api/shop/bad\"}), `actors[\"counter\"].handle failed: main.lua:`);\n\
         assert.equal(kv.get(\"v\"), 12);\nassert.equal(actors.call(\"counter\", 1), 13);",
    );
    // the test is the caller, then what stands in for another module is
    assert_holds(
        "actors.send('counter', 'bad')\nactors.send('counter', 10)\n\
         assert.fails(function() actors.call('counter', 1) end, 'handle failed: main.lua:')\n\
         assert.equal(actors.call('counter', 1), 13)\n\
         test.service('stock.price', function() actors.send('counter', 'bad') return actors.call('counter', 1) end)\n\
         assert.fails(function() test.request({ path = '/api/shop/caught' }) end, 'handle failed: main.lua:')\n\
         assert.equal(kv.get('v'), 'caught')",
        "actors.send(\"counter\", \"bad\");\nactors.send(\"counter\", 10);\n\
         assert.fails(|| actors.call(\"counter\", 1), \"handle failed: main.lua:\");\n\
         assert.equal(actors.call(\"counter\", 1), 13);\n\
         test.service(\"stock.price\", |args| { actors.send(\"counter\", \"bad\"); actors.call(\"counter\", 1) });\n\
         assert.fails(|| test.request(#{path: \"/api/shop/caught\"}), \"handle failed: main.lua:\");\n\
         assert.equal(kv.get(\"v\"), \"caught\");",
    );
}

#[test]
fn what_was_sent_to_an_actor_that_waits_for_itself_is_kept() {
    assert_holds(
        "assert.equal(test.request({ path = '/api/shop/own' }).json.v, 'conflict')\nassert.equal(kv.get('heard'), 7)\n\
         assert.equal(actors.call('counter', 1), 9)",
        "assert.equal(test.request(#{path: \"/api/shop/own\"}).json.v, \"conflict\");\nassert.equal(kv.get(\"heard\"), 7);\n\
         assert.equal(actors.call(\"counter\", 1), 9);",
    );
}

#[test]
fn a_message_has_the_time_of_a_call_whoever_sent_it() {
    assert_holds(
        "assert.equal(test.request({ path = '/api/shop/long' }).json.v, 4)",
        "assert.equal(test.request(#{path: \"/api/shop/long\"}).json.v, 4);",
    );
}

#[test]
fn an_actor_that_gave_no_reply_in_time_takes_the_next_message() {
    assert_holds(
        "local late = test.request({ path = '/api/shop/late' }).json.v\nassert.equal({ late.kind, late.reply }, { 'timeout', 6 })\n\
         assert.contains(late.said, 'counter gave no reply until the deadline')\n\
         assert.equal(test.request({ path = '/api/shop/sleepy' }).json.v, 'timeout')\n\
         assert.equal(kv.get('heard'), 4)\nassert.equal(actors.call('counter', 1), 6)",
        "let late = test.request(#{path: \"/api/shop/late\"}).json.v;\nassert.equal([late.kind, late.reply], [\"timeout\", 6]);\n\
         assert.contains(late.said, \"counter gave no reply until the deadline\");\n\
         assert.equal(test.request(#{path: \"/api/shop/sleepy\"}).json.v, \"timeout\");\n\
         assert.equal(kv.get(\"heard\"), 4);\nassert.equal(actors.call(\"counter\", 1), 6);",
    );
}

#[test]
fn a_function_of_a_test_that_cannot_go_on_leaves_nothing_for_the_next_one() {
    let dir = folder(&FILES);
    let world = Arc::new(World::open(&Bundle::read_dir(dir.path()).unwrap(), SMALL).unwrap());
    let (sender, events) = sync_channel(4);
    let state = Arc::new(State::new(sender, &world.bounds));
    let host: Arc<dyn Host> = Arc::new(TestHost::new(&world, &state));
    let stage = TestStage::new(&world, &state, host, events);
    let call = world.call_within(state.end);
    for _ in 0..2 {
        let message = Message { actor: "counter".into(), message: Value::Int(1), call: call.clone() };
        state.deliveries.push("actors.send", Waiting::Message(message), &state.held).unwrap();
    }
    // its actors were not opened
    let refused = stage.begin(SuiteFn::ClockAdvance, vec![Value::Int(0)]).map(|_| ()).unwrap_err();
    assert_eq!(refused.message, "actors.send: counter: the test has not begun");
    assert!(state.deliveries.next(&state.held).is_none());
    state.held.swap("all", 0, SMALL.held).unwrap();
}

#[test]
fn the_clock_goes_on_from_where_a_stand_in_set_it_while_time_passes() {
    for (act, after, beats, end) in [
        // it goes on 900 ms from there
        ("test.clock.set(50000)", 50000, "50100 50300 50500 50700 50900 ", 50900),
        // the ticks of that time come late, and the rest passes
        ("test.clock.advance(500)", 1600, "1600 1600 1600 1800 2000 ", 2000),
        // more than was to pass
        ("test.clock.advance(1400)", 2500, "2500 2500 2500 2500 2500 2500 2500 ", 2500),
    ] {
        let text = format!(
            "return {{ it = function()\ntest.clock.set(1000)\ntest.service('stock.price', function() {act} end)\n\
             timers.after(100, 'shop.slow')\ntimers.every(200, 'shop.beat')\ntest.clock.advance(1000)\n\
             assert.equal({{ kv.get('before'), kv.get('after'), kv.get('beats'), time.now() }}, \
             {{ 1100, {after}, '{beats}', {end} }})\nend }}"
        );
        let report = ran(&[FILES[0], FILES[1], ("tests/a.lua", &text)]);
        assert_eq!(messages(&report), ["it: held"], "{act}");
    }
}
