//! Both ends of a connection, from one set of material.
//!
//! May import: tokio-rustls. Deliberately absent: deadlines; whoever opens a connection bounds it.

use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

use crate::identity::{Identity, IdentityError};
use crate::material::{Material, provider};
use crate::verify::{OfClient, OfServer};

/// What is spoken inside.
const HTTP2: &[u8] = b"h2";
/// A name that nobody looks at: members are known by the name in the certificate.
const NO_HOST: &str = "outrigger.invalid";

/// Who must answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected<'a> {
    /// The member of this name.
    Member(&'a str),
    /// Any member of the cluster: its name is not known yet.
    AnyMember,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The handshake failed: what answers is not believed, or speaks no TLS.
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
    /// It stands, and what answers names nobody.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// What answers is somebody else.
    #[error("the certificate there is {seen}'s, and {expected} is meant")]
    WrongPeer {
        /// Whom it names.
        seen: Box<Identity>,
        /// Who was meant.
        expected: String,
    },
}

/// Accepts and connects with one set of material. Cheap to clone.
#[derive(Clone)]
pub struct Ends {
    material: Arc<Material>,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ends").field("material", &self.material).finish_non_exhaustive()
    }
}

impl Ends {
    /// Both ends.
    ///
    /// # Errors
    /// rustls's, of material without authorities.
    pub fn new(material: Arc<Material>) -> Result<Self, rustls::Error> {
        let cluster = material.identity().cluster.clone();
        let resolver = || Arc::new(SingleCertAndKey::from(material.certified()));
        let of_client = OfClient::new(cluster.clone(), material.roots(), provider())?;
        let mut accepting = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(Arc::new(of_client))
            .with_cert_resolver(resolver());
        accepting.alpn_protocols = vec![HTTP2.to_vec()];
        accepting.session_storage = Arc::new(NoServerSessionStorage {});
        accepting.send_tls13_tickets = 0;
        let of_server = OfServer { cluster, roots: material.roots(), provider: provider() };
        let mut dialling = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(of_server))
            .with_client_cert_resolver(resolver());
        dialling.alpn_protocols = vec![HTTP2.to_vec()];
        dialling.resumption = Resumption::disabled();
        dialling.enable_sni = false;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(accepting)),
            connector: TlsConnector::from(Arc::new(dialling)),
            material,
        })
    }

    /// The material.
    #[must_use]
    pub fn material(&self) -> &Material {
        &self.material
    }

    /// Dials on an open socket. May take as long as the other end likes: bound it.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn connect<S>(
        &self,
        socket: S,
        expected: Expected<'_>,
    ) -> Result<client::TlsStream<S>, ConnectError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let host = ServerName::try_from(NO_HOST)
            .map_err(|error| ConnectError::Handshake(io::Error::other(error)))?;
        let stream = self.connector.connect(host, socket).await.map_err(ConnectError::Handshake)?;
        let seen = identity_of(stream.get_ref().1.peer_certificates())?;
        let is_expected = match (seen.member_name(), expected) {
            (Some(name), Expected::Member(expected)) => name == expected,
            (Some(_), Expected::AnyMember) => true,
            (None, Expected::Member(_) | Expected::AnyMember) => false,
        };
        if is_expected {
            return Ok(stream);
        }
        let expected = match expected {
            Expected::Member(name) => format!("the member {name}"),
            Expected::AnyMember => "a member".to_owned(),
        };
        Err(ConnectError::WrongPeer { seen: Box::new(seen), expected })
    }

    /// Accepts on a socket, and says who is there. May take as long as the other end likes: bound it.
    ///
    /// # Errors
    /// The handshake's, with who was refused and why where that is known.
    pub async fn accept<S>(&self, socket: S) -> io::Result<(server::TlsStream<S>, Identity)>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let stream = self.acceptor.accept(socket).await?;
        let seen = identity_of(stream.get_ref().1.peer_certificates()).map_err(io::Error::other)?;
        Ok((stream, seen))
    }
}

fn identity_of(chain: Option<&[CertificateDer<'_>]>) -> Result<Identity, IdentityError> {
    chain.and_then(<[_]>::first).map_or(Err(IdentityError::Count(0)), Identity::of)
}
