//! Both ends over real sockets: who comes in, and who does not.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use outrigger_tls::{
    Authority, Cluster, ConnectError, Ends, Expected, Identity, Leaf, Material, MaterialError, Pem, Validity,
    Window,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const DAY: i64 = 86_400;

fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

fn orders() -> Cluster {
    Cluster { namespace: "shop".into(), name: "orders".into() }
}

fn authority(cluster: &Cluster) -> Authority {
    Authority::mint(cluster, Window { now: now(), lifetime: 3650 * DAY }).unwrap()
}

fn pem(authority: &Authority, identity: Identity, window: Window, believed: &[&Authority]) -> Pem {
    let leaf = Leaf { identity, dns_names: vec!["orders-0.orders-peers.shop.svc".into()] };
    let issued = authority.issue(&leaf, window).unwrap();
    let authorities: String = believed.iter().map(|ca| ca.issued().certificate.as_str()).collect();
    Pem { certificate: issued.certificate.into(), key: issued.key.into(), authorities: authorities.into() }
}

fn fresh() -> Window {
    Window { now: now(), lifetime: 90 * DAY }
}

fn ends(pem: &Pem) -> Ends {
    Ends::new(Arc::new(Material::read(pem).unwrap())).unwrap()
}

fn member(authority: &Authority, pod: &str) -> Ends {
    ends(&pem(authority, Identity::member(orders(), pod), fresh(), &[authority]))
}

/// One connection: what the accepting end saw, and what the dialling one got.
async fn meet(
    accepting: &Ends,
    dialling: &Ends,
    expected: Expected<'_>,
) -> (Result<Identity, String>, Result<(), ConnectError>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let accept = async {
        let (socket, _) = listener.accept().await.unwrap();
        let (mut stream, seen) = accepting.accept(socket).await.map_err(|error| error.to_string())?;
        // Whoever was refused sees it when it reads.
        stream.write_all(b"x").await.map_err(|error| error.to_string())?;
        stream.shutdown().await.map_err(|error| error.to_string())?;
        Ok(seen)
    };
    let dial = async {
        let socket = TcpStream::connect(at).await.unwrap();
        let mut stream = dialling.connect(socket, expected).await?;
        let mut read = [0];
        stream.read_exact(&mut read).await.map_err(ConnectError::Handshake).map(drop)
    };
    tokio::join!(accept, dial)
}

#[tokio::test]
async fn members_of_one_cluster_know_each_other_by_name() {
    let authority = authority(&orders());
    let (zero, one) = (member(&authority, "orders-0"), member(&authority, "orders-1"));
    for expected in [Expected::Member("orders-0"), Expected::AnyMember] {
        let (seen, dialled) = meet(&zero, &one, expected).await;
        assert_eq!(seen, Ok(Identity::member(orders(), "orders-1")));
        assert!(dialled.is_ok(), "{dialled:?}");
    }
    let (_, dialled) = meet(&zero, &one, Expected::Member("orders-2")).await;
    assert!(
        matches!(&dialled, Err(ConnectError::WrongPeer { seen, .. })
        if **seen == Identity::member(orders(), "orders-0")),
        "{dialled:?}"
    );
    let operator = ends(&pem(&authority, Identity::operator(orders()), fresh(), &[&authority]));
    let (seen, dialled) = meet(&zero, &operator, Expected::Member("orders-0")).await;
    assert_eq!(seen, Ok(Identity::operator(orders())));
    assert!(dialled.is_ok());
    let (_, dialled) = meet(&operator, &zero, Expected::AnyMember).await;
    assert!(matches!(dialled, Err(ConnectError::WrongPeer { .. })), "the operator is no member: {dialled:?}");
}

#[tokio::test]
async fn strangers_are_refused_on_both_ends() {
    let ours = authority(&orders());
    let zero = member(&ours, "orders-0");
    let theirs = authority(&orders());
    let other = Cluster { namespace: "shop".into(), name: "carts".into() };
    let strangers = [
        (
            "another authority",
            ends(&pem(&theirs, Identity::member(orders(), "orders-1"), fresh(), &[&ours, &theirs])),
        ),
        ("another cluster", ends(&pem(&ours, Identity::member(other, "orders-1"), fresh(), &[&ours]))),
        (
            "a time that is over",
            ends(&pem(
                &ours,
                Identity::member(orders(), "orders-1"),
                Window { now: now() - 2 * DAY, lifetime: DAY },
                &[&ours],
            )),
        ),
        (
            "a time that has not come",
            ends(&pem(
                &ours,
                Identity::member(orders(), "orders-1"),
                Window { now: now() + DAY, lifetime: DAY },
                &[&ours],
            )),
        ),
    ];
    for (what, stranger) in &strangers {
        let (seen, dialled) = meet(&zero, stranger, Expected::AnyMember).await;
        assert!(seen.is_err() && dialled.is_err(), "{what} came in: {seen:?} {dialled:?}");
        let (_, dialled) = meet(stranger, &zero, Expected::AnyMember).await;
        assert!(matches!(dialled, Err(ConnectError::Handshake(_))), "{what} was believed: {dialled:?}");
    }
}

#[tokio::test]
async fn an_authority_is_replaced_while_both_are_believed() {
    let (old, new) = (authority(&orders()), authority(&orders()));
    let name = |pod| Identity::member(orders(), pod);
    // Before, then the new one is believed too, then it signs, then the old one is dropped.
    let stages = |pod| {
        [
            ends(&pem(&old, name(pod), fresh(), &[&old])),
            ends(&pem(&old, name(pod), fresh(), &[&old, &new])),
            ends(&pem(&new, name(pod), fresh(), &[&new, &old])),
            ends(&pem(&new, name(pod), fresh(), &[&new])),
        ]
    };
    let (zero, one) = (stages("orders-0"), stages("orders-1"));
    for (here, zero) in zero.iter().enumerate() {
        for (there, one) in one.iter().enumerate() {
            let (seen, dialled) = meet(zero, one, Expected::AnyMember).await;
            let both = seen.is_ok() && dialled.is_ok();
            // Members that are one stage apart speak; the first and the last are strangers.
            if here.abs_diff(there) <= 1 {
                assert!(both, "stages {here} and {there}: {seen:?} {dialled:?}");
            } else if here.abs_diff(there) == 3 {
                assert!(!both, "stages {here} and {there}");
            }
        }
    }
}

#[test]
fn broken_material_is_named() {
    let (ours, theirs) = (authority(&orders()), authority(&orders()));
    let name = || Identity::member(orders(), "orders-0");
    let good = pem(&ours, name(), fresh(), &[&ours]);
    assert_eq!(Material::read(&good).unwrap().identity(), &name());
    let broken = [
        (Pem { certificate: Vec::new(), ..good.clone() }, "the certificate cannot be read"),
        (Pem { key: b"garbage".to_vec(), ..good.clone() }, "the key cannot be read"),
        (Pem { authorities: b"\n".to_vec(), ..good.clone() }, "the authorities' file cannot be read"),
        (
            Pem { key: pem(&ours, name(), fresh(), &[&ours]).key, ..good.clone() },
            "the key and the certificate do not fit together",
        ),
        (
            Pem {
                certificate: ours.issued().certificate.clone().into(),
                key: ours.issued().key.clone().into(),
                ..good.clone()
            },
            "the certificate has 0 names",
        ),
    ];
    for (pem, text) in broken {
        let error = Material::read(&pem).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
    let (mut cut, mut readings) = (good.clone(), 0);
    while cut.certificate.pop().is_some() {
        // Whatever is left, it is refused or it is the same certificate.
        if let Ok(material) = Material::read(&cut) {
            assert_eq!(material.identity(), &name());
        }
        readings += 1;
    }
    assert!(readings > 100);
    let untrusted = Material::read(&pem(&ours, name(), fresh(), &[&theirs])).unwrap();
    assert!(matches!(untrusted.check(now()), Err(MaterialError::Untrusted(_))));
    let material = Material::read(&good).unwrap();
    for (when, is_good) in [(now(), true), (now() - DAY, false), (now() + 91 * DAY, false)] {
        assert_eq!(material.check(when).is_ok(), is_good, "{when}");
    }
}

#[test]
fn times_are_read_as_they_were_written() {
    let authority = authority(&orders());
    // On both sides of 2050, where the form changes.
    for from in [1_000, 1_800_000_000, 2_524_600_000, 4_000_000_000] {
        let window = Window { now: from, lifetime: 90 * DAY };
        let pem = pem(&authority, Identity::operator(orders()), window, &[&authority]);
        let certificate = CertificateDer::from_pem_slice(&pem.certificate).unwrap();
        let validity = Validity::of(&certificate).unwrap();
        assert_eq!((validity.from, validity.until), (from - 300, from + 90 * DAY));
        assert_eq!(validity.two_thirds(), from - 300 + (90 * DAY + 300) / 3 * 2);
    }
}
