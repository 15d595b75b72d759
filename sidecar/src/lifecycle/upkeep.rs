//! What a life does about its data directory beside the log: it notices its loss, and gives back what is of no use.
//!
//! May import: `volume`, storage's identity. Deliberately absent: the log, and when a member is removed.

use std::sync::{Arc, PoisonError};

use super::{Lifecycle, LifecycleError};
use crate::volume::{LOOK_INTERVAL, Volume, VolumeWatch};

/// Folders of removed members that are kept while this one is none: the last, for a person who wants to look.
pub(super) const KEPT_ASIDE: usize = 1;

impl Lifecycle {
    /// Ends the process when the directory is deleted or replaced under it. The log must be open.
    pub(super) fn watch_volume(&self) -> Result<VolumeWatch, LifecycleError> {
        let volume = Volume::of(&self.path()).map_err(|error| LifecycleError::Disk(Box::new(error)))?;
        let lost = |lost| crate::fatal::exit("the data directory is lost", &lost);
        VolumeWatch::start(volume, LOOK_INTERVAL, lost).map_err(LifecycleError::Thread)
    }

    /// Deletes what was moved aside, all but the newest. Nothing depends on it.
    pub(super) async fn reclaim_removed(&self, kept: usize) -> Result<(), LifecycleError> {
        let dir = Arc::clone(&self.dir);
        let reclaim = move || dir.lock().unwrap_or_else(PoisonError::into_inner).reclaim(kept);
        match tokio::task::spawn_blocking(reclaim).await? {
            Ok(0) => {}
            Ok(folders) => tracing::info!(folders, "data of removed members was deleted"),
            Err(error) => tracing::warn!(%error, "data of removed members could not be deleted"),
        }
        Ok(())
    }
}
