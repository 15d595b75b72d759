//! The founding register as it stands in the status.
//!
//! May import: the resource's types, the register. Deliberately absent: which changes of it are lawful (`founding`), and who
//! writes the status.

use super::founding::{Founding, Permit};
use super::ids::{ClusterId, NotAnId};
use crate::crd::{FoundingState, FoundingStatus};

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

/// As it stands in the status.
#[must_use]
pub fn to_status(founding: &Founding) -> FoundingStatus {
    let permitted = |state, permit: &Permit| FoundingStatus {
        state,
        cluster_id: Some(permit.cluster.to_string()),
        founder: Some(permit.founder.clone()),
        founder_member_id: Some(permit.founder_member.to_string()),
        size: Some(i32::from(permit.size)),
    };
    match founding {
        Founding::None => FoundingStatus::default(),
        Founding::Permitted(permit) => permitted(FoundingState::Permitted, permit),
        Founding::Abandoning(permit) => permitted(FoundingState::Abandoning, permit),
        Founding::Latched(cluster) => FoundingStatus {
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
pub fn from_status(status: &FoundingStatus) -> Result<Founding, RegisterError> {
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
        FoundingState::None => Ok(Founding::None),
        FoundingState::Permitted => Ok(Founding::Permitted(permit()?)),
        FoundingState::Abandoning => Ok(Founding::Abandoning(permit()?)),
        FoundingState::Latched => Ok(Founding::Latched(cluster()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::ids::MemberId;
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
            assert_eq!(from_status(&to_status(&founding)), Ok(founding));
        }
    }

    #[test]
    fn a_register_with_a_field_missing_is_not_taken_for_an_empty_one() {
        for founding in &all(9)[1..] {
            let mut status = to_status(founding);
            status.cluster_id = None;
            assert!(from_status(&status).is_err(), "{founding}");
        }
        let mut status = to_status(&Founding::Permitted(permit(9)));
        status.size = Some(4);
        assert_eq!(from_status(&status), Err(RegisterError::Size { found: 4 }));
    }
}
