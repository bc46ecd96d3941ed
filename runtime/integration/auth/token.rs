//! Where a request carries its token, and whether its own site sent it.

use http::header::{AUTHORIZATION, COOKIE, HOST, ORIGIN};
use http::{HeaderMap, Method, Uri};

/// The cookie that browsers carry a token in.
pub const COOKIE_NAME: &str = "replug_session";

/// What carried a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// The header `authorization`, which only a program sets.
    Header,
    /// The cookie, which a browser adds to whatever any page makes it send.
    Cookie,
}

/// The token of a request: `Authorization: Bearer TOKEN`, else the cookie [`COOKIE_NAME`].
#[must_use]
pub fn of(headers: &HeaderMap) -> Option<(&str, Carrier)> {
    let bearer = headers.get(AUTHORIZATION).and_then(|value| bearer(value.to_str().ok()?));
    if let Some(token) = bearer {
        return Some((token, Carrier::Header));
    }
    let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let token = cookies.flat_map(|cookies| cookies.split(';')).find_map(session)?;
    Some((token, Carrier::Cookie))
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.trim_start().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn session(cookie: &str) -> Option<&str> {
    let (name, token) = cookie.split_once('=')?;
    let token = token.trim();
    (name.trim() == COOKIE_NAME && !token.is_empty()).then_some(token)
}

/// Whether another site's page made a browser send this. Asked for requests that a cookie alone stands behind.
///
/// A browser's `sec-fetch-site` is believed where there is one: no page can forge it, and it holds behind a proxy that
/// rewrites `host`. Without it, an `origin` must name the host that the request was sent to.
#[must_use]
pub fn is_foreign(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
        return false;
    }
    if let Some(site) = headers.get("sec-fetch-site") {
        return !matches!(site.as_bytes(), b"same-origin" | b"none");
    }
    let Some(origin) = headers.get(ORIGIN) else { return false };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).or_else(|| uri.authority().map(|a| a.as_str()));
    let (Ok(origin), Some(host)) = (origin.to_str(), host) else { return true };
    let own = |scheme: &str, port: &str| {
        let bare = |name: &str| name.strip_suffix(port).unwrap_or(name).to_ascii_lowercase();
        origin.strip_prefix(scheme).is_some_and(|origin| bare(origin) == bare(host))
    };
    !own("http://", ":80") && !own("https://", ":443")
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs = &'static [(&'static str, &'static str)];

    fn headers(pairs: Pairs) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().expect("a header value"));
        }
        headers
    }

    #[test]
    fn a_token_comes_as_bearer_or_in_the_cookie() {
        let cases: [(Pairs, Option<(&str, Carrier)>); 10] = [
            (&[("authorization", "Bearer abc")], Some(("abc", Carrier::Header))),
            (&[("authorization", "bEARER   abc ")], Some(("abc", Carrier::Header))),
            (&[("authorization", "Bearer a"), ("cookie", "replug_session=b")], Some(("a", Carrier::Header))),
            (&[("authorization", "Basic a"), ("cookie", "replug_session=b")], Some(("b", Carrier::Cookie))),
            (&[("authorization", "Bearer "), ("cookie", "replug_session=b")], Some(("b", Carrier::Cookie))),
            (&[("cookie", "x=1; replug_session=b; y=2")], Some(("b", Carrier::Cookie))),
            (&[("cookie", "x=1"), ("cookie", "replug_session=b")], Some(("b", Carrier::Cookie))),
            (&[("cookie", "replug_session=a=b=")], Some(("a=b=", Carrier::Cookie))),
            (&[("cookie", "replug_session=; xreplug_session=c")], None),
            (&[], None),
        ];
        for (given, expected) in cases {
            assert_eq!(of(&headers(given)), expected, "{given:?}");
        }
    }

    #[test]
    fn a_request_that_another_site_made_is_foreign() {
        let cases: [(Pairs, bool); 12] = [
            (&[("host", "a.org")], false),
            (&[("host", "a.org"), ("origin", "http://a.org")], false),
            (&[("host", "A.org:80"), ("origin", "http://a.org")], false),
            (&[("host", "a.org"), ("origin", "https://a.org:443")], false),
            (&[("host", "a.org:8080"), ("origin", "http://a.org:8080")], false),
            (&[("host", "a.org:8080"), ("origin", "http://a.org:9090")], true),
            (&[("host", "a.org"), ("origin", "http://evil.org")], true),
            (&[("host", "a.org"), ("origin", "http://a.org.evil.org")], true),
            (&[("host", "a.org"), ("origin", "null")], true),
            (&[("host", "inner"), ("origin", "https://a.org"), ("sec-fetch-site", "same-origin")], false),
            (&[("host", "a.org"), ("sec-fetch-site", "cross-site")], true),
            (&[("host", "a.org"), ("sec-fetch-site", "same-site")], true),
        ];
        let uri = Uri::from_static("/x");
        for (given, expected) in cases {
            assert_eq!(is_foreign(&Method::POST, &uri, &headers(given)), expected, "{given:?}");
            assert!(!is_foreign(&Method::GET, &uri, &headers(given)), "reading harms nobody");
        }
        let h2 = Uri::from_static("http://a.org/x");
        assert!(!is_foreign(&Method::POST, &h2, &headers(&[("origin", "http://a.org")])));
    }
}
