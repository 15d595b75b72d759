//! What a member says of itself and of everyone: the part of `outrigger status -o json` that is shown.
//!
//! Pure. Every field may be absent: the sidecar may be older or newer than the plugin. Deliberately absent: how it is asked.

use serde::Deserialize;

/// A member's answer.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub(super) struct Said {
    pub(super) name: String,
    pub(super) role: String,
    pub(super) member_id: String,
    pub(super) leader_id: String,
    pub(super) term: i64,
    pub(super) waiting_for: String,
    pub(super) fault: String,
    pub(super) members: Vec<SaidMember>,
}

/// What a leader knows of a member.
#[derive(Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(default)]
pub(super) struct SaidMember {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) match_index: Option<u64>,
    pub(super) lag: Option<u64>,
    pub(super) last_contact_ms: Option<u64>,
}

impl Said {
    pub(super) fn leads(&self) -> bool {
        self.role == "leader"
    }

    /// Whom it believes to lead.
    pub(super) fn leader(&self) -> Option<&str> {
        let leader = self.members.iter().find(|member| !member.id.is_empty() && member.id == self.leader_id);
        leader.map(|leader| leader.name.as_str()).filter(|name| !name.is_empty())
    }

    /// What the leader knows of a pod. A pod that came back with a new id is on its books twice for a moment: the id decides.
    pub(super) fn of(&self, pod: &str, id: Option<&str>) -> Option<&SaidMember> {
        let named = || self.members.iter().filter(|member| member.name == pod);
        named().find(|member| Some(member.id.as_str()) == id).or_else(|| named().next_back())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_of_another_version_is_read_as_far_as_it_is_known() {
        let rows = [
            ("{}", None, None),
            (
                r#"{"role":"follower","leader_id":"a","members":[{"id":"a","name":"orders-1"}]}"#,
                Some("orders-1"),
                None,
            ),
            (r#"{"leader_id":"0000","members":[{"id":"a","name":"orders-1"}]}"#, None, None),
            (r#"{"leader_id":"a","members":[{"id":"a","name":""}],"new":[1]}"#, None, None),
            (r#"{"members":[{"id":"a","name":"orders-0","lag":7,"match_index":null}]}"#, None, Some(7)),
        ];
        for (json, leader, lag) in rows {
            let said: Said = serde_json::from_str(json).unwrap();
            assert_eq!(said.leader(), leader, "{json}");
            assert_eq!(said.of("orders-0", None).and_then(|member| member.lag), lag, "{json}");
        }
    }

    #[test]
    fn a_pod_that_came_back_is_known_by_its_id() {
        let member = |id: &str, lag| SaidMember {
            id: id.into(),
            name: "orders-2".into(),
            lag: Some(lag),
            ..SaidMember::default()
        };
        let said = Said { members: vec![member("old", 900), member("new", 3)], ..Said::default() };
        for (id, lag) in [(Some("old"), 900), (Some("new"), 3), (None, 3), (Some("other"), 3)] {
            assert_eq!(said.of("orders-2", id).and_then(|member| member.lag), Some(lag), "{id:?}");
        }
    }
}
