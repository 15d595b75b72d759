//! Speaking with members, for whoever runs them: what they say, how long they have been so, and the calls that a step is.
//!
//! May import: the client, `cluster`. Deliberately absent: pods and processes; the caller knows where its members are.

mod execute;

pub use self::execute::{Work, call};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

pub use outrigger_plan::trackers::{LostNodes, Stuck, Unwell};

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

/// The time that trackers are told: since this process first asked.
#[must_use]
pub fn now() -> Duration {
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}
