//! The founding register: the one place that says which cluster exists, changed by compare-and-set only.
//!
//! `None → Permitted(A) → Latched(A)`, or `Permitted(A) → Abandoning(A) → Permitted(B)`. After `Latched` nothing is ever
//! permitted again. Here are the states, which changes are lawful, and how they stand in the status; who writes the status
//! is not decided here.

use std::fmt;

use super::ids::{ClusterId, MemberId, NotAnId};
use crate::crd::{FoundingState, FoundingStatus};

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

/// Why a status does not hold a register.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// A field that the state needs is absent.
    #[error(
        "status.founding.state is {state:?}, but status.founding.{field} is missing; restore the field, or remove status.founding as a whole to have it read again from the members"
    )]
    Missing {
        /// The state that stands there.
        state: FoundingState,
        /// The field that is absent.
        field: &'static str,
    },
    /// A field does not hold an id.
    #[error("status.founding.{field} is wrong")]
    NotAnId {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        #[source]
        source: NotAnId,
    },
    /// The size is not one that a cluster can have.
    #[error("status.founding.size is {found}; 1, 3, 5, 7 or 9 is expected")]
    Size {
        /// What stands there.
        found: i32,
    },
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

    /// As it stands in the status.
    #[must_use]
    pub fn to_status(&self) -> FoundingStatus {
        let permitted = |state, permit: &Permit| FoundingStatus {
            state,
            cluster_id: Some(permit.cluster.to_string()),
            founder: Some(permit.founder.clone()),
            founder_member_id: Some(permit.founder_member.to_string()),
            size: Some(i32::from(permit.size)),
        };
        match self {
            Self::None => FoundingStatus::default(),
            Self::Permitted(permit) => permitted(FoundingState::Permitted, permit),
            Self::Abandoning(permit) => permitted(FoundingState::Abandoning, permit),
            Self::Latched(cluster) => FoundingStatus {
                state: FoundingState::Latched,
                cluster_id: Some(cluster.to_string()),
                ..FoundingStatus::default()
            },
        }
    }

    /// From the status.
    ///
    /// # Errors
    /// A field that the state needs is missing or no id. The register is then not taken for empty: an empty one would permit
    /// a second cluster.
    pub fn from_status(status: &FoundingStatus) -> Result<Self, RegisterError> {
        let FoundingStatus { state, cluster_id, founder, founder_member_id, size } = status;
        let state = *state;
        let missing = |field| RegisterError::Missing { state, field };
        let cluster = || -> Result<ClusterId, RegisterError> {
            let text = cluster_id.as_deref().ok_or_else(|| missing("clusterID"))?;
            text.parse().map_err(|source| RegisterError::NotAnId { field: "clusterID", source })
        };
        let permit = || -> Result<Permit, RegisterError> {
            let member = founder_member_id.as_deref().ok_or_else(|| missing("founderMemberID"))?;
            let found = size.ok_or_else(|| missing("size"))?;
            Ok(Permit {
                cluster: cluster()?,
                founder: founder.clone().ok_or_else(|| missing("founder"))?,
                founder_member: member
                    .parse()
                    .map_err(|source| RegisterError::NotAnId { field: "founderMemberID", source })?,
                size: match u8::try_from(found) {
                    Ok(size @ (1 | 3 | 5 | 7 | 9)) => size,
                    Ok(_) | Err(_) => return Err(RegisterError::Size { found }),
                },
            })
        };
        match state {
            FoundingState::None => Ok(Self::None),
            FoundingState::Permitted => Ok(Self::Permitted(permit()?)),
            FoundingState::Abandoning => Ok(Self::Abandoning(permit()?)),
            FoundingState::Latched => Ok(Self::Latched(cluster()?)),
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
    fn every_state_survives_the_status() {
        for founding in all(9) {
            assert_eq!(Founding::from_status(&founding.to_status()), Ok(founding));
        }
    }

    #[test]
    fn a_register_with_a_field_missing_is_not_taken_for_an_empty_one() {
        for founding in &all(9)[1..] {
            let mut status = founding.to_status();
            status.cluster_id = None;
            assert!(Founding::from_status(&status).is_err(), "{founding}");
        }
        let mut status = Founding::Permitted(permit(9)).to_status();
        status.size = Some(4);
        assert_eq!(Founding::from_status(&status), Err(RegisterError::Size { found: 4 }));
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
