//! Services of the host application behind copies of requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use replug_scripts::{CallContext, Handler, Mirrored, Value};

use super::World;
use crate::integration::host::{HostService, HostServices, Methods};

const SHOP: &str = "id: shop\nversion: 1.0.0\ncapabilities: [{ id: shop }]";

const SCRIPT: &str = r#"
return { services = { ["shop.ask"] = function(method)
  local ok, result = pcall(services.call, method, 1)
  return if ok then "done" else result.kind
end } }"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_calls_only_what_the_host_says_that_it_reads() {
    let sent = Arc::new(AtomicUsize::new(0));
    let sending = Arc::clone(&sent);
    let mailer = Methods::new()
        .method("send", move |_: i64, _| {
            sending.fetch_add(1, Ordering::SeqCst);
            async move { Ok(()) }
        })
        .method("count", |_: i64, _| async move { Ok(7) });
    let mailer: Arc<dyn HostService> = Arc::new(mailer.reading(["count"]).only_for(["shop"]));
    let vault: Arc<dyn HostService> =
        Arc::new(Methods::new().method("open", |_: i64, _| async move { Ok(()) }).only_for(["bank"]));
    let hosts = HostServices::new([("mailer".to_owned(), mailer), ("vault".to_owned(), vault)])
        .expect("a name that may be offered");
    let world = World::beside(hosts).await;
    let shop = world.serve(SHOP, SCRIPT).await;
    for (method, mirrored, ended, times) in [
        ("mailer.count", true, "done", 0),
        ("mailer.send", true, "mirrored", 0),
        // that it may not is said also to a copy
        ("vault.open", true, "permission-denied", 0),
        ("mailer.count", false, "done", 0),
        ("mailer.send", false, "done", 1),
        ("vault.open", false, "permission-denied", 1),
    ] {
        let mark = Arc::new(Mirrored::default());
        let call = CallContext {
            mirrored: mirrored.then(|| Arc::clone(&mark)),
            ..shop.context("copy", Duration::from_secs(5))
        };
        let answer = shop.call(Handler::Service("shop.ask".into()), vec![Value::from(method)], call).await;
        assert_eq!(answer.expect("it catches").as_str(), Some(ended), "{method} {mirrored}");
        assert_eq!((mark.was_refused(), sent.load(Ordering::SeqCst)), (ended == "mirrored", times), "{method}");
    }
}
