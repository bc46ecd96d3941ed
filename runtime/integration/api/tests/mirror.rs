//! Copies of requests for a candidate that has no share yet.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use replug_scripts::{CallContext, Handler, Request};

use super::{Answer, Site};
use crate::actors::router::{Came, Instance, MOST_COPIES, Place, Taking};
use crate::integration::tests::VERIFIER;
use crate::manifest::Mirror;
use crate::monitor::Sample;

const SOON: Duration = Duration::from_secs(20);

const APIS: &str = r#"
config: { permissions: [notes.view] }
apis:
  - { path: "/shop/{id}", methods: [GET, POST] }
  - { path: /old, methods: [GET] }
"#;

/// Tells its version and what it was asked.
const ECHO: &str = r#"
local function echo(req) return { body = { id = req.params.id, n = req.query.n, body = req.body } } end
return { apis = { ["GET /shop/{id}"] = echo, ["POST /shop/{id}"] = echo, ["GET /old"] = echo } }"#;

/// Does with each GET what stands here.
fn doing(what: &str) -> String {
    format!(
        "local function act(req)\n{what}\nend\n\
         return {{ apis = {{ [\"GET /shop/{{id}}\"] = act, [\"POST /shop/{{id}}\"] = act, [\"GET /old\"] = act }} }}"
    )
}

struct Mirrored {
    site: Site,
    candidate: Arc<Instance>,
    taking: Taking,
}

impl Mirrored {
    /// 1.0.0 echoes; 2.0.0, with these lines of a manifest and this script, is mirrored to.
    async fn new(mirror: Mirror, more: &str, script: &str) -> Self {
        let site = Site::empty().await;
        let baseline = site.world.serve(&format!("id: shop\nversion: 1.0.0\n{APIS}"), ECHO).await;
        let candidate = site.world.start(&format!("id: shop\nversion: 2.0.0\n{more}"), script).await;
        let taking = candidate.take_copies(&mirror, &baseline);
        site.world.shift(&baseline, &candidate, 0).await.expect("no route is taken");
        Self { site, candidate, taking }
    }

    async fn whole(script: &str) -> Self {
        Self::new(Mirror::default(), APIS, script).await
    }

    /// Asks, and holds that the answer is that of 1.0.0.
    async fn get(&self, path: &str) -> Answer {
        let answer = tokio::time::timeout(SOON, self.site.get(path, &[])).await.expect("an answer");
        assert_eq!((answer.status, answer.module()), (200, Some("shop@1.0.0")), "{answer:?}");
        answer
    }

    /// What came of the copies, once none is under way.
    async fn judged(&self) -> (Sample, Sample) {
        let copies = self.candidate.copies().expect("they are wanted");
        until(|| copies.under_way() == 0).await;
        self.taking.samples()
    }

    /// How many copies ended so.
    fn counted(&self, outcome: &str) -> u64 {
        let metrics = self.candidate.metrics.mirror();
        match outcome {
            "answered" => metrics.answered.get(),
            "failed" => metrics.failed.get(),
            "incomparable" => metrics.incomparable.get(),
            "dropped" => metrics.dropped.get(),
            "given-up" => metrics.given_up.get(),
            "differences" => metrics.differences.get(),
            other => panic!("{other}"),
        }
    }
}

async fn until(what: impl Fn() -> bool) {
    let looks = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, looks).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_gets_the_baselines_answer_and_the_candidate_a_copy_of_the_request() {
    let mirrored =
        Mirrored::whole(&doing("if req.params.id ~= 'a b' or req.query.n ~= '7' then error('changed') end\nreturn {}"))
            .await;
    for _ in 0..10 {
        let answer = mirrored.get("/shop/a%20b?n=7").await;
        assert_eq!(answer.json(), serde_json::json!({ "id": "a b", "n": "7", "body": "" }));
        // one after the other: on a busy machine copies that wait may be dropped
        let _ = mirrored.judged().await;
    }
    let (own, clients) = mirrored.judged().await;
    assert_eq!((own.requests(), own.errors(), clients.requests(), clients.errors()), (10, 0, 10, 0));
    assert_eq!((mirrored.counted("answered"), mirrored.counted("differences")), (10, 0));
    let metrics = &mirrored.candidate.metrics;
    assert_eq!((metrics.stats.sample().requests(), metrics.answered.get(), metrics.in_flight.get()), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_fails_is_judged_by_it_and_no_client_notices() {
    let mirrored = Mirrored::whole(&doing("error('broken')")).await;
    for _ in 0..MOST_COPIES {
        mirrored.get("/shop/1").await;
    }
    let (own, clients) = mirrored.judged().await;
    assert!(own.requests() > 0 && own.errors() == own.requests(), "{own:?}");
    assert_eq!((clients.requests(), clients.errors()), (own.requests(), 0));
    assert_eq!(mirrored.counted("failed") + mirrored.counted("dropped"), MOST_COPIES as u64);
    assert_eq!(mirrored.counted("differences"), own.requests());
    assert_eq!(mirrored.candidate.metrics.failed.get(), 0, "no client's request failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_hangs_delays_nobody_and_gets_no_more_than_its_bound() {
    let endless =
        format!("{APIS}runtime: {{ workers: 1, limits: {{ ticks: 1000000000000, cpuTime: 60s, wallTime: 60s }} }}\n");
    let mirrored = Mirrored::new(Mirror::default(), &endless, &doing("while true do end")).await;
    let copies = mirrored.candidate.copies().expect("they are wanted");
    for _ in 0..3 * MOST_COPIES {
        mirrored.get("/shop/1").await;
        assert!(copies.under_way() <= MOST_COPIES);
    }
    let under_way = copies.under_way();
    assert!(under_way > 0);
    assert_eq!(mirrored.counted("dropped"), (3 * MOST_COPIES - under_way) as u64);
    let Mirrored { site, candidate, taking } = mirrored;
    drop(taking);
    until(|| candidate.metrics.mirror().given_up.get() == under_way as u64).await;
    assert_eq!(candidate.metrics.stats.sample().errors(), 0, "what is given up is nobody's failure");
    site.world.rig.stop(&candidate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_answers_no_copy_fails_also_those_whose_turn_did_not_come() {
    let endless = format!(
        "{APIS}runtime: {{ workers: 1, limits: {{ ticks: 1000000000000, cpuTime: 500ms, wallTime: 500ms }} }}\n"
    );
    let mirrored = Mirrored::new(Mirror::default(), &endless, &doing("while true do end")).await;
    while mirrored.candidate.copies().expect("they are wanted").under_way() < MOST_COPIES {
        mirrored.get("/shop/1").await;
    }
    let (own, clients) = mirrored.judged().await;
    assert!(own.requests() >= 20 && own.errors() == own.requests(), "{own:?}");
    assert_eq!(clients.errors(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_is_a_failure_whatever_was_refused_before_it() {
    let tight = format!("{APIS}runtime: {{ limits: {{ ticks: 100000 }} }}\n");
    let script = doing("pcall(kv.put, 'a', 1)\nwhile true do end");
    let mirrored = Mirrored::new(Mirror::default(), &tight, &script).await;
    mirrored.get("/shop/1").await;
    let (own, _) = mirrored.judged().await;
    assert_eq!((own.requests(), own.errors(), own.incomparable()), (1, 1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_fails_after_a_refusal_says_nothing_and_one_that_goes_on_says_what_it_says() {
    let script = doing(
        r#"
if req.params.id == "throws" then kv.put("a", 1) end
local ok, fault = pcall(kv.put, "a", 1)
if ok or fault.kind ~= "mirrored" then return {} end
if req.params.id == "gives-up" then error("it cannot be kept: " .. fault.message) end
if req.params.id == "answers" then return { status = 503, body = fault.message } end
return { body = fault.message }"#,
    );
    let mirrored = Mirrored::whole(&script).await;
    for (path, requests, incomparable) in
        [("/shop/throws", 0, 1), ("/shop/gives-up", 0, 2), ("/shop/answers", 0, 3), ("/shop/goes-on", 1, 3)]
    {
        mirrored.get(path).await;
        let (own, _) = mirrored.judged().await;
        assert_eq!((own.requests(), own.errors(), own.incomparable()), (requests, 0, incomparable), "{path}");
    }
    assert_eq!((mirrored.counted("incomparable"), mirrored.counted("answered")), (3, 1));
    assert_eq!(mirrored.candidate.metrics.stats.sample().incomparable(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_declared_small_whole_and_reachable_is_copied() {
    let more = r#"
config: { permissions: [notes.view] }
apis:
  - { path: "/shop/{id}", methods: [GET, POST] }
  - { path: /old, methods: [GET], permissions: [notes.view] }
"#;
    let mirror = Mirror { methods: vec!["POST".to_owned()], share: 100 };
    let large = "x".repeat((64 << 10) + 1);
    let table = [
        (Method::GET, "/shop/1", "", &[][..], 0, 1),
        (Method::HEAD, "/shop/1", "", &[], 0, 1),
        (Method::POST, "/shop/1", "small", &[], 1, 0),
        (Method::POST, "/shop/1", &large, &[], 0, 0),
        (Method::GET, "/shop/1", "", &[("accept", "text/event-stream, */*")], 0, 0),
        (Method::GET, "/shop/1", "", &[("upgrade", "websocket")], 0, 0),
        // the candidate wants a permission that nobody here has
        (Method::GET, "/old", "", &[], 0, 0),
    ];
    for (mirror, by_default) in [(mirror, false), (Mirror::default(), true)] {
        let script = ECHO;
        let mirrored = Mirrored::new(mirror, more, script).await;
        for (method, path, body, headers, declared, safe) in &table {
            let (before, _) = mirrored.judged().await;
            let answer = mirrored.site.send(method.clone(), path, headers, body).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            let (after, _) = mirrored.judged().await;
            let expected = if by_default { *safe } else { *declared };
            assert_eq!(after.since(&before).requests(), expected, "{method} {path} {headers:?} {by_default}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_the_candidate_lacks_is_not_copied() {
    let apis = "apis: [{ path: \"/shop/{name}\", methods: [GET] }]";
    let script = r#"return { apis = { ["GET /shop/{name}"] = function(req) return { body = req.params.name } end } }"#;
    let mirrored = Mirrored::new(Mirror::default(), apis, script).await;
    mirrored.get("/old").await;
    assert_eq!(mirrored.judged().await.0.requests(), 0);
    mirrored.get("/shop/1").await;
    assert_eq!(mirrored.judged().await.0.requests(), 1, "under its own pattern");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_permission_of_the_client_holds_for_its_copy() {
    let more = APIS.replace("/old, methods: [GET]", "/old, methods: [GET], permissions: [notes.view]");
    let mirrored = Mirrored::new(Mirror::default(), &more, ECHO).await;
    mirrored.site.world.serve(VERIFIER.0, VERIFIER.1).await;
    for (token, copies) in [("nobody", 0), ("bob", 1)] {
        let answer = mirrored.site.get("/old", &[("authorization", &format!("Bearer {token}"))]).await;
        assert_eq!(answer.status, 200);
        assert_eq!(mirrored.judged().await.0.requests(), copies, "{token}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_the_requests_is_copied() {
    let mirrored = Mirrored::new(Mirror { share: 25, ..Mirror::default() }, APIS, ECHO).await;
    for _ in 0..400 {
        mirrored.get("/shop/1").await;
    }
    let copied = mirrored.judged().await.0.requests() + mirrored.counted("dropped");
    assert!((40..160).contains(&copied), "{copied} of 400");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_copied_once_it_is_over_nor_where_there_is_no_mirror() {
    let mirrored = Mirrored::whole(ECHO).await;
    assert!(mirrored.site.world.router.load().copies());
    mirrored.get("/shop/1").await;
    mirrored.judged().await;
    let Mirrored { site, candidate, taking } = mirrored;
    let before = taking.samples().0.requests();
    drop(taking);
    assert!(candidate.copies().is_none() && candidate.place_for_copy().is_none());
    // the snapshot is still that of before
    assert!(site.world.router.load().copy_to("shop", &Method::GET, "/shop/1").is_none());
    assert_eq!(site.get("/shop/1", &[]).await.module(), Some("shop@1.0.0"));
    assert_eq!((before, candidate.metrics.mirror().answered.get()), (1, 1));
    let baseline = Arc::clone(site.world.router.load().instance("shop", 0).expect("it serves"));
    for weight in [0, 50] {
        site.world.shift(&baseline, &candidate, weight).await.expect("no route is taken");
        assert!(!site.world.router.load().copies(), "at weight {weight}");
    }
    let again = candidate.take_copies(&Mirror::default(), &baseline);
    assert!(candidate.copies().is_none(), "an instance takes them once");
    drop(again);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_without_processor_time_to_spare_drops_copies_and_answers_clients() {
    let quota = format!("{APIS}permissions: {{ resources: {{ cpu: {{ maxCpuUsage: 0.5, cpuQuotaPeriod: 10s }} }} }}\n");
    let mirrored = Mirrored::new(Mirror::default(), &quota, ECHO).await;
    let cpu = crate::manifest::CpuQuota {
        max_cpu_usage: Some(0.5),
        cpu_quota_period: Duration::from_secs(10),
        ..Default::default()
    };
    // three of the five seconds that a period has
    mirrored.candidate.account().cpu.charge(&cpu, Duration::from_secs(3), std::time::Instant::now());
    mirrored.get("/shop/1").await;
    assert_eq!((mirrored.judged().await.0.requests(), mirrored.counted("dropped")), (0, 1));
}

/// What happens between the moment at which a copy is sent and its turn.
async fn answered(candidate: &Arc<Instance>, place: Place, time: Duration) -> Option<Came> {
    let mark = Arc::new(replug_scripts::Mirrored::default());
    let call = CallContext { mirrored: Some(Arc::clone(&mark)), ..candidate.context("copy", time) };
    let (result, _) = place.answer(Handler::Api("GET /old".into()), request(), call).await?;
    Some(Came::of(&result, &mark))
}

fn request() -> Box<Request> {
    Box::new(Request {
        id: "copy".into(),
        method: Method::GET,
        path: "/old".to_owned(),
        params: Vec::new(),
        query: Vec::new(),
        headers: http::HeaderMap::new(),
        body: Default::default(),
        principal: None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_whose_module_has_nothing_to_spare_when_its_turn_comes_is_dropped() {
    let quota = format!("{APIS}permissions: {{ resources: {{ cpu: {{ maxCpuUsage: 0.5, cpuQuotaPeriod: 10s }} }} }}\n");
    let mirrored = Mirrored::new(Mirror::default(), &quota, ECHO).await;
    let candidate = &mirrored.candidate;
    let place = candidate.place_for_copy().expect("there is enough");
    let cpu = crate::manifest::CpuQuota {
        max_cpu_usage: Some(0.5),
        cpu_quota_period: Duration::from_secs(10),
        ..Default::default()
    };
    candidate.account().cpu.charge(&cpu, Duration::from_secs(3), std::time::Instant::now());
    assert_eq!(answered(candidate, place, SOON).await, None);
    assert_eq!((mirrored.judged().await.0.requests(), mirrored.counted("dropped")), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_no_vm_ever_began_is_dropped_and_no_failure() {
    let endless =
        format!("{APIS}runtime: {{ workers: 1, limits: {{ ticks: 1000000000000, cpuTime: 60s, wallTime: 60s }} }}\n");
    let mirrored = Mirrored::new(Mirror::default(), &endless, &doing("while true do end")).await;
    let candidate = &mirrored.candidate;
    let busy = {
        let (candidate, call) = (Arc::clone(candidate), candidate.context("busy", SOON));
        tokio::spawn(async move { candidate.respond(Handler::Api("GET /old".into()), request(), call).await })
    };
    until(|| !candidate.pool.has_spare() && candidate.pool.waiting() == 0).await;
    let place = candidate.place_for_copy().expect("there is enough");
    assert_eq!(answered(candidate, place, Duration::from_millis(50)).await, None);
    assert_eq!((mirrored.judged().await.0.requests(), mirrored.counted("dropped")), (0, 1));
    busy.abort();
    let Mirrored { site, candidate, taking } = mirrored;
    drop(taking);
    site.world.rig.stop(&candidate).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn as_many_copies_run_at_once_as_leave_the_serving_version_its_vms() {
    let runtime = |workers: usize, concurrency: usize| {
        format!(
            "{APIS}runtime: {{ workers: {workers}, concurrency: {concurrency}, limits: {{ memory: 8MiB }} }}\n\
             permissions: {{ resources: {{ memory: {{ maxHeapSize: 64MiB }} }} }}\n"
        )
    };
    let share = format!("{APIS}permissions: {{ resources: {{ cpu: {{ maxCpuUsage: 0.5 }} }} }}\n");
    let database = format!("{}database: {{ migrations: [{{ version: 1.0.0, file: one.sql }}] }}\n", runtime(4, 1));
    let site = Site::empty().await;
    for (serving, candidate, at_once) in [
        (runtime(1, 1), runtime(8, 1), 7),
        (runtime(6, 1), runtime(8, 1), 2),
        (runtime(8, 1), runtime(8, 1), 1),
        (runtime(8, 1), runtime(2, 1), 1),
        // calls of several VMs may all meet in as many
        (runtime(1, 1), runtime(4, 8), 4),
        (runtime(1, 1), runtime(1, 8), 8),
        (runtime(1, 1), share, 1),
        (runtime(1, 1), database, 1),
    ] {
        let serving = site.world.start(&format!("id: shop\nversion: 1.0.0\n{serving}"), ECHO).await;
        let manifest = format!("id: shop\nversion: 2.0.0\n{candidate}");
        let candidate = site.world.start(&manifest, ECHO).await;
        let _taking = candidate.take_copies(&Mirror::default(), &serving);
        assert_eq!(candidate.copies().expect("they are wanted").turns(), at_once, "{manifest}");
        for instance in [serving, candidate] {
            site.world.rig.stop(&instance).await;
        }
    }
}
