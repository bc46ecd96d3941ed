//! Which hosts a module may talk to, compiled from `permissions.system.network` and `permissions.resources.network`.

use std::net::IpAddr;
use std::sync::Arc;

use replug_scripts::HostError;

use super::address::{Reach, reach};
use super::target::Target;
use crate::manifest::{Lines, NetworkPermission, NetworkQuota};
use crate::sandbox::permissions::{Hosts, Permission, Ruled, denied, place, refused};

/// Endings of names that the internet does not know: whoever grants one means a machine of the own network.
const LOCAL: [&str; 6] = [".localhost", ".local", ".internal", ".lan", ".home.arpa", ".test"];

/// Entries of a list that a refusal repeats.
const REPEATED: usize = 20;

/// What a module may talk to.
///
/// A granted address opens itself, wherever it reaches but to [`Reach::Nothing`]. A granted name opens what it is looked up to
/// where that is public, or an address that is granted itself with the port. What is [`Reach::Private`] is open, too, to a
/// name that can only be meant so: one without a dot such as `localhost`, or one that ends with `.local`, `.internal`,
/// `.lan`, `.home.arpa`, `.localhost` or `.test`, written out. So nobody who rules a public name reaches into the own network by it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NetworkRules {
    grants: Hosts,
    /// Bounds on top of the grants, where there are any.
    hosts: Option<Hosts>,
    ports: Option<Box<[u16]>>,
    /// Whether plain http is refused.
    pub secure_only: bool,
    /// Connections at once.
    pub connections: u32,
    /// Bytes a second, in both directions together.
    pub bandwidth: Option<u64>,
    /// The bounds as the manifest has them, and in which lines.
    listed: NetworkQuota,
    places: Places,
    /// Whose they are, and how it stands with what its manifest asks for: the words of refusals.
    asked: Option<(Box<str>, Arc<[Ruled]>)>,
}

/// The lines of a manifest with bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Places {
    hosts: Option<usize>,
    ports: Option<usize>,
    secure: Option<usize>,
}

impl NetworkRules {
    /// The rules of these.
    #[must_use]
    pub fn new(permissions: &[NetworkPermission], quota: &NetworkQuota) -> Self {
        let grants = permissions.iter().map(|one| (one.host.as_str(), Some(one.ports.as_slice())));
        let hosts = quota.allowed_hosts.iter().map(|host| (host.as_str(), None));
        let mut ports = quota.allowed_ports.clone();
        ports.sort_unstable();
        Self {
            grants: Hosts::new(grants),
            hosts: (!quota.allowed_hosts.is_empty()).then(|| Hosts::new(hosts)),
            ports: (!ports.is_empty()).then(|| ports.into()),
            secure_only: quota.ssl_required,
            connections: quota.connection_limit,
            bandwidth: quota.max_bandwidth,
            listed: quota.clone(),
            places: Places::default(),
            asked: None,
        }
    }

    /// The same, whose refusals name the lines of the bounds.
    pub(in crate::sandbox) fn placed(mut self, lines: &Lines) -> Self {
        let line = |key: &str| lines.line(&format!("permissions.resources.network.{key}"));
        let (hosts, ports) = (line("allowedHosts"), line("allowedPorts"));
        self.places = Places { hosts, ports, secure: line("sslRequired") };
        self
    }

    /// Has refusals say how it stands with what the manifest of `module` asks for.
    pub(in crate::sandbox) fn explain(&mut self, module: &str, ruled: Arc<[Ruled]>) {
        self.asked = Some((module.into(), ruled));
    }

    /// Whether a port of a host, a name or an address, may be connected to, as far as that is known before an address is looked
    /// up.
    ///
    /// # Errors
    /// `permission-denied` naming the line of the manifest that would grant it, or that asks for it.
    pub fn permit(&self, function: &str, host: &str, port: u16) -> Result<(), HostError> {
        if !self.grants.allow(host, port) {
            return Err(self.refuse(function, host, port));
        }
        if self.hosts.as_ref().is_some_and(|hosts| !hosts.allow(host, port)) {
            let why = format!("{host} is not among the allowedHosts of {}", place(self.places.hosts));
            let hosts = self.listed.allowed_hosts.iter().map(|host| format!("{host:?}"));
            return Err(bounded(function, &why, &format!("allowedHosts: [{}]", with(hosts, format!("{host:?}")))));
        }
        if self.ports.as_ref().is_some_and(|ports| ports.binary_search(&port).is_err()) {
            let why = format!("port {port} is not among the allowedPorts of {}", place(self.places.ports));
            let ports = self.listed.allowed_ports.iter().map(u16::to_string);
            return Err(bounded(function, &why, &format!("allowedPorts: [{}]", with(ports, port.to_string()))));
        }
        Ok(())
    }

    #[cold]
    fn refuse(&self, function: &str, host: &str, port: u16) -> HostError {
        let permission = Permission::Network { host: host.to_owned(), port };
        match &self.asked {
            Some((module, ruled)) => refused(function, module, &permission, ruled),
            None => {
                denied(function, &format!("this module may not talk to {host} on port {port}"), &permission.asking())
            }
        }
    }

    /// Whether `target` may be asked.
    ///
    /// # Errors
    /// As [`NetworkRules::permit`].
    pub fn check(&self, function: &str, target: &Target) -> Result<(), HostError> {
        self.permit(function, &target.host(), target.port())?;
        if self.secure_only && !target.is_secure() {
            let why = format!("{} has sslRequired, so plain http is refused; use https", place(self.places.secure));
            return Err(bounded(function, &why, "sslRequired: false"));
        }
        Ok(())
    }

    /// Whether `address`, to which `target` was looked up or which it is, may be connected to.
    #[must_use]
    pub fn opens(&self, target: &Target, address: IpAddr) -> bool {
        match reach(address) {
            Reach::Public => true,
            Reach::Nothing => false,
            _ if self.grants.allow(&address.to_string(), target.port()) => true,
            Reach::Link => false,
            Reach::Private => target.address().is_none() && self.is_local(target),
        }
    }

    /// Whether the name is granted as it is and can only be meant for the own network.
    fn is_local(&self, target: &Target) -> bool {
        let host = target.host();
        let is_local = !host.contains('.') || LOCAL.iter().any(|ending| host.ends_with(ending));
        is_local && self.grants.name(&host, target.port())
    }
}

/// The refusal by a bound of the manifest, and the entry without which it would not be there.
#[cold]
fn bounded(function: &str, why: &str, entry: &str) -> HostError {
    denied(function, why, &format!("permissions: {{ resources: {{ network: {{ {entry} }} }} }}"))
}

/// What a list would have to be: what is in it, of a long one `…`, and `more`.
fn with(list: impl ExactSizeIterator<Item = String>, more: String) -> String {
    let list: Vec<_> = if list.len() > REPEATED { vec!["…".to_owned()] } else { list.collect() };
    [list, vec![more]].concat().join(", ")
}

#[cfg(test)]
mod tests;
