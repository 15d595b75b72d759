//! The few messages of the public etcd v3 protocol that a client here sends, and a lean client for them.
//!
//! The field numbers are the public protocol's (packages `etcdserverpb` and `mvccpb`). They are written out a second
//! time here, by hand, and that is the point: a wrong number in the server's own `.proto` files would agree with
//! itself, but not with this file. Deliberately absent: retries, balancing, and anything else that hides what a
//! server answered or costs a load generator CPU.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

mod messages;
pub use messages::*;

/// One HTTP/2 connection to one server, and the calls on it. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Client {
    grpc: Grpc<Channel>,
}

/// A channel to `address` that connects on first use and reconnects by itself.
///
/// # Errors
/// Never for an address of this form; the type is the transport's.
pub fn lazy_channel(address: SocketAddr) -> Result<Channel, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint
        .connect_timeout(Duration::from_secs(1))
        .tcp_nodelay(true)
        // 64 clients share a connection: the default window of 64 KiB would make them wait for one another.
        .initial_connection_window_size(4 << 20)
        .initial_stream_window_size(1 << 20)
        .connect_lazy())
}

impl Client {
    /// A client of the server at `address`; connects on first use and again after a break.
    ///
    /// # Errors
    /// Never for an address of this form; the type is the transport's.
    pub fn lazy(address: SocketAddr) -> Result<Self, tonic::transport::Error> {
        Ok(Self { grpc: Grpc::new(lazy_channel(address)?).max_decoding_message_size(256 << 20) })
    }

    /// `KV/Range`.
    ///
    /// # Errors
    /// What the server answered, or the transport's own status; so for every call here.
    pub async fn range(&mut self, request: RangeRequest, within: Duration) -> Result<RangeResponse, Status> {
        self.call("/etcdserverpb.KV/Range", request, within).await
    }

    /// `KV/Put`.
    ///
    /// # Errors
    /// As for [`Client::range`].
    pub async fn put(&mut self, request: PutRequest, within: Duration) -> Result<PutResponse, Status> {
        self.call("/etcdserverpb.KV/Put", request, within).await
    }

    /// `KV/DeleteRange`.
    ///
    /// # Errors
    /// As for [`Client::range`].
    pub async fn delete(
        &mut self,
        request: DeleteRangeRequest,
        within: Duration,
    ) -> Result<DeleteRangeResponse, Status> {
        self.call("/etcdserverpb.KV/DeleteRange", request, within).await
    }

    /// `KV/Txn`.
    ///
    /// # Errors
    /// As for [`Client::range`].
    pub async fn txn(&mut self, request: TxnRequest, within: Duration) -> Result<TxnResponse, Status> {
        self.call("/etcdserverpb.KV/Txn", request, within).await
    }

    /// `Maintenance/Status`.
    ///
    /// # Errors
    /// As for [`Client::range`].
    pub async fn status(&mut self, within: Duration) -> Result<StatusResponse, Status> {
        self.call("/etcdserverpb.Maintenance/Status", StatusRequest {}, within).await
    }

    /// The value and mod revision of one key, and the store's revision in the answer's header.
    ///
    /// # Errors
    /// As for [`Client::range`].
    pub async fn get(
        &mut self,
        key: &Bytes,
        serializable: bool,
        within: Duration,
    ) -> Result<(Option<KeyValue>, i64), Status> {
        let request = RangeRequest { key: key.clone(), serializable, ..RangeRequest::default() };
        let answer = self.range(request, within).await?;
        let revision = answer.header.map_or(0, |header| header.revision);
        Ok((answer.kvs.into_iter().next(), revision))
    }

    async fn call<Q, A>(&mut self, path: &'static str, request: Q, within: Duration) -> Result<A, Status>
    where
        Q: prost::Message + Send + 'static,
        A: prost::Message + Default + Send + 'static,
    {
        // Two deadlines: the header lets the server give up too, the timer holds when the server is frozen.
        let mut request = Request::new(request);
        request.set_timeout(within);
        let exchange = async {
            self.grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
            let codec = ProstCodec::<Q, A>::default();
            self.grpc.unary(request, PathAndQuery::from_static(path), codec).await
        };
        match tokio::time::timeout(within, exchange).await {
            Ok(answer) => answer.map(Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded(format!("no answer to {path} within {within:?}"))),
        }
    }
}

/// The `range_end` that, with `prefix` as key, covers every key that starts with it.
///
/// The prefix's last byte below 0xff is raised by one; without such a byte, `\0` means "to the end".
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Bytes {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Bytes::from(end);
        }
    }
    Bytes::from_static(&[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        let table: [(&[u8], &[u8]); 4] =
            [(b"a", b"b"), (b"a\xff", b"b"), (b"\xff\xff", b"\0"), (b"ab", b"ac")];
        for (prefix, end) in table {
            assert_eq!(prefix_end(prefix), end, "{prefix:?}");
        }
    }

    #[test]
    fn a_put_is_encoded_under_the_public_field_numbers() {
        let put = PutRequest {
            key: Bytes::from_static(b"k"),
            value: Bytes::from_static(b"v"),
            prev_kv: true,
            ..PutRequest::default()
        };
        // Field 1 and 2 of length 1 each, field 4 as a varint of 1.
        assert_eq!(prost::Message::encode_to_vec(&put), [0x0a, 1, b'k', 0x12, 1, b'v', 0x20, 1]);
    }
}
