//! No client is told anything by a cluster that is not formed.

use std::collections::BTreeSet;

use outrigger_core::types::ClusterId;

use super::Invariant;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct AcknowledgedAfterForming(BTreeSet<ClusterId>);

impl Invariant for AcknowledgedAfterForming {
    fn name(&self) -> &'static str {
        "clients are served by a formed cluster"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        match seen {
            Observation::Configured { cluster, formed: true, .. } => {
                self.0.insert(*cluster);
                Ok(())
            }
            Observation::Acknowledged { cluster } if !self.0.contains(cluster) => {
                Err(format!("cluster {cluster} acknowledged a write and is not formed"))
            }
            Observation::Opened { .. }
            | Observation::Abandoned { .. }
            | Observation::Closed { .. }
            | Observation::Issued { .. }
            | Observation::Persisted { .. }
            | Observation::Interrupted { .. }
            | Observation::Recovered { .. }
            | Observation::Leads { .. }
            | Observation::Commits { .. }
            | Observation::Handed { .. }
            | Observation::Progress { .. }
            | Observation::State { .. }
            | Observation::Configured { .. }
            | Observation::Acknowledged { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::traces::*;
    use super::*;

    #[test]
    fn a_write_that_is_acknowledged_before_the_cluster_is_formed() {
        breaks_only(
            "clients are served by a formed cluster",
            &[Observation::Acknowledged { cluster: ClusterId(1) }],
        );
    }
}
