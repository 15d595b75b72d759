//! The built-in state machine: a revisioned key space.

pub mod command;
mod view_placeholder {
    use super::{Command, KvRefusal, Range, RangeResponse};

    /// Replaced by the key space.
    #[derive(Clone, Debug, Default)]
    pub struct View(());

    #[allow(missing_docs, clippy::missing_errors_doc, reason = "placeholder with the agreed names")]
    impl View {
        pub fn range(&self, _range: &Range) -> Result<RangeResponse, KvRefusal> {
            Ok(RangeResponse::default())
        }
        pub fn revision(&self) -> crate::types::Revision {
            crate::types::Revision(1)
        }
        pub fn compacted_revision(&self) -> crate::types::Revision {
            crate::types::Revision(0)
        }
        pub fn size_bytes(&self) -> u64 {
            0
        }
        pub fn len(&self) -> usize {
            0
        }
        pub fn is_empty(&self) -> bool {
            true
        }
    }

    /// Replaced by the key space's own checks.
    ///
    /// # Errors
    /// None here.
    pub fn validate(_command: &Command) -> Result<(), KvRefusal> {
        Ok(())
    }

    /// Replaced by the key space's own checks.
    ///
    /// # Errors
    /// An empty key, an unknown sort.
    pub fn validate_range(range: &Range) -> Result<(), KvRefusal> {
        if range.range.key.is_empty() { Err(KvRefusal::EmptyKey) } else { Ok(()) }
    }
}
pub use view_placeholder::{View, validate, validate_range};

pub use command::*;
