use super::*;

fn manifest() -> Manifest {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/orders.yaml");
    Manifest::load(&path, None).unwrap()
}

fn options(directory: &Path, range: &str) -> Options {
    Options {
        manifest: PathBuf::from("orders.yaml"),
        data_dir: Some(directory.join("data")),
        loopback: range.parse().unwrap(),
        dns_port: 5353,
        dns: true,
        service: None,
        sidecar: Some(PathBuf::from("/bin/sh")),
        once_within_seconds: None,
        plain: true,
    }
}

fn arguments(ground: &Ground, manifest: &Manifest) -> String {
    let launch = ground.launch(manifest, Ordinal(0));
    let text: Vec<String> =
        launch.arguments.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let text = text.join(" ").replace(&launch.volume.display().to_string(), "VOLUME");
    text.replace(&ground.layout.root().display().to_string(), "ROOT")
}

#[test]
fn a_member_is_started_with_the_agreed_flags() {
    let directory = tempfile::tempdir().unwrap();
    let (ground, _record) = prepare(&options(directory.path(), "127.0.201.0/24"), &manifest()).unwrap();
    let wanted = "run --name orders-0 --data-dir VOLUME --listen-client 127.0.201.1:2379 \
        --listen-peer 127.0.201.1:2380 --listen-http 127.0.201.1:2381 \
        --advertise-peer orders-0.orders-peers.default.svc.cluster.local:2380 \
        --advertise-client http://127.0.201.1:2379 --peers-dns orders-peers.default.svc.cluster.local \
        --dns-server 127.0.201.254:5353 --peer-tls-dir ROOT/certificates/current --peer-tls-name orders-0 --cluster-size 3 --heartbeat-interval 100ms \
        --election-timeout 1000ms --quota-bytes 536870912 --log-level info --exit-with-stdin";
    assert_eq!(arguments(&ground, &manifest()), wanted);
}

#[test]
fn another_service_changes_every_address_and_no_name() {
    let directory = tempfile::tempdir().unwrap();
    let mut options = options(directory.path(), "127.0.202.0/24");
    options.service = Some("moved".to_owned());
    let (ground, _record) = prepare(&options, &manifest()).unwrap();
    let text = arguments(&ground, &manifest());
    assert!(text.contains("--name orders-0 "), "{text}");
    assert!(text.contains("--advertise-peer orders-0.moved.default.svc.cluster.local:2380"), "{text}");
}

#[test]
fn scaling_does_not_change_how_members_are_started() {
    let directory = tempfile::tempdir().unwrap();
    let (ground, _record) = prepare(&options(directory.path(), "127.0.203.0/24"), &manifest()).unwrap();
    let scaled = manifest().scaled(Path::new("-"), 5).unwrap();
    assert_eq!(ground.launch(&scaled, Ordinal(1)), ground.launch(&manifest(), Ordinal(1)));
}

#[test]
fn a_directory_in_use_and_a_missing_sidecar_are_said_with_the_fix() {
    let directory = tempfile::tempdir().unwrap();
    let first = options(directory.path(), "127.0.204.0/24");
    let _held = prepare(&first, &manifest()).unwrap();
    let second = Options { loopback: "127.0.205.0/24".parse().unwrap(), ..first.clone() };
    let error = prepare(&second, &manifest()).unwrap_err().to_string();
    assert!(error.contains("is in use by process") && error.contains("local stop orders"), "{error}");
    let missing = Options { sidecar: Some(PathBuf::from("/nowhere/outrigger")), ..first };
    let error = prepare(&missing, &manifest()).unwrap_err().to_string();
    assert!(error.contains("/nowhere/outrigger") && error.contains("--sidecar"), "{error}");
}

#[test]
fn a_lost_record_is_begun_with_as_many_pods_as_there_are_volumes() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path(), "127.0.206.0/24");
    let root = options.data_dir.clone().unwrap();
    std::fs::create_dir_all(root.join("volumes/orders-4")).unwrap();
    std::fs::create_dir_all(root.join("volumes/other-8")).unwrap();
    let (_ground, record) = prepare(&options, &manifest()).unwrap();
    assert_eq!(record.content().pods, 5);
}

#[test]
fn a_taken_port_names_the_address_and_another_range() {
    let directory = tempfile::tempdir().unwrap();
    let (ground, _record) = prepare(&options(directory.path(), "127.0.207.0/24"), &manifest()).unwrap();
    assert!(ground.check_ports(Ordinal(0)).is_ok());
    let _taken = TcpListener::bind("127.0.207.1:2380").unwrap();
    let error = ground.check_ports(Ordinal(0)).unwrap_err().to_string();
    assert!(error.contains("127.0.207.1:2380") && error.contains("--loopback 127.0.208.0/24"), "{error}");
}

#[test]
fn a_new_cluster_without_dns_is_refused_with_what_to_do_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let without = Options { dns: false, ..options(directory.path(), "127.0.209.0/24") };
    let error = prepare(&without, &manifest()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(error.to_string().contains("once without --no-dns"), "{error}");
    assert!(!directory.path().join("data").exists());
    std::fs::create_dir_all(directory.path().join("data/volumes/orders-0")).unwrap();
    assert!(prepare(&without, &manifest()).is_ok(), "what DNS is down for: a cluster that knows itself");
}
