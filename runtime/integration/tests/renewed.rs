//! VMs that are made anew: after copies of requests, and where that is asked.

use std::sync::Arc;
use std::time::Duration;

use replug_scripts::{CallContext, Handler, Mirrored, Value};

use super::World;
use crate::actors::router::Instance;

/// Says whether its VM was asked before.
const SCRIPT: &str = r#"
local asked = false
return { services = { ["a.asked"] = function() local before = asked asked = true return before end } }
"#;

fn manifest(concurrency: u32) -> String {
    format!(
        "id: a\nversion: 1.0.0\ncapabilities: [{{ id: a }}]\nruntime: {{ workers: 1, concurrency: {concurrency} }}\n"
    )
}

async fn asked(instance: &Arc<Instance>, is_copy: bool) -> bool {
    let call = instance.context("test", Duration::from_secs(5));
    let mirrored = is_copy.then(|| Arc::new(Mirrored::default()));
    let call = CallContext { mirrored, ..call };
    let answer = instance.call(Handler::Service("a.asked".into()), Vec::new(), call).await.expect("it answers");
    answer == Value::Bool(true)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vm_that_answered_copies_answers_no_client() {
    for concurrency in [1, 4] {
        let world = World::new().await;
        let instance = world.serve(&manifest(concurrency), SCRIPT).await;
        // a thread that had nothing to do for a while has let go of its VM, and then this is tried again
        while !(asked(&instance, true).await && asked(&instance, true).await) {}
        assert!(!asked(&instance, false).await, "concurrency {concurrency}: what copies left is gone");
        while !asked(&instance, false).await {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vms_that_are_renewed_forget_what_they_kept() {
    for concurrency in [1, 4] {
        let world = World::new().await;
        let instance = world.serve(&manifest(concurrency), SCRIPT).await;
        while !asked(&instance, false).await {}
        instance.renew_vms();
        assert!(!asked(&instance, false).await, "concurrency {concurrency}");
    }
}
