//! Files of keys.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::TempDir;
use wasm_migrate_node::{
    Fingerprint, Identity, KeyError, adopt, issue, make_authority, make_self_signed,
};
use wasm_migrate_protocol::NodeName;

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn keys_are_for_their_owner_and_are_not_overwritten() {
    let dir = TempDir::new().unwrap();
    let [ca, node, pinned] = ["ca", "node", "pinned"].map(|part| dir.path().join(part));
    make_authority(&ca, &name("ca")).unwrap();
    let issued = issue(&ca, &name("node_1.example"), &node).unwrap();
    make_self_signed(&pinned, &name("p")).unwrap();
    let keys = [
        ca.join("ca-key.pem"),
        node.join("key.pem"),
        pinned.join("key.pem"),
    ];
    for key in &keys {
        assert_eq!(mode(key), 0o600);
    }
    assert_eq!(mode(&node.join("cert.pem")), 0o644);
    let before = keys.clone().map(|key| std::fs::read(key).unwrap());

    let again = [
        make_authority(&ca, &name("ca")),
        issue(&ca, &name("node"), &node),
        make_self_signed(&node, &name("node")),
        make_self_signed(&pinned, &name("p")),
    ];
    for outcome in again {
        let error = outcome.unwrap_err();
        assert!(matches!(error, KeyError::Exists(_)), "{error}");
        assert!(error.to_string().contains("not overwritten"), "{error}");
    }
    assert_eq!(keys.map(|key| std::fs::read(key).unwrap()), before);

    let identity = Identity::load(&node).unwrap();
    assert_eq!(identity.name().as_str(), "node_1.example");
    assert_eq!(identity.fingerprint(), issued);
    // A certificate is there, its key is not: neither is made.
    std::fs::remove_file(pinned.join("key.pem")).unwrap();
    assert!(make_self_signed(&pinned, &name("p")).is_err());
    assert!(!pinned.join("key.pem").exists());
}

#[test]
fn keys_from_elsewhere_are_checked_and_taken_apart() {
    let dir = TempDir::new().unwrap();
    let [ca, other, node] = ["ca", "other", "node"].map(|part| dir.path().join(part));
    make_authority(&ca, &name("ca")).unwrap();
    make_authority(&other, &name("other")).unwrap();
    issue(&ca, &name("node"), &node).unwrap();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let both = dir.path().join("both.pem");
    let texts = [read(&node.join("cert.pem")), read(&node.join("key.pem"))];
    std::fs::write(&both, texts.concat()).unwrap();

    let adopted = dir.path().join("adopted");
    let taken =
        |authority: &Path, key: &Path| adopt(&adopted, &both, key, Some(&authority.join("ca.pem")));
    let error = taken(&other, &both).unwrap_err().to_string();
    assert!(error.contains("does not vouch"), "{error}");
    let error = taken(&ca, &other.join("ca-key.pem"))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("is not the one of the certificate"),
        "{error}"
    );
    assert!(!adopted.exists());

    let fingerprint: Fingerprint = taken(&ca, &both).unwrap();
    assert_eq!(Identity::load(&adopted).unwrap().fingerprint(), fingerprint);
    assert_eq!(
        read(&adopted.join("cert.pem")).replace('\r', ""),
        texts[0].replace('\r', "")
    );
    assert!(!read(&adopted.join("cert.pem")).contains("PRIVATE"));
    assert_eq!(mode(&adopted.join("key.pem")), 0o600);
    assert!(matches!(taken(&ca, &both), Err(KeyError::Exists(_))));
}
