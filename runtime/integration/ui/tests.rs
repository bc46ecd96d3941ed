//! What needs no module to be seen.

use http::HeaderMap;

use super::{forbidden, is_document, is_html, wrap};

#[test]
fn a_document_is_told_from_a_fragment() {
    for document in ["<!doctype html>", "<!DOCTYPE HTML><p>", " \r\n\t<!Doctype x", "\u{feff}<!doctype html>"] {
        assert!(is_document(document.as_bytes()), "{document:?}");
    }
    for fragment in ["", "<", "<!doc", "<p><!doctype html>", "<html>", "x<!doctype"] {
        assert!(!is_document(fragment.as_bytes()), "{fragment:?}");
    }
}

#[test]
fn html_is_told_by_its_media_type() {
    let of = |kind: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", kind.parse().expect("a header value"));
        is_html(&headers)
    };
    assert!(of("text/html") && of("Text/HTML ; charset=utf-8"));
    assert!(!of("text/plain") && !of("text/html2") && !is_html(&HeaderMap::new()));
}

#[test]
fn a_shell_without_anything_to_link_has_no_header() {
    let page = wrap("t", "/", &[], None, b"\xff");
    assert!(page.windows(6).all(|part| part != b"<heade"));
    assert!(page.windows(3).any(|part| part == b"\n\xff\n"), "the body is passed on byte for byte");
}

#[test]
fn what_a_page_says_is_escaped() {
    let page = forbidden("<script>", "\"'&");
    assert!(page.contains("<code>&lt;script&gt;</code>") && page.contains("&quot;&#39;&amp;"), "{page}");
}
