//! Generates the services and messages from `proto/`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let protos = ["outrigger/v1/admin.proto", "outrigger/v1/peer.proto", "etcd/kv.proto", "etcd/rpc.proto"];
    let files: Vec<String> = protos.iter().map(|file| format!("proto/{file}")).collect();
    tonic_prost_build::configure().bytes(".").compile_protos(&files, &["proto".to_string()])?;
    println!("cargo:rerun-if-changed=proto");
    Ok(())
}
