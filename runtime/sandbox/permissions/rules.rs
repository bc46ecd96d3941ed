//! Rules in the form in which they are looked up: hashed once, searched on each call, nothing allocated.
//!
//! A host is looked up with each domain above it, a path with each folder above it. The hash is carried along byte by byte
//! (FNV-1a, by Fowler, Noll and Vo), from the end of a host and from the start of a path, so one pass gives all of them;
//! a table of the standard library would hash each anew, and costs several times as much. Names come from a manifest, at
//! most 1,000 of a kind: one that is made so that they collide slows down its own look-ups.

use std::borrow::Cow;
use std::net::IpAddr;

use url::Host;

/// The hash of nothing.
const NOTHING: u64 = 0xcbf2_9ce4_8422_2325;

/// The hash of what `hash` is of and one byte more.
const fn with(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(0x0100_0000_01b3)
}

/// From which end names are hashed.
#[derive(Clone, Copy)]
pub(in crate::sandbox) enum End {
    First,
    Last,
}

fn hash(name: &str, from: End) -> u64 {
    match from {
        End::First => name.bytes().fold(NOTHING, with),
        End::Last => name.bytes().rev().fold(NOTHING, with),
    }
}

/// Names, each with what is allowed of it: a table of twice their number at least, searched from a name's place on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct Names<T>(Box<[Place<T>]>);

/// A name and what is allowed of it, or nothing.
type Place<T> = Option<(Box<str>, T)>;

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self(Box::default())
    }
}

impl<T> Names<T> {
    /// Of equal names the first `join`s the others.
    pub(in crate::sandbox) fn new(
        names: impl IntoIterator<Item = (impl AsRef<str>, T)>,
        from: End,
        mut join: impl FnMut(&mut T, T),
    ) -> Self {
        let names: Vec<_> = names.into_iter().collect();
        if names.is_empty() {
            return Self::default();
        }
        let mut table: Box<[Place<T>]> = (0..(names.len() * 2).next_power_of_two()).map(|_| None).collect();
        for (name, of) in names {
            let (name, mask) = (name.as_ref(), table.len() - 1);
            let mut at = place(hash(name, from), mask);
            while table[at].as_ref().is_some_and(|(known, _)| **known != *name) {
                at = (at + 1) & mask;
            }
            match &mut table[at] {
                Some((_, known)) => join(known, of),
                free => *free = Some((name.into(), of)),
            }
        }
        Self(table)
    }

    /// What is allowed of `name`, in a table of names that are hashed from their start.
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.at(hash(name, End::First), name)
    }

    /// Whether what is allowed of `path`, hashed from its start, or of a folder above it is enough; the topmost has no name.
    pub(in crate::sandbox) fn along(&self, path: &str, is_enough: impl Fn(&T) -> bool) -> bool {
        let enough = |hash, end| self.at(hash, &path[..end]).is_some_and(&is_enough);
        let (mut hash, mut found) = (NOTHING, enough(NOTHING, 0));
        for (at, byte) in path.bytes().enumerate() {
            found |= byte == b'/' && enough(hash, at);
            hash = with(hash, byte);
        }
        found || enough(hash, path.len())
    }

    /// As [`Names::get`], with the name's hash.
    fn at(&self, hash: u64, name: &str) -> Option<&T> {
        let mask = self.0.len().checked_sub(1)?;
        let mut at = place(hash, mask);
        // half of the places are free, so it ends
        while let Some((known, of)) = &self.0[at] {
            if **known == *name {
                return Some(of);
            }
            at = (at + 1) & mask;
        }
        None
    }
}

/// Where to look first.
const fn place(hash: u64, mask: usize) -> usize {
    (hash ^ (hash >> 32)) as usize & mask
}

/// Hosts with their ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::sandbox) struct Hosts {
    exact: Names<Ports>,
    /// By the domain that the hosts are below of.
    below: Names<Ports>,
}

/// Ports, sorted. No list is every port.
type Ports = Option<Box<[u16]>>;

impl Hosts {
    pub(in crate::sandbox) fn new<'a>(hosts: impl IntoIterator<Item = (&'a str, Option<&'a [u16]>)>) -> Self {
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
        Self { exact: Names::new(exact, End::Last, join), below: Names::new(below, End::Last, join) }
    }

    /// Whether a port of a name is among them by that name, and not by a pattern.
    pub(in crate::sandbox) fn name(&self, host: &str, port: u16) -> bool {
        self.exact.at(hash(host, End::Last), host).is_some_and(|ports| has(ports, port))
    }

    /// Whether a port of a host is among them. The host's case and a dot at its end do not matter.
    pub(in crate::sandbox) fn allow(&self, host: &str, port: u16) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let (mut hash, mut found, mut is_unusual) = (NOTHING, false, false);
        for (at, byte) in host.bytes().enumerate().rev() {
            // what begins there has nothing before it
            if byte == b'.' && at > 0 {
                found |= self.below.at(hash, &host[at + 1..]).is_some_and(|ports| has(ports, port));
            }
            is_unusual |= byte == b':' || byte.is_ascii_uppercase();
            hash = with(hash, byte);
        }
        if is_unusual || is_like_address(host) {
            let host = host.to_ascii_lowercase();
            if let Some(address) = address(&host) {
                return self.name(&address, port);
            }
            if is_unusual {
                return !host.contains(':') && self.allow(&host, port);
            }
        }
        found || self.exact.at(hash, host).is_some_and(|ports| has(ports, port))
    }
}

fn has(ports: &Ports, port: u16) -> bool {
    ports.as_ref().is_none_or(|ports| ports.binary_search(&port).is_ok())
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

/// Only an address has colons, or a last part that begins with a digit.
fn is_like_address(host: &str) -> bool {
    let last = &host[host.rfind('.').map_or(0, |dot| dot + 1)..];
    last.starts_with(|c: char| c.is_ascii_digit()) || host.contains(':')
}

/// An address in its one way of writing, whichever of those that URLs know it has (`2130706433`, `0x7f.1`).
fn address(host: &str) -> Option<String> {
    if !is_like_address(host) {
        return None;
    }
    let of_url = || match Host::parse(host) {
        Ok(Host::Ipv4(address)) => Some(IpAddr::V4(address)),
        _ => None,
    };
    host.parse().ok().or_else(of_url).map(|address: IpAddr| address.to_canonical().to_string())
}

fn leads_elsewhere(part: &[u8]) -> bool {
    matches!(part, b"." | b"..")
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
            exact: Names::new(exact.into_iter().map(|path| (path, ())), End::First, |(), ()| ()),
            below: Names::new(below.into_iter().map(|path| (&path[..path.len() - 2], ())), End::First, |(), ()| ()),
            shaped: shaped.into_iter().map(|path| path.as_str().into()).collect(),
        }
    }

    /// Whether `path`, without a query, is among them.
    pub(super) fn allow(&self, path: &str) -> bool {
        let (mut hash, mut found, mut part) = (NOTHING, false, 0);
        for (at, byte) in path.bytes().enumerate() {
            if byte == b'/' {
                if leads_elsewhere(&path.as_bytes()[part..at]) {
                    return false;
                }
                // what ends here has nothing below
                found |= at + 1 < path.len() && self.below.at(hash, &path[..at]).is_some();
                part = at + 1;
            }
            hash = with(hash, byte);
        }
        if !path.starts_with('/') || leads_elsewhere(&path.as_bytes()[part..]) {
            return false;
        }
        found || self.exact.at(hash, path).is_some() || self.shaped.iter().any(|shape| fits(shape, path))
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
        if wanted == "*" {
            return !part.is_empty();
        }
        if parameter.starts_with("{*") {
            return part.starts_with(start) && part.len() > start.len();
        }
        let fits = if parameter.is_empty() { part == wanted } else { part.starts_with(start) && part.len() > open };
        if !fits {
            return false;
        }
    }
    parts.peek().is_none()
}
