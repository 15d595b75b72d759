//! What is decided about a cluster: facts in, at most one step out.
//!
//! Pure: no client, no file, no clock, no randomness, and no type of Kubernetes. The operator on Kubernetes, the local
//! runner and the simulator gather [`facts::Facts`] in their own ways, ask [`decide::plan`], and carry the one step out.

pub mod decide;
pub mod facts;
pub mod founding;
pub mod ids;
pub mod standing;
pub mod trackers;
