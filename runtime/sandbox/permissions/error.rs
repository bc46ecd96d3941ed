//! Why a decision is refused. Nothing was changed then.

use super::permission::Permission;
use super::resource::ResourceType;
use crate::store::StoreError;
use crate::store::audit::AuditError;

/// A decision that was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PermissionError {
    /// The version does not ask for it.
    #[error("{module} does not ask for {permission}; {}", asks(asked))]
    NotAsked {
        /// `id@version`.
        module: String,
        /// What was to be decided.
        permission: Permission,
        /// What it asks for.
        asked: Vec<Permission>,
    },
    /// Only a part of what the version asks for was named, which is a narrowing.
    #[error(
        "{module} asks for {whole}, of which {permission} is a part; to grant no more than that: replug permissions narrow \
         {module} '{permission}'"
    )]
    Part {
        /// `id@version`.
        module: String,
        /// What was named.
        permission: Permission,
        /// What is asked for.
        whole: Permission,
    },
    /// All of what the version asks for was named, which narrows nothing.
    #[error(
        "{permission} is all that {module} asks for, so it narrows nothing; name less, or: replug permissions grant|deny \
         {module} '{permission}'"
    )]
    Whole {
        /// `id@version`.
        module: String,
        /// What was named.
        permission: Permission,
    },
    /// Nothing was named that is to be narrowed or denied.
    #[error("no permission was named; replug permissions show {module} lists them")]
    Nothing {
        /// `id@version`.
        module: String,
    },
    /// A quota that the module has without asking cannot be denied.
    #[error("{module} has {permission} without asking; to give it less: replug permissions narrow {module} {}=…", resource.key())]
    Own {
        /// `id@version`.
        module: String,
        /// What was to be denied.
        permission: Permission,
        /// Of what.
        resource: ResourceType,
    },
    /// The module cannot do with so little of a quota.
    #[error(
        "{permission} is less than {module} can do with: under its memory limit of {} its scripts need {} at the least, so \
         that no value overflows the stack",
        ResourceType::HeapSize.spelled(*memory),
        Permission::Quota { resource: ResourceType::StackSize, amount: *least }
    )]
    TooLittle {
        /// `id@version`.
        module: String,
        /// What was to be given.
        permission: Permission,
        /// Its memory limit in bytes, from which the least follows.
        memory: u64,
        /// The least in bytes.
        least: u64,
    },
    /// The store failed; nothing was decided.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit log takes no entries; nothing was decided.
    #[error(transparent)]
    Audit(#[from] AuditError),
}

fn asks(asked: &[Permission]) -> String {
    if asked.is_empty() {
        return "it asks for nothing".to_owned();
    }
    let asked: Vec<_> = asked.iter().map(ToString::to_string).collect();
    format!("it asks for {}", asked.join(", "))
}

/// More than a quota allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{module} would use {} of {}, more than its quota of {}; free some, or have it raised: replug permissions show {module}",
    resource.spelled(*wanted),
    resource.key(),
    resource.spelled(*quota)
)]
pub struct QuotaExceeded {
    /// The module's id.
    pub module: String,
    /// Of what.
    pub resource: ResourceType,
    /// What it would use with what it asked for now.
    pub wanted: u64,
    /// What it may use.
    pub quota: u64,
}
