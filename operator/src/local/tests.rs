//! The parts of a local run against the real thing: processes, and a real resolver.
mod dns;
mod supervisor;
