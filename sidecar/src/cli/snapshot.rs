//! `snapshot save FILE`: streams a member's snapshot into a file that is there whole or not at all.
//!
//! May import: the admin wire, std's files. Deliberately absent: the file's format.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use outrigger_proto::v1;
use serde_json::json;

use super::connect::Endpoints;
use super::error::CliError;
use crate::output::{Format, Output};

pub(super) async fn save(endpoints: &Endpoints, path: &Path, output: &mut Output) -> Result<(), CliError> {
    let mut asked = endpoints.admin().await?;
    let answer = asked.client.snapshot(v1::SnapshotRequest {}).await;
    let mut stream = answer.map_err(|status| asked.refused_read(&status))?.into_inner();
    let mut draft = Draft::create(path)?;
    let mut total = 0;
    while let Some(part) = stream.message().await.map_err(|status| asked.refused_read(&status))? {
        total = part.total_bytes;
        draft.write(&part.chunk)?;
    }
    let written = draft.finish(total)?;
    match output.format() {
        Format::Json => output.json(&json!({ "file": path, "bytes": written }))?,
        Format::Table => output.line(&format!("{written} bytes saved at {}", path.display()))?,
    }
    Ok(())
}

/// The file under another name until it is whole and durable. Dropped before, it leaves nothing behind.
#[derive(Debug)]
struct Draft {
    file: File,
    draft: PathBuf,
    target: PathBuf,
    written: u64,
    finished: bool,
}

impl Draft {
    fn create(target: &Path) -> Result<Self, CliError> {
        let mut name = target.file_name().map(ToOwned::to_owned).unwrap_or_default();
        if name.is_empty() {
            return Err(CliError::Usage(format!("{target:?} is no file's name: name the file to write")));
        }
        name.push(".part");
        let draft = target.with_file_name(name);
        let file = File::create(&draft).map_err(|source| CliError::File {
            path: draft.clone(),
            done: "created",
            source,
        })?;
        Ok(Self { file, draft, target: target.to_owned(), written: 0, finished: false })
    }

    fn write(&mut self, chunk: &[u8]) -> Result<(), CliError> {
        self.file.write_all(chunk).map_err(|source| self.failed(source))?;
        self.written += chunk.len() as u64;
        Ok(())
    }

    fn finish(mut self, total: u64) -> Result<u64, CliError> {
        if self.written != total || total == 0 {
            return Err(CliError::CutShort { path: self.target.clone(), got: self.written, total });
        }
        self.file.sync_all().map_err(|source| self.failed(source))?;
        std::fs::rename(&self.draft, &self.target).map_err(|source| self.failed(source))?;
        self.finished = true;
        Ok(self.written)
    }

    fn failed(&self, source: std::io::Error) -> CliError {
        CliError::File { path: self.draft.clone(), done: "written", source }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.finished {
            // Best effort: the error that brought us here is the one to tell.
            drop(std::fs::remove_file(&self.draft));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_snapshot_takes_the_place_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        std::fs::write(&path, "old").unwrap();
        let mut draft = Draft::create(&path).unwrap();
        draft.write(b"abc").unwrap();
        draft.write(b"def").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(draft.finish(6).unwrap(), 6);
        assert_eq!(std::fs::read(&path).unwrap(), b"abcdef");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_snapshot_that_ends_early_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("backup");
        std::fs::write(&path, "old").unwrap();
        let mut draft = Draft::create(&path).unwrap();
        draft.write(b"abc").unwrap();
        assert!(matches!(draft.finish(6), Err(CliError::CutShort { got: 3, total: 6, .. })));
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(matches!(Draft::create(Path::new("/")), Err(CliError::Usage(_))));
    }
}
