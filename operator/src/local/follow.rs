//! Which manifest is followed: the file's, with the replicas that `local scale` put in their place.
//!
//! As with `kubectl scale` and `kubectl apply`: a scale changes the object and stands, over restarts too, until somebody edits
//! `replicas` in the file. An edit of anything else leaves it alone.

use std::path::{Path, absolute};

use super::control::Response;
use super::manifest::{Change, Manifest};
use super::record::{Followed, Record, RecordError};
use super::runner::{Runner, chain};

/// Keeps in the record that `file`, as read from `path`, is followed; gives what it becomes with the scale that still stands.
///
/// # Errors
/// The record cannot be written.
pub(super) fn settle(record: &mut Record, path: &Path, file: Manifest) -> Result<Manifest, RecordError> {
    let content = record.content();
    let before = content.followed.as_ref().map(|followed| followed.replicas);
    let still = content.scaled.filter(|_| before == Some(file.wanted.replicas));
    // A number that this version does not accept (any more) is dropped, as an edit would.
    let scaled = still.and_then(|replicas| file.scaled(path, i32::from(replicas)).ok());
    let followed = followed(path, &file);
    let kept = still.filter(|_| scaled.is_some());
    record.set_followed(&file.wanted.name.0, followed, kept)?;
    Ok(scaled.unwrap_or(file))
}

fn followed(path: &Path, file: &Manifest) -> Followed {
    Followed {
        // The hint of how to start it again has to hold in every directory.
        path: absolute(path).unwrap_or_else(|_| path.to_owned()),
        replicas: file.wanted.replicas,
        deletion_policy: file.wanted.deletion_policy,
    }
}

impl Runner {
    /// Follows what became of the file.
    pub(super) fn look_at_manifest(&mut self, change: Change) {
        self.manifest_gone = change == Change::Gone;
        if change != Change::Edited {
            return;
        }
        let path = self.options.manifest.clone();
        let loaded = Manifest::load(&path, Some(&self.with_status()));
        let settled = loaded
            .map_err(|error| chain(&error))
            .and_then(|file| settle(&mut self.record, &path, file).map_err(|error| chain(&error)));
        match settled {
            Ok(manifest) => {
                self.manifest_error = None;
                self.adopt(manifest);
            }
            Err(error) => {
                tracing::warn!(error, "the edited manifest is not followed");
                self.manifest_error = Some(error);
            }
        }
    }

    /// `local scale`.
    pub(super) fn scale(&mut self, replicas: i32) -> Response {
        let manifest = match self.manifest.scaled(&self.options.manifest, replicas) {
            Ok(manifest) => manifest,
            Err(error) => return Response::misasked(error.to_string()),
        };
        let wanted = manifest.wanted.replicas;
        if let Some(followed) = self.record.content().followed.clone() {
            let scaled = (wanted != followed.replicas).then_some(wanted);
            if let Err(error) = self.record.set_followed(&manifest.wanted.name.0, followed, scaled) {
                return Response::refused(chain(&error));
            }
        }
        self.adopt(manifest);
        let name = &self.manifest.wanted.name;
        Response::Done { text: format!("raftcluster.outrigger.dev/{name} scaled to {replicas}") }
    }

    fn adopt(&mut self, manifest: Manifest) {
        if manifest.cluster.spec != self.manifest.cluster.spec {
            self.generation = self.generation.saturating_add(1);
            tracing::info!(generation = self.generation, "following the changed manifest");
        }
        self.manifest = manifest;
        for (ordinal, member) in &self.members {
            member.set_launch(self.ground.launch(&self.manifest, *ordinal));
        }
    }

    fn with_status(&self) -> crate::crd::RaftCluster {
        let mut cluster = self.manifest.cluster.clone();
        cluster.status = Some(self.record.content().status.clone());
        cluster
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Content;
    use super::*;

    fn manifest(directory: &Path, replicas: u8, quota: &str) -> (std::path::PathBuf, Manifest) {
        let path = directory.join("orders.yaml");
        let text = format!(
            "apiVersion: outrigger.dev/v1alpha1\nkind: RaftCluster\nmetadata: {{name: orders}}\n\
             spec: {{replicas: {replicas}, consensus: {{quota: {quota}}}}}\n"
        );
        std::fs::write(&path, text).unwrap();
        let manifest = Manifest::load(&path, None).unwrap();
        (path, manifest)
    }

    /// What is followed after a start with this file over what is recorded.
    fn start(directory: &Path, replicas: u8, quota: &str) -> (Record, Manifest) {
        let mut record = Record::open(directory.join("status.yaml"), Content::default()).unwrap();
        let (path, file) = manifest(directory, replicas, quota);
        let followed = settle(&mut record, &path, file).unwrap();
        (record, followed)
    }

    #[test]
    fn a_scale_stands_over_restarts_and_other_edits_until_replicas_are_edited() {
        let directory = tempfile::tempdir().unwrap();
        let (mut record, first) = start(directory.path(), 3, "512Mi");
        assert_eq!(first.wanted.replicas, 3);
        let followed = record.content().followed.clone().unwrap();
        assert!(followed.path.is_absolute() && followed.replicas == 3, "{followed:?}");
        record.set_followed("orders", followed, Some(5)).unwrap();
        let (again, restarted) = start(directory.path(), 3, "512Mi");
        assert_eq!((restarted.wanted.replicas, again.content().scaled), (5, Some(5)));
        let (_, edited_elsewhere) = start(directory.path(), 3, "256Mi");
        assert_eq!(edited_elsewhere.wanted.replicas, 5);
        assert_eq!(edited_elsewhere.wanted.quota_bytes, 256 << 20);
        let (edited, manifest) = start(directory.path(), 1, "256Mi");
        assert_eq!((manifest.wanted.replicas, edited.content().scaled), (1, None));
        let (back, manifest) = start(directory.path(), 3, "256Mi");
        assert_eq!((manifest.wanted.replicas, back.content().scaled), (3, None), "it was dropped for good");
    }
}
