//! The HTTP client of one instance: its own connections, its own bounds.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_LANGUAGE, CONTENT_LANGUAGE, CONTENT_TYPE, HOST, HeaderName, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Incoming};
use prometheus::Histogram;
use replug_scripts::{HostError, HostErrorKind};
use tokio::sync::Semaphore;

use super::connect::{ConnectError, Connector};
use super::lookup::Network;
use super::pool::{Failure, Pool, Used};
use super::request::{Answer, Request};
use super::rules::NetworkRules;
use super::target::Target;
use super::wire::Meter;
use crate::monitor::HttpMetrics;
use crate::sandbox::permissions::{ResourceType, denied};
use crate::sandbox::quota::bandwidth::Bandwidth;

/// The client. What it holds open is closed when it is dropped.
pub struct Client {
    rules: Arc<NetworkRules>,
    pool: Arc<Pool>,
    /// A place for each request at once; a request needs one connection.
    requests: Semaphore,
    seconds: Histogram,
    /// The largest body of an answer, in bytes.
    most: u64,
}

/// Why a request has no answer.
#[derive(Debug)]
pub struct Refused {
    /// What the script hears.
    pub error: HostError,
    /// The quota that is why, if one is.
    pub quota: Option<ResourceType>,
}

impl From<HostError> for Refused {
    fn from(error: HostError) -> Self {
        Self { error, quota: None }
    }
}

impl Client {
    /// A client for what `rules` let through, which reads bodies of up to `most` bytes.
    #[must_use]
    pub fn new(network: Network, rules: Arc<NetworkRules>, metrics: HttpMetrics, most: u64) -> Self {
        let places = usize::try_from(rules.connections).unwrap_or(1);
        let meter =
            Meter { bandwidth: rules.bandwidth.map(Bandwidth::new), received: metrics.received, sent: metrics.sent };
        let connector = Connector { network, rules: Arc::clone(&rules), meter: Arc::new(meter) };
        let (pool, requests) = (Pool::new(connector, places), Semaphore::new(places));
        Self { rules, pool, requests, seconds: metrics.seconds, most }
    }

    /// Whether these are the rules that it keeps.
    #[must_use]
    pub fn keeps(&self, rules: &Arc<NetworkRules>) -> bool {
        Arc::ptr_eq(&self.rules, rules)
    }

    /// Asks, follows redirects, and reads the answer whole; ends at `deadline` or at the request's own timeout. `function`
    /// stands in front of errors.
    ///
    /// # Errors
    /// `permission-denied` for a host, port or address that is not granted, also behind a redirect; `overloaded` with as many
    /// requests as connections are allowed, or when the bandwidth was what took the time; `timeout`; `failed`.
    pub async fn send(
        self: Arc<Self>,
        function: String,
        request: Request,
        deadline: Instant,
    ) -> Result<Answer, Refused> {
        self.rules.check(&function, &request.target)?;
        let Ok(_place) = self.requests.try_acquire() else { return Err(self.crowded(&function)) };
        let _timer = self.seconds.start_timer();
        let begun = Instant::now();
        let end = request.timeout.map_or(deadline, |timeout| deadline.min(begun + timeout));
        let host = request.target.host().into_owned();
        match tokio::time::timeout_at(end.into(), self.follow(&function, request)).await {
            Ok(answer) => answer.map_err(Refused::from),
            Err(_) => Err(self.late(&function, &host, begun)),
        }
    }

    async fn follow(&self, function: &str, mut request: Request) -> Result<Answer, HostError> {
        let failed = |what: String| HostError::new(HostErrorKind::Failed, format!("{function}: {what}"));
        loop {
            let (response, used) = self.exchange(function, &request).await?;
            let location = match redirect(response.status(), response.headers()) {
                Some(location) if request.redirects > 0 => location,
                _ => return self.read(function, response, used).await,
            };
            if response.body().is_end_stream() {
                self.pool.give_back(used);
            }
            let from = request.target.host().into_owned();
            let target =
                request.target.join(&location).map_err(|why| failed(format!("{from} redirects, but {why}")))?;
            hop(&mut request, response.status(), target);
            self.rules.check(function, &request.target)?;
        }
    }

    async fn exchange(&self, function: &str, request: &Request) -> Result<(http::Response<Incoming>, Used), HostError> {
        let invalid = |what: String| HostError::new(HostErrorKind::InvalidArgument, format!("{function}: {what}"));
        let mut message = http::Request::new(Full::new(request.body.clone()));
        *message.method_mut() = request.method.clone();
        *message.uri_mut() =
            request.target.path().parse().map_err(|error| invalid(format!("this is no URL: {error}")))?;
        let headers = message.headers_mut();
        let host = HeaderValue::try_from(request.target.authority());
        headers.insert(HOST, host.map_err(|error| invalid(format!("this is no host: {error}")))?);
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("replug/", env!("CARGO_PKG_VERSION"))));
        headers.extend(request.headers.clone());
        self.pool.send(&request.target, message).await.map_err(|failure| told(function, &failure))
    }

    async fn read(&self, function: &str, response: http::Response<Incoming>, used: Used) -> Result<Answer, HostError> {
        let (head, mut body) = response.into_parts();
        let failed = |what: String| HostError::new(HostErrorKind::Failed, format!("{function}: {what}"));
        let mut data = Vec::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| failed(format!("the answer broke off: {error}")))?;
            let Ok(chunk) = frame.into_data() else { continue };
            if (data.len() + chunk.len()) as u64 > self.most {
                let what = "a quarter of `runtime.limits.memory`";
                return Err(failed(format!("the answer is larger than {} bytes, {what}", self.most)));
            }
            data.extend_from_slice(&chunk);
        }
        self.pool.give_back(used);
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: data })
    }

    fn crowded(&self, function: &str) -> Refused {
        let limit = self.rules.connections;
        let error = HostError::new(
            HostErrorKind::Overloaded,
            format!(
                "{function}: all {limit} connections of this version of the module are in use; \
                 `permissions: {{ resources: {{ network: {{ connectionLimit: {} }} }} }}` in module.manifest.yaml would \
                 allow more",
                limit.saturating_mul(2).min(1024)
            ),
        );
        Refused { error, quota: Some(ResourceType::Connections) }
    }

    fn late(&self, function: &str, host: &str, begun: Instant) -> Refused {
        let waited = begun.elapsed().as_millis();
        let debt = self.pool.connector().meter.bandwidth.as_ref().map(|bandwidth| bandwidth.debt(Instant::now()));
        if let (Some(debt), Some(rate)) = (debt.filter(|debt| !debt.is_zero()), self.rules.bandwidth) {
            let what = format!(
                "{function}: the bandwidth of {rate} bytes a second is used up for another {} ms; \
                 `permissions: {{ resources: {{ network: {{ maxBandwidth: {} }} }} }}` in module.manifest.yaml would allow more",
                debt.as_millis(),
                rate.saturating_mul(2)
            );
            let error = HostError::new(HostErrorKind::Overloaded, what);
            return Refused { error, quota: Some(ResourceType::Bandwidth) };
        }
        let what = format!("{function}: {host} had not answered whole after {waited} ms");
        HostError::new(HostErrorKind::Timeout, what).into()
    }
}

/// Where an answer sends to.
fn redirect(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    let is_redirect = matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = headers.get(LOCATION).filter(|_| is_redirect)?;
    // what is no ASCII, URLs of a kind write there as they are
    Some(String::from_utf8_lossy(location.as_bytes()).into_owned())
}

/// Headers that go along to another origin. All others may be a credential under any name.
const PLAIN: [HeaderName; 5] = [ACCEPT, ACCEPT_LANGUAGE, CONTENT_LANGUAGE, CONTENT_TYPE, USER_AGENT];

/// The next request, as browsers make it (WHATWG Fetch, HTTP-redirect fetch).
fn hop(request: &mut Request, status: StatusCode, target: Target) {
    request.redirects -= 1;
    let becomes_get = match status.as_u16() {
        303 => request.method != Method::HEAD,
        301 | 302 => request.method == Method::POST,
        _ => false,
    };
    if becomes_get {
        request.method = Method::GET;
        request.body = Bytes::new();
        request.headers.remove(CONTENT_TYPE);
    }
    if !request.target.is_same_origin(&target) {
        let headers = std::mem::take(&mut request.headers);
        request.headers = headers
            .into_iter()
            .filter_map(|(name, value)| Some((name?, value)))
            .filter(|(name, _)| PLAIN.contains(name))
            .collect();
    }
    request.target = target;
}

/// What the script hears of a failed exchange.
fn told(function: &str, failure: &Failure) -> HostError {
    if let Failure::Connect(closed @ ConnectError::Closed { address, port, .. }) = failure {
        let line = format!("permissions: {{ system: {{ network: [{{ host: \"{address}\", ports: [{port}] }}] }} }}");
        return denied(function, &closed.to_string(), &line);
    }
    HostError::new(HostErrorKind::Failed, format!("{function}: {failure}"))
}
