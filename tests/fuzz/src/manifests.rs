//! What people write.

use std::path::Path;

use outrigger_operator::local::manifest::Manifest;

use crate::edited;

const ORDERS: &str = include_str!("../../../examples/orders.yaml");

/// A manifest, changed or made up, is read and checked; what is good stays good when it is scaled.
pub fn manifest(script: &[u8]) {
    let bytes =
        if script.first() == Some(&0xff) { script.to_vec() } else { edited(ORDERS.as_bytes(), script) };
    let Ok(text) = std::str::from_utf8(&bytes) else { return };
    let path = Path::new("orders.yaml");
    if let Ok(good) = Manifest::parse(path, text, None) {
        assert!(good.scaled(path, 5).is_ok(), "a cluster that cannot be scaled");
    }
}
