//! Whom nodes let in and whom they believe.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, DnType, Issuer, KeyPair, date_time_ymd};
use wasm_migrate_node::{
    Action, Dialler, Identity, Policy, TransportError, TrustError, Via, Vouched, make_self_signed,
};

use crate::setup::{World, listen, listing, meet, name, pinning, policy, refused};

const BOTH: [Via; 2] = [Via::Quic, Via::Tcp];

fn self_signed(world: &World, of: &str) -> Identity {
    let dir = world.path().join(format!("{of}-self"));
    if !dir.exists() {
        make_self_signed(&dir, &name(of)).unwrap();
    }
    Identity::load(&dir).unwrap()
}

/// A certificate that the world's authority signed for times long past.
fn expired(world: &World, of: &str) -> Identity {
    let read = |file: &str| std::fs::read_to_string(world.path().join("ca").join(file)).unwrap();
    let signing = KeyPair::from_pem(&read("ca-key.pem")).unwrap();
    let issuer = Issuer::from_ca_cert_pem(&read("ca.pem"), signing).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([of.to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, of);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2021, 1, 1);
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let dir = world.path().join(format!("{of}-expired"));
    std::fs::create_dir_all(&dir).unwrap();
    let write = |file: &str, text: String| std::fs::write(dir.join(file), text).unwrap();
    write("cert.pem", certificate.pem());
    write("key.pem", key.serialize_pem());
    write("ca.pem", read("ca.pem"));
    Identity::load(&dir).unwrap()
}

fn assert_says(error: &TransportError, texts: &[&str]) {
    let said = error.to_string();
    for text in texts {
        assert!(said.contains(text), "`{text}` is not in: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_is_refused() {
    let (here, there) = (World::new(), World::new());
    for via in BOTH {
        let listener = listen(&here.identity("b"), listing("a")).await;
        let dialler = Dialler::new(&there.identity("a"), Arc::default(), via).unwrap();
        let error = refused(&listener, &dialler, None).await;
        assert_says(
            &error,
            &["nobody vouches", "`b`", "did not sign it", "pin it"],
        );

        // The dialler pins the listener, but the listener knows nothing of the dialler's authority.
        let trusting = pinning("b", here.identity("b").fingerprint());
        let dialler = Dialler::new(&there.identity("a"), trusting, via).unwrap();
        let error = refused(&listener, &dialler, None).await;
        assert!(matches!(error, TransportError::Refused { .. }), "{error}");
        assert_says(
            &error,
            &["refuses `a`", "nobody vouches for this certificate there"],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_is_not_listed_is_refused() {
    let world = World::new();
    for via in BOTH {
        let listener = listen(&world.identity("b"), listing("c")).await;
        let dialler = Dialler::new(&world.identity("a"), Arc::default(), via).unwrap();
        let error = refused(&listener, &dialler, None).await;
        assert_says(&error, &["refuses `a`", "does not list", "[[peer]]"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn self_signed_certificates_have_to_be_pinned() {
    let world = World::new();
    let (a, b) = (self_signed(&world, "a"), self_signed(&world, "b"));
    for via in BOTH {
        let listener = listen(&b, pinning("a", a.fingerprint())).await;
        let dialler = Dialler::new(&a, Arc::default(), via).unwrap();
        let error = refused(&listener, &dialler, None).await;
        let pin = format!("fingerprint = \"{}\"", b.fingerprint());
        assert_says(&error, &["nobody vouches", "no authority", &pin]);

        let dialler = Dialler::new(&a, pinning("c", b.fingerprint()), via).unwrap();
        let error = refused(&listener, &dialler, None).await;
        assert_says(&error, &["pins", "as `c`", "says `b`"]);

        let dialler = Dialler::new(&a, pinning("b", b.fingerprint()), via).unwrap();
        let (dialled, arrived) = meet(&listener, &dialler).await;
        assert_eq!(dialled.peer().vouched, Vouched::ByPin);
        assert_eq!(arrived.peer().vouched, Vouched::ByPin);
        assert_eq!(arrived.peer().fingerprint, a.fingerprint());

        // A name alone says nothing of a self-signed certificate.
        let listener = listen(&b, listing("a")).await;
        let error = refused(&listener, &dialler, None).await;
        assert_says(&error, &["refuses `a`", "nobody vouches"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_certificates_are_refused() {
    let world = World::new();
    let listed = policy("[[peer]]\nname = \"a\"\n[[peer]]\nname = \"old\"");
    for via in BOTH {
        let listener = listen(&world.identity("b"), Arc::clone(&listed)).await;
        let dialler = Dialler::new(&expired(&world, "old"), Arc::default(), via).unwrap();
        let error = refused(&listener, &dialler, None).await;
        assert_says(&error, &["refuses `old`", "not valid now"]);

        let listener = listen(&expired(&world, "old"), Arc::clone(&listed)).await;
        let dialler = Dialler::new(&world.identity("a"), Arc::default(), via).unwrap();
        let error = refused(&listener, &dialler, None).await;
        assert_says(&error, &["`old` expired on 2021-01-01"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_than_expected_is_refused() {
    let world = World::new();
    for via in BOTH {
        let listener = listen(&world.identity("b"), listing("a")).await;
        let dialler = Dialler::new(&world.identity("a"), Arc::default(), via).unwrap();
        let error = refused(&listener, &dialler, Some(&name("c"))).await;
        let TransportError::Untrusted { source, .. } = &error else {
            panic!("{error}");
        };
        assert!(matches!(source, TrustError::OtherName { .. }));
        assert_says(&error, &["`b` answered where `c` was expected"]);
        let address = listener.local_address().to_string();
        assert!(dialler.link(&address, Some(&name("b"))).await.is_ok());
    }
}

/// A listed name counts for nothing if the certificate's key is another's.
#[tokio::test(flavor = "multi_thread")]
async fn a_pinned_fingerprint_shuts_out_other_certificates_of_the_name() {
    let world = World::new();
    let a = world.identity("a");
    let other = self_signed(&world, "a");
    for via in BOTH {
        let listener = listen(&world.identity("b"), pinning("a", other.fingerprint())).await;
        let dialler = Dialler::new(&a, Arc::default(), via).unwrap();
        let error = refused(&listener, &dialler, None).await;
        assert_says(
            &error,
            &["refuses `a`", "does not list this name and fingerprint"],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nodes_own_identity_may_do_everything() {
    let world = World::new();
    let b = self_signed(&world, "b");
    let strict = Arc::new(Policy::default());
    for via in BOTH {
        let listener = listen(&b, Arc::clone(&strict)).await;
        let dialler = Dialler::new(&b, Arc::clone(&strict), via).unwrap();
        let (_dialled, arrived) = meet(&listener, &dialler).await;
        assert_eq!(arrived.peer().vouched, Vouched::Itself);
        for action in Action::ALL {
            assert!(strict.may(arrived.peer(), action).is_ok());
        }
    }
}

#[test]
fn identities_name_what_is_wrong() {
    let world = World::new();
    let error = Identity::load(Path::new("/nonexistent"))
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nonexistent/cert.pem"), "{error}");
    world.identity("a");
    world.identity("b");
    let [a, b] = ["a", "b"].map(|of| world.path().join(of));
    std::fs::copy(a.join("key.pem"), b.join("key.pem")).unwrap();
    let error = Identity::load(&b).unwrap_err().to_string();
    assert!(
        error.contains("is not the one of the certificate"),
        "{error}"
    );
    std::fs::write(b.join("key.pem"), "nothing").unwrap();
    let error = Identity::load(&b).unwrap_err().to_string();
    assert!(error.contains("no usable PEM private key"), "{error}");
    std::fs::write(b.join("cert.pem"), "nothing").unwrap();
    let error = Identity::load(&b).unwrap_err().to_string();
    assert!(error.contains("no PEM certificate"), "{error}");
    let shown = format!("{:?}", Identity::load(&a).unwrap());
    assert!(shown.contains("b3:") && !shown.contains("key"), "{shown}");
}
