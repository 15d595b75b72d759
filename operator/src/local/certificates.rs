//! A local run's certificates: the same as on Kubernetes, in two directories instead of two Secrets.
//!
//! A set of files is replaced at once, as a kubelet does it: written beside, then a symbolic link is turned. May import:
//! `certificates`, the layout. Deliberately absent: what is in the files.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use outrigger_tls::{Cluster, Ends};
use tokio::time::Instant;

use super::errors::LocalError;
use super::layout::Layout;
use super::manifest::Manifest;
use super::setup::Ground;
use crate::certificates::{
    Certificates, Files, Lifetimes, OPERATOR, Subjects, issued, operators_ends, renew,
};
use crate::cluster::ids::Ordinal;

/// Between two looks at what time does to certificates.
const LOOKED_AT: Duration = Duration::from_secs(60);
/// The link that is turned.
const CURRENT: &str = "current";

/// What is known of them.
#[derive(Debug)]
pub(super) struct LocalCertificates {
    authority: PathBuf,
    members: PathBuf,
    known: Certificates,
    judged: Instant,
    pods: u8,
}

/// Where members find theirs, and a person the operator's.
pub(super) fn directory(layout: &Layout) -> PathBuf {
    layout.certificates().join(CURRENT)
}

impl LocalCertificates {
    /// Reads what there is and makes what is missing, for this many pods.
    ///
    /// # Errors
    /// A directory cannot be read or written.
    pub(super) fn open(ground: &Ground, manifest: &Manifest, pods: u8) -> Result<Self, LocalError> {
        let (authority, members) = (ground.layout.authority(), ground.layout.certificates());
        let mut files = read(&members)?;
        let operator = issued(&files, OPERATOR);
        files.retain(|file, _| !file.starts_with(&format!("{OPERATOR}.")));
        let known = Certificates { authority: read(&authority)?, members: files, operator };
        let mut opened = Self { authority, members, known, judged: Instant::now(), pods };
        opened.renew(ground, manifest)?;
        Ok(opened)
    }

    /// Keeps them for this many pods; gives whether anything changed.
    ///
    /// # Errors
    /// As [`LocalCertificates::open`].
    pub(super) fn keep(
        &mut self,
        ground: &Ground,
        manifest: &Manifest,
        pods: u8,
    ) -> Result<bool, LocalError> {
        if pods == self.pods && self.judged.elapsed() < LOOKED_AT {
            return Ok(false);
        }
        self.pods = pods;
        self.renew(ground, manifest)
    }

    /// What the runner speaks with.
    ///
    /// # Errors
    /// It is of no use.
    pub(super) fn ends(&self) -> Result<Ends, LocalError> {
        operators_ends(&self.known).map_err(|source| LocalError::Certificates { source: Box::new(source) })
    }

    fn renew(&mut self, ground: &Ground, manifest: &Manifest) -> Result<bool, LocalError> {
        let wanted = &manifest.wanted;
        let cluster = Cluster { namespace: wanted.namespace.clone(), name: wanted.name.0.clone() };
        let pods: Vec<String> = (0..self.pods).map(|pod| wanted.name.pod(Ordinal(pod))).collect();
        let subjects = Subjects { cluster: &cluster, pods: &pods, zone: &ground.service };
        let made = renew(&self.known, subjects, Timestamp::now().as_second(), Lifetimes::default())
            .map_err(|source| LocalError::Certificates { source: Box::new(source) })?;
        self.judged = Instant::now();
        if made == self.known {
            return Ok(false);
        }
        // The authority first: a certificate whose authority was lost with this process would be of no use.
        if made.authority != self.known.authority {
            write(&self.authority, &made.authority)?;
        }
        let mut files = made.members.clone();
        if let Some(operator) = &made.operator {
            files.insert(format!("{OPERATOR}.crt"), operator.certificate.clone());
            files.insert(format!("{OPERATOR}.key"), operator.key.clone());
        }
        write(&self.members, &files)?;
        self.known = made;
        Ok(true)
    }
}

/// The files of the set that the link leads to; none where there is none yet.
fn read(root: &Path) -> Result<Files, LocalError> {
    let current = root.join(CURRENT);
    let failed =
        |source| LocalError::File { what: "read the certificates in", path: current.clone(), source };
    let entries = match fs::read_dir(&current) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Files::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Files::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let bytes = fs::read(entry.path()).map_err(failed)?;
        // What is no text is no certificate either: it is made good like any other damage.
        files.insert(
            entry.file_name().to_string_lossy().into_owned(),
            String::from_utf8_lossy(&bytes).into_owned(),
        );
    }
    Ok(files)
}

/// Puts a set of files in the place of the present one, at once. Nobody but this user may read them.
fn write(root: &Path, files: &Files) -> Result<(), LocalError> {
    let failed =
        |source| LocalError::File { what: "write the certificates in", path: root.to_owned(), source };
    let set = format!("set-{}", Timestamp::now().as_nanosecond());
    let write_all = || -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(root)?;
        fs::set_permissions(root, Permissions::from_mode(0o700))?;
        DirBuilder::new().mode(0o700).create(root.join(&set))?;
        for (name, text) in files {
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(root.join(&set).join(name))?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
        }
        let link = root.join("next");
        match fs::remove_file(&link) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        symlink(&set, &link)?;
        fs::rename(&link, root.join(CURRENT))?;
        fs::File::open(root)?.sync_all()
    };
    write_all().map_err(failed)?;
    // Former sets are of no use to anybody; what cannot be removed is tried again with the next set.
    for entry in fs::read_dir(root).map_err(failed)?.flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("set-") && name.to_string_lossy() != set {
            fs::remove_dir_all(entry.path()).ok();
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_replaced_whole_and_the_former_one_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().join("certificates");
        assert_eq!(read(&root).unwrap(), Files::new());
        let set = |files: &[(&str, &str)]| -> Files {
            files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect()
        };
        for files in [set(&[("ca.crt", "1"), ("a.key", "2")]), set(&[("ca.crt", "3")])] {
            write(&root, &files).unwrap();
            assert_eq!(read(&root).unwrap(), files);
        }
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(root.clone()), mode(root.join("current/ca.crt"))), (0o700, 0o600));
        let left: Vec<_> = fs::read_dir(&root).unwrap().flatten().collect();
        assert_eq!(left.len(), 2, "the link and one set: {left:?}");
    }
}
