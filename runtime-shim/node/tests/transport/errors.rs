//! Frames that are wrong, on links that are not.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use wasm_migrate_node::{Arrived, Link, LinkError, Listener};
use wasm_migrate_protocol::codec::{FrameError, FrameWriter};
use wasm_migrate_protocol::message::Channel;

use crate::setup::{EPOCH, MIGRATION, pages};

/// A link whose other end is three bare sockets.
async fn bare() -> (Link, [TcpStream; 3]) {
    let listener = Listener::insecure_loopback(0).await.unwrap();
    let mut sockets = Vec::new();
    for channel in 0..3 {
        let mut socket = TcpStream::connect(listener.local_address()).await.unwrap();
        let mut prelude = [9; 18];
        prelude[..2].copy_from_slice(&[b'L', channel]);
        socket.write_all(&prelude).await.unwrap();
        sockets.push(socket);
    }
    let Arrived::Link(link) = listener.accept().await.unwrap() else {
        panic!("a link was expected");
    };
    for socket in &mut sockets {
        socket.read_u8().await.unwrap();
    }
    (link, sockets.try_into().unwrap())
}

fn frame(writer: &mut FrameWriter, payload: &[u8]) -> Vec<u8> {
    let mut bytes = writer
        .before_payload(MIGRATION, EPOCH, &pages(), payload)
        .unwrap();
    bytes.extend_from_slice(payload);
    bytes
}

#[tokio::test]
async fn lying_lengths_are_errors() {
    for lie in [u32::MAX, (8 << 20) + 1] {
        let (link, [mut bulk, ..]) = bare().await;
        let (_sender, mut receivers) = link.split();
        let mut writer = FrameWriter::new(Channel::Bulk);
        bulk.write_all(&frame(&mut writer, b"good")).await.unwrap();
        let mut bad = frame(&mut writer, b"bad");
        bad[4..8].copy_from_slice(&lie.to_le_bytes());
        bulk.write_all(&bad).await.unwrap();
        assert_eq!(
            receivers.bulk.next().await.unwrap().unwrap().payload,
            b"good"
        );
        for _ in 0..2 {
            let error = receivers.bulk.next().await.unwrap_err();
            assert!(
                matches!(error, LinkError::Frame(FrameError::TooLong { .. })),
                "{error}"
            );
        }
    }
    // Shorter than what follows: the checksum is of other bytes.
    let (link, [mut bulk, ..]) = bare().await;
    let (_sender, mut receivers) = link.split();
    let mut bad = frame(&mut FrameWriter::new(Channel::Bulk), b"bad");
    bad[4..8].copy_from_slice(&1_u32.to_le_bytes());
    bulk.write_all(&bad).await.unwrap();
    let error = receivers.bulk.next().await.unwrap_err();
    assert_eq!(error, LinkError::Frame(FrameError::Damaged(Channel::Bulk)));
}

#[tokio::test]
async fn repeated_frames_are_skipped_and_cut_ones_are_errors() {
    let (link, [mut bulk, ..]) = bare().await;
    let (_sender, mut receivers) = link.split();
    let mut writer = FrameWriter::new(Channel::Bulk);
    let first = frame(&mut writer, b"first");
    let second = frame(&mut writer, b"second");
    for bytes in [&first, &first, &second, &first] {
        bulk.write_all(bytes).await.unwrap();
    }
    let third = frame(&mut writer, b"third");
    bulk.write_all(&third[..third.len() - 1]).await.unwrap();
    bulk.shutdown().await.unwrap();
    for payload in [&b"first"[..], b"second"] {
        assert_eq!(
            receivers.bulk.next().await.unwrap().unwrap().payload,
            payload
        );
    }
    let error = receivers.bulk.next().await.unwrap_err();
    assert!(
        matches!(&error, LinkError::Lost(why) if why.contains("middle of a frame")),
        "{error}"
    );
}

#[tokio::test]
async fn frames_of_other_channels_are_errors() {
    let (link, [_, mut control, _]) = bare().await;
    let (_sender, mut receivers) = link.split();
    let bulk = frame(&mut FrameWriter::new(Channel::Bulk), b"x");
    control.write_all(&bulk).await.unwrap();
    let error = receivers.control.next().await.unwrap_err();
    assert!(
        matches!(error, LinkError::Frame(FrameError::Channel { .. })),
        "{error}"
    );
}
