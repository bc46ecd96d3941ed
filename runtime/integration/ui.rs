//! The page shell: what stands around the HTML that a `pages` handler answers.
//!
//! An HTML body that does not begin with `<!doctype` is put into a document with the navigation of the routes that are
//! live, a theme as CSS variables (`shell.css`) and a link to sign in or to the account. The header `x-page-title`
//! names the page and goes no further. Whatever comes from a manifest, a script or a person is escaped; the body itself
//! is the module's own HTML.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue};
use replug_scripts::{Principal, Response};

use self::html::{escape, open};
use self::navigation::{Account, Entry};
use crate::actors::router::Snapshot;
use crate::manifest::Route;

mod html;
mod navigation;

#[cfg(all(test, feature = "lua"))]
mod tests;

static TITLE: HeaderName = HeaderName::from_static("x-page-title");

/// One page, as far as the request and the manifest tell.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The request's path.
    pub path: &'a str,
    /// The route that it matched.
    pub route: Option<&'a Route>,
    /// The name of the module that draws it.
    pub module: &'a str,
    /// Who looks at it.
    pub principal: Option<&'a Principal>,
}

/// Puts the body of a page's answer into the shell, where it is HTML that is no document of its own.
pub fn dress(snapshot: &Snapshot, page: &Page<'_>, answer: &mut Response) {
    let title = answer.headers.remove(&TITLE);
    if answer.status.is_redirection() || !is_html(&answer.headers) || is_document(&answer.body) {
        return;
    }
    let title = match &title {
        Some(title) => String::from_utf8_lossy(title.as_bytes()).into_owned(),
        None => page.route.and_then(|route| route.title.clone()).unwrap_or_else(|| page.module.to_owned()),
    };
    let entries = navigation::entries(snapshot, page.principal);
    let account = navigation::account(snapshot, page.principal, page.path);
    answer.body = wrap(&title, page.path, &entries, account.as_ref(), &answer.body);
    // what is listed depends on who looks
    answer.headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
}

/// A whole page that says that a permission is missing.
#[must_use]
pub fn forbidden(permission: &str, request_id: &str) -> String {
    let mut out = String::with_capacity(4 << 10);
    open(&mut out, "Not allowed");
    out.push_str("<main class=\"rp-main rp-notice\"><h1>Not allowed</h1><p>You are signed in, but this page needs the permission <code>");
    escape(&mut out, permission);
    out.push_str("</code>. Somebody who manages users can give it to you.</p><p class=\"rp-muted\">Request <code>");
    escape(&mut out, request_id);
    out.push_str("</code></p></main></body></html>\n");
    out
}

fn is_html(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let media = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    media.eq_ignore_ascii_case(b"text/html")
}

fn is_document(body: &[u8]) -> bool {
    const DOCTYPE: &[u8] = b"<!doctype";
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body).trim_ascii_start();
    body.get(..DOCTYPE.len()).is_some_and(|start| start.eq_ignore_ascii_case(DOCTYPE))
}

/// The document: the same bytes in the middle, whatever they are.
fn wrap(title: &str, path: &str, entries: &[Entry<'_>], account: Option<&Account<'_>>, body: &[u8]) -> Bytes {
    let mut out = String::with_capacity(body.len() + (6 << 10));
    open(&mut out, title);
    out.push_str("<a class=\"rp-skip\" href=\"#rp-main\">Skip to content</a>");
    if !entries.is_empty() || account.is_some() {
        out.push_str("<header class=\"rp-top\">");
        if !entries.is_empty() {
            out.push_str("<nav class=\"rp-nav\" aria-label=\"Pages\"><ul>");
            for entry in entries {
                out.push_str("<li>");
                html::link(&mut out, entry.path, &entry.label, entry.path == path, "");
                out.push_str("</li>");
            }
            out.push_str("</ul></nav>");
        }
        if let Some(account) = account {
            html::link(&mut out, &account.path, account.label, account.current, "rp-who");
        }
        out.push_str("</header>");
    }
    out.push_str("<main id=\"rp-main\" class=\"rp-main\" tabindex=\"-1\">\n");
    let mut out = out.into_bytes();
    out.extend_from_slice(body);
    out.extend_from_slice(b"\n</main></body></html>\n");
    out.into()
}
