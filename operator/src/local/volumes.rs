//! The marks on volumes: which cluster each belongs to, once that cluster is latched. A claim's annotation, as files.
//!
//! A mark outlives the record: while one is there, no second cluster is founded over the data that it speaks of.

use std::collections::BTreeMap;
use std::fs;

use super::layout::Layout;
use super::record::replace_file;
use crate::cluster::ids::{ClusterId, ClusterName, Ordinal};

/// All marks of a cluster's volumes.
#[derive(Clone, Debug, Default)]
pub struct Marks(BTreeMap<Ordinal, ClusterId>);

impl Marks {
    /// Reads them. One that cannot be read is left out, and said in the log: it protects nothing that members would not.
    #[must_use]
    pub fn read(layout: &Layout, name: &ClusterName) -> Self {
        let mut marks = BTreeMap::new();
        for ordinal in (0..=u8::MAX).map(Ordinal) {
            let path = layout.mark(&name.pod(ordinal));
            let Ok(text) = fs::read_to_string(&path) else { continue };
            match text.trim().parse() {
                Ok(cluster) => {
                    marks.insert(ordinal, cluster);
                }
                Err(error) => tracing::warn!(path = %path.display(), %error, "a mark that cannot be read"),
            }
        }
        Self(marks)
    }

    /// What they say.
    #[must_use]
    pub fn all(&self) -> &BTreeMap<Ordinal, ClusterId> {
        &self.0
    }

    /// Marks a volume, if it is not marked so yet.
    ///
    /// # Errors
    /// The system's.
    pub fn set(
        &mut self,
        layout: &Layout,
        name: &ClusterName,
        ordinal: Ordinal,
        cluster: ClusterId,
    ) -> std::io::Result<()> {
        if self.0.get(&ordinal) == Some(&cluster) {
            return Ok(());
        }
        replace_file(&layout.mark(&name.pod(ordinal)), format!("{cluster}\n").as_bytes())?;
        self.0.insert(ordinal, cluster);
        Ok(())
    }

    /// Removes a mark together with its volume.
    ///
    /// # Errors
    /// The system's.
    pub fn clear(&mut self, layout: &Layout, name: &ClusterName, ordinal: Ordinal) -> std::io::Result<()> {
        match fs::remove_file(layout.mark(&name.pod(ordinal))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            Ok(()) | Err(_) => {
                self.0.remove(&ordinal);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_outlive_the_run_until_they_are_cleared() {
        let directory = tempfile::tempdir().unwrap();
        let layout = Layout::create(directory.path()).unwrap();
        let name = ClusterName("orders".to_owned());
        let cluster = ClusterId::from_wire(7).unwrap();
        let mut marks = Marks::default();
        marks.set(&layout, &name, Ordinal(2), cluster).unwrap();
        assert_eq!(Marks::read(&layout, &name).all().get(&Ordinal(2)), Some(&cluster));
        marks.clear(&layout, &name, Ordinal(2)).unwrap();
        marks.clear(&layout, &name, Ordinal(2)).unwrap();
        assert!(Marks::read(&layout, &name).all().is_empty());
    }
}
