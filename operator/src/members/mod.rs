//! Speaking with members, for whoever runs them: what they say, how long they have been so, and the calls that a step is.
//!
//! May import: the client, `cluster`. Deliberately absent: pods and processes; the caller knows where its members are.

mod execute;
mod trackers;

pub use self::execute::{Work, call};
pub use self::trackers::{Stuck, Unwell};
use crate::admin_client::{AdminClients, Callee};
use crate::cluster::facts::Answer;
use crate::cluster::report;

/// What the member of a pod says; what cannot be believed is silence, with the reason.
pub async fn ask(at: Callee, clients: &AdminClients) -> Answer {
    match clients.status(&at).await {
        Ok(status) => match report::read(&at.pod, status) {
            Ok(report) => Answer::Report(Box::new(report)),
            Err(unbelievable) => Answer::Silent(unbelievable.to_string()),
        },
        Err(error) => Answer::Silent(error.to_string()),
    }
}
