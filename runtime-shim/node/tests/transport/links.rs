//! Frames on all channels, by both transports.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use wasm_migrate_node::{Arrived, Dialler, LinkError, Listener, Via, Vouched};
use wasm_migrate_protocol::codec::FrameError;

use crate::setup::{
    EPOCH, MIGRATION, World, answer, demand, linked, listen, listing, meet, name, pages, ping, pong,
};

const BOTH: [Via; 2] = [Via::Quic, Via::Tcp];

#[tokio::test(flavor = "multi_thread")]
async fn frames_go_both_ways_on_all_channels() {
    for via in BOTH {
        let (dialled, arrived) = linked(via).await;
        assert_eq!((dialled.via(), arrived.via()), (via, via));
        assert_eq!(
            (dialled.peer().name.as_str(), arrived.peer().name.as_str()),
            ("b", "a")
        );
        assert_eq!(dialled.peer().vouched, Vouched::ByAuthority);
        let (to_b, mut from_b) = dialled.split();
        let (to_a, mut from_a) = arrived.split();
        for (sender, receivers) in [(&to_b, &mut from_a), (&to_a, &mut from_b)] {
            for round in 0..3 {
                let payload = vec![7; 1000 * round];
                sender
                    .send(MIGRATION, EPOCH, &pages(), &payload)
                    .await
                    .unwrap();
                sender.send(MIGRATION, EPOCH, &ping(9), &[]).await.unwrap();
                sender
                    .send(MIGRATION, EPOCH, &answer(), &payload)
                    .await
                    .unwrap();
                let bulk = receivers.bulk.next().await.unwrap().unwrap();
                assert_eq!((bulk.message, &bulk.payload), (pages(), &payload));
                assert_eq!((bulk.migration, bulk.epoch), (MIGRATION, EPOCH));
                let control = receivers.control.next().await.unwrap().unwrap();
                assert_eq!(control.message, ping(9));
                let demand = receivers.demand.next().await.unwrap().unwrap();
                assert_eq!((demand.message, demand.payload), (answer(), payload));
            }
        }
        assert_eq!(to_b.round_trip().is_some(), via == Via::Quic);
        let wrong = to_b.send(MIGRATION, EPOCH, &pong(0), b"payload").await;
        assert!(
            matches!(wrong, Err(LinkError::Frame(FrameError::Malformed(..)))),
            "{wrong:?}"
        );
        to_b.send(MIGRATION, EPOCH, &pong(0), &[]).await.unwrap();
        assert!(from_a.control.next().await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn large_payloads() {
    for via in BOTH {
        let (dialled, arrived) = linked(via).await;
        let (sender, _from_b) = dialled.split();
        let (_to_a, mut receivers) = arrived.split();
        let payload: Vec<u8> = (0..8 << 20).map(|at: u32| (at % 251) as u8).collect();
        let message = pages();
        let sent = sender.send(MIGRATION, EPOCH, &message, &payload);
        let (sent, received) = tokio::join!(sent, receivers.bulk.next());
        sent.unwrap();
        assert!(received.unwrap().unwrap().payload == payload);
        let longer = vec![0; (8 << 20) + 1];
        let sent = sender.send(MIGRATION, EPOCH, &pages(), &longer).await;
        assert!(
            matches!(sent, Err(LinkError::Frame(FrameError::TooLong { .. }))),
            "{sent:?}"
        );
        // Nothing of it was sent.
        sender.send(MIGRATION, EPOCH, &pages(), b"x").await.unwrap();
        assert_eq!(receivers.bulk.next().await.unwrap().unwrap().payload, b"x");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn demand_overtakes_a_saturated_bulk_channel() {
    for via in BOTH {
        let (dialled, arrived) = linked(via).await;
        let (to_b, mut from_b) = dialled.split();
        let (to_a, mut from_a) = arrived.split();
        // Nobody reads bulk: it fills up.
        let filler = to_b.clone();
        let filling = tokio::spawn(async move {
            let payload = vec![1; 1 << 20];
            loop {
                if filler
                    .send(MIGRATION, EPOCH, &pages(), &payload)
                    .await
                    .is_err()
                {
                    break;
                }
            }
        });
        tokio::time::sleep(Duration::from_millis(500)).await;
        for _ in 0..20 {
            let there_and_back = async {
                to_a.send(MIGRATION, EPOCH, &demand(), &[]).await.unwrap();
                from_b.demand.next().await.unwrap().unwrap();
                to_b.send(MIGRATION, EPOCH, &answer(), &[2; 65_536])
                    .await
                    .unwrap();
                from_a.demand.next().await.unwrap().unwrap();
                to_b.send(MIGRATION, EPOCH, &ping(1), &[]).await.unwrap();
                from_a.control.next().await.unwrap().unwrap();
            };
            timeout(Duration::from_secs(2), there_and_back)
                .await
                .expect("overtaken");
        }
        // Nor does the full channel hold up the link's end for long.
        to_b.close("enough");
        timeout(Duration::from_secs(8), filling)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(from_b.control.next().await, Ok(None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_delivers_what_was_sent() {
    for via in BOTH {
        let (dialled, arrived) = linked(via).await;
        let (to_b, mut from_b) = dialled.split();
        let (to_a, mut from_a) = arrived.split();
        for _ in 0..8 {
            to_b.send(MIGRATION, EPOCH, &pages(), &[3; 1 << 17])
                .await
                .unwrap();
        }
        to_b.close("done");
        let sent = to_b.send(MIGRATION, EPOCH, &ping(1), &[]).await;
        assert!(matches!(sent, Err(LinkError::Closed(_))), "{sent:?}");
        for _ in 0..8 {
            assert!(from_a.bulk.next().await.unwrap().is_some());
        }
        let soon = Duration::from_secs(2);
        for receiver in [&mut from_a.bulk, &mut from_a.control, &mut from_a.demand] {
            assert_eq!(timeout(soon, receiver.next()).await.unwrap(), Ok(None));
            assert_eq!(receiver.next().await, Ok(None));
        }
        assert_eq!(timeout(soon, from_b.bulk.next()).await.unwrap(), Ok(None));
        drop(to_a);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_senders_end_in_order() {
    for via in BOTH {
        let (dialled, arrived) = linked(via).await;
        let (to_b, from_b) = dialled.split();
        let (_to_a, mut from_a) = arrived.split();
        to_b.send(MIGRATION, EPOCH, &pages(), &[3; 1 << 20])
            .await
            .unwrap();
        drop((to_b, from_b));
        assert!(from_a.bulk.next().await.unwrap().is_some());
        assert_eq!(from_a.bulk.next().await, Ok(None));
        assert_eq!(from_a.control.next().await, Ok(None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_a_frame_can_be_given_up() {
    for via in BOTH {
        let (dialled, arrived) = linked(via).await;
        let (sender, _from_b) = dialled.split();
        let (_to_a, mut receivers) = arrived.split();
        let nothing = timeout(Duration::from_millis(5), receivers.bulk.next()).await;
        assert!(nothing.is_err());
        let sending = tokio::spawn(async move {
            for number in 0..30 {
                let payload = vec![number; 1 << 19];
                sender
                    .send(MIGRATION, EPOCH, &pages(), &payload)
                    .await
                    .unwrap();
            }
            sender
        });
        for number in 0..30 {
            let envelope = loop {
                let next = timeout(Duration::from_micros(50), receivers.bulk.next()).await;
                if let Ok(envelope) = next {
                    break envelope.unwrap().unwrap();
                }
            };
            assert!(envelope.payload == vec![number; 1 << 19]);
        }
        drop(sending.await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sending_that_is_given_up_cuts_the_channel() {
    for via in BOTH {
        let (dialled, arrived) = linked(via).await;
        let (sender, _from_b) = dialled.split();
        let payload = vec![0; 8 << 20];
        let mut outcome = Ok(());
        for _ in 0..32 {
            let message = pages();
            let sending = sender.send(MIGRATION, EPOCH, &message, &payload);
            if timeout(Duration::from_millis(200), sending).await.is_err() {
                outcome = sender.send(MIGRATION, EPOCH, &pages(), &payload).await;
                break;
            }
        }
        assert!(matches!(outcome, Err(LinkError::Cut(_))), "{outcome:?}");
        sender.send(MIGRATION, EPOCH, &ping(1), &[]).await.unwrap();
        drop(arrived);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_takes_quic_and_falls_back_to_tcp() {
    let world = World::new();
    let b = world.identity("b");
    let dialler = Dialler::new(&world.identity("a"), Arc::default(), Via::Auto).unwrap();
    let listener = listen(&b, listing("a")).await;
    let (link, _other) = meet(&listener, &dialler).await;
    assert_eq!(link.via(), Via::Quic);

    let address = "127.0.0.1:0".parse().unwrap();
    let listener = Listener::bind_tcp_only(address, &b, listing("a"))
        .await
        .unwrap();
    let begin = Instant::now();
    let (link, _other) = meet(&listener, &dialler).await;
    assert_eq!(link.via(), Via::Tcp);
    assert!(begin.elapsed() >= Duration::from_secs(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn loopback_without_keys() {
    let listener = Listener::insecure_loopback(0).await.unwrap();
    assert!(listener.local_address().ip().is_loopback());
    let dialler = Dialler::insecure_loopback();
    let address = listener.local_address().to_string();
    let b = name("b");
    let (dialled, arrived) = tokio::join!(dialler.link(&address, Some(&b)), listener.accept());
    let Arrived::Link(arrived) = arrived.unwrap() else {
        panic!("a link was expected");
    };
    let dialled = dialled.unwrap();
    assert_eq!(
        (&dialled.peer().name, dialled.peer().vouched),
        (&b, Vouched::Loopback)
    );
    let (sender, _from_b) = dialled.split();
    let (_to_a, mut receivers) = arrived.split();
    sender
        .send(MIGRATION, EPOCH, &pages(), &[4; 1 << 20])
        .await
        .unwrap();
    assert!(receivers.bulk.next().await.unwrap().unwrap().payload == [4; 1 << 20]);

    for far in ["192.0.2.1:7333", "[2001:db8::1]:7333"] {
        let error = dialler.link(far, None).await.unwrap_err().to_string();
        assert!(error.contains("not on this machine"), "{error}");
        assert!(dialler.command(far, None).await.is_err());
    }
}

/// `cargo test --release -p wasm-migrate-node -- --ignored --nocapture speed`
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn speed() {
    const FRAMES: usize = 2048;
    const BYTES: usize = 1 << 20;
    for via in BOTH {
        let (dialled, arrived) = linked(via).await;
        let (sender, _from_b) = dialled.split();
        let (_to_a, mut receivers) = arrived.split();
        let begin = Instant::now();
        let sending = tokio::spawn(async move {
            let payload = vec![1; BYTES];
            for _ in 0..FRAMES {
                sender
                    .send(MIGRATION, EPOCH, &pages(), &payload)
                    .await
                    .unwrap();
            }
            sender
        });
        for _ in 0..FRAMES {
            receivers.bulk.next().await.unwrap().unwrap();
        }
        let seconds = begin.elapsed().as_secs_f64();
        println!("{via}: {:.2} GB/s", (FRAMES * BYTES) as f64 / seconds / 1e9);
        drop(sending.await.unwrap());
    }
}
