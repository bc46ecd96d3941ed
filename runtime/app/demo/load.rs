//! Requests over real sockets, from a thread of its own: what is measured is the runtime's and not the turn that a client
//! got between its tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method};
use tokio::sync::oneshot;

use super::DemoError;

pub(super) mod statistics;

pub(super) use statistics::{Answer, Share};

/// How long one request may take before it counts as unanswered.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a load may take to get as far as the demo needs.
const SLOWEST: Duration = Duration::from_secs(30);

/// How often it is looked whether it got there.
const LOOK: Duration = Duration::from_millis(10);

/// What is asked for, over and over.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The method.
    pub(super) method: Method,
    /// The whole address.
    pub(super) url: String,
    /// The bearer token, where one is needed.
    pub(super) token: Option<String>,
    /// What is sent, as JSON.
    pub(super) body: Option<&'static str>,
}

impl Target {
    /// A `GET`.
    pub(super) const fn get(url: String) -> Self {
        Self { method: Method::GET, url, token: None, body: None }
    }

    /// A `POST` without a body.
    pub(super) const fn post(url: String) -> Self {
        Self { method: Method::POST, url, token: None, body: None }
    }
}

/// How it is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// Connections for each target, each kept alive and with one request at a time.
    pub(super) connections: usize,
    /// What a connection waits between two requests. With none, the load takes all the processor time that it gets.
    pub(super) pause: Duration,
}

impl Rate {
    /// Enough to judge 10 % of it within a second, and far from what a machine can do.
    pub(super) const STEADY: Self = Self { connections: 2, pause: Duration::from_millis(4) };
    /// As fast as answers come.
    pub(super) const RELENTLESS: Self = Self { connections: 2, pause: Duration::ZERO };
}

/// How far a load got.
#[derive(Default)]
struct Counts {
    answered: AtomicUsize,
    bad: AtomicUsize,
}

/// A load that runs until it is stopped or dropped.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    answers: oneshot::Receiver<Vec<Answer>>,
}

impl Load {
    /// Starts it.
    ///
    /// # Errors
    /// There is no thread or no client.
    pub(super) fn start(targets: &[Target], rate: Rate) -> Result<Self, DemoError> {
        let (stop, counts) = (Arc::<AtomicBool>::default(), Arc::<Counts>::default());
        let (sender, answers) = oneshot::channel();
        let failed = "starting the load";
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let tokio = tokio.map_err(DemoError::at(failed))?;
        let each = targets.iter().flat_map(|target| std::iter::repeat_n(target, rate.connections));
        let connections = each.map(|target| Ok((client()?, target.clone()))).collect::<Result<Vec<_>, DemoError>>()?;
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&counts));
        let run = move || {
            let asking = connections.into_iter().map(|(client, target)| {
                let (stopped, counted) = (&stopped, &counted);
                async move { ask(&client, &target, rate.pause, stopped, counted).await }
            });
            let answers = tokio.block_on(futures::future::join_all(asking));
            // whoever dropped the load wants no answers
            let _ = sender.send(answers.concat());
        };
        std::thread::Builder::new().name("demo-load".to_owned()).spawn(run).map_err(DemoError::at(failed))?;
        Ok(Self { stop, counts, answers })
    }

    /// How many requests were answered so far.
    pub(super) fn count(&self) -> usize {
        self.counts.answered.load(Ordering::Relaxed)
    }

    /// How far it got, in words.
    pub(super) fn progress(&self) -> String {
        format!("{} requests, {} failed", self.count(), self.counts.bad.load(Ordering::Relaxed))
    }

    /// Waits for `more` further answers.
    ///
    /// # Errors
    /// They take too long.
    pub(super) async fn goes_on(&self, more: usize) -> Result<(), DemoError> {
        let wanted = self.count() + more;
        let reached = async {
            while self.count() < wanted {
                tokio::time::sleep(LOOK).await;
            }
        };
        let late = |_| DemoError::step("the load", format!("fewer than {more} answers in {} s", SLOWEST.as_secs()));
        tokio::time::timeout(SLOWEST, reached).await.map_err(late)
    }

    /// Ends it once the requests in flight are answered, and gives all answers.
    ///
    /// # Errors
    /// Its thread broke down.
    pub(super) async fn stop(self) -> Result<Vec<Answer>, DemoError> {
        let Self { stop, answers, .. } = self;
        stop.store(true, Ordering::Relaxed);
        answers.await.map_err(DemoError::at("the load"))
    }
}

/// A client of one connection, which does not follow what it is led to.
pub(super) fn client() -> Result<Client, DemoError> {
    let client = Client::builder().timeout(PATIENCE).pool_max_idle_per_host(1).no_proxy();
    client.redirect(reqwest::redirect::Policy::none()).build().map_err(DemoError::at("making an HTTP client"))
}

async fn ask(client: &Client, target: &Target, pause: Duration, stop: &AtomicBool, counts: &Counts) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let answer = once(client, target).await;
        counts.bad.fetch_add(usize::from(!answer.is_good()), Ordering::Relaxed);
        counts.answered.fetch_add(1, Ordering::Relaxed);
        answers.push(answer);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    answers
}

async fn once(client: &Client, target: &Target) -> Answer {
    let mut request = client.request(target.method.clone(), &target.url);
    if let Some(token) = &target.token {
        request = request.bearer_auth(token);
    }
    if let Some(body) = target.body {
        request = request.header(CONTENT_TYPE, "application/json").body(body);
    }
    let began = Instant::now();
    let answered = async {
        let answer = request.send().await?;
        let module = answer.headers().get("x-replug-module").and_then(|name| name.to_str().ok());
        let version = module.and_then(|name| name.split_once('@')).map_or("", |(_, version)| version).into();
        let status = answer.status().as_u16();
        // an answer that breaks off half-way is none
        let body = answer.bytes().await?;
        Ok::<_, reqwest::Error>((status, version, if status < 400 { "".into() } else { detail(&body) }))
    };
    let (status, version, detail) = match answered.await {
        Ok(answer) => answer,
        Err(error) => (0, "".into(), error.to_string().into()),
    };
    Answer { method: target.method.clone(), began, took: began.elapsed(), status, version, detail }
}

/// What a problem document says is wrong.
fn detail(body: &[u8]) -> Box<str> {
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    problem["detail"].as_str().unwrap_or_default().into()
}
