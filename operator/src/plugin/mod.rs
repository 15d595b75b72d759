//! `kubectl outrigger`: what a person on call asks of a cluster, in one look, by the rights that this person has.
//!
//! `seen` gathers the RaftCluster, its pods and what the leader itself says; `view` makes one plain value of them, `render` the text;
//! both are pure. `ask` runs the sidecar's own commands in a pod, as `kubectl exec` does: so nothing of it goes through the
//! operator, and it works while that is down. May import: kube, the resource, `output`. Deliberately absent: decisions, and any
//! change but the hand-over that is asked for.

mod args;
mod ask;
mod errors;
mod render;
mod run;
mod said;
mod seen;
mod view;

pub use self::args::Args;
pub use self::errors::PluginError;
pub use self::run::execute;
