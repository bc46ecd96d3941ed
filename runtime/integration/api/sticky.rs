//! Which of two versions a client belongs to while a slot shifts.

use std::cell::OnceCell;
use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use http::HeaderMap;
use http::header::COOKIE;
use http::request::Parts;
use replug_scripts::Principal;

use crate::integration::chance;
use crate::manifest::StickyBy;

/// What a request can be told by. Who cannot be told by what the module asks for has one random bucket for the request.
pub(super) struct Asker<'a> {
    /// The request.
    pub(super) parts: &'a Parts,
    principal: Option<&'a Principal>,
    random: OnceCell<u16>,
}

impl<'a> Asker<'a> {
    /// Of a request, and of whoever stands behind its token.
    pub(super) const fn new(parts: &'a Parts, principal: Option<&'a Principal>) -> Self {
        Self { parts, principal, random: OnceCell::new() }
    }

    /// The bucket of this client in the slot of `module`.
    pub(super) fn bucket(&self, module: &str, by: &StickyBy) -> u16 {
        let sticky = |key: &[u8]| chance::sticky(module, key);
        let known = match by {
            StickyBy::None => None,
            StickyBy::Principal => self.principal.map(|principal| sticky(principal.subject.as_bytes())),
            StickyBy::Address => self.address().map(|address| sticky(address.to_string().as_bytes())),
            StickyBy::Header(name) => {
                self.parts.headers.get(name).map(|value| value.as_bytes()).filter(some).map(sticky)
            }
            StickyBy::Cookie(name) => cookie(&self.parts.headers, name).filter(some).map(sticky),
        };
        known.unwrap_or_else(|| *self.random.get_or_init(chance::bucket))
    }

    /// The peer's address, where whoever listens says it. IPv4 is the same in either form.
    fn address(&self) -> Option<std::net::IpAddr> {
        let ConnectInfo(peer) = self.parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
        Some(peer.ip().to_canonical())
    }
}

/// An empty value tells nobody apart.
fn some(value: &&[u8]) -> bool {
    !value.is_empty()
}

/// The first cookie of this name.
fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::actors::router::BUCKETS;

    fn parts(headers: &[(&str, &str)], peer: Option<&str>) -> Parts {
        let mut request = Request::builder();
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).expect("a request").into_parts().0;
        if let Some(peer) = peer {
            parts.extensions.insert(ConnectInfo(peer.parse::<SocketAddr>().expect("an address")));
        }
        parts
    }

    /// The bucket, if it is the same whenever one asks anew.
    fn sticky(parts: &Parts, principal: Option<&Principal>, by: &StickyBy) -> Option<u16> {
        let buckets: Vec<u16> = (0..20).map(|_| Asker::new(parts, principal).bucket("shop", by)).collect();
        assert!(buckets.iter().all(|bucket| *bucket < BUCKETS));
        buckets.iter().all(|bucket| *bucket == buckets[0]).then_some(buckets[0])
    }

    #[test]
    fn a_client_is_told_by_what_the_module_asks_for_and_by_nothing_else() {
        let all = parts(&[("x-tenant", "ada"), ("cookie", "a=1; ab=2;who=ada ; who=bob")], Some("10.0.0.7:4000"));
        let ada = Principal { subject: "ada".to_owned(), permissions: Vec::new() };
        let expected = Some(chance::sticky("shop", b"ada"));
        for by in [StickyBy::Principal, StickyBy::Header("x-tenant".into()), StickyBy::Cookie("who".into())] {
            assert_eq!(sticky(&all, Some(&ada), &by), expected, "{by}");
        }
        assert_eq!(sticky(&all, None, &StickyBy::Cookie("a".into())), Some(chance::sticky("shop", b"1")));
        assert_eq!(sticky(&all, None, &StickyBy::Address), Some(chance::sticky("shop", b"10.0.0.7")));
        assert_eq!(sticky(&all, Some(&ada), &StickyBy::None), None);
    }

    #[test]
    fn an_address_is_the_same_from_every_port_and_in_either_form() {
        let expected = Some(chance::sticky("shop", b"10.0.0.7"));
        for peer in ["10.0.0.7:1", "10.0.0.7:65000", "[::ffff:10.0.0.7]:80"] {
            assert_eq!(sticky(&parts(&[], Some(peer)), None, &StickyBy::Address), expected, "{peer}");
        }
    }

    #[test]
    fn who_cannot_be_told_is_sent_at_random_but_keeps_one_bucket_for_the_request() {
        let bare = parts(&[("x-tenant", ""), ("cookie", "who=; xwho=1; who")], None);
        let ways = [
            StickyBy::Principal,
            StickyBy::Address,
            StickyBy::Header("x-tenant".into()),
            StickyBy::Cookie("who".into()),
        ];
        for by in ways {
            assert_eq!(sticky(&bare, None, &by), None, "{by}");
            let asker = Asker::new(&bare, None);
            assert_eq!(asker.bucket("shop", &by), asker.bucket("shop", &by));
        }
    }
}
