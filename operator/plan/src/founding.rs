//! The founding register: the one place that says which cluster exists, changed by compare-and-set only.
//!
//! `None → Permitted(A) → Latched(A)`, or `Permitted(A) → Abandoning(A) → Permitted(B)`. After `Latched` nothing is ever
//! permitted again. Here are the states and which changes are lawful; where it stands, and who writes it, is not decided here.

use std::fmt;

use crate::ids::{ClusterId, MemberId};

/// What the register says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Founding {
    /// Nothing was permitted yet.
    #[default]
    None,
    /// One disk may found one cluster.
    Permitted(Permit),
    /// The founder's disk is gone and the cluster was never formed: every disk forgets it.
    Abandoning(Permit),
    /// The cluster exists.
    Latched(ClusterId),
}

/// Who may found what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// The cluster, minted for this permit.
    pub cluster: ClusterId,
    /// The pod that founds.
    pub founder: String,
    /// The disk of that pod when it was permitted.
    pub founder_member: MemberId,
    /// How many initial voters.
    pub size: u8,
}

impl Founding {
    /// The cluster that the register speaks of.
    #[must_use]
    pub fn cluster(&self) -> Option<ClusterId> {
        match self {
            Self::None => None,
            Self::Permitted(permit) | Self::Abandoning(permit) => Some(permit.cluster),
            Self::Latched(cluster) => Some(*cluster),
        }
    }

    /// Whether the register may go from here to `next`. Adopting what members report goes from `None` straight to
    /// `Latched`; everything else goes one step at a time, and from `Latched` nothing goes anywhere.
    #[must_use]
    pub fn may_become(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::None, Self::Permitted(_) | Self::Latched(_)) => true,
            (Self::Permitted(now), Self::Abandoning(next)) => now == next,
            (Self::Permitted(now), Self::Latched(next)) => now.cluster == *next,
            (Self::Abandoning(now), Self::Permitted(next)) => now.cluster != next.cluster,
            (Self::None, Self::None | Self::Abandoning(_))
            | (Self::Permitted(_), Self::None | Self::Permitted(_))
            | (Self::Abandoning(_), Self::None | Self::Abandoning(_) | Self::Latched(_))
            | (Self::Latched(_), Self::None | Self::Permitted(_) | Self::Abandoning(_) | Self::Latched(_)) => {
                false
            }
        }
    }
}

impl fmt::Display for Founding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => out.write_str("nothing permitted"),
            Self::Permitted(permit) => {
                write!(
                    out,
                    "cluster {} permitted to {} (member {})",
                    permit.cluster, permit.founder, permit.founder_member
                )
            }
            Self::Abandoning(permit) => write!(out, "cluster {} being abandoned", permit.cluster),
            Self::Latched(cluster) => write!(out, "cluster {cluster} latched"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permit(cluster: u64) -> Permit {
        Permit {
            cluster: ClusterId::from_wire(cluster).unwrap(),
            founder: "orders-0".to_owned(),
            founder_member: MemberId::from_wire(7).unwrap(),
            size: 3,
        }
    }

    fn all(cluster: u64) -> [Founding; 4] {
        [
            Founding::None,
            Founding::Permitted(permit(cluster)),
            Founding::Abandoning(permit(cluster)),
            Founding::Latched(ClusterId::from_wire(cluster).unwrap()),
        ]
    }

    #[test]
    fn nothing_follows_latched() {
        let [_, _, _, latched] = all(9);
        for next in all(9).into_iter().chain(all(10)) {
            assert!(!latched.may_become(&next), "{next}");
        }
    }

    #[test]
    fn a_second_permit_needs_the_first_to_be_abandoned_and_another_id() {
        let [_, permitted, abandoning, latched] = all(9);
        let [_, other, _, other_latched] = all(10);
        assert!(!permitted.may_become(&other));
        assert!(abandoning.may_become(&other));
        assert!(!abandoning.may_become(&permitted));
        assert!(!abandoning.may_become(&latched));
        assert!(!permitted.may_become(&other_latched));
    }
}
