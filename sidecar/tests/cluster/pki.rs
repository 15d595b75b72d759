//! A cluster's certificates in one directory, as the operator lays them out: `ca.crt`, and two files a member.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use outrigger_sidecar::transport::dial::{self, DialError};
use outrigger_tls::{Authority, Cluster, Ends, Expected, Identity, Leaf, Material, Source, Window};
use tonic::transport::Channel;

/// The operator's files.
pub const OPERATOR: &str = "operator";

pub fn orders() -> Cluster {
    Cluster { namespace: "shop".into(), name: "orders".into() }
}

fn fresh() -> Window {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Window { now: i64::try_from(now).unwrap(), lifetime: 86_400 }
}

/// One directory of certificates.
pub struct Pki {
    directory: PathBuf,
    pods: Vec<String>,
    authority: Authority,
}

impl Pki {
    /// A new authority, and files for these pods and the operator.
    pub fn new(directory: PathBuf, pods: impl Iterator<Item = String>) -> Self {
        std::fs::create_dir_all(&directory).unwrap();
        let pki =
            Self { directory, pods: pods.collect(), authority: Authority::mint(&orders(), fresh()).unwrap() };
        pki.believe(&[&pki.authority]);
        pki.sign(&pki.authority);
        pki
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn mint() -> Authority {
        Authority::mint(&orders(), fresh()).unwrap()
    }

    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Writes `ca.crt`.
    pub fn believe(&self, authorities: &[&Authority]) {
        let text: String = authorities.iter().map(|one| one.issued().certificate.as_str()).collect();
        self.write("ca.crt", &text);
    }

    /// Writes everybody's certificate anew.
    pub fn sign(&self, authority: &Authority) {
        for pod in &self.pods {
            self.issue(authority, Identity::member(orders(), pod), pod);
        }
        self.issue(authority, Identity::operator(orders()), OPERATOR);
    }

    /// Writes one certificate under a name of files.
    pub fn issue(&self, authority: &Authority, identity: Identity, name: &str) {
        let dns_names = vec![format!("{name}.peers.test")];
        let issued = authority.issue(&Leaf { identity, dns_names }, fresh()).unwrap();
        self.write(&format!("{name}.key"), &issued.key);
        self.write(&format!("{name}.crt"), &issued.certificate);
    }

    /// Writes a file whole or not at all.
    pub fn write(&self, file: &str, text: &str) {
        let aside = self.directory.join(format!("{file}.new"));
        std::fs::write(&aside, text).unwrap();
        std::fs::rename(&aside, self.directory.join(file)).unwrap();
    }

    /// Both ends with the files of this name.
    pub fn ends(&self, name: &str) -> Ends {
        let source = Source { directory: self.directory.clone(), name: name.into() };
        Ends::new(std::sync::Arc::new(Material::read(&source.read().unwrap()).unwrap())).unwrap()
    }

    /// Dials a member.
    pub async fn dial(&self, at: SocketAddr, ends: &Ends) -> Result<Channel, DialError> {
        dial::connect(&at.to_string(), at, Some((ends, Expected::AnyMember))).await
    }
}
