//! Those who connect and say little, seen over a real connection.

use std::time::Duration;

use outrigger_tls::{Authority, Cluster, Ends, Expected, Identity, Leaf, Material, Pem, Source, Window};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use tonic::transport::server::Connected as _;

use super::*;
use crate::listener::tests::short;

/// Far above every limit of these tests, so that a loaded machine does not fail one.
const PATIENCE: Duration = Duration::from_secs(30);

fn certificates(directory: &std::path::Path) -> Pem {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let window = Window { now: i64::try_from(now).unwrap(), lifetime: 3600 };
    let cluster = Cluster { namespace: "shop".into(), name: "orders".into() };
    let authority = Authority::mint(&cluster, window).unwrap();
    let leaf = Leaf { identity: Identity::member(cluster, "orders-0"), dns_names: Vec::new() };
    let issued = authority.issue(&leaf, window).unwrap();
    for (file, text) in [
        ("tls.crt", &issued.certificate),
        ("tls.key", &issued.key),
        ("ca.crt", &authority.issued().certificate),
    ] {
        std::fs::write(directory.join(file), text).unwrap();
    }
    Source { directory: directory.to_owned(), name: "tls".into() }.read().unwrap()
}

#[tokio::test]
async fn slow_handshakes_end_in_time_and_hold_up_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let pem = certificates(directory.path());
    let source = Source { directory: directory.path().to_owned(), name: "tls".into() };
    let metrics = Arc::new(crate::metrics::Metrics::new());
    let (tls, _) = PeerTls::load(source, "orders-0", metrics).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    // Three places, all taken by those who say nothing, half a record, or a byte now and then.
    let limits = Limits { opening: Duration::from_secs(1), ..short() };
    let mut incoming = Box::pin(incoming(listener, limits, tls));
    let server = tokio::spawn(async move { incoming.next().await.unwrap().unwrap().connect_info() });
    let mut silent = TcpStream::connect(at).await.unwrap();
    let mut half = TcpStream::connect(at).await.unwrap();
    half.write_all(&[0x16, 3, 1, 0, 200, 1]).await.unwrap();
    let (mut drip_in, mut drip_out) = TcpStream::connect(at).await.unwrap().into_split();
    let dripping = tokio::spawn(async move {
        // A record of 255 bytes, one each 50 ms: it would take far longer than the limit.
        drip_out.write_all(&[0x16, 3, 1, 0, 255]).await.unwrap();
        while drip_out.write_all(&[1]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut rest = Vec::new();
    for slow in [&mut silent, &mut half] {
        drop(tokio::time::timeout(PATIENCE, slow.read_to_end(&mut rest)).await.expect("closed in time"));
    }
    drop(tokio::time::timeout(PATIENCE, drip_in.read_to_end(&mut rest)).await.expect("closed in time"));
    dripping.abort();
    // All three places are free again.
    let ends = Ends::new(Arc::new(Material::read(&pem).unwrap())).unwrap();
    let socket = TcpStream::connect(at).await.unwrap();
    let _stream = tokio::time::timeout(PATIENCE, ends.connect(socket, Expected::Member("orders-0"))).await;
    let caller = tokio::time::timeout(PATIENCE, server).await.expect("taken in").unwrap();
    assert!(matches!(caller, Caller::Named(identity) if identity.member_name() == Some("orders-0")));
}
