//! One peer's stream from this side: dial, handshake, keep, notice its end, dial again.
//!
//! May import: `inbox`, `dial`, `outbox`. Deliberately absent: what the messages say. The one thing that is judged
//! here is whether a *leader's process* is gone, because only the sockets tell.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use outrigger_core::event::Event;
use outrigger_core::membership::Route;
use outrigger_core::types::Term;
use outrigger_proto::v1::peer_client::PeerClient;
use outrigger_proto::v1::{ExchangeResponse, Hello, exchange_response};
use outrigger_tls::Expected;
use tonic::{Code, Status, Streaming};

use super::backoff::Backoff;
use super::dial::{self, DialError, Dialer};
use super::outbox::Outbox;
use super::receiver::removed_text;
use super::{Local, route_of};

/// A peer that accepted the socket answers the handshake within this, or it is no peer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(3);
/// A dying process may still accept a socket that it never serves: these dials follow each other at once, so that the
/// refusal that comes next is not missed by a backoff.
const QUICK_DIALS: u32 = 8;
const QUICK_WAIT: Duration = Duration::from_millis(2);

/// Why no stream stands.
#[derive(Debug, thiserror::Error)]
enum SendError {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("{address} did not answer the handshake within {HANDSHAKE_TIMEOUT:?}")]
    Silent { address: String },
    #[error("{address} refused the handshake: {text}")]
    Refused { address: String, code: Code, text: String },
    #[error("{address} is not the member that is meant: {reason}")]
    WrongPeer { address: String, reason: &'static str },
}

/// Everything that the task of one peer needs.
#[derive(Debug)]
pub struct Sender {
    /// Whom to reach, and where.
    pub route: Route,
    /// What waits for it.
    pub outbox: Arc<Outbox>,
    /// This member.
    pub local: Local,
    /// How to reach it.
    pub dialer: Dialer,
}

/// A verified stream.
struct Session {
    at: SocketAddr,
    boot_nonce: u64,
    answers: Streaming<ExchangeResponse>,
}

/// What the end of a stream leaves behind for the dial that follows it.
#[derive(Clone, Copy, Default)]
struct Before {
    at: Option<SocketAddr>,
    boot_nonce: u64,
    /// The term in which the peer led when its stream broke; taken once its process is known to be gone.
    led: Option<Term>,
    quick_dials: u32,
}

impl Sender {
    /// Runs until it is aborted or the node is gone.
    pub async fn run(self) {
        let mut backoff = Backoff::default();
        let mut before = Before::default();
        let poke = self.local.pokes.of(self.route.id);
        loop {
            let wait = match self.establish(&before).await {
                Ok(session) => {
                    backoff.reset();
                    match self.keep(session, before).await {
                        Some(next) => before = next,
                        None => return,
                    }
                    continue;
                }
                Err(error) => {
                    if self.report(&error, &mut before).await.is_none() {
                        return;
                    }
                    if before.led.is_some() && before.quick_dials > 0 {
                        before.quick_dials -= 1;
                        QUICK_WAIT
                    } else {
                        before = Before { boot_nonce: before.boot_nonce, ..Before::default() };
                        backoff.next(rand::random::<f64>())
                    }
                }
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = poke.notified() => {}
            }
        }
    }

    /// Dials and shakes hands; the outbox is open afterwards.
    async fn establish(&self, before: &Before) -> Result<Session, SendError> {
        let address = &self.route.address;
        let expected = Expected::Member(&self.route.name);
        let (channel, at) = match before.at {
            // Straight back to where it was: its name may take seconds, and the refusal is what is asked for.
            Some(at) => (self.dialer.dial_at(address, at, expected).await?, at),
            None => self.dialer.dial(address, expected).await?,
        };
        let result = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.shake_hands(channel, at)).await;
        let result = result.unwrap_or_else(|_| Err(SendError::Silent { address: address.clone() }));
        if result.is_err() {
            self.outbox.close();
        }
        result
    }

    async fn shake_hands(
        &self,
        channel: tonic::transport::Channel,
        at: SocketAddr,
    ) -> Result<Session, SendError> {
        let refused = |status: Status| SendError::Refused {
            address: self.route.address.clone(),
            code: status.code(),
            text: status.message().to_string(),
        };
        let frames = self.outbox.open(self.local.hello(self.route.id));
        let mut answers = PeerClient::new(channel).exchange(frames).await.map_err(refused)?.into_inner();
        let first = answers.message().await.map_err(refused)?;
        let Some(ExchangeResponse { kind: Some(exchange_response::Kind::Hello(hello)) }) = first else {
            return Err(self.wrong_peer("its first answer is no hello"));
        };
        self.verify(&hello)?;
        self.dialer.met(&self.route.address, at);
        if self.local.node.notify(Event::Handshake(route_of(&hello))).await.is_err() {
            return Err(self.wrong_peer("this member stops"));
        }
        Ok(Session { at, boot_nonce: hello.boot_nonce, answers })
    }

    fn verify(&self, hello: &Hello) -> Result<(), SendError> {
        if hello.cluster_id != self.local.cluster.0 {
            return Err(self.wrong_peer("it belongs to another cluster"));
        }
        if hello.from != self.route.id.0 {
            return Err(self.wrong_peer("another member answers there"));
        }
        if hello.to != self.local.own.id.0 {
            return Err(self.wrong_peer("it answers to another member"));
        }
        Ok(())
    }

    fn wrong_peer(&self, reason: &'static str) -> SendError {
        SendError::WrongPeer { address: self.route.address.clone(), reason }
    }

    /// Waits until the stream ends. `None`: the node is gone.
    async fn keep(&self, mut session: Session, before: Before) -> Option<Before> {
        if let Some(term) = before.led
            && session.boot_nonce != before.boot_nonce
        {
            // The process that led is gone; what answers here is another one.
            self.local.node.notify(Event::LeaderGone { term }).await.ok()?;
        }
        tracing::debug!(peer = %self.route.id, at = %session.at, "stream stands");
        let reason = loop {
            match session.answers.message().await {
                // Nothing but the hello is ever answered; a newer version may.
                Ok(Some(_)) => {}
                Ok(None) => break "the peer ended the stream".to_string(),
                Err(status) => break dial::chain(&status),
            }
        };
        let status = self.local.node.status();
        let led = (status.leader == Some(self.route.id)).then_some(status.term);
        let dropped = self.outbox.close();
        self.local.metrics.send_failed(self.route.id, &reason);
        tracing::info!(peer = %self.route.id, name = %self.route.name, reason, dropped, "stream broke");
        self.local.node.notify(Event::Unreachable { peer: self.route.id }).await.ok()?;
        let boot_nonce = session.boot_nonce;
        Some(Before { at: Some(session.at), boot_nonce, led, quick_dials: QUICK_DIALS })
    }

    /// Counts a failed dial and says what it means. `None`: the node is gone.
    async fn report(&self, error: &SendError, before: &mut Before) -> Option<()> {
        let node = &self.local.node;
        match error {
            SendError::Dial(dial) if dial.is_refused() => {
                if let Some(term) = before.led.take() {
                    node.notify(Event::LeaderGone { term }).await.ok()?;
                }
            }
            SendError::Refused { code: Code::PermissionDenied, text, .. }
                if *text == removed_text(self.local.cluster, self.local.own.id) =>
            {
                tracing::warn!(peer = %self.route.id, text, "refused as a removed member");
                self.local.tombstoned.send_replace(true);
            }
            SendError::Dial(_)
            | SendError::Silent { .. }
            | SendError::Refused { .. }
            | SendError::WrongPeer { .. } => {}
        }
        tracing::debug!(peer = %self.route.id, %error, "no stream");
        self.local.metrics.send_failed(self.route.id, error);
        node.notify(Event::Unreachable { peer: self.route.id }).await.ok()
    }
}
