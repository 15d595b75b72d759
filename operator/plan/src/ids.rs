//! Newtypes for what would otherwise be bare numbers and strings.
//!
//! Ids print as 16 hexadecimal digits everywhere: in the status, in texts and in files. Nothing here draws a random
//! number; a caller that mints an id hands it in.

use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;

/// A text that is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not a {what}: 1 to 16 hexadecimal digits, not all zero, are expected")]
pub struct NotAnId {
    what: &'static str,
    found: String,
}

macro_rules! id {
    ($name:ident, $what:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU64);

        impl $name {
            /// From the wire, where 0 stands for "none".
            #[must_use]
            pub fn from_wire(value: u64) -> Option<Self> {
                NonZeroU64::new(value).map(Self)
            }

            /// As the wire carries it.
            #[must_use]
            pub fn get(self) -> u64 {
                self.0.get()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, "{:016x}", self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(out, concat!(stringify!($name), "({:016x})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                u64::from_str_radix(text, 16)
                    .ok()
                    .and_then(Self::from_wire)
                    .ok_or_else(|| NotAnId { what: $what, found: text.to_owned() })
            }
        }
    };
}

id!(ClusterId, "cluster id", "The identity of one cluster, minted once. Never 0.");
id!(MemberId, "member id", "The identity of one data directory. Never 0, never used again.");

/// The index of an applied membership entry: what a membership change is compared with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigurationIndex(pub u64);

/// A raft term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term(pub u64);

/// An index in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Index(pub u64);

/// Which pod of the cluster: the number at the end of its name. Not an identity: the disk behind it may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ordinal(pub u8);

impl fmt::Display for Ordinal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// The name of a RaftCluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterName(pub String);

impl ClusterName {
    /// The name of one pod: `orders-0`.
    #[must_use]
    pub fn pod(&self, ordinal: Ordinal) -> String {
        format!("{}-{ordinal}", self.0)
    }

    /// The ordinal of a pod's name, if it is a name of this cluster's pods.
    #[must_use]
    pub fn ordinal_of(&self, pod: &str) -> Option<Ordinal> {
        let digits = pod.strip_prefix(self.0.as_str())?.strip_prefix('-')?;
        let ordinal = Ordinal(digits.parse().ok()?);
        // "orders-01" parses as 1 and is no pod's name.
        (self.pod(ordinal) == pod).then_some(ordinal)
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// How many of a number of voters have to agree.
#[must_use]
pub fn quorum(voters: usize) -> usize {
    voters / 2 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_print_and_parse_as_sixteen_digits() {
        let id = ClusterId::from_wire(0xab).unwrap();
        assert_eq!(id.to_string(), "00000000000000ab");
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn zero_and_garbage_are_no_ids() {
        for text in ["", "0", "0000000000000000", "xyz", "10000000000000000"] {
            assert!(text.parse::<MemberId>().is_err(), "{text}");
        }
    }

    #[test]
    fn only_names_of_own_pods_have_an_ordinal() {
        let name = ClusterName("orders".to_owned());
        assert_eq!(name.ordinal_of("orders-2"), Some(Ordinal(2)));
        for pod in ["orders", "orders-", "orders-02", "orders-2-1", "other-2", "orders-999", "orders-+1"] {
            assert_eq!(name.ordinal_of(pod), None, "{pod}");
        }
    }

    #[test]
    fn a_quorum_is_more_than_half() {
        for (voters, wanted) in [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (9, 5)] {
            assert_eq!(quorum(voters), wanted);
        }
    }
}
