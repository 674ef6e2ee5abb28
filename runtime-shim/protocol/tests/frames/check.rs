//! Hostile frames: whatever the bytes, reading them ends in an error or a message, without a panic, and what was read is written
//! as it was.

use wasm_migrate_protocol::codec::{FRAME_HEADER_BYTES, FrameError, FrameReader, FrameWriter};
use wasm_migrate_protocol::message::{
    BulkMessage, Channel, DestinationMessage, Envelope, Message, Rejoined,
};
use wasm_migrate_protocol::received::decode_sets;
use xxhash_rust::xxh3::Xxh3;

/// Pages of each memory that a set of pages may be of.
const PAGES: [u64; 2] = [1 << 16, 1 << 10];

/// Reads bytes as frames, as they are and with right checksums. The first byte chooses the channel.
pub(crate) fn check(bytes: &[u8]) {
    let Some((&choice, stream)) = bytes.split_first() else {
        return;
    };
    let channel = Channel::ALL[usize::from(choice) % Channel::ALL.len()];
    read(channel, stream);
    read(channel, &repair(stream));
}

/// All messages of a stream, up to the first error. How many there were.
pub(crate) fn read(channel: Channel, mut stream: &[u8]) -> usize {
    let mut reader = FrameReader::new(channel);
    let mut writer = FrameWriter::new(channel);
    let mut count = 0;
    while let Ok(Some(envelope)) = read_one(&mut reader, &mut stream) {
        look_into(&envelope);
        let written = writer
            .frame(&envelope)
            .expect("what was read can be written");
        let again = read_one(
            &mut FrameReader::new(channel),
            &mut renumber(written).as_slice(),
        );
        assert_eq!(again, Ok(Some(envelope)));
        count += 1;
    }
    count
}

/// The next message; none at the stream's end and for a repeated frame.
pub(crate) fn read_one(
    reader: &mut FrameReader,
    stream: &mut &[u8],
) -> Result<Option<Envelope>, FrameError> {
    let Some((fixed, rest)) = stream.split_first_chunk::<FRAME_HEADER_BYTES>() else {
        return Ok(None);
    };
    let header = reader.header(fixed)?;
    let Some((head, rest)) = rest.split_at_checked(header.head_bytes) else {
        return Ok(None);
    };
    let Some((payload, rest)) = rest.split_at_checked(header.payload_bytes) else {
        return Ok(None);
    };
    *stream = rest;
    reader.finish(&header, head, payload.to_vec())
}

/// What messages hold that is decoded later.
fn look_into(envelope: &Envelope) {
    let sets = match &envelope.message {
        Message::Bulk(BulkMessage::PageMap(sets)) => sets,
        Message::Destination(DestinationMessage::Rejoined(
            Rejoined::Prepared { missing } | Rejoined::Running { missing },
        )) => missing,
        Message::Destination(DestinationMessage::Refused(refusal)) => {
            drop(refusal.to_string());
            return;
        }
        _ => return,
    };
    // Any answer is right that is no panic.
    drop(decode_sets(sets, &PAGES));
}

/// A frame as the first on its channel.
fn renumber(mut frame: Vec<u8>) -> Vec<u8> {
    frame[16..24].fill(0);
    repair(&frame)
}

/// Puts right versions and checksums as far as lengths allow, so that a fuzzer gets behind them.
pub(crate) fn repair(stream: &[u8]) -> Vec<u8> {
    let mut bytes = stream.to_vec();
    let mut at = 0;
    while let Some(frame) = bytes
        .get_mut(at..)
        .filter(|rest| rest.len() >= FRAME_HEADER_BYTES)
    {
        let length = |at: usize| {
            let bytes = frame[at..at + 4].try_into().expect("four bytes");
            u32::from_le_bytes(bytes) as usize
        };
        let end = FRAME_HEADER_BYTES + length(0) + length(4);
        let Some(frame) = frame.get_mut(..end) else {
            break;
        };
        frame[8..10].copy_from_slice(&[1, 0]);
        let mut hash = Xxh3::new();
        hash.update(&frame[..24]);
        hash.update(&frame[FRAME_HEADER_BYTES..]);
        let sum = hash.digest().to_le_bytes();
        frame[24..FRAME_HEADER_BYTES].copy_from_slice(&sum);
        at += end;
    }
    bytes
}
