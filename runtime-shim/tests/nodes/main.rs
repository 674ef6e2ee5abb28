//! Nodes as people use them: processes with keys, jobs that are moved while they run, and what fails.

mod cluster;
#[path = "../shell/mod.rs"]
mod shell;

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use cluster::{Cluster, ECHO, WORKER};
use shell::{status, text};

#[test]
fn a_job_moves_in_every_mode_and_nothing_of_its_output_is_lost() {
    let cluster = Cluster::new(&["east", "west"]);
    let expected = cluster.undisturbed(WORKER, 2000);
    cluster.submit("east", WORKER, "worker", 2000);
    let mut following = cluster.tool("east", "logs -f worker");
    let following = following.stdout(Stdio::piped()).spawn().expect("it starts");
    for (number, mode) in ["stop", "pre", "post", "hybrid", "auto"].iter().enumerate() {
        if *mode == "post" && !cluster.can_post_copy() {
            println!("pages cannot follow here");
            continue;
        }
        let (from, to) = [("east", "west"), ("west", "east")][number % 2];
        let via = ["quic", "tcp"][number % 2];
        let moved = cluster.run(from, &format!("move worker {to} --mode {mode} --via {via}"));
        assert_eq!(status(&moved), 0, "{mode}: {}", text(&moved.stderr));
        assert_eq!(cluster.state(to, "worker"), "running", "{mode}");
        assert_eq!(cluster.state(from, "worker"), "gone", "{mode}");
    }
    let followed = following.wait_with_output().expect("it ends");
    assert_eq!(status(&followed), 7);
    assert!(followed.stdout == expected, "the output differs");
}

#[test]
fn input_goes_where_the_job_goes() {
    let cluster = Cluster::new(&["east", "west"]);
    cluster.put(ECHO);
    let submitted = cluster.run("east", "submit echo.wasm --job echo --input");
    assert_eq!(status(&submitted), 0, "{}", text(&submitted.stderr));
    let mut attached = cluster.tool("east", "attach echo");
    let mut attached = attached
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut typed = attached.stdin.take().expect("it is piped");
    let mut expected = Vec::new();
    for number in 0..60 {
        let line = format!("line {number}\n");
        typed.write_all(line.as_bytes()).expect("it is read");
        expected.extend(line.into_bytes());
        std::thread::sleep(Duration::from_millis(10));
        if number % 20 == 10 {
            let (from, to) = [("east", "west"), ("west", "east")][number / 20 % 2];
            let moved = cluster.run(from, &format!("move echo {to} --mode pre"));
            assert_eq!(status(&moved), 0, "{}", text(&moved.stderr));
        }
    }
    drop(typed);
    let echoed = attached.wait_with_output().expect("it ends");
    assert_eq!(text(&echoed.stdout), text(&expected));
    assert_eq!(status(&echoed), 0);
}

#[test]
fn a_node_that_is_killed_in_a_move_costs_nothing() {
    let mut cluster = Cluster::new(&["east", "west"]);
    let expected = cluster.undisturbed(WORKER, 3000);
    cluster.submit("east", WORKER, "worker", 3000);
    for delay in [5, 40, 120, 300] {
        let mut moving = cluster.tool("east", "move worker west --mode pre --bandwidth 20M");
        let mut moving = moving.stderr(Stdio::null()).spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(delay));
        cluster.kill("west");
        cluster.start("west");
        moving.wait().expect("it ends");
        // Whoever owns it now, one does.
        cluster.settle("worker");
        if cluster.state("west", "worker") == "running" {
            let back = cluster.run("west", "move worker east --mode pre");
            assert_eq!(status(&back), 0, "{}", text(&back.stderr));
        }
        assert_eq!(cluster.state("east", "worker"), "running");
    }
    let moved = cluster.run("east", "move worker west");
    assert_eq!(status(&moved), 0, "{}", text(&moved.stderr));
    let rest = cluster.run("west", "logs -f worker");
    assert_eq!(status(&rest), 7);
    assert!(cluster.output("worker") == expected, "the output differs");
}

#[test]
fn a_node_that_is_killed_goes_on_with_its_jobs() {
    let mut cluster = Cluster::new(&["east"]);
    let expected = cluster.undisturbed(WORKER, 1000);
    cluster.submit("east", WORKER, "worker", 1000);
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(400));
        cluster.kill("east");
        cluster.start("east");
    }
    let rest = cluster.run("east", "logs -f worker");
    assert_eq!(status(&rest), 7, "{}", text(&rest.stderr));
    assert!(cluster.output("worker") == expected, "the output differs");
}

#[test]
fn what_is_not_allowed_is_refused_and_the_job_goes_on() {
    let cluster = Cluster::new(&["east", "west", "south"]);
    cluster.submit("east", WORKER, "worker", 100_000);
    for (line, message) in [
        // Its node.toml does not let east bring jobs.
        ("move worker south", "may not move jobs here"),
        ("move worker nowhere", "where is node `nowhere`"),
        ("move worker nowhere@127.0.0.1:9", "nobody answers"),
        ("move worker west@127.0.0.1:9", "nobody answers"),
        ("move worker east", "already"),
        ("move other west", "has no job `other`"),
        ("submit worker.wasm --job worker", "choose another name"),
        (
            "submit plain.wasm --job plain",
            "wasm-migratize in.wasm -o out.wasm",
        ),
        (
            "submit worker.wasm --job d --dir /data",
            "has no directory `/data`",
        ),
        ("cancel worker", "is not being moved"),
        ("kill other", "has no job `other`"),
    ] {
        let refused = cluster.run("east", line);
        assert_eq!(status(&refused), 1, "{line}");
        let told = text(&refused.stderr);
        assert!(told.contains(message), "{line}: {told}");
        assert_eq!(cluster.state("east", "worker"), "running", "{line}");
    }
    // The stranger has a certificate of another authority.
    let stranger = cluster.stranger();
    let refused = cluster.run_as(&stranger, "east", "ps");
    assert_eq!(status(&refused), 1);
    assert_eq!(status(&cluster.run("east", "kill worker")), 0);
    let ended = cluster.run("east", "logs -f worker");
    assert_eq!(status(&ended), 137);
}

#[test]
fn a_move_can_be_cancelled_and_planned() {
    let cluster = Cluster::new(&["east", "west"]);
    cluster.submit("east", WORKER, "worker", 100_000);
    let plan = cluster.run("east", "plan worker west --json");
    assert_eq!(status(&plan), 0, "{}", text(&plan.stderr));
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).expect("it is JSON");
    assert!(plan["predictions"].as_array().expect("a list").len() >= 2);
    let mut moving = cluster.tool("east", "move worker west --mode pre --bandwidth 1M");
    let moving = moving.stderr(Stdio::piped()).spawn().expect("it starts");
    std::thread::sleep(Duration::from_millis(500));
    let cancelled = cluster.run("east", "cancel worker");
    assert_eq!(status(&cancelled), 0, "{}", text(&cancelled.stderr));
    let moving = moving.wait_with_output().expect("it ends");
    assert_eq!(status(&moving), 1);
    assert!(text(&moving.stderr).contains("cancelled"));
    assert_eq!(cluster.state("east", "worker"), "running");
}

#[test]
fn a_program_that_listens_moves_and_its_terminal_stays() {
    let mut cluster = Cluster::new(&["east", "west"]);
    let expected = cluster.undisturbed(WORKER, 2000);
    cluster.kill("east");
    let program = cluster.run_listening("east", WORKER, 2000);
    for (from, to) in [("east", "west"), ("west", "east"), ("east", "west")] {
        let moved = cluster.run(from, &format!("move worker {to}"));
        assert_eq!(status(&moved), 0, "{}", text(&moved.stderr));
    }
    let ended = program.wait_with_output().expect("it ends");
    assert_eq!(status(&ended), 7);
    assert!(ended.stdout == expected, "the output differs");
    assert!(!cluster.keeps(WORKER));
}

#[test]
fn a_program_that_listens_goes_on_when_it_is_killed_and_ends_when_it_is_interrupted() {
    let mut cluster = Cluster::new(&["east"]);
    let expected = cluster.undisturbed(WORKER, 1000);
    cluster.kill("east");
    let mut program = cluster.run_listening("east", WORKER, 1000);
    std::thread::sleep(Duration::from_millis(600));
    program.kill().expect("it is a child");
    program.wait().expect("it was killed");
    assert!(cluster.keeps(WORKER));
    let program = cluster.run_listening("east", WORKER, 1000);
    let ended = program.wait_with_output().expect("it ends");
    assert_eq!(status(&ended), 7);
    assert!(ended.stdout == expected, "the output differs");
    assert!(!cluster.keeps(WORKER));

    let program = cluster.run_listening("east", WORKER, 100_000);
    let interrupted = std::process::Command::new("kill")
        .args(["-INT", &program.id().to_string()])
        .status();
    assert!(interrupted.expect("it starts").success());
    let ended = program.wait_with_output().expect("it ends");
    assert_eq!(status(&ended), 130);
    assert!(!cluster.keeps(WORKER));
}
