//! What a port does with those who connect and say little, seen from their side over a real connection.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::api::{ClientDoor, HttpDoor, serve_clients, serve_http, testing};
use crate::member::Standing;
use crate::metrics::Metrics;

/// Far above every limit of these tests, so that a loaded machine does not fail one.
const PATIENCE: Duration = Duration::from_secs(30);

/// Limits that a test can wait for.
pub(crate) fn short() -> Limits {
    Limits {
        connections: 3,
        opening: Duration::from_millis(200),
        keepalive_interval: Duration::from_millis(100),
        keepalive_timeout: Duration::from_millis(100),
    }
}

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

async fn client_port(limits: Limits) -> SocketAddr {
    let (listener, address) = listener().await;
    let door = ClientDoor {
        member: testing::nodeless(Standing::default()),
        identity: testing::identity(),
        metrics: Arc::new(Metrics::new()),
        max_request_bytes: 1024,
    };
    tokio::spawn(serve_clients(listener, limits, door, std::future::pending()));
    address
}

async fn http_port(limits: Limits) -> SocketAddr {
    let (listener, address) = listener().await;
    let door = HttpDoor {
        member: testing::nodeless(Standing::default()),
        identity: testing::identity(),
        metrics: Arc::new(Metrics::new()),
    };
    tokio::spawn(serve_http(listener, limits, door, std::future::pending()));
    address
}

/// What the server says until it closes the connection; that it does is the claim.
async fn said_until_closed(stream: &mut TcpStream, what: &str) -> Vec<u8> {
    let mut said = Vec::new();
    match tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await {
        // A close with bytes of ours unread is a reset.
        Ok(Ok(_) | Err(_)) => said,
        Err(_) => panic!("still open: {what}"),
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The head of empty settings.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

#[tokio::test]
async fn a_grpc_connection_that_never_begins_to_speak_or_goes_silent_is_closed() {
    let address = client_port(short()).await;
    let whole = [PREFACE, SETTINGS].concat();
    // The last speaks as it should, and then answers no ping.
    for sent in [&b""[..], &PREFACE[..10], PREFACE, &whole] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        said_until_closed(&mut stream, &format!("{} bytes of an opening", sent.len())).await;
    }
}

#[tokio::test]
async fn an_http_connection_that_sends_no_whole_head_is_closed() {
    let address = http_port(short()).await;
    for sent in [&b""[..], b"GET /liv", b"GET /livez HTTP/1.1\r\nHost: a\r\n"] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        said_until_closed(&mut stream, &format!("{:?}", String::from_utf8_lossy(sent))).await;
    }
    // Nor is one that asked once and stays.
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let said = said_until_closed(&mut stream, "after one request").await;
    assert!(said.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&said));
}

#[tokio::test]
async fn bytes_that_drip_do_not_keep_a_connection_open() {
    let (listener, address) = listener().await;
    let mut door = Box::pin(grpc(listener, short()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    let mut taken = futures::StreamExt::next(&mut door).await.unwrap().unwrap();
    let (mut byte, mut read) = ([0], 0);
    // One more each time that the last was taken: without the deadline this reads the whole opening.
    let error = loop {
        stream.write_all(&PREFACE[read..=read]).await.unwrap();
        match taken.read_exact(&mut byte).await {
            Ok(_) => read += 1,
            Err(error) => break error,
        }
        tokio::time::sleep(short().opening / 10).await;
    };
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(read < HTTP2_OPENING_BYTES, "{read}");
}

#[tokio::test]
async fn a_connection_beyond_the_limit_is_closed_and_a_place_that_is_left_is_taken_again() {
    let limits = Limits { opening: PATIENCE * 2, ..short() };
    let (listener, address) = listener().await;
    let door = Door::new(listener, limits);
    let (mut streams, mut places) = (Vec::new(), Vec::new());
    for _ in 0..limits.connections {
        streams.push(TcpStream::connect(address).await.unwrap());
        places.push(door.accept().await);
    }
    let mut beyond = TcpStream::connect(address).await.unwrap();
    tokio::select! {
        _ = door.accept() => panic!("one too many is taken in"),
        said = said_until_closed(&mut beyond, "beyond the limit") => assert!(said.is_empty()),
    }
    places.pop();
    let _next = TcpStream::connect(address).await.unwrap();
    let _place = tokio::time::timeout(PATIENCE, door.accept()).await.expect("a place is free");
}

#[test]
fn a_process_that_may_open_few_files_serves_fewer_connections() {
    for (files, expected) in [(usize::MAX, 1024), (1 << 20, 1024), (1024, 256), (300, 16), (0, 16)] {
        assert_eq!(connections(files), expected, "{files}");
    }
}
