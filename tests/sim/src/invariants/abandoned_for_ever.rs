//! What a disk has abandoned, it has abandoned for ever.

use std::collections::BTreeSet;

use outrigger_core::types::ClusterId;

use super::Invariant;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct AbandonedForEver(BTreeSet<(u64, ClusterId)>);

impl Invariant for AbandonedForEver {
    fn name(&self) -> &'static str {
        "what a disk abandoned it never knows again"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        if let Observation::Abandoned { disk, cluster } = seen {
            self.0.insert((*disk, *cluster));
        }
        if let Observation::Opened { member, disk, abandoned } = seen {
            let forgotten = self.0.iter().find(|(of, cluster)| of == disk && !abandoned.contains(cluster));
            if let Some((_, cluster)) = forgotten {
                return Err(format!("{member} on disk {disk} has forgotten that it abandoned {cluster}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use outrigger_core::types::MemberId;

    use super::super::traces::*;
    use super::*;

    #[test]
    fn a_disk_that_forgets_what_it_abandoned() {
        let abandons = Observation::Abandoned { disk: 1, cluster: ClusterId(7) };
        let opened = |member, disk, abandoned: &[u64]| Observation::Opened {
            member: MemberId(member),
            disk,
            abandoned: abandoned.iter().copied().map(ClusterId).collect(),
        };
        breaks_nothing(&[abandons.clone(), opened(1, 1, &[7]), opened(2, 2, &[])]);
        breaks_only("what a disk abandoned it never knows again", &[abandons, opened(1, 1, &[])]);
    }
}
