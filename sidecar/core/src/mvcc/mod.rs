//! The built-in state machine: a revisioned key space.

pub mod command;
mod view_placeholder {
    /// Replaced by the key space.
    #[derive(Clone, Debug)]
    pub struct View;
}
pub use view_placeholder::View;

pub use command::*;
