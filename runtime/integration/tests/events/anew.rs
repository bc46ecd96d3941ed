//! What `init` sets in each of a module's virtual machines, however often those are made.

use std::sync::Arc;
use std::time::Instant;

use replug_scripts::Language;

use super::*;

const MANIFEST: &str = "id: shop\nversion: 1.0.0\ncapabilities: [{ id: shop }]";

/// Polls two regions without an id, and counts what it hears. Each of its VMs says another thing.
const LUA: &str = r#"
return {
  init = function()
    local made = (kv.get("made") or 0) + 1
    kv.put("made", made)
    for _, region in ipairs({ "north", "south" }) do
      timers.every(40, "shop.poll", { region = region, made = made })
    end
    timers.every(40, "shop.poll", { region = "named", made = made }, { id = "named" })
  end,
  services = {
    ["shop.heard"] = function()
      local heard = { made = kv.get("made") }
      for _, region in ipairs({ "north", "south", "named" }) do heard[region] = kv.get(region) or 0 end
      return heard
    end,
  },
  events = {
    ["shop.poll"] = function(message)
      local region = message.payload.region
      kv.put(region, (kv.get(region) or 0) + 1)
    end,
  },
}
"#;

#[cfg(feature = "rhai")]
const RHAI: &str = r#"
#{
  init: |ctx| {
    let made = (kv.get("made") ?? 0) + 1;
    kv.put("made", made);
    for region in ["north", "south"] { timers.every(40, "shop.poll", #{ region: region, made: made }); }
    timers.every(40, "shop.poll", #{ region: "named", made: made }, #{ id: "named" });
  },
  services: #{
    "shop.heard": |args| {
      let heard = #{ made: kv.get("made") };
      for region in ["north", "south", "named"] { heard[region] = kv.get(region) ?? 0; }
      heard
    },
  },
  events: #{
    "shop.poll": |message, ctx| {
      let region = message.payload.region;
      kv.put(region, (kv.get(region) ?? 0) + 1);
    },
  },
}
"#;

/// It serves, with its script in this language.
async fn serves(world: &World, language: Language) -> Arc<Instance> {
    match language {
        #[cfg(feature = "rhai")]
        Language::Rhai => world.serve_rhai(MANIFEST, RHAI).await,
        _ => world.serve(MANIFEST, LUA).await,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_init_sets_ticks_once_a_period_each_though_a_vm_is_made_for_every_request() {
    for language in [
        Language::Lua,
        #[cfg(feature = "rhai")]
        Language::Rhai,
    ] {
        let (world, begun) = (World::new().await, Instant::now());
        let instance = serves(&world, language).await;
        let heard = loop {
            instance.renew_vms();
            let heard = world.call("shop", "shop.heard", Value::Null).await.expect("an answer");
            let count = |key: &str| heard.get(key).and_then(Value::as_i64).expect("a count");
            let [made, north, south, named] = ["made", "north", "south", "named"].map(count);
            if north.min(south).min(named) >= 3 {
                break [made, north, south, named];
            }
            assert!(begun.elapsed().as_secs() < 30, "{language:?}: new VMs keep it from ticking: {heard:?}");
        };
        let periods = i64::try_from(begun.elapsed().as_millis() / 40).expect("a short test");
        assert!(heard[0] > 6, "{language:?}: so many VMs were made: {heard:?}");
        assert!(heard[1..].iter().all(|count| *count <= periods), "{language:?}: {heard:?} in {periods} periods");
    }
}
