//! No client is told anything by a member that does not know its cluster to be formed.

use super::Invariant;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct ServedAfterForming;

impl Invariant for ServedAfterForming {
    fn name(&self) -> &'static str {
        "clients are served by a formed cluster"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        if let Observation::Served { cluster, member, formed: false } = seen {
            return Err(format!("{member} served a client, and to it cluster {cluster} is not formed"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use outrigger_core::types::{ClusterId, MemberId};

    use super::super::traces::*;
    use super::*;

    #[test]
    fn a_client_that_is_served_before_the_cluster_is_formed() {
        let served = |formed| Observation::Served { cluster: ClusterId(1), member: MemberId(1), formed };
        breaks_nothing(&[served(true)]);
        breaks_only("clients are served by a formed cluster", &[served(false)]);
    }
}
