//! Who may.

use http::Method;

use super::Site;

const ADA: (&str, &str) = ("authorization", "Bearer ada");
const BOB: (&str, &str) = ("cookie", "theme=dark; replug_session=bob");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_api_without_a_good_token_answers_401() {
    let site = Site::new().await;
    for headers in [&[][..], &[("authorization", "Bearer garbage")], &[("cookie", "replug_session=garbage")]] {
        let answer = site.get("/api/hidden", headers).await;
        assert_eq!((answer.status, answer.module(), &*answer.problem()), (401, None, "unauthenticated"));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_good_token_opens_what_its_permissions_name() {
    let site = Site::new().await;
    for (headers, name) in [([ADA], "ada"), ([BOB], "bob")] {
        let answer = site.get("/api/hidden", &headers).await;
        assert_eq!((answer.status, &*answer.body, answer.module()), (200, name, Some("notes@1.0.0")));
    }
    assert_eq!(site.get("/api/admin", &[ADA]).await.status, 200);
    let denied = site.get("/api/admin", &[BOB]).await;
    assert_eq!((denied.status, denied.module(), &*denied.problem()), (403, None, "permission-denied"));
    assert!(denied.body.contains("notes.admin"), "{}", denied.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_api_learns_who_asks_and_minds_no_garbage() {
    let site = Site::new().await;
    let cases = [("garbage", "nobody"), ("broken", "nobody"), ("ada", "ada")];
    for (token, name) in cases {
        let answer = site.get("/api/whoami", &[("authorization", &format!("Bearer {token}"))]).await;
        assert_eq!((answer.status, &*answer.body), (200, name), "{token}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_api_asks_nobody_without_a_token() {
    let site = Site::new().await;
    assert_eq!(site.get("/api/whoami", &[]).await.body, "nobody");
    assert_eq!(site.world.asked().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_verifier_that_fails_closes_what_needs_permissions() {
    let site = Site::new().await;
    let answer = site.get("/api/hidden", &[("authorization", "Bearer broken")]).await;
    assert_eq!((answer.status, &*answer.problem()), (500, "script-error"));
    assert!(!answer.body.contains("secret"), "{}", answer.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_verifier_every_token_is_unauthenticated() {
    let site = Site::new().await;
    assert_eq!(site.get("/api/hidden", &[ADA]).await.status, 200);
    site.world.remove("auth");
    assert_eq!(site.get("/api/hidden", &[ADA]).await.status, 401);
    assert_eq!(site.get("/notes", &[ADA]).await.problem(), "unauthenticated");
    assert_eq!(site.get("/api/whoami", &[ADA]).await.body, "nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_without_a_session_leads_to_the_sign_in_page_and_back() {
    let site = Site::new().await;
    let answer = site.get("/notes?tab=a b&x=ü".replace(' ', "%20").replace('ü', "%C3%BC").as_str(), &[]).await;
    assert_eq!((answer.status, answer.module()), (303, None));
    assert_eq!(answer.header("location"), Some("/login?next=%2Fnotes%3Ftab%3Da%2520b%26x%3D%25C3%25BC"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_without_the_permission_says_so_to_a_person() {
    let site = Site::new().await;
    let page = site.get("/admin", &[BOB, ("accept", "text/html,*/*;q=0.8")]).await;
    assert_eq!((page.status, page.header("content-type")), (403, Some("text/html; charset=utf-8")));
    assert!(page.body.starts_with("<!doctype html>") && page.body.contains("notes.admin"), "{}", page.body);
    let problem = site.get("/admin", &[BOB, ("accept", "application/json")]).await;
    assert_eq!((problem.status, &*problem.problem()), (403, "permission-denied"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_another_site_makes_with_the_cookie_is_refused() {
    let site = Site::new().await;
    let foreign = [("origin", "https://evil.test"), ("sec-fetch-site", "cross-site"), ("sec-fetch-site", "same-site")];
    for sign in foreign {
        for path in ["/api/hidden", "/api/whoami"] {
            let answer = site.send(Method::POST, path, &[BOB, sign], "").await;
            assert_eq!((answer.status, answer.module(), &*answer.problem()), (403, None, "permission-denied"));
        }
        let reading = site.get("/api/hidden", &[BOB, sign]).await;
        assert_eq!(reading.status, 200, "reading is no change");
        let program = site.send(Method::POST, "/api/hidden", &[ADA, BOB, sign], "").await;
        assert_eq!((program.status, &*program.body), (200, "ada"), "a header is set on purpose");
        let nobody = site.send(Method::POST, "/api/whoami", &[sign], "").await;
        assert_eq!(nobody.status, 200, "without the cookie there is nothing to abuse");
    }
    for sign in [("origin", "http://site.test"), ("sec-fetch-site", "same-origin")] {
        assert_eq!(site.send(Method::POST, "/api/hidden", &[BOB, sign], "").await.body, "bob");
    }
}
