//! Those who do not speak the protocol, or knock too often.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use wasm_migrate_node::{Arrived, Dialler, TransportError, Via};

use crate::setup::{World, listen, listing, meet, policy};

fn garbage(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    (0..length)
        .map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 56) as u8
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_disturbs_nobody() {
    let world = World::new();
    let listener = listen(&world.identity("b"), listing("a")).await;
    let address = listener.local_address();
    let mut silent = Vec::new();
    for seed in 0..20 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&garbage(seed, 3000)).await.unwrap();
        let mut answer = Vec::new();
        let ended = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        assert!(ended.is_ok(), "it is hung up on");
        silent.push(TcpStream::connect(address).await.unwrap());
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for length in [1, 20, 1200, 1400] {
            let mut packet = garbage(seed, length);
            udp.send_to(&packet, address).await.unwrap();
            // As the first packet of a connection begins.
            packet[0] = 0xc3;
            if let Some(version) = packet.get_mut(1..5) {
                version.copy_from_slice(&[0, 0, 0, 1]);
            }
            udp.send_to(&packet, address).await.unwrap();
        }
    }
    for via in [Via::Quic, Via::Tcp] {
        let dialler = Dialler::new(&world.identity("a"), Arc::default(), via).unwrap();
        let (link, _other) = meet(&listener, &dialler).await;
        assert_eq!(link.via(), via);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_does_not_connect_too_often() {
    let world = World::new();
    let limited = policy(
        "[[peer]]\nname = \"a\"\n[rate]\nconnections_per_second = 1\nburst = 6\nhandshakes = 8",
    );
    for via in [Via::Quic, Via::Tcp] {
        let listener = Arc::new(listen(&world.identity("b"), Arc::clone(&limited)).await);
        let address = listener.local_address().to_string();
        let taking = Arc::clone(&listener);
        let taken = tokio::spawn(async move {
            let mut taken = Vec::new();
            while let Ok(arrived) = taking.accept().await {
                assert!(matches!(arrived, Arrived::Command(_)));
                taken.push(arrived);
            }
        });
        let dialler = Dialler::new(&world.identity("a"), Arc::default(), via).unwrap();
        let mut good = 0;
        let mut refusals = Vec::new();
        for _ in 0..40 {
            match dialler.command(&address, None).await {
                Ok(_) => good += 1,
                Err(error) => refusals.push(error),
            }
        }
        // By QUIC, as many again once the address is proven.
        assert!((6..=15).contains(&good), "{via}: {good}");
        for error in refusals {
            assert!(matches!(error, TransportError::Ended { .. }), "{error}");
            assert!(error.to_string().contains("limit connections"), "{error}");
        }
        tokio::time::sleep(Duration::from_millis(1100)).await;
        assert!(dialler.command(&address, None).await.is_ok());
        taken.abort();
    }
}

/// Two of three connections: the link never comes, others do.
#[tokio::test(flavor = "multi_thread")]
async fn incomplete_links_hold_up_nobody() {
    let listener = wasm_migrate_node::Listener::insecure_loopback(0)
        .await
        .unwrap();
    let address = listener.local_address();
    let mut kept = Vec::new();
    for channel in [0, 2] {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut prelude = [7; 18];
        prelude[..2].copy_from_slice(&[b'L', channel]);
        stream.write_all(&prelude).await.unwrap();
        kept.push(stream);
    }
    let (_one, _other) = meet(&listener, &Dialler::insecure_loopback()).await;
    // They are dropped after 10 s.
    let mut byte = [0];
    for stream in &mut kept {
        let read = timeout(Duration::from_secs(13), stream.read(&mut byte)).await;
        assert_eq!(read.unwrap().unwrap(), 0);
    }
}
