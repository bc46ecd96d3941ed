//! The gateway: HTTP requests to the routes and apis of whichever modules serve.
//!
//! ```text
//! path → route snapshot → who asks → may they → body → a version of the slot → its queue → answer
//! ```
//!
//! Nothing on this way takes a lock or waits for anybody but the client's body, an unknown token's verifier, and the
//! module that answers. A request is answered by one version from start to end; one that meets an instance which closes
//! is sent to the version that took its place. While the traffic of a slot shifts from one version to another, it is known
//! who asks before a version is chosen, and path, permissions and parameters are that version's own. Where a candidate is judged
//! before it has a share, it gets a copy of what was answered, whose answer nobody gets. An answer that streams is counted when
//! its head is there; what follows is `stream`'s.
//!
//! What goes wrong is answered as `application/problem+json` ([RFC 9457]) with the `type`s of the book's HTTP
//! reference. `x-request-id` is on every answer, `x-replug-module: ID@V` on those for which a version was chosen.
//!
//! [RFC 9457]: https://www.rfc-editor.org/rfc/rfc9457

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Request as HttpRequest;
use axum::response::Response as HttpResponse;
use http::HeaderName;
use http::request::Parts;
use replug_scripts::{CallContext, Handler, Principal, Request, Response};

use self::id::{RequestId, RequestIds};
use self::refusal::Refusal;
use self::sticky::Asker;
use self::stream::Patience;
use super::auth::{Authenticator, VerifyError, token};
use super::counted::count;
use super::decode;
use crate::actors::router::{CallError, Instance, LOOKS, Router, Snapshot, Streaming, Way};

mod answer;
mod body;
mod id;
mod mirror;
mod problem;
mod refusal;
mod sticky;
mod stream;

#[cfg(all(test, feature = "lua"))]
mod tests;

/// Bytes that the body of a request may have.
pub const MAX_BODY: usize = 2 << 20;

/// The shortest time that a request is given from its arrival on.
const SHORTEST: Duration = Duration::from_secs(10);

static MODULE: HeaderName = HeaderName::from_static("x-replug-module");
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Answers HTTP requests with the handlers of modules.
pub struct Gateway {
    router: Arc<Router>,
    auth: Authenticator,
    ids: RequestIds,
    bodies: body::Room,
    patience: Patience,
}

/// What a path leads to, as owned parts of one snapshot: the snapshot is not held while anything is waited for.
struct Target {
    instance: Arc<Instance>,
    handler: Handler,
    pattern: Arc<str>,
    permissions: Arc<[String]>,
    params: Vec<(String, String)>,
    /// Whether requests are copied for some candidate, perhaps this one for one of its module.
    copies: bool,
}

impl Target {
    /// What the path leads to for whoever asks; nothing yet where two versions share the way and it is not known who asks.
    fn find(snapshot: &Snapshot, parts: &Parts, asker: Option<&Asker<'_>>) -> Result<Option<Self>, Refusal> {
        let (method, path) = (&parts.method, parts.uri.path());
        let way = match (snapshot.find(method, path), asker) {
            (Way::Shared(module, by), Some(asker)) => {
                snapshot.find_shared(module, asker.bucket(module, by), method, path)
            }
            (way, _) => way,
        };
        Self::of(way, snapshot.copies())
    }

    /// The target of a way; nothing yet where two versions share the way.
    fn of(way: Way<'_>, copies: bool) -> Result<Option<Self>, Refusal> {
        match way {
            Way::To(instance, endpoint, params) => Ok(Some(Self {
                instance: Arc::clone(instance),
                handler: endpoint.handler.clone(),
                pattern: Arc::clone(&endpoint.pattern),
                permissions: Arc::clone(&endpoint.permissions),
                params: decode::params(params)?,
                copies,
            })),
            Way::Shared(..) => Ok(None),
            Way::OtherMethods(methods) => Err(Refusal::OtherMethods(methods)),
            Way::Nothing => Err(Refusal::NoModule),
        }
    }

    const fn is_page(&self) -> bool {
        matches!(self.handler, Handler::Page(_))
    }
}

impl Gateway {
    /// A gateway to what `router` routes to; `auth` says who asks.
    #[must_use]
    pub fn new(router: Arc<Router>, auth: Authenticator) -> Self {
        let (ids, bodies) = (RequestIds::default(), body::Room::default());
        Self { router, auth, ids, bodies, patience: Patience::default() }
    }

    /// The gateway as a router with one handler for every path, to serve or to mount. Answers to `HEAD` lose their body
    /// in axum, after their length was noted.
    pub fn into_router(self) -> axum::Router {
        let gateway = Arc::new(self);
        axum::Router::new().fallback(move |request: HttpRequest| {
            let gateway = Arc::clone(&gateway);
            async move { gateway.answer(request).await }
        })
    }

    async fn answer(&self, request: HttpRequest) -> HttpResponse {
        let arrived = Instant::now();
        let (parts, body) = request.into_parts();
        let id = self.ids.of(&parts.headers);
        let mut served = None;
        let mut response = match self.serve(arrived, &id, &parts, body, &mut served).await {
            Ok(response) => response,
            Err(refusal) => refusal.into_response(&id, &parts.headers),
        };
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID.clone(), id.header);
        if let Some(instance) = served {
            headers.insert(MODULE.clone(), instance.label.clone());
        }
        response
    }

    async fn serve(
        &self,
        arrived: Instant,
        id: &RequestId,
        parts: &Parts,
        body: Body,
        served: &mut Option<Arc<Instance>>,
    ) -> Result<HttpResponse, Refusal> {
        let found = Target::find(&self.router.load(), parts, None)?;
        let identity = self.identify(id, parts).await?;
        let asker = Asker::new(parts, identity.principal.as_deref());
        let mut target = match found {
            Some(target) => target,
            None => self.look_up(&asker)?,
        };
        self.permit(parts, &target, &identity)?;
        let body = body::read(body, MAX_BODY, deadline(arrived, &target.instance), &self.bodies).await?;
        let asked = Asked { arrived, id, parts, principal: identity.principal.clone(), body };
        let mut more_looks = 1..LOOKS;
        loop {
            *served = Some(Arc::clone(&target.instance));
            let began = target.copies.then(Instant::now);
            match asked.of(&mut target).await {
                Err(CallError::Closed(_)) if more_looks.next().is_some() => {}
                result => {
                    if let Some(began) = began {
                        self.copy(&asked, &target, result.as_ref().map(|(head, _)| head), began.elapsed());
                    }
                    return self.finish(&asked, &target, result);
                }
            }
            // replaced in the meantime, and whatever is there now may want other permissions
            *served = None;
            target = self.look_up(&asker)?;
            self.permit(parts, &target, &identity)?;
        }
    }

    /// What the path leads to at this moment for whoever asks.
    fn look_up(&self, asker: &Asker<'_>) -> Result<Target, Refusal> {
        Target::find(&self.router.load(), asker.parts, Some(asker))?.ok_or(Refusal::NoModule)
    }

    /// Who asks. A verifier that fails is no reason to refuse a public path, so its failure is kept for [`Self::permit`].
    async fn identify(&self, id: &RequestId, parts: &Parts) -> Result<Identity, Refusal> {
        let Some((token, carrier)) = token::of(&parts.headers) else { return Ok(Identity::default()) };
        if carrier == token::Carrier::Cookie && token::is_foreign(&parts.method, &parts.uri, &parts.headers) {
            return Err(Refusal::Foreign);
        }
        match self.auth.principal(token, &id.text).await {
            Ok(principal) => Ok(Identity { principal, unverified: None }),
            Err(error) => {
                tracing::warn!(request_id = &*id.text, %error, "a token was not verified");
                Ok(Identity { principal: None, unverified: Some(error) })
            }
        }
    }

    /// Whether whoever asks holds what the path needs.
    fn permit(&self, parts: &Parts, target: &Target, identity: &Identity) -> Result<(), Refusal> {
        if target.permissions.is_empty() {
            return Ok(());
        }
        if let Some(error) = &identity.unverified {
            return Err(Refusal::Unverified(error.clone()));
        }
        let Some(principal) = &identity.principal else {
            let login = if target.is_page() { self.login(parts) } else { None };
            return Err(Refusal::Unauthenticated { login });
        };
        match target.permissions.iter().find(|permission| !principal.may(permission)) {
            None => Ok(()),
            Some(missing) => Err(Refusal::Forbidden { missing: missing.clone(), page: target.is_page() }),
        }
    }
}

/// What is known of whoever asks.
#[derive(Default)]
struct Identity {
    principal: Option<Arc<Principal>>,
    /// Why it is not known whether somebody stands behind the token.
    unverified: Option<VerifyError>,
}

/// A request that may be answered, to whichever instance.
struct Asked<'a> {
    arrived: Instant,
    id: &'a RequestId,
    parts: &'a Parts,
    principal: Option<Arc<Principal>>,
    body: body::Whole,
}

impl Asked<'_> {
    /// One try with one instance. The headers are copied, since an instance that closes does not give them back.
    async fn of(&self, target: &mut Target) -> Result<(Response, Option<Streaming>), CallError> {
        let instance = &target.instance;
        let request = self.request(std::mem::take(&mut target.params));
        let call = self.call(instance, deadline(self.arrived, instance));
        let held = instance.metrics.hold();
        let result = instance.answer(target.handler.clone(), request, call).await;
        count(held, result.as_ref().map(|(head, _)| head));
        result
    }

    /// The request as a script gets it.
    fn request(&self, params: Vec<(String, String)>) -> Box<Request> {
        let parts = self.parts;
        Box::new(Request {
            id: Arc::clone(&self.id.text),
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
            params,
            query: decode::query(parts.uri.query()),
            headers: parts.headers.clone(),
            body: self.body.bytes.clone(),
            principal: self.principal.clone(),
        })
    }

    fn call(&self, instance: &Instance, deadline: Instant) -> CallContext {
        CallContext {
            module: Arc::clone(&instance.key.id),
            version: Arc::clone(&instance.key.version),
            request_id: Arc::clone(&self.id.text),
            caller: None,
            deadline,
            chain: Vec::new(),
            hops: 0,
            principal: self.principal.clone(),
            mirrored: None,
            readying: None,
        }
    }
}

/// When a request that `instance` answers is given up.
fn deadline(arrived: Instant, instance: &Instance) -> Instant {
    arrived + SHORTEST.max(instance.limits().wall_time.saturating_mul(2))
}
