//! From an endpoint's text to a connected client.
//!
//! May import: tonic's channel, `transport::dial`. Deliberately absent: TLS for clients (not served yet), retries.

use std::time::Duration;

use outrigger_proto::etcdserverpb::kv_client::KvClient;
use outrigger_proto::v1::admin_client::AdminClient;
use outrigger_tls::{Expected, Source};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::args::EndpointArgs;
use super::error::CliError;
use crate::config::parse;
use crate::tls::{PeerTls, TlsError};
use crate::transport::dial;

/// Largest answer that is taken: a range over everything may be large.
const MAX_ANSWER_BYTES: usize = 1 << 30;

/// Whom the commands ask, checked.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    /// `None` where the other flag names a port that says nothing of this one.
    client: Option<String>,
    admin: Option<String>,
    /// What is shown on the admin port, if it has certificates.
    tls: Option<Source>,
    timeout: Duration,
}

const CLIENT_PORT: u16 = 2379;
const ADMIN_PORT: u16 = 2380;

/// A client and where it asks, for its errors.
#[derive(Debug)]
pub(super) struct Asked<C> {
    pub(super) client: C,
    endpoint: String,
}

impl<C> Asked<C> {
    /// The member's error with the endpoint's name.
    pub(super) fn refused(&self, status: &Status) -> CliError {
        CliError::refused(&self.endpoint, status, true)
    }

    /// The same of a call that changes nothing.
    pub(super) fn refused_read(&self, status: &Status) -> CliError {
        CliError::refused(&self.endpoint, status, false)
    }
}

impl Endpoints {
    /// # Errors
    /// `Usage` for a timeout or an endpoint that is none.
    pub(super) fn new(args: &EndpointArgs) -> Result<Self, CliError> {
        let timeout = parse::duration(&args.timeout).map_err(|found| {
            CliError::Usage(format!("--timeout {:?}: {}; {}", args.timeout, found.problem, found.fix))
        })?;
        let given = |flag, text: &Option<String>| text.as_deref().map(|text| address(flag, text)).transpose();
        let client = given("--endpoint", &args.endpoint)?;
        let admin = given("--admin-endpoint", &args.admin_endpoint)?;
        Ok(Self {
            client: client.clone().map_or_else(|| beside(admin.as_ref(), ADMIN_PORT, CLIENT_PORT), Some),
            admin: admin.map_or_else(|| beside(client.as_ref(), CLIENT_PORT, ADMIN_PORT), Some),
            tls: args.tls_dir.clone().map(|directory| Source { directory, name: args.tls_name.clone() }),
            timeout,
        })
    }

    pub(super) async fn kv(&self) -> Result<Asked<KvClient<Channel>>, CliError> {
        let address = named(self.client.as_ref(), "the client port", "--endpoint", "--admin-endpoint")?;
        let channel = self.connect("--endpoint", address).await?;
        let client = KvClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        Ok(Asked { client, endpoint: address.clone() })
    }

    pub(super) async fn admin(&self) -> Result<Asked<AdminClient<Channel>>, CliError> {
        let address = named(self.admin.as_ref(), "the admin port", "--admin-endpoint", "--endpoint")?;
        let channel = match &self.tls {
            None => self.connect("--admin-endpoint", address).await?,
            Some(source) => self.connect_named(address, source).await?,
        };
        Ok(Asked { client: AdminClient::new(channel), endpoint: address.clone() })
    }

    /// With a certificate, to any member of its cluster.
    async fn connect_named(&self, address: &str, source: &Source) -> Result<Channel, CliError> {
        let directory = source.directory.clone();
        let unusable = |error: TlsError| CliError::Certificates { directory, source: Box::new(error) };
        let ends = PeerTls::ends_of(source).map_err(unusable)?;
        let refused = |problem: String| CliError::Unbelieved { endpoint: address.to_owned(), problem };
        let dialled = tokio::time::timeout(self.timeout, async {
            let mut last = "its name leads nowhere".to_owned();
            let resolved = tokio::net::lookup_host(address).await.map_err(|error| error.to_string())?;
            for at in resolved {
                match dial::connect(address, at, Some((&ends, Expected::AnyMember))).await {
                    Ok(channel) => return Ok(channel),
                    Err(error) => last = dial::chain(&error),
                }
            }
            Err(last)
        });
        dialled.await.unwrap_or_else(|_| Err("it did not answer in time".to_owned())).map_err(refused)
    }

    async fn connect(&self, flag: &'static str, address: &str) -> Result<Channel, CliError> {
        let unreachable = |source| CliError::Unreachable { endpoint: address.to_owned(), flag, source };
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(unreachable)?;
        endpoint
            .connect_timeout(self.timeout)
            .timeout(self.timeout)
            .tcp_nodelay(true)
            .connect()
            .await
            .map_err(unreachable)
    }
}

/// Where the port that was not named is: on the host of the one that was, if that is where it usually is; on this machine
/// if none was named. `known` is the usual port of the one that was named, `wanted` of the other. Whoever named the other
/// port itself is taken at his word.
fn beside(named: Option<&String>, known: u16, wanted: u16) -> Option<String> {
    let Some(named) = named else { return Some(format!("127.0.0.1:{wanted}")) };
    let (host, port) = named.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    (port == known || port == wanted).then(|| format!("{host}:{wanted}"))
}

/// # Errors
/// `Usage`, when only the other port is known: asking another member than the one that was named would be worse.
fn named<'a>(
    address: Option<&'a String>,
    what: &str,
    flag: &str,
    other: &str,
) -> Result<&'a String, CliError> {
    address.ok_or_else(|| {
        CliError::Usage(format!(
            "this command asks {what}, which {other} does not tell here, since its port is no usual one: name it with {flag} \
             HOST:PORT"
        ))
    })
}

/// `HOST:PORT`, with or without `http://`.
fn address(flag: &str, given: &str) -> Result<String, CliError> {
    const FIX: &str = "write HOST:PORT, as 127.0.0.1:2379";
    let usage = |problem: &str| CliError::Usage(format!("{flag} {given:?}: {problem}; {FIX}"));
    if given.starts_with("https://") {
        return Err(usage("TLS is not served yet"));
    }
    let rest = given.strip_prefix("http://").unwrap_or(given).trim_end_matches('/');
    let (host, port) = parse::host_port(rest, FIX).map_err(|found| usage(&found.problem))?;
    let port = port.ok_or_else(|| usage("it has no port"))?;
    Ok(format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_that_is_not_named_is_beside_the_one_that_is_or_must_be_named() {
        let table = [
            // --endpoint, --admin-endpoint, and where keys and members are then asked.
            (None, None, Some("127.0.0.1:2379"), Some("127.0.0.1:2380")),
            (Some("10.0.0.7:2379"), None, Some("10.0.0.7:2379"), Some("10.0.0.7:2380")),
            (Some("10.0.0.7:2380"), None, Some("10.0.0.7:2380"), Some("10.0.0.7:2380")),
            (Some("10.0.0.7:9000"), None, Some("10.0.0.7:9000"), None),
            (None, Some("[::1]:2380"), Some("[::1]:2379"), Some("[::1]:2380")),
            (None, Some("10.0.0.7:9001"), None, Some("10.0.0.7:9001")),
            (Some("a:1"), Some("b:2"), Some("a:1"), Some("b:2")),
        ];
        for (endpoint, admin_endpoint, client, admin) in table {
            let args = EndpointArgs {
                endpoint: endpoint.map(Into::into),
                admin_endpoint: admin_endpoint.map(Into::into),
                tls_dir: None,
                tls_name: "tls".into(),
                timeout: "1s".into(),
            };
            let endpoints = Endpoints::new(&args).unwrap();
            let found = (endpoints.client.as_deref(), endpoints.admin.as_deref());
            assert_eq!(found, (client, admin), "{endpoint:?} {admin_endpoint:?}");
        }
        let error = named(None, "the admin port", "--admin-endpoint", "--endpoint").unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("with --admin-endpoint"), "{error}");
    }

    #[test]
    fn an_endpoint_is_a_host_and_a_port_with_or_without_a_scheme() {
        for (given, address_is) in [
            ("127.0.0.1:2379", Some("127.0.0.1:2379")),
            ("http://orders-0.peers:2379/", Some("orders-0.peers:2379")),
            ("[::1]:2379", Some("[::1]:2379")),
            ("https://orders-0:2379", None),
            ("orders-0", None),
            ("orders-0:0", None),
            ("0.0.0.0:2379", None),
            ("", None),
        ] {
            assert_eq!(address("--endpoint", given).ok().as_deref(), address_is, "{given}");
        }
    }
}
