//! Answers that are made piece by piece. What makes them is called anew for each piece, in whichever VM is free; between two
//! calls a stream holds its state, and its instance from its head to its end: a swap leaves it where it is, and a drain waits
//! for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use replug_scripts::streamed;
pub use replug_scripts::streamed::Piece;
use replug_scripts::{CallContext, Handler, Value};
use tokio::sync::oneshot;

use super::Instance;
use crate::actors::error::CallError;
use crate::actors::gate::Pass;
use crate::actors::job::{Job, Stay, Work};
use crate::actors::vm;
use crate::sandbox::permissions::{At, ResourceType};
use crate::sandbox::quota::Parcel;
use crate::sandbox::quota::heap::NoRoom;

/// A stream that is open. Dropping it ends it.
pub struct Streaming {
    stay: Arc<Pass<Instance>>,
    handler: Handler,
    state: Value,
    /// What its state takes of the module's memory.
    room: Parcel,
}

/// Why a stream breaks off.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Broken {
    /// A call gave nothing.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What it gave is no piece.
    #[error("{handler}: {fault}")]
    Piece {
        /// Which stream.
        handler: Handler,
        /// What it must look like.
        fault: String,
    },
    /// There is no room for its state.
    #[error("the state of {handler} does not fit: {source}")]
    Room {
        /// Which stream.
        handler: Handler,
        /// The numbers.
        source: NoRoom,
    },
}

impl Instance {
    /// Breaks off the streams that are open.
    pub fn cut_streams(&self) {
        // cut off twice is cut off
        let _ = self.cut.set(());
    }

    /// Waits until its streams are broken off.
    pub async fn streams_cut(&self) {
        self.cut.wait().await;
    }
}

impl Streaming {
    /// Opens the stream of an answer, if there is a place and room for it.
    pub(super) fn open(
        stay: Arc<Pass<Instance>>,
        stream: replug_scripts::Stream,
        call: &CallContext,
    ) -> Result<Self, CallError> {
        let instance = stay.inside();
        let most = instance.manifest.runtime.limits.streams;
        let one_more = |open| (open < most).then_some(open + 1);
        let handler = Handler::Stream(stream.name);
        if instance.streams.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_err() {
            let error = CallError::Crowded { instance: instance.key.to_string(), streams: most };
            instance.quotas.tell(&error, &handler, call);
            return Err(error);
        }
        instance.metrics.streams.inc();
        let room = Parcel::none(Arc::clone(instance.account()));
        let mut opened = Self { stay, handler, state: Value::Null, room };
        match opened.keep(stream.state, call) {
            Ok(()) => Ok(opened),
            Err(source) => Err(CallError::NoRoom { instance: opened.instance().key.to_string(), source }),
        }
    }

    /// The instance that it holds.
    #[must_use]
    pub fn instance(&self) -> &Arc<Instance> {
        self.stay.inside()
    }

    /// What makes its pieces.
    #[must_use]
    pub const fn handler(&self) -> &Handler {
        &self.handler
    }

    /// Has the next piece made, in any VM of its instance, also when that is closed; nothing at the end.
    ///
    /// # Errors
    /// See [`Broken`]. Its state is what it was.
    pub async fn next(&mut self, call: CallContext) -> Result<Option<Piece>, Broken> {
        let (reply, answer) = oneshot::channel();
        let work = Work::Call { handler: self.handler.clone(), args: vec![self.state.clone()], reply };
        let stay = Some(Stay::Shared(Arc::clone(&self.stay)));
        let told = call.clone();
        let instance = self.stay.inside();
        let value = instance.wait(&instance.pool, Job { work, call, stay, exempt: false }, answer).await?;
        let piece = streamed::read(value).map_err(|fault| Broken::Piece { handler: self.handler.clone(), fault })?;
        let Some(mut piece) = piece else { return Ok(None) };
        if let Some(state) = piece.state.take() {
            let keeps = self.keep(state, &told);
            keeps.map_err(|source| Broken::Room { handler: self.handler.clone(), source })?;
        }
        Ok(Some(piece))
    }

    fn keep(&mut self, state: Value, call: &CallContext) -> Result<(), NoRoom> {
        let instance = self.stay.inside();
        let size = if state == Value::Null { 0 } else { state.size() };
        self.room.resize(vm::share(instance), size).inspect_err(|_| {
            if let Some(live) = instance.quotas.teller() {
                live.exceed(ResourceType::HeapSize, At::Handler(&self.handler), Some(call));
            }
        })?;
        self.state = state;
        Ok(())
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        let instance = self.stay.inside();
        instance.streams.fetch_sub(1, Ordering::AcqRel);
        instance.metrics.streams.dec();
    }
}
