//! Pages in the shell.

use super::Site;
use crate::integration::tests::World;

const ADA: (&str, &str) = ("authorization", "Bearer ada");

async fn tools(world: &World) {
    world
        .serve(
            r#"
id: tools
version: 1.0.0
name: Tools & more
routes:
  - { path: /own, component: Own, navigation: { order: 5 } }
  - { path: /plain, component: Plain, navigation: { label: "<b>Plain</b>", order: -1 } }
  - { path: /json, component: Json, navigation: false }
  - { path: /moved, component: Moved, navigation: false }
  - { path: "/item/{id}", component: Item }
"#,
            r#"
return { pages = {
  Own = function() return { headers = { ["x-page-title"] = "x" }, body = "\n <!DocType html><p>mine</p>" } end,
  Plain = function(req) return { status = 404, body = "<p>plain</p>" } end,
  Json = function() return { body = { a = 1 } } end,
  Moved = function() return { status = 302, headers = { location = "/own" }, body = "moved" } end,
  Item = function(req) return { headers = { ["cache-control"] = "no-store" }, body = req.params.id } end,
} }
"#,
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fragment_is_put_into_the_shell() {
    let site = Site::new().await;
    tools(&site.world).await;
    let answer = site.get("/notes", &[ADA]).await;
    assert_eq!((answer.status, answer.header("x-page-title")), (200, None));
    let page = &answer.body;
    assert!(page.starts_with("<!doctype html>"), "{page}");
    assert!(page.contains("<title>My &lt;notes&gt;</title>"), "{page}");
    assert!(page.contains("--rp-bg") && page.contains("--rp-danger"), "{page}");
    assert!(page.contains("<a href=\"/notes\" aria-current=\"page\">Notes</a>"), "{page}");
    assert!(page.contains("<a href=\"/account\" class=\"rp-who\">ada</a>"), "{page}");
    assert!(page.contains(">\n<h1>Notes</h1>\n</main>"), "{page}");
    assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
}

/// Where the navigation of a page leads.
fn links(page: &str) -> Vec<String> {
    let nav = page.split("</nav>").next().unwrap_or_default();
    let href = |li: &str| Some(li.split("href=\"").nth(1)?.split('"').next()?.to_owned());
    nav.split("<li>").skip(1).filter_map(href).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_and_their_entries_in_the_navigation_go_with_their_module() {
    let site = Site::new().await;
    tools(&site.world).await;
    assert_eq!(site.get("/notes", &[ADA]).await.status, 200);
    assert!(links(&site.get("/item/7", &[ADA]).await.body).contains(&"/notes".to_owned()));
    site.world.remove("notes");
    assert_eq!(site.get("/notes", &[ADA]).await.status, 404);
    assert_eq!(links(&site.get("/item/7", &[ADA]).await.body), ["/plain", "/own"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn navigation_lists_by_order_what_whoever_looks_may_see() {
    let site = Site::new().await;
    tools(&site.world).await;
    let nobody = site.get("/item/7", &[]).await;
    assert_eq!(links(&nobody.body), ["/plain", "/own"], "{}", nobody.body);
    assert!(
        nobody.body.contains("<a href=\"/login?next=%2Fitem%2F7\" class=\"rp-who\">Sign in</a>"),
        "{}",
        nobody.body
    );
    assert!(nobody.body.contains("&lt;b&gt;Plain&lt;/b&gt;") && !nobody.body.contains("<b>Plain"), "{}", nobody.body);
    assert!(nobody.body.contains("<title>Tools &amp; more</title>"), "{}", nobody.body);
    assert_eq!(nobody.header("cache-control"), Some("no-store"), "the script's own stands");
    let ada = site.get("/item/7", &[ADA]).await;
    assert_eq!(links(&ada.body), ["/plain", "/admin", "/notes", "/own"]);
    let bob = site.get("/item/7", &[("cookie", "replug_session=bob")]).await;
    assert_eq!(links(&bob.body), ["/plain", "/notes", "/own"]);
    site.world.remove("auth");
    let alone = site.get("/item/7", &[]).await;
    assert!(!alone.body.contains("Sign in"), "{}", alone.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_data_and_redirects_are_left_alone() {
    let site = Site::new().await;
    tools(&site.world).await;
    let own = site.get("/own", &[]).await;
    assert_eq!((own.body.as_str(), own.header("x-page-title")), ("\n <!DocType html><p>mine</p>", None));
    assert_eq!(site.get("/json", &[]).await.body, "{\"a\":1}");
    let moved = site.get("/moved", &[]).await;
    assert_eq!((moved.status, moved.body.as_str(), moved.header("location")), (302, "moved", Some("/own")));
    let missing = site.get("/plain", &[]).await;
    assert_eq!(missing.status, 404);
    assert!(missing.body.contains("<p>plain</p>\n</main>"), "an error page is a page: {}", missing.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_sign_in_page_marks_itself_instead_of_leading_to_itself() {
    let site = Site::new().await;
    let page = site.get("/login", &[]).await.body;
    assert!(page.contains("<a href=\"/login\" class=\"rp-who\" aria-current=\"page\">Sign in</a>"), "{page}");
    assert!(page.contains("<title>Sign in</title>"), "{page}");
}
