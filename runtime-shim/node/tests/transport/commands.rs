//! Streams of commands.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wasm_migrate_node::{Arrived, Dialler, Listener, Via};

use crate::setup::{World, listen, listing};

async fn echo(listener: &Listener, dialler: &Dialler) {
    let address = listener.local_address().to_string();
    let question: Vec<u8> = (0..300_000_u32).flat_map(u32::to_le_bytes).collect();
    let ask = async {
        let mut stream = dialler.command(&address, None).await.unwrap();
        let (asked, answer) = {
            let (mut reader, mut writer) = tokio::io::split(&mut stream);
            let mut answer = Vec::new();
            let asking = async {
                writer.write_all(&question).await?;
                writer.shutdown().await
            };
            let (asked, _) = tokio::join!(asking, reader.read_to_end(&mut answer));
            (asked, answer)
        };
        asked.unwrap();
        answer
    };
    let serve = async {
        let Arrived::Command(stream) = listener.accept().await.unwrap() else {
            panic!("a command was expected");
        };
        let (mut reader, mut writer) = stream.into_split();
        tokio::io::copy(&mut reader, &mut writer).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let (answer, ()) = tokio::join!(ask, serve);
    assert!(answer == question);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_echoed() {
    let world = World::new();
    let listener = listen(&world.identity("b"), listing("a")).await;
    for via in [Via::Quic, Via::Tcp, Via::Auto] {
        let dialler = Dialler::new(&world.identity("a"), Arc::default(), via).unwrap();
        echo(&listener, &dialler).await;
        echo(&listener, &dialler).await;
    }
    let listener = Listener::insecure_loopback(0).await.unwrap();
    echo(&listener, &Dialler::insecure_loopback()).await;
}

/// What was written arrives though its writer is dropped at once.
#[tokio::test(flavor = "multi_thread")]
async fn last_words_arrive() {
    let world = World::new();
    let listener = listen(&world.identity("b"), listing("a")).await;
    let address = listener.local_address().to_string();
    for via in [Via::Quic, Via::Tcp] {
        let dialler = Dialler::new(&world.identity("a"), Arc::default(), via).unwrap();
        let say = async {
            let mut stream = dialler.command(&address, None).await.unwrap();
            stream.write_all(&[9; 100_000]).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let hear = async {
            let Arrived::Command(mut stream) = listener.accept().await.unwrap() else {
                panic!("a command was expected");
            };
            let mut heard = Vec::new();
            stream.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let ((), heard) = tokio::join!(say, hear);
        assert_eq!(heard.len(), 100_000);
    }
}
