//! The phase of a disk whose data cannot be used: the process stays, to say what is broken to whoever asks.
//!
//! May import: the lifecycle's commands. Deliberately absent: vote, service, repair. Only an empty volume ends it.

use outrigger_core::types::{ClusterId, MemberId};
use outrigger_storage::identity::IdentityError;
use tokio_util::sync::CancellationToken;

use super::empty::answer;
use super::{Commands, Lifecycle, Next};
use crate::lifecycle_commands::{LifecycleCommand, LifecycleRefusal};
use crate::member::{Phase, Standing};

/// What it waits for, for people.
pub(super) const WAITS_FOR: &str = "its volume to be replaced";

/// What the doors are told where not even the identity can be read; `None` for what is no damage (a directory that
/// another process uses, a disk that fails): then the process cannot go on.
///
/// Whose disk it was is unknown. The member id is this start's drawn one, `fresh`: it is in no log, and whoever asks needs
/// one to tell answers apart.
#[must_use]
pub fn standing_of_damage(error: &IdentityError, fresh: MemberId, boot_nonce: u64) -> Option<Standing> {
    let is_damage = match error {
        IdentityError::Damaged { .. } | IdentityError::Lost { .. } => true,
        IdentityError::Locked { .. }
        | IdentityError::OtherCluster { .. }
        | IdentityError::Abandoned { .. }
        | IdentityError::ZeroId
        | IdentityError::ReusedId { .. }
        | IdentityError::Io(_) => false,
    };
    is_damage.then(|| Standing {
        phase: Phase::Faulted,
        cluster: ClusterId(0),
        member: fresh,
        waiting_for: WAITS_FOR.to_string(),
        fault: error.to_string(),
        abandoned: Vec::new(),
        boot_nonce,
    })
}

impl Lifecycle {
    /// Says what is broken until the process is told to stop: no vote, no serving.
    pub(super) async fn faulted(&self, fault: String, waits_for: &str, commands: &mut Commands) -> Next {
        tracing::error!(fault, "this member's data cannot be used; it neither votes nor serves");
        self.stand(Phase::Faulted, waits_for.to_string(), fault);
        stay(&self.stop, commands).await;
        Next::Stop
    }
}

/// Answers what the process is asked for until it is told to stop.
pub async fn stay(stop: &CancellationToken, commands: &mut Commands) {
    loop {
        let command = tokio::select! {
            () = stop.cancelled() => return,
            command = commands.recv() => command,
        };
        match command {
            None => return,
            Some(LifecycleCommand::Snapshot { reply }) => {
                let waiting_for = "the volume must be replaced".to_string();
                answer(reply, Err(LifecycleRefusal::NoNode { waiting_for }));
            }
            Some(LifecycleCommand::Found { reply, .. } | LifecycleCommand::Abandon { reply, .. }) => {
                answer(reply, Err(LifecycleRefusal::Busy));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_storage::fs::IoFailure;

    use super::*;

    #[test]
    fn only_damage_keeps_the_process_up_to_say_so() {
        let path = std::path::PathBuf::from("/data/identity");
        let standing = |error: &IdentityError| standing_of_damage(error, MemberId(7), 9);
        for damage in
            [IdentityError::Damaged { path: path.clone() }, IdentityError::Lost { dir: path.clone() }]
        {
            let standing = standing(&damage).unwrap();
            assert_eq!(
                (standing.phase, standing.member, standing.boot_nonce),
                (Phase::Faulted, MemberId(7), 9)
            );
            assert!(standing.fault.contains("/data/identity"), "{}", standing.fault);
        }
        let source = std::io::Error::other("medium error");
        let io = IoFailure { operation: "read", path: path.clone(), source };
        for other in [IdentityError::Locked { dir: path.clone() }, IdentityError::Io(io)] {
            assert_eq!(standing(&other), None, "{other}");
        }
    }
}
