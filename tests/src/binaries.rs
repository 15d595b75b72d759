//! Where the executables under test are: our own beside the test, the real etcd and etcdctl out of the cache.
//!
//! Deliberately absent: building Rust. `make test` builds the sidecar before the tests run; a test that finds none
//! fails and says what to do.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The version of etcd and etcdctl that everything here is compared with; `etcd/*/go.mod` pins the same.
pub const ETCD_VERSION: &str = "3.7.3";

/// The `outrigger` executable: `OUTRIGGER_BIN`, or beside the running test's own folder.
///
/// # Errors
/// When there is none, saying how to make one.
pub fn outrigger() -> Result<PathBuf> {
    ours("OUTRIGGER_BIN", "outrigger")
}

/// The `outrigger-operator` executable: `OUTRIGGER_OPERATOR_BIN`, or beside the running test's own folder.
///
/// # Errors
/// When there is none, saying how to make one.
pub fn operator() -> Result<PathBuf> {
    ours("OUTRIGGER_OPERATOR_BIN", "outrigger-operator")
}

/// The real etcd server, built on first use.
///
/// # Errors
/// When it cannot be built: Go missing, or a registry that does not answer.
pub fn etcd() -> Result<PathBuf> {
    Ok(etcd_folder()?.join("etcd"))
}

/// The real etcdctl, built on first use.
///
/// # Errors
/// As for [`etcd`].
pub fn etcdctl() -> Result<PathBuf> {
    Ok(etcd_folder()?.join("etcdctl"))
}

fn ours(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(path) = env::var_os(variable) {
        let path = PathBuf::from(path);
        if !path.is_file() {
            bail!("{variable} is {}, which is no file: build it, or unset the variable", path.display());
        }
        return Ok(path);
    }
    // A test runs as target/<profile>/deps/<test>, a binary as target/<profile>/<name>.
    let own = env::current_exe().context("asking where this executable is")?;
    let beside = own.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    let found = beside.into_iter().find(|path| path.is_file());
    found.with_context(|| {
        format!("no `{name}` beside {}: run `cargo build` first, or set {variable}", own.display())
    })
}

fn etcd_folder() -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("etcd/build.sh");
    let output = Command::new("bash")
        .arg(&script)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {}", script.display()))?;
    if !output.status.success() {
        bail!("building the real etcd failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    let folder = String::from_utf8(output.stdout).context("build.sh printed a path that is not UTF-8")?;
    Ok(PathBuf::from(folder.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(path: &Path, argument: &str) -> String {
        let output = Command::new(path).arg(argument).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_real_etcd_and_etcdctl_are_the_pinned_version() {
        assert!(version(&etcd().unwrap(), "--version").contains(&format!("etcd Version: {ETCD_VERSION}")));
        assert!(
            version(&etcdctl().unwrap(), "version").contains(&format!("etcdctl version: {ETCD_VERSION}"))
        );
    }
}
