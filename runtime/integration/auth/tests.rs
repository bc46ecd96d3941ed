//! With a verifier that runs.

use std::sync::Arc;
use std::time::Duration;

use replug_scripts::Value;

use super::VerifyError;
use crate::integration::tests::{VERIFIER, World};

async fn world() -> World {
    let world = World::new().await;
    world.serve(VERIFIER.0, VERIFIER.1).await;
    world
}

async fn subject(world: &World, token: &str) -> Option<String> {
    let principal = world.auth.principal(token, &"r".into()).await.expect("the verifier answers");
    principal.map(|principal| principal.subject.clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_is_kept_until_it_expires() {
    let world = world().await;
    for _ in 0..3 {
        assert_eq!(subject(&world, "ada").await.as_deref(), Some("ada"));
    }
    assert_eq!(world.asked().await, 1);
    assert_eq!(subject(&world, "brief").await.as_deref(), Some("brief"));
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(subject(&world, "brief").await.as_deref(), Some("brief"));
    assert_eq!(world.asked().await, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_without_permissions_is_somebody() {
    let world = world().await;
    assert_eq!(subject(&world, "nobody").await.as_deref(), Some("nobody"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_asked_about_once_a_second_at_most() {
    let world = world().await;
    for _ in 0..3 {
        assert_eq!(subject(&world, "garbage").await, None);
    }
    assert_eq!(subject(&world, &"x".repeat(9 << 10)).await, None);
    assert_eq!(world.asked().await, 1);
    tokio::time::sleep(Duration::from_millis(1_050)).await;
    assert_eq!(subject(&world, "garbage").await, None);
    assert_eq!(world.asked().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_withdraws_its_answers() {
    let world = world().await;
    subject(&world, "ada").await;
    world.call("auth", "authentication.withdraw", Value::Null).await.expect("it may");
    assert_eq!(subject(&world, "ada").await.as_deref(), Some("ada"));
    assert_eq!(world.asked().await, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_was_on_its_way_when_all_were_withdrawn_is_not_kept() {
    let world = world().await;
    let (auth, id) = (world.auth.clone(), Arc::from("r"));
    let asked = tokio::spawn(async move { auth.principal("ada", &id).await.expect("it answers") });
    world.auth.invalidate();
    assert!(asked.await.expect("it ends").is_some());
    let before = world.asked().await;
    subject(&world, "ada").await;
    // whichever came first, the spawned task or the withdrawal, at most one answer is of this epoch
    let after = world.asked().await;
    world.auth.invalidate();
    subject(&world, "ada").await;
    assert_eq!(world.asked().await, after + 1);
    assert!(after - before <= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_once_share_one_question() {
    let world = world().await;
    let asking = (0..50).map(|_| subject(&world, "ada"));
    let all = futures::future::join_all(asking).await;
    assert!(all.iter().all(|one| one.as_deref() == Some("ada")));
    assert_eq!(world.asked().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_verifier_nobody_is_signed_in() {
    let world = world().await;
    assert!(subject(&world, "ada").await.is_some());
    world.remove("auth");
    assert_eq!(subject(&world, "ada").await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verifier_that_fails_says_nothing_about_anybody() {
    let world = world().await;
    let failed = world.auth.principal("broken", &"r".into()).await;
    assert!(matches!(failed, Err(VerifyError::Call { .. })), "{failed:?}");
    world
        .serve(
            "id: auth\nversion: 1.1.0\ncapabilities: [{ id: authentication }]",
            r#"return { services = { ["authentication.verify"] = function() return { subject = 7 } end } }"#,
        )
        .await;
    let nonsense = world.auth.principal("new", &"r".into()).await.expect_err("no principal");
    assert!(nonsense.to_string().contains("no string `subject`"), "{nonsense}");
}
