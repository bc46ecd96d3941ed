//! Why a file that is written takes no writes any more.

use std::sync::Arc;

use tokio::sync::SetOnce;

/// What made the store or the audit log refuse writes, once something did: what is on the disk is unknown then until it is
/// opened again. Clones share it; none keeps it open.
#[derive(Clone, Debug, Default)]
pub struct WriteFault(Arc<SetOnce<String>>);

impl WriteFault {
    /// The cause, if writes are refused.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }

    /// Waits until writes are refused, and says why.
    pub async fn wait(&self) -> &str {
        self.0.wait().await
    }

    /// Of several causes the first one stays.
    pub(super) fn set(&self, cause: String) {
        let _ = self.0.set(cause);
    }
}
