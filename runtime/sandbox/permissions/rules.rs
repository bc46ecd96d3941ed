//! Rules in the form in which they are looked up: sorted once, searched on each call, nothing allocated.

use std::borrow::Cow;
use std::net::IpAddr;

/// Names, each with what is allowed of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names<T>(Box<[(Box<str>, T)]>);

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T> Names<T> {
    /// Of equal names the first `join`s the others.
    pub(super) fn new(names: impl IntoIterator<Item = (impl AsRef<str>, T)>, mut join: impl FnMut(&mut T, T)) -> Self {
        let mut sorted: Vec<(Box<str>, T)> = names.into_iter().map(|(name, of)| (name.as_ref().into(), of)).collect();
        sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut joined: Vec<(Box<str>, T)> = Vec::with_capacity(sorted.len());
        for (name, of) in sorted {
            match joined.last_mut() {
                Some((last, known)) if *last == name => join(known, of),
                _ => joined.push((name, of)),
            }
        }
        Self(joined.into())
    }

    pub(super) fn get(&self, name: &str) -> Option<&T> {
        let at = self.0.binary_search_by(|(known, _)| (**known).cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Hosts with their ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hosts {
    exact: Names<Ports>,
    /// By the domain that the hosts are below of.
    below: Names<Ports>,
}

/// Ports, sorted. No list is every port.
type Ports = Option<Box<[u16]>>;

impl Hosts {
    pub(super) fn new<'a>(hosts: impl IntoIterator<Item = (&'a str, Option<&'a [u16]>)>) -> Self {
        let (mut exact, mut below) = (Vec::new(), Vec::new());
        for (host, ports) in hosts {
            let ports: Ports = ports.map(sorted);
            match host.strip_prefix("*.") {
                Some(domain) => below.push((Cow::Borrowed(domain), ports)),
                None => exact.push((canonical(host), ports)),
            }
        }
        let join = |known: &mut Ports, more: Ports| {
            *known = known.take().zip(more).map(|(known, more)| sorted(&[&*known, &*more].concat()));
        };
        Self { exact: Names::new(exact, join), below: Names::new(below, join) }
    }

    /// Whether a port of a host is among them. The host's case and a dot at its end do not matter.
    pub(super) fn allow(&self, host: &str, port: u16) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.allow(&host.to_ascii_lowercase(), port);
        }
        let has = |ports: &Ports| ports.as_ref().is_none_or(|ports| ports.binary_search(&port).is_ok());
        if let Some(address) = address(host) {
            return self.exact.get(&address).is_some_and(has);
        }
        if self.exact.get(host).is_some_and(has) {
            return true;
        }
        let domains = host.match_indices('.').map(|(dot, _)| &host[dot + 1..]);
        !self.below.is_empty() && domains.into_iter().any(|domain| self.below.get(domain).is_some_and(has))
    }
}

fn sorted(ports: &[u16]) -> Box<[u16]> {
    let mut ports = ports.to_vec();
    ports.sort_unstable();
    ports.dedup();
    ports.into()
}

/// One way of writing for each address; names as they are.
fn canonical(host: &str) -> Cow<'_, str> {
    address(host).map_or(Cow::Borrowed(host), Cow::Owned)
}

/// An address in its one way of writing. What cannot be one is not tried.
fn address(host: &str) -> Option<String> {
    let is_like_one = host.contains(':') || host.bytes().last().is_some_and(|b| b.is_ascii_digit());
    is_like_one.then(|| host.parse::<IpAddr>().ok().map(|address| address.to_canonical().to_string())).flatten()
}

/// Paths of the gateway: as they stand, by their beginnings, and with parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Paths {
    exact: Names<()>,
    /// Without the `/*`.
    below: Names<()>,
    /// Those with a parameter, few and matched part by part.
    shaped: Box<[Box<str>]>,
}

impl Paths {
    pub(super) fn new(patterns: &[String]) -> Self {
        let (shaped, plain): (Vec<&String>, Vec<&String>) = patterns.iter().partition(|path| path.contains('{'));
        let (below, exact): (Vec<&String>, Vec<&String>) = plain.into_iter().partition(|path| path.ends_with("/*"));
        Self {
            exact: Names::new(exact.into_iter().map(|path| (path, ())), |(), ()| ()),
            below: Names::new(below.into_iter().map(|path| (&path[..path.len() - 2], ())), |(), ()| ()),
            shaped: shaped.into_iter().map(|path| path.as_str().into()).collect(),
        }
    }

    /// Whether `path`, without a query, is among them.
    pub(super) fn allow(&self, path: &str) -> bool {
        if !path.starts_with('/') || path[1..].split('/').any(|part| matches!(part, "." | "..")) {
            return false;
        }
        if self.exact.get(path).is_some() {
            return true;
        }
        let starts = path.match_indices('/').filter(|(at, _)| at + 1 < path.len()).map(|(at, _)| &path[..at]);
        (!self.below.is_empty() && starts.into_iter().any(|start| self.below.get(start).is_some()))
            || self.shaped.iter().any(|shape| fits(shape, path))
    }
}

/// Whether `path` has the form of `shape`: a parameter stands for what is left of one part, `{*rest}` and `*` for all parts
/// to the end.
pub(super) fn fits(shape: &str, path: &str) -> bool {
    let mut parts = path.split('/').peekable();
    for wanted in shape.split('/') {
        let Some(part) = parts.next() else { return false };
        let open = wanted.find('{').unwrap_or(wanted.len());
        let (start, parameter) = wanted.split_at(open);
        if wanted == "*" || parameter.starts_with("{*") {
            return part.len() > start.len() && (wanted == "*" || part.starts_with(start));
        }
        let fits = if parameter.is_empty() { part == wanted } else { part.starts_with(start) && part.len() > open };
        if !fits {
            return false;
        }
    }
    parts.peek().is_none()
}
