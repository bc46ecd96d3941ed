//! Where a URL leads.

use std::borrow::Cow;
use std::net::IpAddr;

use url::{Host, Url};

/// The longest URL, in bytes.
const MAX_URL: usize = 8 << 10;

/// A URL that may be asked, taken apart. The host stands in one spelling: a name in lower-case ASCII, or an address, whatever
/// way the address was written (decimal, octal, hexadecimal, shortened).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    url: Url,
    host: Host,
    port: u16,
}

impl Target {
    /// Reads a URL as browsers do (WHATWG).
    ///
    /// # Errors
    /// Why it cannot be asked: no URL, another scheme than http and https, no host, credentials in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_URL {
            return Err("the URL is longer than 8 KiB".to_owned());
        }
        Self::of(Url::parse(text).map_err(|error| format!("this is no URL: {error}"))?)
    }

    /// Where `location`, absolute or relative to this URL, leads.
    ///
    /// # Errors
    /// As [`Target::parse`].
    pub fn join(&self, location: &str) -> Result<Self, String> {
        if location.len() > MAX_URL {
            return Err("the URL is longer than 8 KiB".to_owned());
        }
        Self::of(self.url.join(location).map_err(|error| format!("this is no URL: {error}"))?)
    }

    fn of(mut url: Url) -> Result<Self, String> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("the scheme is {}, but only http and https are spoken", url.scheme()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("the URL has credentials in it; put them into the header `authorization`".to_owned());
        }
        let host = url.host().ok_or("the URL has no host")?.to_owned();
        if let Host::Domain(name) = &host
            && name.ends_with('.')
        {
            return Err("the host ends with a dot".to_owned());
        }
        let port = url.port_or_known_default().filter(|port| *port != 0).ok_or("the URL has no port")?;
        url.set_fragment(None);
        Ok(Self { url, host, port })
    }

    /// The URL, without a fragment.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// The path with the query, as it stands in a request.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.url[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// The host, and the port where it is not the scheme's own, as they stand in a request.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.url[url::Position::BeforeHost..url::Position::AfterPort]
    }

    /// Whether it is https.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The name, or the address without brackets.
    #[must_use]
    pub fn host(&self) -> Cow<'_, str> {
        match &self.host {
            Host::Domain(name) => name.into(),
            Host::Ipv4(address) => address.to_string().into(),
            Host::Ipv6(address) => address.to_string().into(),
        }
    }

    /// The address, where the URL has one instead of a name.
    #[must_use]
    pub const fn address(&self) -> Option<IpAddr> {
        match &self.host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(*address)),
            Host::Ipv6(address) => Some(IpAddr::V6(*address)),
        }
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether `other` is of the same scheme, host and port: only there credentials go along.
    #[must_use]
    pub fn is_same_origin(&self, other: &Self) -> bool {
        self.is_secure() == other.is_secure() && self.host == other.host && self.port == other.port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_an_address_is_that_address() {
        for text in [
            "http://127.0.0.1",
            "http://127.1",
            "http://2130706433",
            "http://0x7f000001",
            "http://0177.0.0.1",
            "http://0x7f.1",
            "http://127.0.0.1:80/",
            "HTTP://127.0.0.1",
            "http:\\\\127.0.0.1",
            "http://127.0.0.1.",
            "http://%31%32%37.0.0.1",
            "http://１２７.０.０.１",
            "http://①②⑦.0.0.1",
        ] {
            match Target::parse(text) {
                Ok(target) => assert_eq!(target.address(), Some("127.0.0.1".parse().unwrap()), "{text}"),
                Err(error) => panic!("{text}: {error}"),
            }
        }
        let mapped = Target::parse("http://[::ffff:127.0.0.1]:8080/").unwrap();
        assert_eq!((&*mapped.host(), mapped.port()), ("::ffff:127.0.0.1", 8080));
    }

    #[test]
    fn what_cannot_be_asked_is_refused_with_its_reason() {
        for (text, why) in [
            ("", "no URL"),
            ("/relative", "no URL"),
            ("file:///etc/passwd", "scheme is file"),
            ("ftp://x.org", "scheme is ftp"),
            ("gopher://x.org", "scheme"),
            ("data:,x", "scheme"),
            ("javascript:1", "scheme"),
            ("http://", "no URL"),
            ("http://user:secret@x.org", "credentials"),
            ("http://x.org@evil.org", "credentials"),
            ("http://x.org.", "dot"),
            ("http://[fe80::1%25eth0]", "no URL"),
            ("http://[::1", "no URL"),
            ("http://x.org:0", "no port"),
            ("http://x.org:65536", "no URL"),
            ("http://a b", "no URL"),
            ("http://256.1.1.1", "no URL"),
            ("http://0x100000000", "no URL"),
        ] {
            let fault = Target::parse(text).expect_err(text);
            assert!(fault.contains(why), "{text}: {fault}");
        }
        assert!(Target::parse(&format!("http://x.org/{}", "a".repeat(9000))).is_err());
    }

    #[test]
    fn a_line_break_never_reaches_the_wire() {
        let target = Target::parse("http://x.org/a\r\nHost: evil\r\n\r\nGET /").unwrap();
        assert_eq!(target.as_str(), "http://x.org/aHost:%20evilGET%20/");
        assert_eq!(Target::parse("http://x.org/a%0d%0ab").unwrap().as_str(), "http://x.org/a%0d%0ab");
    }

    #[test]
    fn a_redirect_is_read_from_where_it_stands() {
        let from = Target::parse("https://a.org/x/y?z=1#f").unwrap();
        assert_eq!(from.join("../w").unwrap().as_str(), "https://a.org/w");
        assert_eq!(from.join("//b.org/w").unwrap().host(), "b.org");
        assert!(from.join("https://u:p@b.org").is_err() && from.join("file:///etc").is_err());
        let same = |other: &str| from.is_same_origin(&Target::parse(other).unwrap());
        assert!(
            same("https://A.org:443/")
                && !same("http://a.org")
                && !same("https://a.org:444")
                && !same("https://b.a.org")
        );
    }
}
