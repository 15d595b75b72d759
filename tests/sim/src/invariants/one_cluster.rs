//! One cluster is ever formed.

use outrigger_core::types::ClusterId;

use super::Invariant;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct OneCluster(Option<ClusterId>);

impl Invariant for OneCluster {
    fn name(&self) -> &'static str {
        "one cluster is ever formed"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        if let Observation::Configured { member, cluster, formed: true, .. } = seen {
            let formed = *self.0.get_or_insert(*cluster);
            if formed != *cluster {
                return Err(format!("{member} is in cluster {cluster}, which is formed, and so is {formed}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use outrigger_core::types::{Index, MemberId};

    use super::super::traces::*;
    use super::*;

    #[test]
    fn a_second_cluster_that_forms() {
        let configured = |cluster, formed| Observation::Configured {
            member: MemberId(1),
            cluster: ClusterId(cluster),
            index: Index(3),
            members: Vec::new(),
            tombstones: Vec::new(),
            formed,
        };
        breaks_nothing(&[configured(1, false), configured(2, true), configured(2, true)]);
        breaks_only("one cluster is ever formed", &[configured(1, true), configured(2, true)]);
    }
}
