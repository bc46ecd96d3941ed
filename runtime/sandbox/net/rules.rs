//! Which hosts a module may talk to, compiled from `permissions.system.network` and `permissions.resources.network`.

use std::net::IpAddr;
use std::sync::Arc;

use replug_scripts::HostError;

use super::address::{Reach, reach};
use super::target::Target;
use crate::manifest::{NetworkPermission, NetworkQuota};
use crate::sandbox::permissions::{Hosts, Permission, Ruled, denied, refused};

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
    /// Whose they are, and how it stands with what its manifest asks for: the words of refusals.
    asked: Option<(Box<str>, Arc<[Ruled]>)>,
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
            asked: None,
        }
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
            let line = format!("permissions: {{ resources: {{ network: {{ allowedHosts: [{host:?}] }} }} }}");
            return Err(denied(function, &format!("{host} is not among the allowed hosts"), &line));
        }
        if self.ports.as_ref().is_some_and(|ports| ports.binary_search(&port).is_err()) {
            let line = format!("permissions: {{ resources: {{ network: {{ allowedPorts: [{port}] }} }} }}");
            return Err(denied(function, &format!("port {port} is not among the allowed ports"), &line));
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
            let line = "permissions: { resources: { network: { sslRequired: false } } }";
            return Err(denied(function, "plain http is not allowed; use https", line));
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

#[cfg(test)]
mod tests;
