//! Answers that are made piece by piece. What makes them is called anew for each piece, in whichever VM is free; between two
//! calls a stream holds its state, and its instance from its head to its end: a swap leaves it where it is, and a drain waits
//! for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use replug_scripts::streamed;
pub use replug_scripts::streamed::Piece;
use replug_scripts::{CallContext, Exports, Handler, Value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SetOnce, oneshot};

use super::Instance;
use crate::actors::error::CallError;
use crate::actors::gate::Pass;
use crate::actors::job::{Job, Stay, Work};
use crate::actors::vm;
use crate::manifest::RuntimeSpec;
use crate::sandbox::permissions::{At, ResourceType};
use crate::sandbox::quota::Parcel;
use crate::sandbox::quota::heap::NoRoom;

/// The streamed answers of an instance.
#[derive(Debug)]
pub(super) struct Streams {
    /// How many are open.
    open: AtomicUsize,
    /// Set when they are broken off.
    cut: SetOnce<()>,
    /// Whether its script makes any.
    are_made: AtomicBool,
    /// Pieces that are made or wait for a VM: no more than all workers can make, so that however many streams are open, the
    /// queue is there for requests.
    turns: Arc<Semaphore>,
}

impl Streams {
    pub(super) fn new(runtime: &RuntimeSpec) -> Self {
        let at_once = runtime.workers * runtime.concurrency;
        Self {
            open: AtomicUsize::new(0),
            cut: SetOnce::new(),
            are_made: AtomicBool::new(false),
            turns: Arc::new(Semaphore::new(at_once)),
        }
    }

    /// Learns what the script exports.
    pub(super) fn learn(&self, exports: &Exports) {
        let are_made = exports.handlers.iter().any(|handler| matches!(handler, Handler::Stream(_)));
        self.are_made.store(are_made, Ordering::Relaxed);
    }
}

/// A stream that is open. Dropping it ends it.
pub struct Streaming {
    stay: Arc<Pass<Instance>>,
    handler: Handler,
    state: Value,
    /// A piece that was made, and for which there was no room.
    made: Option<Piece>,
    /// Bytes of its last piece that nobody has taken yet.
    left: usize,
    /// What its state and what is left of its piece take of the module's memory.
    room: Parcel,
}

/// The turn of a stream to have a piece made.
#[derive(Debug)]
pub struct Turn {
    _place: OwnedSemaphorePermit,
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
    /// There is no room for its state and its piece.
    #[error("the state and the piece of {handler} do not fit: {source}")]
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
        let _ = self.streams.cut.set(());
    }

    /// Whether its script makes streams.
    pub(in crate::actors) fn makes_streams(&self) -> bool {
        self.streams.are_made.load(Ordering::Relaxed)
    }

    /// Waits until its streams are broken off.
    pub async fn streams_cut(&self) {
        self.streams.cut.wait().await;
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
        if instance.streams.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_err() {
            let error = CallError::Crowded { instance: instance.key.to_string(), streams: most };
            instance.quotas.tell(&error, &handler, call);
            return Err(error);
        }
        instance.metrics.streams.inc();
        let room = Parcel::none(Arc::clone(instance.account()));
        let mut opened = Self { stay, handler, state: Value::Null, made: None, left: 0, room };
        match opened.make_room(Some(&stream.state), 0, call) {
            Ok(()) => {
                opened.state = stream.state;
                Ok(opened)
            }
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

    /// Waits until it may have a piece made; those who ask come in their order.
    pub async fn turn(&self) -> Turn {
        let turns = Arc::clone(&self.stay.inside().streams.turns);
        Turn { _place: turns.acquire_owned().await.expect("nobody closes it") }
    }

    /// Has the next piece made, in any VM of its instance, also when that is closed; nothing at the end. The piece counts as
    /// the module's until it is [taken](Self::taken).
    ///
    /// # Errors
    /// See [`Broken`]. Its state is what it was; a piece for which there was no room is kept, and the next call gives it.
    pub async fn next(&mut self, turn: Turn, call: CallContext) -> Result<Option<Piece>, Broken> {
        let mut piece = match self.made.take() {
            Some(piece) => piece,
            None => match self.make(turn, call.clone()).await? {
                Some(piece) => piece,
                None => return Ok(None),
            },
        };
        match self.make_room(piece.state.as_ref(), piece.body.len(), &call) {
            Ok(()) => {
                if let Some(state) = piece.state.take() {
                    self.state = state;
                }
                Ok(Some(piece))
            }
            Err(source) => {
                self.made = Some(piece);
                Err(Broken::Room { handler: self.handler.clone(), source })
            }
        }
    }

    async fn make(&self, _turn: Turn, call: CallContext) -> Result<Option<Piece>, Broken> {
        let (reply, answer) = oneshot::channel();
        let work = Work::Call { handler: self.handler.clone(), args: vec![self.state.clone()], reply };
        let stay = Some(Stay::Shared(Arc::clone(&self.stay)));
        let instance = self.stay.inside();
        let value = instance.wait(&instance.pool, Job { work, call, stay, exempt: false }, answer).await?;
        streamed::read(value).map_err(|fault| Broken::Piece { handler: self.handler.clone(), fault })
    }

    /// Notes that so many bytes of its last piece are still to be taken.
    pub fn taken(&mut self, left: usize) {
        let instance = self.stay.inside();
        let size = size(&self.state).saturating_add(left.min(self.left));
        self.left = left.min(self.left);
        // less than before always fits
        let shrunk = self.room.resize(vm::share(instance), size);
        debug_assert!(shrunk.is_ok(), "{shrunk:?}");
    }

    /// Makes room for this state, or the one that it has, and for a piece.
    fn make_room(&mut self, state: Option<&Value>, left: usize, call: &CallContext) -> Result<(), NoRoom> {
        let instance = self.stay.inside();
        let bytes = size(state.unwrap_or(&self.state)).saturating_add(left);
        self.room.resize(vm::share(instance), bytes).inspect_err(|_| {
            if let Some(live) = instance.quotas.teller() {
                live.exceed(ResourceType::HeapSize, At::Handler(&self.handler), Some(call));
            }
        })?;
        self.left = left;
        Ok(())
    }
}

fn size(state: &Value) -> usize {
    if *state == Value::Null { 0 } else { state.size() }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        let instance = self.stay.inside();
        instance.streams.open.fetch_sub(1, Ordering::AcqRel);
        instance.metrics.streams.dec();
    }
}
