//! What `node.toml` says, and what is said of mistakes in it.

use std::collections::BTreeSet;

use wasm_migrate_node::{Action, Fingerprint, Peer, Policy, Vouched};
use wasm_migrate_protocol::{Digest, NodeName};

const FULL: &str = r#"
[[peer]]
name = "edge"
address = "edge.example:7333"
may = ["move-here", "read"]

[[peer]]
name = "tool"
fingerprint = "b3:0101010101010101010101010101010101010101010101010101010101010101"
may = ["submit", "manage"]

[[peer]]
name = "v6"
address = "[2001:db8::1]:7333"

[limits]
memory = "2GiB"
jobs = 16
modules = ["0202020202020202020202020202020202020202020202020202020202020202"]

[directories]
"/data" = { path = "/srv/data", write = true }
"/etc" = { path = "/srv/etc" }

[rate]
connections_per_second = 7
"#;

fn peer(name: &str, byte: u8, vouched: Vouched) -> Peer {
    Peer {
        name: NodeName::new(name).unwrap(),
        fingerprint: Fingerprint([byte; 32]),
        vouched,
        address: "127.0.0.1:1".parse().unwrap(),
    }
}

fn allowed(policy: &Policy, peer: &Peer) -> BTreeSet<Action> {
    let may = |action: &Action| policy.may(peer, *action).is_ok();
    Action::ALL.into_iter().filter(may).collect()
}

#[test]
fn everything_is_read() {
    let policy = Policy::parse(FULL).unwrap();
    assert_eq!(policy.peers.len(), 3);
    assert_eq!(
        (policy.limits.memory, policy.limits.jobs),
        (Some(2 << 30), Some(16))
    );
    assert!(policy.allows_module(Digest([2; 32])) && !policy.allows_module(Digest([3; 32])));
    assert!(policy.directories["/data"].write && !policy.directories["/etc"].write);
    assert_eq!(policy.rate.connections_per_second.get(), 7);
    let edge = NodeName::new("edge").unwrap();
    assert_eq!(policy.address_of(&edge), Some("edge.example:7333"));
    assert_eq!(policy.address_of(&NodeName::new("tool").unwrap()), None);
    assert_eq!(Policy::parse("").unwrap(), Policy::default());
    assert!(Policy::default().allows_module(Digest([3; 32])));
    assert_eq!(
        Policy::parse("[limits]\nmemory = 5").unwrap().limits.memory,
        Some(5)
    );
}

#[test]
fn peers_may_what_their_entries_say() {
    let policy = Policy::parse(FULL).unwrap();
    let cases: [(Peer, &[Action]); 7] = [
        (
            peer("edge", 9, Vouched::ByAuthority),
            &[Action::MoveHere, Action::Read],
        ),
        // A name alone counts only if the authority vouches for it.
        (peer("edge", 9, Vouched::ByPin), &[]),
        (
            peer("tool", 1, Vouched::ByPin),
            &[Action::Submit, Action::Manage],
        ),
        (
            peer("tool", 1, Vouched::ByAuthority),
            &[Action::Submit, Action::Manage],
        ),
        // A fingerprint shuts out other certificates of the name.
        (peer("tool", 9, Vouched::ByAuthority), &[]),
        (peer("other", 1, Vouched::ByPin), &[]),
        (peer("other", 9, Vouched::Loopback), &Action::ALL),
    ];
    for (peer, expected) in cases {
        assert_eq!(
            allowed(&policy, &peer),
            expected.iter().copied().collect(),
            "{peer:?}"
        );
    }
    let denied = |peer: &Peer| policy.may(peer, Action::Manage).unwrap_err().to_string();
    let said = denied(&peer("edge", 9, Vouched::ByAuthority));
    assert!(
        said.contains("`edge`") && said.contains("add \"manage\" to `may`"),
        "{said}"
    );
    let said = denied(&peer("other", 9, Vouched::ByAuthority));
    assert!(said.contains("does not list it"), "{said}");
}

#[test]
fn mistakes_are_named() {
    let twice = "[[peer]]\nname = \"a\"\n[[peer]]\nname = \"a\"";
    for (text, expected) in [
        ("[[peers]]\nname = \"a\"", "peers"),
        ("[[peer]]\nname = \"a\"\nmay = [\"fly\"]", "`submit`"),
        ("[[peer]]\nname = \"a/b\"", "no name of a node"),
        ("[[peer]]\nmay = []", "missing field `name`"),
        (
            "[[peer]]\nname = \"a\"\nfingerprint = \"abc\"",
            "64 hexadecimal digits",
        ),
        (
            "[[peer]]\nname = \"a\"\naddress = \"here\"",
            "host and port",
        ),
        (
            "[[peer]]\nname = \"a\"\naddress = \"2001:db8::1:7333\"",
            "host and port",
        ),
        (twice, "two [[peer]]s"),
        ("[limits]\nmemory = \"much\"", "such as \"2GiB\""),
        ("[limits]\nmemory = -1", "such as \"2GiB\""),
        ("[limits]\nmodules = [\"12\"]", "64 hexadecimal digits"),
        ("[limits]\nfuel = 1", "unknown field `fuel`"),
        (
            "[directories]\ndata = { path = \"/srv\" }",
            "begin with `/`",
        ),
        (
            "[directories]\n\"/data\" = { path = \"srv\" }",
            "has to begin with `/`",
        ),
        (
            "[directories]\n\"/data\" = { path = \"/srv/../etc\" }",
            "no `..`",
        ),
        ("[rate]\nburst = 0", "nonzero"),
        ("[rate]\nhandshakes = 2", "at least 4"),
        ("[rate", "line 1"),
    ] {
        let error = Policy::parse(text).unwrap_err().to_string();
        assert!(error.contains(expected), "`{expected}` is not in: {error}");
        assert!(error.starts_with("node.toml"), "{error}");
    }
    let error = Policy::load("/nonexistent/node.toml")
        .unwrap_err()
        .to_string();
    assert!(error.contains("/nonexistent/node.toml"), "{error}");
}
