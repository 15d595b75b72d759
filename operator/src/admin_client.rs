//! Calls to members over `outrigger.v1.Admin`: one lazily opened channel an address, a deadline a call, typed failures.
//!
//! Plain HTTP/2 for now: certificates come with the operator that makes them. Nothing here decides or retries; the pass that
//! asked looks again and asks again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use outrigger_proto::v1::admin_client::AdminClient;
use outrigger_proto::v1::{
    AbandonRequest, AdmitRequest, FormRequest, FoundRequest, StatusRequest, StatusResponse, TransferRequest,
};
use tonic::transport::{Channel, Endpoint};
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

/// All members' clients.
#[derive(Debug, Default)]
pub struct AdminClients {
    deadlines: Deadlines,
    channels: Mutex<HashMap<String, Channel>>,
}

impl AdminClients {
    /// With other deadlines than the default ones.
    #[must_use]
    pub fn new(deadlines: Deadlines) -> Self {
        Self { deadlines, channels: Mutex::default() }
    }

    /// What a member says of itself.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn status(&self, address: &str) -> Result<StatusResponse, AdminError> {
        let call = Call { name: "Status", address, deadline: self.deadlines.status };
        let mut client = self.client(address)?;
        call.finish(client.status(call.request(StatusRequest {})).await)
    }

    /// Makes an empty disk the founder.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn found(&self, address: &str, request: FoundRequest) -> Result<(), AdminError> {
        let call = self.change("Found", address);
        let mut client = self.client(address)?;
        call.finish(client.found(call.request(request)).await).map(drop)
    }

    /// Has the leader propose that clients are served.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn form(&self, address: &str, request: FormRequest) -> Result<(), AdminError> {
        let call = self.change("Form", address);
        let mut client = self.client(address)?;
        call.finish(client.form(call.request(request)).await).map(drop)
    }

    /// Has a disk forget a cluster that was never formed.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn abandon(&self, address: &str, request: AbandonRequest) -> Result<(), AdminError> {
        let call = self.change("Abandon", address);
        let mut client = self.client(address)?;
        call.finish(client.abandon(call.request(request)).await).map(drop)
    }

    /// Writes the roster.
    ///
    /// # Errors
    /// See [`AdminError`]; [`AdminError::StaleConfiguration`] when the expected configuration index is stale.
    pub async fn admit(&self, address: &str, request: AdmitRequest) -> Result<(), AdminError> {
        let call = self.change("Admit", address);
        let mut client = self.client(address)?;
        call.finish(client.admit(call.request(request)).await).map(drop)
    }

    /// Moves the leadership.
    ///
    /// # Errors
    /// See [`AdminError`].
    pub async fn transfer(&self, address: &str, request: TransferRequest) -> Result<(), AdminError> {
        let call = self.change("Transfer", address);
        let mut client = self.client(address)?;
        call.finish(client.transfer(call.request(request)).await).map(drop)
    }

    /// Drops the channels to addresses that are not in use any more.
    pub fn retain(&self, keep: impl Fn(&str) -> bool) {
        self.lock().retain(|address, _| keep(address));
    }

    fn change<'a>(&self, name: &'static str, address: &'a str) -> Call<'a> {
        Call { name, address, deadline: self.deadlines.change }
    }

    fn client(&self, address: &str) -> Result<AdminClient<Channel>, AdminError> {
        let mut channels = self.lock();
        if let Some(channel) = channels.get(address) {
            return Ok(AdminClient::new(channel.clone()));
        }
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|source| AdminError::Address { address: address.to_owned(), source })?
            .connect_timeout(self.deadlines.connect)
            .tcp_nodelay(true);
        // Lazily: a member that is not up yet is the normal case, and the channel reconnects by itself.
        let channel = endpoint.connect_lazy();
        channels.insert(address.to_owned(), channel.clone());
        Ok(AdminClient::new(channel))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Channel>> {
        // A panic elsewhere leaves the map whole: it is changed by single inserts only.
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Debug)]
struct Call<'a> {
    name: &'static str,
    address: &'a str,
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
    use super::*;

    fn call() -> Call<'static> {
        Call { name: "Admit", address: "127.0.1.1:2380", deadline: Duration::from_secs(1) }
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

    #[tokio::test]
    async fn an_address_where_nobody_listens_is_unreachable_or_times_out() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = AdminClients::default().status(&address).await.unwrap_err();
        assert!(matches!(error, AdminError::Unreachable { .. }), "{error}");
    }

    #[tokio::test]
    async fn a_member_that_accepts_and_says_nothing_times_out() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let deadlines = Deadlines { status: Duration::from_millis(50), ..Deadlines::default() };
        let error = AdminClients::new(deadlines).status(&address).await.unwrap_err();
        assert!(matches!(error, AdminError::TimedOut { .. }), "{error:?}");
        drop(listener);
    }

    #[tokio::test]
    async fn a_text_that_is_no_address_is_said() {
        let error = AdminClients::default().status("not an address").await.unwrap_err();
        assert!(matches!(error, AdminError::Address { .. }), "{error}");
    }
}
