//! What modules may reach: asked for by manifests, decided by administrators, looked up on each call.
//!
//! What a manifest declares the module has for itself: its database, its store, its configuration, the services of the
//! modules it depends on, quotas up to the defaults. Reaching the database of a module that calls is asked for by
//! `module: caller` and consented to by that module's dependency on this one; it holds only while the call runs. **All else
//! is denied until an administrator grants it.**
//!
//! ```text
//! manifest ─▸ asked ┐
//!                   ├─▸ decisions ─▸ effective ─▸ compiled, in each running instance
//! administrator ────┘
//! ```
//!
//! | file | what it knows |
//! |---|---|
//! | [`permission`], [`resource`] | one permission, its text, and which permission holds another |
//! | [`asked`] | what a manifest asks for |
//! | [`limits`] | the limits of a script, which follow from both |
//! | [`decisions`] | what was decided, and what is left of what is asked for |
//! | `compiled`, `rules`, `refusal` | the form for lookups, and the words of refusals |
//! | `foresee` | what of a call's text would be refused |
//! | `manager`, `live` | the decisions in force, and the instances that they reach |
//! | [`deciding`], [`checks`], [`view`] | the manager's commands, questions and views |
//! | `records` | what is kept in the store |
//! | [`retell`] | what the audit log tells of decisions, for a store that is made anew |

pub mod asked;
pub mod checks;
pub mod deciding;
pub mod decisions;
pub mod limits;
pub mod permission;
pub mod resource;
pub mod retell;
pub mod view;

mod compiled;
mod error;
mod foresee;
mod live;
mod manager;
mod records;
mod refusal;
mod rules;

#[cfg(test)]
mod tests;

pub use asked::{Asked, CALLER};
pub use checks::{PermissionContext, PermissionResult};
pub use compiled::{Grants, denied};
pub use deciding::{Decided, Ruling};
pub(in crate::sandbox) use decisions::Ruled;
pub use decisions::{Standing, Verdict};
pub use error::{PermissionError, QuotaExceeded};
pub use foresee::{Foreseen, Foresight};
pub use limits::script_limits;
pub use live::{At, Clock, Live};
pub use manager::PermissionManager;
pub use permission::{NoPermission, Permission};
pub(in crate::sandbox) use refusal::{place, refused};
pub use resource::ResourceType;
pub(in crate::sandbox) use rules::{End, Hosts, Names};
pub use view::{PermissionRow, PermissionsView, Ungranted};
