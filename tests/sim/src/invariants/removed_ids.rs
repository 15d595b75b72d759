//! Who was removed is in no later configuration.

use std::collections::BTreeMap;

use outrigger_core::types::{ClusterId, Index, MemberId};

use super::Invariant;
use crate::observation::Observation;

#[derive(Debug, Default)]
pub(super) struct RemovedIds(BTreeMap<(ClusterId, MemberId), Index>);

impl Invariant for RemovedIds {
    fn name(&self) -> &'static str {
        "a removed id never counts"
    }

    fn observe(&mut self, seen: &Observation) -> Result<(), String> {
        if let Observation::Configured { cluster, index, members, tombstones, .. } = seen {
            for id in tombstones {
                let since = self.0.entry((*cluster, *id)).or_insert(*index);
                *since = (*since).min(*index);
            }
            for id in members {
                if let Some(since) = self.0.get(&(*cluster, *id)).filter(|since| *since <= index) {
                    return Err(format!(
                        "{id} was removed by {since} and is in the configuration of {index}"
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::traces::*;
    use super::*;

    #[test]
    fn a_removed_member_in_a_later_configuration() {
        let configured = |index, members: &[u64], tombstones: &[u64]| Observation::Configured {
            member: MemberId(1),
            cluster: ClusterId(1),
            index: Index(index),
            members: members.iter().copied().map(MemberId).collect(),
            tombstones: tombstones.iter().copied().map(MemberId).collect(),
            formed: false,
        };
        breaks_nothing(&[
            configured(5, &[1, 2], &[3]),
            configured(4, &[1, 2, 3], &[]),
            configured(6, &[1], &[2, 3]),
        ]);
        breaks_only(
            "a removed id never counts",
            &[configured(5, &[1, 2], &[3]), configured(6, &[1, 2, 3], &[])],
        );
    }
}
