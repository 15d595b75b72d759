//! Proofs against real parts: real processes, the real etcd and etcdctl, a real DNS server, the checker, the benchmark.
//!
//! Lives here: what tests and the benchmark share. May import: every crate of ours. Deliberately absent: fakes. A
//! test that needs a server starts the server; a test that needs DNS asks a real resolver's questions.

pub mod addresses;
pub mod bench;
pub mod binaries;
pub mod chaos;
pub mod cluster;
pub mod dns;
pub mod etcd_cluster;
pub mod etcd_wire;
pub mod fake_peer;
pub mod histogram;
pub mod load;
pub mod local_runner;
pub mod nemesis;
pub mod proc_stat;
pub mod process;
pub mod verdict;
pub mod wait;
pub mod wal_damage;
pub mod workload;

pub use outrigger_sim::{history, linearizability};
