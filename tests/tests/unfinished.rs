//! Who begins requests and ends none: a member's memory stays bounded, and others are served meanwhile.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body::Frame;
use outrigger_tests::cluster::Cluster;
use outrigger_tests::etcd_wire::{PutRequest, lazy_channel};
use outrigger_tests::{binaries, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{Request, header};

const WITHIN: Duration = Duration::from_secs(20);
const CONNECTIONS: usize = 100;
const STREAMS: usize = 4;
const SENT_BYTES: usize = 1 << 20;
/// What an attack may cost: the 32 MiB of unfinished requests, and what the transport and the allocator hold on top.
const GROWTH_BYTES: u64 = 96 << 20;
/// Silent connections a port, and what each may cost: 1024 of them on three ports stay below 96 MiB.
const SILENT: usize = 200;
const SILENT_BYTES: u64 = 32 << 10;

/// The head of a message of 1.4 MB, then 1 MiB of it, then nothing more, ever.
struct Unending {
    left: usize,
    sent: Arc<AtomicUsize>,
}

impl http_body::Body for Unending {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        static ZEROS: Bytes = Bytes::from_static(&[0; 1 << 16]);
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Pending;
        }
        if this.left == SENT_BYTES {
            this.left -= 5;
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0, 0, 0x15, 0x5c, 0xc0])))));
        }
        let chunk = ZEROS.slice(..this.left.min(ZEROS.len()));
        this.left -= chunk.len();
        this.sent.fetch_add(chunk.len(), Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}

/// The most that the process ever had resident, in bytes.
fn peak_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
}

fn small(key: &'static str) -> PutRequest {
    PutRequest { key: key.into(), value: Bytes::from(vec![7; 1024]), ..PutRequest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_never_end_cost_a_bounded_memory_and_keep_nobody_out() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 1).await?;
    let pid = cluster.member_mut(0)?.process()?.pid();
    let before = peak_bytes(pid)?;
    let address = cluster.member(0)?.client();
    let mut client = cluster.member(0)?.etcd()?;
    client.put(small("first"), WITHIN).await?;
    let (sent, refused) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut attack = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let channel = lazy_channel(address)?;
        for _ in 0..STREAMS {
            let (mut channel, sent, refused) = (channel.clone(), Arc::clone(&sent), Arc::clone(&refused));
            attack.spawn(async move {
                let body = Body::new(Unending { left: SENT_BYTES, sent });
                let request = Request::post(format!("http://{address}/etcdserverpb.KV/Put"))
                    .header(header::CONTENT_TYPE, "application/grpc")
                    .header(header::TE, "trailers")
                    .body(body)?;
                let answer = match std::future::poll_fn(|cx| channel.poll_ready(cx)).await {
                    Ok(()) => channel.call(request).await,
                    Err(error) => Err(error),
                };
                refused.fetch_add(1, Ordering::Relaxed);
                anyhow::Ok(answer)
            });
        }
    }

    // What is neither refused nor held is still on its way.
    let all = CONNECTIONS * STREAMS;
    wait::until("the whole attack", WITHIN, async || {
        client.put(small("meanwhile"), WITHIN).await.unwrap();
        let held = all - refused.load(Ordering::Relaxed);
        let has_come =
            sent.load(Ordering::Relaxed) >= all * (SENT_BYTES - 5) || held * SENT_BYTES <= 33 << 20;
        has_come.then_some(())
    })
    .await?;
    let grown = peak_bytes(pid)? - before;
    assert!(grown < GROWTH_BYTES, "it grew by {} MiB", grown >> 20);

    // Those that are left have a deadline.
    wait::until("the end of the last", WITHIN, async || {
        (refused.load(Ordering::Relaxed) == all).then_some(())
    })
    .await?;
    let mut answers = 0;
    while let Some(answer) = attack.join_next().await {
        // On a slow machine some do not even get their connection.
        let Ok(answer) = answer?? else { continue };
        let code = answer.headers().get("grpc-status").context("no refusal")?;
        // ResourceExhausted or DeadlineExceeded.
        assert!(code == "8" || code == "4", "{:?}", answer.headers());
        answers += 1;
    }
    assert!(answers >= all / 2, "only {answers} of {all} were answered");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_little_cost_little() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(&binaries::outrigger()?, folder.path(), 1).await?;
    let pid = cluster.member_mut(0)?.process()?.pid();
    let before = peak_bytes(pid)?;
    let member = cluster.member(0)?;
    // The preface and empty settings; half a head.
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let half = [b"GET /livez HTTP/1.1\r\nHost: ", &[b'a'; 4000][..]].concat();
    let mut held = Vec::new();
    for (address, said) in [(member.client(), &preface[..]), (member.peer(), preface), (member.http(), &half)]
    {
        for _ in 0..SILENT {
            let mut stream = TcpStream::connect(address).await?;
            stream.write_all(said).await?;
            if address != member.http() {
                // Its own settings: from now on the connection has all that it costs.
                stream.read_exact(&mut [0; 9]).await?;
            }
            held.push(stream);
        }
    }
    cluster.serving().await?;
    let each = (peak_bytes(pid)? - before) / held.len() as u64;
    assert!(each < SILENT_BYTES, "a silent connection costs {} KiB", each >> 10);
    Ok(())
}
