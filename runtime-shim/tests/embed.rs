//! The example for embedders does what it says, in as few lines as it says.

#[path = "../examples/embed.rs"]
mod embed;

#[test]
fn the_example_moves_its_guest() {
    embed::main().expect("nothing is lost on the way");
}

#[test]
fn capture_and_resume_take_fewer_than_thirty_lines() {
    let text = include_str!("../examples/embed.rs");
    let added: Vec<&str> = text.lines().filter(|line| line.ends_with("// +")).collect();
    assert!((1..30).contains(&added.len()), "{} lines", added.len());
    // What names this library is counted.
    let counted = [
        "HostState",
        "migration",
        "snapshot",
        "ReadOptions",
        "WriteOptions",
    ];
    let mentions = |line: &&str| counted.iter().any(|name| line.contains(name));
    for line in text.lines().filter(mentions) {
        let is_other = line.trim_start().starts_with("//") || line.contains("app.snapshot");
        assert!(is_other || line.ends_with("// +"), "{line}");
    }
}
