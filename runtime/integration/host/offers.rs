//! What one runtime offers on behalf of the application around it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use semver::Version;

use super::HostService;
use crate::integration::auth;
use crate::manifest;

/// The host's services by capability. Clones share them.
#[derive(Clone, Default)]
pub struct HostServices {
    services: Arc<BTreeMap<String, Arc<dyn HostService>>>,
}

/// Why a service cannot be offered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OfferError {
    /// Its name is none.
    #[error(
        "the host's service `{0}` is not named as a capability is: lower-case letters, digits and dashes, in parts joined \
         by dots, at most 128 characters"
    )]
    Name(String),
    /// Two services have its name.
    #[error("the host offers `{0}` twice; offer one service with the methods of both, or give one another name")]
    Twice(String),
    /// No script could call one of its methods.
    #[error(
        "the host's service `{service}` has a method `{method}`, which no script could call: in `capability.method` the method \
         follows the last dot; give it a name without dots, and put what stands before one into the name of a service"
    )]
    Method {
        /// The service.
        service: String,
        /// The method.
        method: String,
    },
    /// The gateway does not ask the host.
    #[error("the host cannot offer `{0}`: the gateway asks a module; write one that calls a service of another name")]
    Reserved(String),
}

impl HostServices {
    /// These services.
    ///
    /// # Errors
    /// One cannot be offered.
    pub fn new(services: impl IntoIterator<Item = (String, Arc<dyn HostService>)>) -> Result<Self, OfferError> {
        let mut offered = BTreeMap::new();
        for (name, service) in services {
            if !manifest::is_id(&name) {
                return Err(OfferError::Name(name));
            }
            if name == auth::CAPABILITY {
                return Err(OfferError::Reserved(name));
            }
            if let Some(method) = service.methods().into_iter().find(|method| method.is_empty() || method.contains('.'))
            {
                return Err(OfferError::Method { service: name, method: method.to_owned() });
            }
            if offered.insert(name.clone(), service).is_some() {
                return Err(OfferError::Twice(name));
            }
        }
        Ok(Self { services: Arc::new(offered) })
    }

    pub(in crate::integration) fn get(&self, capability: &str) -> Option<&Arc<dyn HostService>> {
        self.services.get(capability)
    }

    /// The capabilities with the version of each.
    #[must_use]
    pub fn capabilities(&self) -> BTreeMap<String, Version> {
        self.services.iter().map(|(name, service)| (name.clone(), service.version())).collect()
    }
}

impl fmt::Debug for HostServices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.services.keys()).finish()
    }
}
