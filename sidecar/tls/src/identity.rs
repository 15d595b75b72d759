//! The name in a certificate: one URI, `outrigger://NAMESPACE/CLUSTER/member/POD` or `outrigger://NAMESPACE/CLUSTER/operator`.
//!
//! May import: webpki's names. Deliberately absent: whether the certificate is to be believed (`verify`).

use std::fmt;
use std::str::FromStr;

use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

const SCHEME: &str = "outrigger://";

/// A cluster, as certificates name it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cluster {
    /// The namespace of its resource.
    pub namespace: String,
    /// The resource's name.
    pub name: String,
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Who, within a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Who {
    /// The member of this name: the pod's.
    Member(String),
    /// Whoever decides on membership: the operator, the local runner, a person in their place.
    Operator,
}

/// Whom a certificate names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Of which cluster.
    pub cluster: Cluster,
    /// Who there.
    pub who: Who,
}

/// Why a name is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The text has another form.
    #[error(
        "{0:?} is no name of Outrigger's: outrigger://NAMESPACE/CLUSTER/member/POD or outrigger://NAMESPACE/CLUSTER/operator"
    )]
    Malformed(String),
    /// The certificate cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Certificate(String),
    /// The certificate names nobody, or more than one.
    #[error("the certificate has {0} names of Outrigger's (outrigger://…) and must have one")]
    Count(usize),
}

impl Identity {
    /// A member.
    #[must_use]
    pub fn member(cluster: Cluster, pod: &str) -> Self {
        Self { cluster, who: Who::Member(pod.to_owned()) }
    }

    /// The operator.
    #[must_use]
    pub fn operator(cluster: Cluster) -> Self {
        Self { cluster, who: Who::Operator }
    }

    /// The name in a certificate, believed or not.
    ///
    /// # Errors
    /// It cannot be read, or has not exactly one.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, IdentityError> {
        let parsed = EndEntityCert::try_from(certificate)
            .map_err(|error| IdentityError::Certificate(error.to_string()))?;
        let names: Vec<&str> = parsed.valid_uri_names().filter(|name| name.starts_with(SCHEME)).collect();
        match names.as_slice() {
            [name] => name.parse(),
            [] | [_, _, ..] => Err(IdentityError::Count(names.len())),
        }
    }

    /// The member's name, if it is a member.
    #[must_use]
    pub fn member_name(&self) -> Option<&str> {
        match &self.who {
            Who::Member(name) => Some(name),
            Who::Operator => None,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{}", self.cluster)?;
        match &self.who {
            Who::Member(name) => write!(f, "/member/{name}"),
            Who::Operator => f.write_str("/operator"),
        }
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let malformed = || IdentityError::Malformed(text.to_owned());
        let path = text.strip_prefix(SCHEME).ok_or_else(malformed)?;
        let parts: Vec<&str> = path.split('/').collect();
        if !parts.iter().all(|part| is_name(part)) {
            return Err(malformed());
        }
        let cluster =
            |namespace: &str, name: &str| Cluster { namespace: namespace.to_owned(), name: name.to_owned() };
        match parts.as_slice() {
            [namespace, name, "member", pod] => Ok(Self::member(cluster(namespace, name), pod)),
            [namespace, name, "operator"] => Ok(Self::operator(cluster(namespace, name))),
            _ => Err(malformed()),
        }
    }
}

/// What names of namespaces, clusters and pods are made of. Anything else (an escape, a query) is no name of ours, so that
/// two spellings of one name cannot be.
fn is_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte);
    !text.is_empty() && text.len() <= 253 && text.bytes().all(is_inner)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_two_forms_are_names() {
        let cluster = Cluster { namespace: "shop".into(), name: "orders".into() };
        let good = [
            ("outrigger://shop/orders/member/orders-0", Identity::member(cluster.clone(), "orders-0")),
            ("outrigger://shop/orders/operator", Identity::operator(cluster)),
        ];
        for (text, identity) in good {
            assert_eq!(text.parse(), Ok(identity.clone()));
            assert_eq!(identity.to_string(), text);
        }
        for text in [
            "",
            "shop/orders/operator",
            "https://shop/orders/operator",
            "outrigger://shop/orders",
            "outrigger://shop/orders/operator/",
            "outrigger://shop//operator",
            "outrigger://shop/orders/member",
            "outrigger://shop/orders/member/",
            "outrigger://shop/orders/member/orders-0/x",
            "outrigger://shop/orders/member/orders%2d0",
            "outrigger://shop/orders/member/Orders-0",
            "outrigger://shop/orders/operator?x",
            "outrigger://shop/orders/admin",
        ] {
            assert_eq!(text.parse::<Identity>(), Err(IdentityError::Malformed(text.to_owned())), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(text in "outrigger://[a-z0-9./-]{0,40}(member|operator)?[a-z/-]{0,9}") {
            if let Ok(identity) = text.parse::<Identity>() {
                prop_assert_eq!(identity.to_string(), text);
            }
        }
    }
}
