//! The connection to the runtime, as the prompt and completion see it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use reqwest::Method;

use super::inventory::{Cache, Inventory};
use crate::admin::cli::{Body, Client};
use crate::admin::{CommandError, RuntimeFile};

/// How long the prompt waits for a runtime.
const PATIENCE: Duration = Duration::from_millis(400);

/// The way to the runtime of a data directory. Each question looks for it anew, so that one that was started again is found.
pub(super) struct Link {
    data: PathBuf,
    tokio: tokio::runtime::Runtime,
    cache: Cache,
    /// The runtime that answered last, unless it is gone.
    reached: Option<RuntimeFile>,
}

impl Link {
    /// Reaches the runtime of `data`.
    ///
    /// # Errors
    /// `unreachable`.
    pub(super) fn open(data: &Path) -> Result<Self, CommandError> {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let tokio =
            tokio.map_err(|error| CommandError::new("internal", format!("the client cannot start: {error}")))?;
        let mut link = Self { data: data.to_owned(), tokio, cache: Cache::default(), reached: None };
        let (file, inventory) = link.fetch()?;
        link.reached = Some(file);
        link.cache.put(Instant::now(), Some(inventory));
        Ok(link)
    }

    /// Sees to it that an interrupt only breaks off what waits for one: from here on it does not end the process.
    pub(super) fn survive_interrupts(&self) {
        self.tokio.block_on(async {
            tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => {}
                () = std::future::ready(()) => {}
            }
        });
    }

    /// Where the runtime listens, if it answered last.
    pub(super) const fn reached(&self) -> Option<RuntimeFile> {
        self.reached
    }

    /// What the runtime has.
    pub(super) fn inventory(&mut self) -> &Inventory {
        if !self.cache.is_fresh(Instant::now()) {
            let inventory = self.fetch().ok().map(|(_, inventory)| inventory);
            self.cache.put(Instant::now(), inventory);
        }
        self.cache.kept()
    }

    /// Asks the runtime again. `Some` is what to tell: it is gone, back, or another one.
    pub(super) fn look(&mut self) -> Option<Change> {
        let fetched = self.fetch();
        let (now, before) = (fetched.as_ref().ok().map(|(file, _)| *file), self.reached);
        self.reached = now;
        match fetched {
            Ok((file, inventory)) => {
                self.cache.put(Instant::now(), Some(inventory));
                (before != Some(file)).then_some(Change::Reached(file))
            }
            Err(error) => {
                self.cache.put(Instant::now(), None);
                before.map(|_| Change::Lost(error))
            }
        }
    }

    fn fetch(&self) -> Result<(RuntimeFile, Inventory), CommandError> {
        let client = Client::new(&self.data)?;
        let asked =
            async { tokio::time::timeout(PATIENCE, client.send(Method::GET, "/v1/versions", Body::Empty)).await };
        let answer = self.tokio.block_on(asked).map_err(|_| {
            let RuntimeFile { pid, admin, .. } = client.file();
            let (data, patience) = (self.data.display(), PATIENCE.as_millis());
            let message = format!("the runtime of {data} (process {pid}, {admin}) did not answer within {patience} ms");
            CommandError::new("unreachable", message)
        })?;
        let inventory = match answer {
            Ok(rows) => Inventory(serde_json::from_str(rows.get()).unwrap_or_default()),
            Err(error) if error.kind == "unreachable" => return Err(error),
            // an older runtime that does not know the question is a runtime all the same
            Err(_) => Inventory::default(),
        };
        Ok((client.file(), inventory))
    }
}

/// How the connection changed.
#[derive(Debug)]
pub(super) enum Change {
    /// Nobody answers any more.
    Lost(CommandError),
    /// A runtime answers that did not before.
    Reached(RuntimeFile),
}

impl Change {
    /// The line to show.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Lost(error) => format!("connection lost: {error}; each line tries again"),
            Self::Reached(RuntimeFile { pid, admin, .. }) => format!("connected to process {pid}, {admin}"),
        }
    }
}
