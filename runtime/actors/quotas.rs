//! The quotas that an instance keeps to, as they are at the moment they are looked at.

use std::sync::Arc;

use crate::manifest::{Manifest, ResourceQuotas};
use crate::sandbox::permissions::Live;

/// Where the quotas stand.
#[derive(Clone)]
pub enum Quotas {
    /// In the manifest, as it asks for them.
    Asked(Arc<Manifest>),
    /// As an administrator has decided, who may decide anew while the instance runs.
    Decided(Arc<Live>),
}

impl Quotas {
    /// Reads them.
    pub fn read<R>(&self, read: impl FnOnce(&ResourceQuotas) -> R) -> R {
        match self {
            Self::Asked(manifest) => read(&manifest.permissions.resources),
            Self::Decided(live) => read(&live.grants().effective().resources),
        }
    }
}
