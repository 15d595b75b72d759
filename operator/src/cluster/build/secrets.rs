//! The Secrets that certificates are kept in: the authority's, for the operator alone, and the members', which their pods mount.
//!
//! One Secret serves all pods: a template is the same for all of them, and only a whole Secret follows its changes into a running
//! pod. May import: k8s-openapi's types, this folder. Deliberately absent: what is in the files, and when it changes.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::meta;
use crate::cluster::validate::Wanted;

/// A Secret with these files.
#[must_use]
pub fn secret(
    wanted: &Wanted,
    owner: &OwnerReference,
    name: String,
    files: &BTreeMap<String, String>,
) -> Secret {
    let data = files.iter().map(|(file, text)| (file.clone(), ByteString(text.clone().into_bytes())));
    Secret {
        metadata: meta(wanted, owner, name),
        data: Some(data.collect()),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    }
}
