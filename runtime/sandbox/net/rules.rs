//! Which hosts a module may talk to, compiled from `permissions.system.network` and `permissions.resources.network`.

use std::net::IpAddr;

use replug_scripts::HostError;

use super::address::{Reach, reach};
use super::target::Target;
use crate::manifest::{NetworkPermission, NetworkQuota};
use crate::sandbox::permissions::denied;

/// Endings of names that the internet does not know: whoever grants one means a machine of the own network.
const LOCAL: [&str; 6] = [".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test"];

/// What a module may talk to.
///
/// A granted address opens itself, wherever it reaches but to [`Reach::Nothing`]. A granted name opens what it is looked up to
/// where that is public, or an address that is granted itself with the port. What is [`Reach::Private`] is open, too, to a
/// name that can only be meant so: one without a dot such as `localhost`, or one that ends with `.local`, `.internal`,
/// `.lan`, `.home.arpa`, `.localhost` or `.test`, written out. So nobody who rules a public name reaches into the own network by it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkRules {
    grants: Vec<(Pattern, Vec<u16>)>,
    /// Bounds on top of the grants; empty ones bound nothing.
    hosts: Vec<Pattern>,
    ports: Vec<u16>,
    /// Whether plain http is refused.
    pub secure_only: bool,
    /// Connections at once.
    pub connections: u32,
    /// Bytes a second, in both directions together.
    pub bandwidth: Option<u64>,
}

/// What a host in a manifest stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Address(IpAddr),
    Name(String),
    /// The names below this one, with its dot in front.
    Below(String),
}

impl Pattern {
    fn new(host: &str) -> Self {
        match (host.parse(), host.strip_prefix('*')) {
            (Ok(address), _) => Self::Address(canonical(address)),
            (Err(_), Some(below)) => Self::Below(below.to_owned()),
            // what a URL would make an address of, is one here as well
            (Err(_), None) => match Target::parse(&format!("http://{host}")).ok().and_then(|target| target.address()) {
                Some(address) => Self::Address(canonical(address)),
                None => Self::Name(host.to_owned()),
            },
        }
    }

    fn covers(&self, target: &Target) -> bool {
        match (self, target.address()) {
            (Self::Address(granted), Some(address)) => *granted == canonical(address),
            (Self::Name(name), None) => *name == target.host(),
            (Self::Below(ending), None) => {
                let host = target.host();
                host.len() > ending.len() && host.ends_with(ending.as_str())
            }
            _ => false,
        }
    }
}

/// An IPv4-mapped address is that IPv4 address.
fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

impl NetworkRules {
    /// The rules of these.
    #[must_use]
    pub fn new(permissions: &[NetworkPermission], quota: &NetworkQuota) -> Self {
        Self {
            grants: permissions.iter().map(|one| (Pattern::new(&one.host), one.ports.clone())).collect(),
            hosts: quota.allowed_hosts.iter().map(|host| Pattern::new(host)).collect(),
            ports: quota.allowed_ports.clone(),
            secure_only: quota.ssl_required,
            connections: quota.connection_limit,
            bandwidth: quota.max_bandwidth,
        }
    }

    /// Whether a grant covers `target`, whatever the bounds say.
    #[must_use]
    pub fn grant(&self, target: &Target) -> bool {
        self.grants.iter().any(|(pattern, ports)| ports.contains(&target.port()) && pattern.covers(target))
    }

    /// Whether `target` may be asked.
    ///
    /// # Errors
    /// `permission-denied` naming the line of the manifest that would grant it.
    pub fn check(&self, function: &str, target: &Target) -> Result<(), HostError> {
        let (host, port) = (target.host(), target.port());
        if !self.grant(target) {
            let line = format!("permissions: {{ system: {{ network: [{{ host: {host:?}, ports: [{port}] }}] }} }}");
            return Err(denied(function, &format!("this module may not talk to {host} on port {port}"), &line));
        }
        if !self.hosts.is_empty() && !self.hosts.iter().any(|pattern| pattern.covers(target)) {
            let line = format!("permissions: {{ resources: {{ network: {{ allowedHosts: [{host:?}] }} }} }}");
            return Err(denied(function, &format!("{host} is not among the allowed hosts"), &line));
        }
        if !self.ports.is_empty() && !self.ports.contains(&port) {
            let line = format!("permissions: {{ resources: {{ network: {{ allowedPorts: [{port}] }} }} }}");
            return Err(denied(function, &format!("port {port} is not among the allowed ports"), &line));
        }
        if self.secure_only && !target.is_secure() {
            let line = "permissions: { resources: { network: { sslRequired: false } } }";
            return Err(denied(function, "plain http is not allowed; use https", line));
        }
        Ok(())
    }

    /// Whether `address`, to which `target` was looked up or which it is, may be connected to.
    #[must_use]
    pub fn opens(&self, target: &Target, address: IpAddr) -> bool {
        let is_granted = self
            .grants
            .iter()
            .any(|(pattern, ports)| ports.contains(&target.port()) && *pattern == Pattern::Address(canonical(address)));
        match reach(address) {
            Reach::Public => true,
            Reach::Nothing => false,
            _ if is_granted => true,
            Reach::Link => false,
            Reach::Private => target.address().is_none() && self.is_local(target),
        }
    }

    /// Whether the name is granted as it is and can only be meant for the own network.
    fn is_local(&self, target: &Target) -> bool {
        let host = target.host();
        let is_local = !host.contains('.') || LOCAL.iter().any(|ending| host.ends_with(ending));
        is_local
            && self.grants.iter().any(|(pattern, ports)| {
                ports.contains(&target.port()) && matches!(pattern, Pattern::Name(name) if *name == host)
            })
    }
}

#[cfg(test)]
mod tests;
