//! What a member answers on its probes' port.
//!
//! May import: the parent. Deliberately absent: an HTTP client; a request of one line is enough.

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::ClusterMember;

impl ClusterMember {
    /// What `/metrics` says of one series (its name, with its labels if it has any); 0 when it does not stand there yet.
    ///
    /// # Errors
    /// When it does not answer, or with no page of metrics.
    pub async fn metric(&self, series: &str) -> Result<u64> {
        let page = self.page("/metrics").await?;
        ensure!(page.starts_with("HTTP/1.1 200") && page.contains("# EOF"), "no metrics: {page}");
        let mut values = page.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        let value = values.next().map(str::parse).transpose();
        Ok(value.with_context(|| format!("{series} is no count"))?.unwrap_or(0))
    }

    /// What its probes' port answers: head and body.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn page(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.http()).await.context("connecting to the probes' port")?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut page = String::new();
        stream.read_to_string(&mut page).await?;
        Ok(page)
    }
}
