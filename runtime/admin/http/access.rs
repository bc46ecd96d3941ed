//! Who may ask: whoever has the token, and no web page by way of a name that points here.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;
use subtle::ConstantTimeEq;

use super::identity::RequestId;
use super::{App, Problem};

/// What answers without a token: it tells nothing of the modules' content.
const OPEN: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// The longest path that the audit log has of a refused request, in characters.
const LONGEST_PATH: usize = 256;

/// Lets a request through if it names this host and, outside [`OPEN`], carries the token. Nothing of a refused request's
/// body is read, and the audit log has it.
pub(super) async fn guard(State(shared): App, request: Request, next: Next) -> Response {
    let denied = if !shared.admin.any_host && !names_this_machine(request.headers()) {
        let help = "use the address, such as http://127.0.0.1:8081";
        Problem::of("foreign-host", "the admin API does not answer to this host name", help)
    } else if !OPEN.contains(&request.uri().path()) && !has_token(request.headers(), &shared.admin.token) {
        let message = "the admin API needs the token of the data directory";
        let help = "send `Authorization: Bearer TOKEN` with the content of DATA/admin.token";
        Problem::of("unauthenticated", message, help)
    } else {
        return next.run(request).await;
    };
    let reason = &*denied.0.kind;
    shared.admin.commands.turned_away(reason, || {
        let id = request.extensions().get::<RequestId>().map(|RequestId(id)| &**id);
        let path: String = request.uri().path().chars().take(LONGEST_PATH).collect();
        json!({ "reason": reason, "method": request.method().as_str(), "path": path, "requestId": id })
    });
    denied.into_response()
}

/// Compares in a time that does not depend on how much of the token is right.
fn has_token(headers: &HeaderMap, token: &str) -> bool {
    let given = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
    let given =
        given.and_then(|value| value.split_at_checked(7)).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
    given.is_some_and(|(_, given)| bool::from(given.ct_eq(token.as_bytes())))
}

/// Whether the host is an address or `localhost`. Every browser names the host it was sent to; who names none is no browser.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: header::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn only_the_exact_token_is_taken() {
        let check = |value: &str| has_token(&headers(header::AUTHORIZATION, value), "secret");
        assert!(check("Bearer secret") && check("bearer secret"));
        for bad in
            ["", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Bearer Secret", "Basic secret", "secret"]
        {
            assert!(!check(bad), "{bad}");
        }
        assert!(!has_token(&HeaderMap::new(), "secret"));
    }

    #[test]
    fn addresses_and_localhost_are_this_machine_and_names_are_not() {
        let check = |value: &str| names_this_machine(&headers(header::HOST, value));
        for good in ["127.0.0.1:8081", "127.0.0.1", "localhost:1", "LOCALHOST", "[::1]:8081", "192.168.0.7:8081"] {
            assert!(check(good), "{good}");
        }
        for bad in ["evil.example:8081", "127.0.0.1.evil.example", "localhost.evil.example", "", "["] {
            assert!(!check(bad), "{bad}");
        }
        assert!(names_this_machine(&HeaderMap::new()));
    }
}
