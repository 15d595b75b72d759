//! What is shown of a run: the status as an API server would hold it, and the numbers that are too lively for a status.

use serde::{Deserialize, Serialize};

use crate::crd::RaftClusterStatus;

/// Everything that `local` prints, and that `local status -o json` gives.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct View {
    /// The resource.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Seconds since it was first run.
    pub age_seconds: i64,
    /// `spec.replicas`.
    pub replicas: u8,
    /// The manifest's own, while `local scale` stands in its place.
    #[serde(default)]
    pub scaled_from: Option<u8>,
    /// The status.
    pub status: RaftClusterStatus,
    /// One line a process.
    pub members: Vec<MemberView>,
    /// What the last pass did or waits for.
    pub doing: String,
    /// The last thing that went wrong, if it did in the last pass.
    pub trouble: Option<String>,
    /// The DNS server, or that there is none.
    pub dns: String,
    /// The headless service's full name.
    pub service: String,
    /// Where the data is.
    pub data_dir: String,
}

/// One process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    /// The pod.
    pub name: String,
    /// Where clients reach it.
    pub client: String,
    /// The process, while it runs.
    pub process: Option<u32>,
    /// How often it was started again.
    pub restarts: u32,
    /// Entries behind the leader's commit.
    pub lag_entries: Option<u64>,
    /// Milliseconds since the leader heard from it.
    pub last_contact_ms: Option<u64>,
    /// What it has applied.
    pub applied_index: Option<u64>,
    /// Its log.
    pub log: String,
    /// Its data.
    pub volume: String,
}
