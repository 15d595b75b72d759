//! From an endpoint's text to a connected client.
//!
//! May import: tonic's channel. Deliberately absent: TLS (not served yet), retries.

use std::time::Duration;

use outrigger_proto::etcdserverpb::kv_client::KvClient;
use outrigger_proto::v1::admin_client::AdminClient;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::args::EndpointArgs;
use super::error::CliError;
use crate::config::parse;

/// Largest answer that is taken: a range over everything may be large.
const MAX_ANSWER_BYTES: usize = 1 << 30;

/// Whom the commands ask, checked.
#[derive(Clone, Debug)]
pub(super) struct Endpoints {
    client: String,
    admin: String,
    timeout: Duration,
}

/// A client and where it asks, for its errors.
#[derive(Debug)]
pub(super) struct Asked<C> {
    pub(super) client: C,
    endpoint: String,
}

impl<C> Asked<C> {
    /// The member's error with the endpoint's name.
    pub(super) fn refused(&self, status: &Status) -> CliError {
        CliError::refused(&self.endpoint, status)
    }
}

impl Endpoints {
    /// # Errors
    /// `Usage` for a timeout or an endpoint that is none.
    pub(super) fn new(args: &EndpointArgs) -> Result<Self, CliError> {
        let timeout = parse::duration(&args.timeout).map_err(|found| {
            CliError::Usage(format!("--timeout {:?}: {}; {}", args.timeout, found.problem, found.fix))
        })?;
        Ok(Self {
            client: address("--endpoint", &args.endpoint)?,
            admin: address("--admin-endpoint", &args.admin_endpoint)?,
            timeout,
        })
    }

    pub(super) async fn kv(&self) -> Result<Asked<KvClient<Channel>>, CliError> {
        let channel = self.connect("--endpoint", &self.client).await?;
        let client = KvClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        Ok(Asked { client, endpoint: self.client.clone() })
    }

    pub(super) async fn admin(&self) -> Result<Asked<AdminClient<Channel>>, CliError> {
        let channel = self.connect("--admin-endpoint", &self.admin).await?;
        Ok(Asked { client: AdminClient::new(channel), endpoint: self.admin.clone() })
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
