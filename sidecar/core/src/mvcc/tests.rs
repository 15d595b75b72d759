//! The key space against tables of etcd's rules, and against a model that keeps every state whole.

mod build;
mod model;
mod properties;
mod reads;
mod snapshots;
mod txns;
mod writes;
