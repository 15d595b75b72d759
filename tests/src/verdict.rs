//! What every test under load demands at its end: every acknowledged write is there, and the reads are linearizable.
//!
//! May import: `history`, `linearizability`, `workload`. Deliberately absent: anything that could soften a violation.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::etcd_wire::Client;
use crate::history::{KeyId, Operation, Stored};
use crate::linearizability::{self, DEFAULT_BUDGET_STEPS, Proof, acknowledged, once};
use crate::workload;

/// What was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How linearizability was proved.
    pub proof: Proof,
    /// How many acknowledged writes were looked for and found.
    pub acknowledged: usize,
    /// How many operations the history has.
    pub operations: usize,
}

/// Demands both proofs of a finished workload; `client` reads the final state, linearizably.
///
/// # Errors
/// The violation, and where the whole history was written for a person to read.
pub async fn demand(history: &[Operation], client: &mut Client) -> Result<Verdict> {
    judge(history, &workload::final_state(client).await?)
}

/// As [`demand`], on a state that was read before.
///
/// # Errors
/// As [`demand`].
pub fn judge(history: &[Operation], state: &HashMap<KeyId, Stored>) -> Result<Verdict> {
    let judged = acknowledged::check(history, state).map_err(anyhow::Error::from).and_then(|found| {
        let proof = linearizability::check(history, DEFAULT_BUDGET_STEPS)?;
        once::check(history)?;
        Ok(Verdict { proof, acknowledged: found, operations: history.len() })
    });
    judged.with_context(|| match kept(history) {
        Ok(path) => format!("the history is in {}", path.display()),
        Err(error) => format!("the history could not be kept: {error:#}"),
    })
}

fn kept(history: &[Operation]) -> Result<PathBuf> {
    let mut text = String::new();
    for operation in history {
        writeln!(text, "{operation:?}")?;
    }
    let path = std::env::temp_dir().join(format!("outrigger-history-{}.txt", rand::random::<u32>()));
    std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    Ok(path)
}
