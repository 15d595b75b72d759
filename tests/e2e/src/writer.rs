//! The load that runs through every scenario, by way of the client Service, and what is demanded of it at the end.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use outrigger_tests::etcd_wire::Client;
use outrigger_tests::history::{Operation, Outcome};
use outrigger_tests::workload::{self, Plan, Workload};
use outrigger_tests::{verdict, wait};

/// Clients; they share two cores with three nodes.
const CLIENTS: u32 = 4;
/// Between two calls of a client.
const PAUSE: Duration = Duration::from_millis(10);
/// A call without an answer after this long has an unknown outcome.
const DEADLINE: Duration = Duration::from_secs(1);
/// How long it may take until the Service leads to members alone.
const READ_BACK: Duration = Duration::from_secs(30);

/// A running load.
#[derive(Debug)]
pub(crate) struct Writer {
    workload: Workload,
    service: SocketAddr,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proof {
    /// Writes that were acknowledged, looked for, and found.
    pub(crate) acknowledged: usize,
    /// The longest time in which none was.
    pub(crate) outage: Duration,
}

impl Writer {
    /// Starts it against a Service.
    ///
    /// # Errors
    /// The address is none.
    pub(crate) fn start(service: SocketAddr) -> Result<Self> {
        let plan = Plan {
            // Several connections to the one address lead to several members.
            endpoints: vec![service; 3],
            clients: CLIENTS,
            keys: 16,
            value_size_bytes: 64,
            deadline: DEADLINE,
            pause: PAUSE,
            seed: 1,
        };
        Ok(Self { workload: Workload::start(&plan)?, service })
    }

    /// Writes that were acknowledged so far.
    #[must_use]
    pub(crate) fn acknowledged(&self) -> u64 {
        self.workload.acknowledged()
    }

    /// Ends it, and demands that every acknowledged write is there and that the history is linearizable.
    ///
    /// # Errors
    /// The violation.
    pub(crate) async fn finish(self) -> Result<Proof> {
        let history = self.workload.finish().await?;
        let outage = longest_gap(&history);
        // A pod that has just left may still be behind the Service: whoever is refused there asks again, on another connection.
        let state = wait::until_ok("reading everything back", READ_BACK, async || {
            workload::final_state(&mut Client::lazy(self.service)?).await
        })
        .await?;
        let verdict = verdict::judge(&history, &state)?;
        ensure!(verdict.acknowledged > 0, "nothing was written, so nothing was proven");
        Ok(Proof { acknowledged: verdict.acknowledged, outage })
    }
}

fn longest_gap(history: &[Operation]) -> Duration {
    let is_write = |operation: &&Operation| matches!(operation.outcome, Outcome::Written { .. });
    let mut times: Vec<u64> = history.iter().filter(is_write).map(|operation| operation.returned).collect();
    // What was still waited for at the end counts too.
    times.extend(history.iter().map(|operation| operation.returned).max());
    times.sort_unstable();
    let gaps = times.windows(2).filter_map(|pair| Some(pair.last()? - pair.first()?));
    Duration::from_nanos(gaps.max().unwrap_or(0))
}
