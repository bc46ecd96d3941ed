use std::time::Duration;

use replug_scripts::Handler;

use super::*;
use crate::actors::router::{Router, Slot};
use crate::actors::tests::fake::Script;
use crate::actors::tests::instance;
use crate::manifest::Restart;
use crate::monitor::{Events, Metrics};
use crate::sandbox::quota::Parcel;

#[tokio::test]
async fn what_comes_to_one_that_ends_at_that_moment_is_answered_and_begins_nothing() {
    let init = [Handler::ActorInit("clerk".into()), Handler::ActorHandle("clerk".into())];
    // it has no workers: whatever is begun waits for one
    let owner = instance(&Script::with(&init), |manifest| {
        manifest.runtime.actors = vec![ActorSpec { id: "clerk".to_owned(), restart: Restart::Temporary, mailbox: 9 }];
    });
    owner.first_vm().await.expect("it begins");
    let router = Arc::new(Router::default());
    router
        .store(router.with(&owner.key.id, Some(Slot::of(Arc::clone(&owner), Arc::new([])))).expect("it has no route"));
    let runtime = tokio::runtime::Handle::current();
    let (events, metrics) = (Events::default(), Metrics::default());
    let shared = Shared { router: Arc::downgrade(&router), runtime, events, metrics };
    let clerk = ScriptActor::new("sample".into(), "clerk".into(), (Arc::new(shared), Weak::new()));
    let clerk = Arc::new(clerk);
    let letter = || {
        let message = Held { value: Value::Null, room: Parcel::none(Arc::default()) };
        Letter::asked(message, link("sample", "clerk"), &owner.context("test", Duration::from_secs(20)))
    };
    clerk.end();
    // as a sender does that saw it before its end, and has not looked again
    let (late, answer) = letter();
    assert_eq!(clerk.mailbox.push(late, 9), Ok(true));
    clerk.start();
    let answer = tokio::time::timeout(Duration::from_secs(5), answer).await.expect("at once").expect("an answer");
    let error = answer.expect_err("it has ended");
    assert!(error.kind == HostErrorKind::NotFound && error.message.contains("it has ended"), "{error}");
    // it is another matter for the next version
    clerk.has_another_owner();
    let (next, mut answer) = letter();
    assert!(clerk.mailbox.push(next, 9).is_ok());
    clerk.empty_if_ended();
    assert!(answer.try_recv().is_err(), "it waits for its turn");
}
