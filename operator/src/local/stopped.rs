//! What can be said of a run that is not up, and done with what it left: no process is asked, only its directory.

use std::path::Path;

use super::errors::LocalError;
use super::layout::Layout;
use super::record::{Content, Record};
use crate::cluster::ids::ClusterName;
use crate::crd::DeletionPolicy;

/// Refuses a name that is not the one of the cluster whose data is in `layout`.
///
/// # Errors
/// [`LocalError::OtherCluster`], or a record that cannot be read.
pub fn check_name(layout: &Layout, name: &str) -> Result<Option<Content>, LocalError> {
    let content = Record::peek(&layout.record())?;
    // A record of before names were kept has none.
    match content.as_ref().map(|content| content.name.as_str()).filter(|found| !found.is_empty()) {
        Some(found) if found != name => Err(LocalError::OtherCluster {
            path: layout.root().to_owned(),
            found: found.to_owned(),
            asked: name.to_owned(),
        }),
        Some(_) | None => Ok(content),
    }
}

/// Says that no run is up, and how to start one over what is there.
#[must_use]
pub fn not_up(layout: &Layout, name: &str, content: Option<&Content>) -> LocalError {
    let path = layout.root();
    let directory = if path == Layout::default_root(name) {
        String::new()
    } else {
        format!(" --data-dir {}", path.display())
    };
    let manifest =
        content.and_then(|content| content.followed.as_ref()).map(|followed| followed.path.as_path());
    let manifest = manifest.unwrap_or(Path::new("MANIFEST")).display();
    let start = format!("`outrigger-operator local -f {manifest}{directory}`");
    let hint = if content.is_some() {
        format!("its data is there, and {start} starts it again")
    } else {
        format!(
            "there is no data of one either; start one with {start}, or name its directory with --data-dir"
        )
    };
    LocalError::NotUp { name: name.to_owned(), path: path.to_owned(), hint }
}

/// `local delete` of a run that is not up: what it would have done itself.
///
/// # Errors
/// There is nothing, a run is just starting or ending there, or something cannot be removed.
pub fn delete(layout: &Layout, name: &str) -> Result<String, LocalError> {
    let Some(content) = check_name(layout, name)? else { return Err(not_up(layout, name, None)) };
    let _lock = layout.lock(name)?;
    // Nothing is destroyed on a policy that nobody wrote down.
    let policy = content.followed.map_or(DeletionPolicy::Retain, |followed| followed.deletion_policy);
    collect(layout, &ClusterName(name.to_owned()), policy)
}

/// What an API server's garbage collection would do when the object is deleted. No member may be running.
///
/// # Errors
/// Something cannot be removed.
pub fn collect(layout: &Layout, name: &ClusterName, policy: DeletionPolicy) -> Result<String, LocalError> {
    let root = layout.root().display();
    match policy {
        DeletionPolicy::Retain => {
            Ok(format!("{name} stopped; spec.deletionPolicy is Retain: the volumes stay in {root}"))
        }
        DeletionPolicy::Delete => {
            layout.remove()?;
            Ok(format!("{name} stopped; spec.deletionPolicy is Delete: its data in {root} is removed"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::Followed;
    use super::*;

    fn left_behind(root: &Path, policy: Option<DeletionPolicy>) -> Layout {
        let layout = Layout::create(root).unwrap();
        let mut record = Record::open(layout.record(), Content::default()).unwrap();
        if let Some(deletion_policy) = policy {
            let followed = Followed { path: "/somewhere/orders.yaml".into(), replicas: 3, deletion_policy };
            record.set_followed("orders", followed, None).unwrap();
        }
        std::fs::create_dir(layout.volume("orders-0")).unwrap();
        layout
    }

    #[test]
    fn a_run_that_is_not_up_is_said_with_how_to_start_it() {
        let directory = tempfile::tempdir().unwrap();
        let nothing = Layout::new(directory.path().join("nothing"));
        let said = not_up(&nothing, "orders", None).to_string();
        assert!(
            said.contains("no run of orders is up in") && said.contains("-f MANIFEST --data-dir"),
            "{said}"
        );
        let layout = left_behind(directory.path(), Some(DeletionPolicy::Retain));
        let content = check_name(&layout, "orders").unwrap();
        let said = not_up(&layout, "orders", content.as_ref()).to_string();
        assert!(said.contains("its data is there") && said.contains("-f /somewhere/orders.yaml"), "{said}");
    }

    #[test]
    fn what_a_stopped_run_left_is_deleted_by_its_policy_and_nothing_else_with_it() {
        for (policy, goes) in
            [(Some(DeletionPolicy::Retain), false), (None, false), (Some(DeletionPolicy::Delete), true)]
        {
            let directory = tempfile::tempdir().unwrap();
            let layout = left_behind(directory.path(), policy);
            let mine = directory.path().join("thesis.tex");
            std::fs::write(&mine, "").unwrap();
            let said = delete(&layout, "orders").unwrap();
            assert_eq!(layout.volume("orders-0").exists(), !goes, "{policy:?}: {said}");
            assert!(mine.exists(), "{policy:?}");
            assert_eq!(delete(&layout, "orders").is_err(), goes, "a second time, {policy:?}");
        }
        let directory = tempfile::tempdir().unwrap();
        let layout = left_behind(&directory.path().join("orders"), Some(DeletionPolicy::Delete));
        delete(&layout, "orders").unwrap();
        assert!(!layout.root().exists());
    }

    #[test]
    fn another_clusters_directory_and_one_in_use_are_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let layout = left_behind(directory.path(), Some(DeletionPolicy::Delete));
        let error = delete(&layout, "bills").unwrap_err();
        assert!(matches!(error, LocalError::OtherCluster { .. }), "{error}");
        let _run = layout.lock("orders").unwrap();
        let error = delete(&layout, "orders").unwrap_err();
        assert!(matches!(error, LocalError::DataDirInUse { .. }), "{error}");
        assert!(layout.volume("orders-0").exists());
    }
}
