//! The manifest run as processes on this machine.
pub mod addresses;
pub mod backoff;
pub mod control;
pub mod dns;
pub mod launch;
pub mod range_lock;
pub mod store;
pub mod supervisor;
#[cfg(test)]
mod tests;
pub mod zone;
