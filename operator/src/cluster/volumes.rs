//! What becomes of claims: how they grow, and what happens to them when the resource goes.
//!
//! A StatefulSet's claim template never changes, so growth takes three steps: the claims are asked to grow, the set is deleted
//! without its pods, and it is made again from the grown template. Pure, over Kubernetes' own types. Deliberately absent: reading
//! and writing them.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::quantity::bytes;
use crate::crd::DeletionPolicy;

/// What growth asks for next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Growth {
    /// Everything is as large as is wanted.
    Done,
    /// Ask these claims, by name, to grow.
    Claims(Vec<String>),
    /// Make the set again: its template asks for less, while all claims ask for enough.
    Set,
}

/// What growth to `wanted` asks for next.
#[must_use]
pub fn growth(wanted: &str, set: Option<&StatefulSet>, claims: &[&PersistentVolumeClaim]) -> Growth {
    let Some(wanted) = bytes(wanted) else { return Growth::Done };
    let is_less = |size: Option<&str>| size.and_then(bytes).is_some_and(|size| size < wanted);
    let small: Vec<String> = claims
        .iter()
        .filter(|claim| claim.metadata.deletion_timestamp.is_none() && is_less(requested(claim)))
        .filter_map(|claim| claim.metadata.name.clone())
        .collect();
    if !small.is_empty() {
        return Growth::Claims(small);
    }
    if set.is_some_and(|set| set.metadata.deletion_timestamp.is_none() && is_less(template_size(set))) {
        return Growth::Set;
    }
    Growth::Done
}

/// The claims, by name, that asked for `wanted` and do not have it yet.
#[must_use]
pub fn still_growing(wanted: &str, claims: &[&PersistentVolumeClaim]) -> Vec<String> {
    let Some(wanted) = bytes(wanted) else { return Vec::new() };
    let has_less =
        |claim: &&&PersistentVolumeClaim| capacity(claim).and_then(bytes).is_some_and(|size| size < wanted);
    claims.iter().filter(has_less).filter_map(|claim| claim.metadata.name.clone()).collect()
}

/// The most that a claim or the claim template asks for: what the spec must not go below any more. Not what the spec says: a
/// size that was refused can be taken back. Never more than the spec says, though: where a person has grown a claim, or claims of a larger
/// cluster were found, the definition's rule would refuse every status from then on.
#[must_use]
pub fn provisioned<'a>(
    set: Option<&'a StatefulSet>,
    claims: &[&'a PersistentVolumeClaim],
    wanted: &'a str,
) -> Option<&'a str> {
    let asked =
        set.and_then(template_size).into_iter().chain(claims.iter().filter_map(|claim| requested(claim)));
    let most = asked.max_by_key(|size| bytes(size))?;
    Some(if bytes(most) > bytes(wanted) { wanted } else { most })
}

/// What the set's claim template asks for.
#[must_use]
pub fn template_size(set: &StatefulSet) -> Option<&str> {
    let claim = set.spec.as_ref()?.volume_claim_templates.as_ref()?.first()?;
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    requests.get("storage").map(|quantity| quantity.0.as_str())
}

fn requested(claim: &PersistentVolumeClaim) -> Option<&str> {
    let requests = claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?;
    requests.get("storage").map(|quantity| quantity.0.as_str())
}

fn capacity(claim: &PersistentVolumeClaim) -> Option<&str> {
    claim.status.as_ref()?.capacity.as_ref()?.get("storage").map(|quantity| quantity.0.as_str())
}

/// The owners that a claim should have, if they are others than it has: with `Delete` it goes with the resource, with `Retain`
/// it stays.
#[must_use]
pub fn owners(
    claim: &PersistentVolumeClaim,
    owner: &OwnerReference,
    policy: DeletionPolicy,
) -> Option<Vec<OwnerReference>> {
    let present = claim.metadata.owner_references.clone().unwrap_or_default();
    // By kind and name: a resource that was made anew under the name has another uid.
    let is_ours = |found: &OwnerReference| found.kind == owner.kind && found.name == owner.name;
    let mut wanted: Vec<OwnerReference> = present.iter().filter(|found| !is_ours(found)).cloned().collect();
    match policy {
        DeletionPolicy::Retain => {}
        DeletionPolicy::Delete => {
            wanted.push(OwnerReference { controller: None, block_owner_deletion: None, ..owner.clone() })
        }
    }
    (wanted != present).then_some(wanted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claim(name: &str, requested: &str, capacity: &str) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"resources": {"requests": {"storage": requested}}},
            "status": {"capacity": {"storage": capacity}},
        }))
        .unwrap()
    }

    fn set(size: &str) -> StatefulSet {
        let claim = json!({"metadata": {}, "spec": {"resources": {"requests": {"storage": size}}}});
        let selector = json!({});
        serde_json::from_value(json!({
            "metadata": {},
            "spec": {"serviceName": "orders-peers", "selector": selector, "template": {}, "volumeClaimTemplates": [claim]},
        }))
        .unwrap()
    }

    #[test]
    fn claims_grow_before_the_set_is_made_again() {
        let (small, grown) = (claim("a", "4Gi", "4Gi"), claim("b", "8Gi", "4Gi"));
        let (old, new) = (set("4Gi"), set("8192Mi"));
        let rows: [(&[&PersistentVolumeClaim], &StatefulSet, Growth); 5] = [
            (&[&small, &grown], &old, Growth::Claims(vec!["a".to_owned()])),
            (&[&small, &grown], &new, Growth::Claims(vec!["a".to_owned()])),
            (&[&grown, &grown], &old, Growth::Set),
            (&[&grown, &grown], &new, Growth::Done),
            (&[], &new, Growth::Done),
        ];
        for (claims, set, wanted) in rows {
            assert_eq!(growth("8Gi", Some(set), claims), wanted);
        }
        assert_eq!(growth("4Gi", Some(&new), &[&small]), Growth::Done, "nothing shrinks");
        assert_eq!(provisioned(Some(&old), &[&small, &grown], "8Gi"), Some("8Gi"));
        assert_eq!(
            provisioned(Some(&old), &[&small], "8Gi"),
            Some("4Gi"),
            "a size that was refused can be taken back"
        );
        assert_eq!(
            provisioned(Some(&old), &[&small, &grown], "4Gi"),
            Some("4Gi"),
            "a claim was grown by hand"
        );
        assert_eq!(provisioned(None, &[], "4Gi"), None);
        assert_eq!(still_growing("8Gi", &[&grown, &claim("c", "8Gi", "8Gi")]), ["b"]);
    }

    #[test]
    fn what_is_going_away_does_not_grow() {
        let mut going = claim("a", "4Gi", "4Gi");
        let now = k8s_openapi::jiff::Timestamp::from_second(1).unwrap();
        going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now));
        assert_eq!(growth("8Gi", None, &[&going]), Growth::Done);
        let mut old = set("4Gi");
        old.metadata.deletion_timestamp = going.metadata.deletion_timestamp.clone();
        assert_eq!(growth("8Gi", Some(&old), &[]), Growth::Done);
    }

    #[test]
    fn claims_belong_to_the_resource_only_while_they_shall_go_with_it() {
        let owner = |name: &str, uid: &str| OwnerReference {
            api_version: "outrigger.dev/v1alpha1".to_owned(),
            kind: "RaftCluster".to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        };
        let ours = owner("orders", "1");
        let mut claim = claim("a", "4Gi", "4Gi");
        assert_eq!(owners(&claim, &ours, DeletionPolicy::Retain), None);
        let owned = owners(&claim, &ours, DeletionPolicy::Delete).unwrap();
        assert_eq!(owned.len(), 1);
        assert_eq!((owned[0].uid.as_str(), owned[0].controller), ("1", None));
        claim.metadata.owner_references = Some([vec![owner("others", "7")], owned].concat());
        assert_eq!(owners(&claim, &ours, DeletionPolicy::Delete), None, "it says so already");
        assert_eq!(owners(&claim, &ours, DeletionPolicy::Retain), Some(vec![owner("others", "7")]));
        let again = owners(&claim, &owner("orders", "2"), DeletionPolicy::Delete).unwrap();
        assert_eq!(again.last().map(|owner| owner.uid.as_str()), Some("2"), "made anew");
    }
}
