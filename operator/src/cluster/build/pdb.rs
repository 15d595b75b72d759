//! The disruption budget: an eviction never takes a pod that a write needs.
//!
//! `minAvailable` is a number, not a share: a share is rounded up, and of two replicas at 50 % both may be wanted. May
//! import: k8s-openapi's types, this folder. Deliberately absent: how many voters there are.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::{Blueprint, Budget, budget_name, labels};
use crate::cluster::budget::Needed;

pub(super) fn budget(blueprint: Blueprint<'_>) -> Budget {
    let quorum = match blueprint.needed {
        Needed::AtLeast(quorum) => quorum,
        Needed::None => return Budget::Unwanted,
        Needed::AsBefore => return Budget::AsItIs,
    };
    let name = blueprint.name();
    Budget::Wanted(Box::new(PodDisruptionBudget {
        metadata: blueprint.meta(budget_name(name)),
        spec: Some(PodDisruptionBudgetSpec {
            min_available: Some(IntOrString::Int(i32::from(quorum))),
            selector: Some(LabelSelector {
                match_labels: Some(labels::matching(name)),
                ..LabelSelector::default()
            }),
            // A pod that never becomes ready must not block the drain of its node while the others are well.
            unhealthy_pod_eviction_policy: Some("IfHealthyBudget".to_owned()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    }))
}
