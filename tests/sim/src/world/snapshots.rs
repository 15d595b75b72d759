//! Snapshots on their way from one member to another: files, in pieces, which may break off and be resumed.

use bytes::Bytes;
use outrigger_core::effects::SendSnapshot;
use outrigger_core::event::{Delivery, Event};
use outrigger_core::snapshot::SnapshotHeader;
use outrigger_member::admission::{self, Called, Claim};
use outrigger_member::snapshots::{SnapshotError, Snapshots, id_of};
use outrigger_storage::snapshot_store::Transfer;

use super::end::{Ending, boundary};
use super::event::{Happening, Input, Stream};
use super::process::{Life, Process};
use super::{MS, World};

/// Bytes in one piece: few, so that there are some.
const PIECE_BYTES: usize = 1 << 10;

impl World {
    /// Begins a stream; its end is reported, whatever becomes of it.
    pub(super) fn send_snapshot(&mut self, process: &mut Process, send: SendSnapshot) {
        let at = process.at;
        let Life::Member(running) = &mut process.life else { return };
        let to = send.to;
        let file = running.snapshots.store().open(id_of(&send.header));
        let file = file.and_then(|file| Ok((file.info(), file.read_range(0, file.info().len as usize)?)));
        let (info, bytes) = match file {
            Ok(file) => file,
            Err(_) => {
                self.after(
                    MS,
                    Happening::Process(at, Input::SnapshotSent { to, delivery: Delivery::NoFile }),
                );
                return;
            }
        };
        let target = running.routes.get(&to).and_then(|route| self.resolve(&route.address));
        let target = target
            .filter(|pod| self.passes(at.pod, *pod))
            .and_then(|pod| self.process(pod))
            .map(|other| other.at);
        let Life::Member(running) = &mut process.life else { return };
        let from = running.own.id;
        let breaks = self.network.chance(150);
        let breaks_at = breaks.then(|| self.network.below(bytes.len()));
        let delay = self.latency() + self.network.within(0, 100 * MS);
        match target {
            Some(target) => {
                let SendSnapshot { header, message, .. } = send;
                let stream =
                    Stream { sender: at, from, to, header, message, file: bytes, crc: info.crc, breaks_at };
                let input = Input::SnapshotArrives(Box::new(stream));
                self.after(delay, Happening::Process(target, input));
            }
            None => {
                let broken = Input::SnapshotSent { to, delivery: Delivery::Broken };
                self.after(delay, Happening::Process(at, broken));
            }
        }
    }

    /// The receiver is gone, or was before it came.
    pub(super) fn nobody_takes(&mut self, stream: &Stream) {
        self.report_sent(stream.sender, stream.to, Delivery::Broken);
    }

    pub(super) fn snapshot_arrives(&mut self, process: &mut Process, stream: Box<Stream>) -> Ending {
        let at = process.at;
        let Life::Member(running) = &mut process.life else {
            self.nobody_takes(&stream);
            return Ending::GoesOn;
        };
        let status = running.node.status();
        let called = Called {
            cluster: running.cluster,
            member: running.own.id,
            tombstones: &status.tombstones,
            removal_settled: status.removal_settled,
        };
        let claim = Claim { cluster: stream.header.cluster, from: stream.from, to: stream.to };
        let refused = admission::judge(&called, &claim).is_err();
        // Two streams into one place would tear each other's file.
        if refused || running.incoming.is_some() || !self.passes(stream.sender.pod, at.pod) {
            self.nobody_takes(&stream);
            return Ending::GoesOn;
        }
        running.incoming = Some(stream);
        let delay = self.sync_time(at.pod);
        self.after(delay, Happening::Process(at, Input::SnapshotStored));
        Ending::GoesOn
    }

    pub(super) fn snapshot_stored(&mut self, process: &mut Process) -> Ending {
        let Life::Member(running) = &mut process.life else { return Ending::GoesOn };
        let Some(stream) = running.incoming.take() else { return Ending::GoesOn };
        let received = receive(&running.snapshots, &stream);
        let delivery = if matches!(received, Ok(Some(_))) { Delivery::Delivered } else { Delivery::Broken };
        self.report_sent(stream.sender, stream.to, delivery);
        match received {
            Ok(Some(header)) => {
                self.coverage.note("snapshot streamed");
                let Stream { from, message, .. } = *stream;
                self.node_events(
                    process,
                    vec![Event::SnapshotReceived { header }, Event::Peer { from, bytes: message }],
                )
            }
            Err(_) if process.disk.is_burnt() => Ending::Crash(boundary::RECEIPT),
            Ok(None) | Err(_) => {
                self.coverage.note("snapshot stream broken");
                Ending::GoesOn
            }
        }
    }

    fn report_sent(
        &mut self,
        sender: super::event::At,
        to: outrigger_core::types::MemberId,
        delivery: Delivery,
    ) {
        let delay = self.latency();
        self.after(delay, Happening::Process(sender, Input::SnapshotSent { to, delivery }));
    }
}

/// Takes in what arrives of a stream, from where an earlier one broke off. `None`: it broke off again.
pub(super) fn receive(
    snapshots: &Snapshots,
    stream: &Stream,
) -> Result<Option<SnapshotHeader>, SnapshotError> {
    let id = id_of(&stream.header);
    let transfer = Transfer { id, crc: stream.crc, len: stream.file.len() as u64 };
    let mut incoming = snapshots.store().incoming(transfer)?;
    let end = stream.breaks_at.unwrap_or(stream.file.len());
    let begin = incoming.offset() as usize;
    for start in (begin..end).step_by(PIECE_BYTES) {
        let piece: Bytes = stream.file.slice(start..(start + PIECE_BYTES).min(end));
        incoming.write_at(start as u64, &piece, crc32c::crc32c(&piece))?;
    }
    if stream.breaks_at.is_some() {
        return Ok(None);
    }
    incoming.finish()?;
    Ok(Some(snapshots.header(id)?))
}
