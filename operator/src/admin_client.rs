//! Calls to members over `outrigger.v1.Admin`: one lazily opened channel an address, a deadline a call, typed failures.
//!
//! Always under mutual TLS, and only to the very member that is meant. Nothing here decides or retries; the pass that asked looks
//! again and asks again.

use std::collections::HashMap;
use std::error::Error;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use outrigger_proto::v1::admin_client::AdminClient;
use outrigger_proto::v1::{
    AbandonRequest, AdmitRequest, FormRequest, FoundRequest, StatusRequest, StatusResponse, TransferRequest,
};
use outrigger_tls::{ClientStream as TlsStream, ConnectError, Ends, Expected};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Request, Status};

/// Why a call did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The address cannot be dialled at all.
    #[error("{address:?} is not an address of a member: host:port is expected")]
    Address {
        /// What was given.
        address: String,
        /// What is wrong with it.
        #[source]
        source: tonic::transport::Error,
    },
    /// Nobody answers there, or the connection broke. Retryable.
    #[error("{call} to {address}: nobody answers")]
    Unreachable {
        /// The call.
        call: &'static str,
        /// Where.
        address: String,
        /// The transport's words.
        #[source]
        source: Box<Status>,
    },
    /// Somebody answers who is not the member that is meant, or does not believe us.
    #[error("{call} to {address}: {problem}")]
    Unbelieved {
        /// The call.
        call: &'static str,
        /// Where.
        address: String,
        /// What the handshake said.
        problem: String,
    },
    /// No answer in time; whether it was done is unknown. Retryable.
    #[error("{call} to {address}: no answer within {after:?}")]
    TimedOut {
        /// The call.
        call: &'static str,
        /// Where.
        address: String,
        /// The deadline.
        after: Duration,
    },
    /// The configuration is no longer the expected one: look again and decide anew.
    #[error("{call} to {address}: the configuration changed meanwhile: {text}")]
    StaleConfiguration {
        /// The call.
        call: &'static str,
        /// Where.
        address: String,
        /// The member's words.
        text: String,
    },
    /// The member refuses, and says why and what to do instead.
    #[error("{call} to {address} was refused: {text}")]
    Refused {
        /// The call.
        call: &'static str,
        /// Where.
        address: String,
        /// The member's words.
        text: String,
    },
    /// The member failed.
    #[error("{call} to {address} failed with {code:?}: {text}")]
    Failed {
        /// The call.
        call: &'static str,
        /// Where.
        address: String,
        /// The gRPC code.
        code: Code,
        /// The member's words.
        text: String,
    },
}

/// Deadlines.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// For opening a connection.
    pub connect: Duration,
    /// For `Status`, which a member answers from memory.
    pub status: Duration,
    /// For everything that a member has to write or agree on.
    pub change: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            connect: Duration::from_millis(500),
            status: Duration::from_secs(1),
            change: Duration::from_secs(10),
        }
    }
}

/// A member to call.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Callee {
    /// Whom its certificate must name.
    pub pod: String,
    /// Where it listens: host:port.
    pub address: String,
}

/// One cluster's members' clients.
#[derive(Debug)]
pub struct AdminClients {
    deadlines: Deadlines,
    ends: Ends,
    channels: Mutex<HashMap<Callee, Channel>>,
}

impl AdminClients {
    /// Calls are made under this certificate.
    #[must_use]
    pub fn new(deadlines: Deadlines, ends: Ends) -> Self {
        Self { deadlines, ends, channels: Mutex::default() }
    }

    /// What a member says of itself.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn status(&self, at: &Callee) -> Result<StatusResponse, AdminError> {
        let Deadlines { connect, status: deadline, .. } = self.deadlines;
        let call = Call { name: "Status", address: &at.address, connect, deadline };
        let mut client = self.client(at)?;
        call.finish(client.status(call.request(StatusRequest {})).await)
    }

    /// Makes an empty disk the founder.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn found(&self, at: &Callee, request: FoundRequest) -> Result<(), AdminError> {
        let call = self.change("Found", at);
        let mut client = self.client(at)?;
        call.finish(client.found(call.request(request)).await).map(drop)
    }

    /// Has the leader propose that clients are served.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn form(&self, at: &Callee, request: FormRequest) -> Result<(), AdminError> {
        let call = self.change("Form", at);
        let mut client = self.client(at)?;
        call.finish(client.form(call.request(request)).await).map(drop)
    }

    /// Has a disk forget a cluster that was never formed.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn abandon(&self, at: &Callee, request: AbandonRequest) -> Result<(), AdminError> {
        let call = self.change("Abandon", at);
        let mut client = self.client(at)?;
        call.finish(client.abandon(call.request(request)).await).map(drop)
    }

    /// Writes the roster.
    ///
    /// # Errors
    /// See [`AdminError`]; [`AdminError::StaleConfiguration`] when the expected configuration index is stale.
    pub async fn admit(&self, at: &Callee, request: AdmitRequest) -> Result<(), AdminError> {
        let call = self.change("Admit", at);
        let mut client = self.client(at)?;
        call.finish(client.admit(call.request(request)).await).map(drop)
    }

    /// Moves the leadership.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn transfer(&self, at: &Callee, request: TransferRequest) -> Result<(), AdminError> {
        let call = self.change("Transfer", at);
        let mut client = self.client(at)?;
        call.finish(client.transfer(call.request(request)).await).map(drop)
    }

    fn change<'a>(&self, name: &'static str, at: &'a Callee) -> Call<'a> {
        let Deadlines { connect, change: deadline, .. } = self.deadlines;
        Call { name, address: &at.address, connect, deadline }
    }

    fn client(&self, at: &Callee) -> Result<AdminClient<Channel>, AdminError> {
        let mut channels = self.lock();
        if let Some(channel) = channels.get(at) {
            return Ok(AdminClient::new(channel.clone()));
        }
        let endpoint = Endpoint::from_shared(format!("http://{}", at.address))
            .map_err(|source| AdminError::Address { address: at.address.clone(), source })?
            .connect_timeout(self.deadlines.connect);
        // A pod that came back has another address: the channel to the former one is of no use.
        channels.retain(|other, _| other.pod != at.pod);
        let (ends, callee) = (self.ends.clone(), at.clone());
        let connector = tower::service_fn(move |_: Uri| connect(ends.clone(), callee.clone()));
        // Lazily: a member that is not up yet is the normal case, and the channel reconnects by itself.
        let channel = endpoint.connect_with_connector_lazy(connector);
        channels.insert(at.clone(), channel.clone());
        Ok(AdminClient::new(channel))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Callee, Channel>> {
        // A panic elsewhere leaves the map whole: it is changed by single inserts only.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(
    ends: Ends,
    at: Callee,
) -> Result<TokioIo<TlsStream<TcpStream>>, Box<dyn Error + Send + Sync>> {
    let socket = TcpStream::connect(&at.address).await?;
    socket.set_nodelay(true)?;
    Ok(TokioIo::new(ends.connect(socket, Expected::Member(&at.pod)).await?))
}

/// What looks like this, somewhere among the causes.
fn cause<E: Error + 'static>(status: &Status, is_it: impl Fn(&E) -> bool) -> Option<&E> {
    let mut cause = status.source();
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<E>().filter(|found| is_it(found)) {
            return Some(found);
        }
        cause = error.source();
    }
    None
}

#[derive(Clone, Copy, Debug)]
struct Call<'a> {
    name: &'static str,
    address: &'a str,
    connect: Duration,
    deadline: Duration,
}

impl Call<'_> {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.deadline);
        request
    }

    fn finish<T>(&self, result: Result<tonic::Response<T>, Status>) -> Result<T, AdminError> {
        result.map(tonic::Response::into_inner).map_err(|status| self.error(status))
    }

    fn error(&self, status: Status) -> AdminError {
        let (call, address) = (self.name, self.address.to_owned());
        if let Some(refused) = cause::<ConnectError>(&status, |_| true) {
            return AdminError::Unbelieved { call, address, problem: refused.to_string() };
        }
        // A process that stands still: its machine takes the connection, and nobody shakes hands.
        if cause::<io::Error>(&status, |error| error.kind() == io::ErrorKind::TimedOut).is_some() {
            return AdminError::TimedOut { call, address, after: self.connect };
        }
        let text = status.message().to_owned();
        match status.code() {
            Code::DeadlineExceeded | Code::Cancelled => {
                AdminError::TimedOut { call, address, after: self.deadline }
            }
            Code::Unavailable | Code::Unknown => {
                AdminError::Unreachable { call, address, source: Box::new(status) }
            }
            Code::Aborted => AdminError::StaleConfiguration { call, address, text },
            Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::AlreadyExists
            | Code::NotFound
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::ResourceExhausted => AdminError::Refused { call, address, text },
            code @ (Code::Ok | Code::OutOfRange | Code::Unimplemented | Code::Internal | Code::DataLoss) => {
                AdminError::Failed { call, address, code, text }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use outrigger_tls::{Cluster, Material};
    use tokio::net::TcpListener;

    use super::*;
    use crate::certificates::{Certificates, Lifetimes, Subjects, issued, operators_ends, pem, renew};

    fn call() -> Call<'static> {
        let (connect, deadline) = (Duration::from_millis(500), Duration::from_secs(1));
        Call { name: "Admit", address: "127.0.1.1:2380", connect, deadline }
    }

    #[test]
    fn codes_become_kinds_that_say_what_to_do() {
        let kind = |code| call().error(Status::new(code, "the text"));
        assert!(matches!(kind(Code::Aborted), AdminError::StaleConfiguration { .. }));
        assert!(matches!(kind(Code::FailedPrecondition), AdminError::Refused { .. }));
        assert!(matches!(kind(Code::Unavailable), AdminError::Unreachable { .. }));
        assert!(matches!(kind(Code::DeadlineExceeded), AdminError::TimedOut { .. }));
        assert!(matches!(kind(Code::Internal), AdminError::Failed { .. }));
        let text = kind(Code::FailedPrecondition).to_string();
        assert_eq!(text, "Admit to 127.0.1.1:2380 was refused: the text");
    }

    fn certificates() -> Certificates {
        let cluster = Cluster { namespace: "shop".into(), name: "orders".into() };
        let pods = ["orders-0".to_owned()];
        let subjects = Subjects { cluster: &cluster, pods: &pods, zone: "orders-peers" };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let now = i64::try_from(now).unwrap();
        renew(&Certificates::default(), subjects, now, Lifetimes::default()).unwrap()
    }

    fn clients(certificates: &Certificates, deadlines: Deadlines) -> AdminClients {
        AdminClients::new(deadlines, operators_ends(certificates).unwrap())
    }

    fn callee(pod: &str, address: &str) -> Callee {
        Callee { pod: pod.into(), address: address.into() }
    }

    #[tokio::test]
    async fn an_address_where_nobody_listens_is_unreachable_or_times_out() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let clients = clients(&certificates(), Deadlines::default());
        let error = clients.status(&callee("orders-0", &address)).await.unwrap_err();
        assert!(matches!(error, AdminError::Unreachable { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_member_that_accepts_and_says_nothing_times_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let deadlines = Deadlines { connect: Duration::from_millis(50), ..Deadlines::default() };
        let clients = clients(&certificates(), deadlines);
        let error = clients.status(&callee("orders-0", &address)).await.unwrap_err();
        assert!(matches!(error, AdminError::TimedOut { .. }), "{error:?}");
        drop(listener);
    }

    #[tokio::test]
    async fn whoever_is_not_the_member_that_is_meant_is_told_so_and_asked_nothing() {
        let certificates = certificates();
        let bundle = &certificates.members["ca.crt"];
        let own = issued(&certificates.members, "orders-0").unwrap();
        let ends = Ends::new(std::sync::Arc::new(Material::read(&pem(&own, bundle)).unwrap())).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            ends.accept(socket).await.unwrap().1.to_string()
        });
        let clients = clients(&certificates, Deadlines::default());
        let error = clients.status(&callee("orders-1", &address)).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, AdminError::Unbelieved { .. }), "{error:?}");
        assert!(
            text.contains("outrigger://shop/orders/member/orders-0's, and the member orders-1 is meant"),
            "{text}"
        );
        assert_eq!(server.await.unwrap(), "outrigger://shop/orders/operator");
    }

    #[tokio::test]
    async fn a_text_that_is_no_address_is_said() {
        let clients = clients(&certificates(), Deadlines::default());
        let error = clients.status(&callee("orders-0", "not an address")).await.unwrap_err();
        assert!(matches!(error, AdminError::Address { .. }), "{error}");
    }
}
