//! Nodes on this machine, with keys and policies, that end with the test.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::shell::{command, migratize, run, text};

/// A program by name.
pub(crate) type Program = (&'static str, &'static str);

/// Writes all over 8 MiB, and prints a checksum of what it did so far for each round of so many as its argument says; ends
/// with status 7.
pub(crate) const WORKER: Program = (
    "worker",
    r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 128)
    (func $rounds (result i32) (local $at i32) (local $number i32)
        (drop (call $args (i32.const 16) (i32.const 1024)))
        (local.set $at (i32.load (i32.const 20)))
        (block $end (loop $digits
            (br_if $end (i32.eqz (i32.load8_u (local.get $at))))
            (local.set $number (i32.add (i32.mul (local.get $number) (i32.const 10))
                (i32.sub (i32.load8_u (local.get $at)) (i32.const 48))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br $digits)))
        (local.get $number))
    (func $print (param $value i64) (local $at i32) (local $digit i32)
        (loop $digits
            (local.set $digit (i32.wrap_i64 (i64.and (local.get $value) (i64.const 15))))
            (i32.store8 (i32.sub (i32.const 79) (local.get $at))
                (i32.add (local.get $digit) (select (i32.const 87) (i32.const 48)
                    (i32.gt_u (local.get $digit) (i32.const 9)))))
            (local.set $value (i64.shr_u (local.get $value) (i64.const 4)))
            (br_if $digits (i32.lt_u
                (local.tee $at (i32.add (local.get $at) (i32.const 1))) (i32.const 16))))
        (i32.store8 (i32.const 80) (i32.const 10))
        (i32.store (i32.const 0) (i32.const 64))
        (i32.store (i32.const 4) (i32.const 17))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
    (func (export "_start") (local $state i64) (local $at i32) (local $steps i32) (local $rounds i32)
        (local.set $rounds (call $rounds))
        (local.set $state (i64.const 88172645463325252))
        (loop $round
            (local.set $steps (i32.const 40000))
            (loop $work
                (local.set $state (i64.xor (local.get $state) (i64.shl (local.get $state) (i64.const 13))))
                (local.set $state (i64.xor (local.get $state) (i64.shr_u (local.get $state) (i64.const 7))))
                (local.set $at (i32.add (i32.const 4096)
                    (i32.rem_u (i32.wrap_i64 (local.get $state)) (i32.const 8384500))))
                (local.set $state (i64.add
                    (i64.load (local.get $at)) (i64.rotl (local.get $state) (i64.const 17))))
                (i64.store (local.get $at) (local.get $state))
                (br_if $work (local.tee $steps (i32.sub (local.get $steps) (i32.const 1)))))
            (call $print (local.get $state))
            (br_if $round (local.tee $rounds (i32.sub (local.get $rounds) (i32.const 1)))))
        (call $exit (i32.const 7))))"#,
);

/// Writes what it reads.
pub(crate) const ECHO: Program = (
    "echo",
    r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "_start")
        (loop $again
            (i32.store (i32.const 0) (i32.const 64))
            (i32.store (i32.const 4) (i32.const 1000))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (i32.store (i32.const 4) (i32.load (i32.const 8)))
            (if (i32.load (i32.const 8)) (then
                (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
                (br $again))))))"#,
);

/// Some nodes, and a person, `me`, who may do everything on all of them.
pub(crate) struct Cluster {
    directory: TempDir,
    nodes: BTreeMap<&'static str, Node>,
}

struct Node {
    port: u16,
    process: Child,
}

impl Cluster {
    /// Nodes that bring jobs to each other, except to `south`.
    pub(crate) fn new(names: &[&'static str]) -> Self {
        let directory = crate::shell::directory();
        let mut cluster = Self {
            directory,
            nodes: BTreeMap::new(),
        };
        for name in names.iter().chain(&["me"]) {
            let line = format!("keys init --authority authority --name {name} keys/{name}");
            let made = run(cluster.path(), &line);
            assert!(made.status.success(), "{}", text(&made.stderr));
        }
        let ports: Vec<u16> = names.iter().map(|_| free_port()).collect();
        for name in names {
            let mut policy = String::from(
                "[[peer]]\nname = \"me\"\nmay = [\"submit\", \"read\", \"move-away\", \"manage\"]\n",
            );
            for (other, port) in names.iter().zip(&ports).filter(|(other, _)| *other != name) {
                let may = if *name == "south" {
                    ""
                } else {
                    "\"move-here\", "
                };
                policy += &format!(
                    "[[peer]]\nname = \"{other}\"\naddress = \"127.0.0.1:{port}\"\nmay = [{may}\"read\", \"submit\"]\n"
                );
            }
            let path = cluster.path().join("keys").join(name).join("node.toml");
            fs::write(path, policy).expect("there is room");
        }
        for (name, port) in names.iter().zip(ports) {
            let process = serve(cluster.path(), name, port);
            cluster.nodes.insert(name, Node { port, process });
        }
        cluster
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn put(&self, (name, program): Program) {
        migratize(self.path(), &format!("{name}.wasm"), program);
    }

    /// What a program prints when nobody disturbs it.
    pub(crate) fn undisturbed(&self, program: Program, rounds: u32) -> Vec<u8> {
        self.put(program);
        let line = format!("run {}.wasm -- {rounds}", program.0);
        run(self.path(), &line).stdout
    }

    pub(crate) fn submit(&self, node: &str, program: Program, job: &str, rounds: u32) {
        self.put(program);
        let line = format!("submit {}.wasm --job {job}", program.0);
        let mut submit = self.tool(node, &line);
        submit.args(["--", &rounds.to_string()]);
        let submitted = submit.output().expect("it starts");
        assert!(submitted.status.success(), "{}", text(&submitted.stderr));
    }

    /// Starts a program as `run --listen` does, in place of a node that is not running.
    pub(crate) fn run_listening(&self, name: &str, program: Program, rounds: u32) -> Child {
        self.put(program);
        let Node { port, .. } = self.nodes[name];
        let line = format!(
            "run --listen 127.0.0.1:{port} --keys keys/{name} --checkpoint-every 200ms {}.wasm -- {rounds}",
            program.0
        );
        let child = command(self.path(), &line)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let began = Instant::now();
        while !self.run(name, "ps").stdout.starts_with(b"JOB")
            || self.state(name, program.0) != "running"
        {
            assert!(
                began.elapsed() < Duration::from_secs(30),
                "it does not listen"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    }

    /// Is there anything that `run --listen` keeps?
    pub(crate) fn keeps(&self, program: Program) -> bool {
        self.path().join(format!("{}.node", program.0)).exists()
    }

    /// A command of the person for a node.
    pub(crate) fn tool(&self, node: &str, line: &str) -> Command {
        self.tool_as(&self.path().join("keys/me"), node, line)
    }

    fn tool_as(&self, keys: &Path, node: &str, line: &str) -> Command {
        let mut tool = command(self.path(), line);
        let port = self.nodes[node].port;
        tool.env("WASM_MIGRATE_KEYS", keys)
            .env("WASM_MIGRATE_NODE", format!("127.0.0.1:{port}"));
        tool
    }

    pub(crate) fn run(&self, node: &str, line: &str) -> Output {
        self.tool(node, line).output().expect("it starts")
    }

    pub(crate) fn run_as(&self, keys: &Path, node: &str, line: &str) -> Output {
        self.tool_as(keys, node, line).output().expect("it starts")
    }

    /// Keys of somebody of another authority.
    pub(crate) fn stranger(&self) -> PathBuf {
        let line = "keys init --authority other --name me keys/stranger";
        assert!(run(self.path(), line).status.success());
        self.path().join("keys/stranger")
    }

    /// Where a job is, as a node says: `running`, `gone` and so on; empty if it does not know it.
    pub(crate) fn state(&self, node: &str, job: &str) -> String {
        let listed = self.run(node, "ps --json");
        assert!(listed.status.success(), "{}", text(&listed.stderr));
        let jobs: serde_json::Value = serde_json::from_slice(&listed.stdout).expect("it is JSON");
        let jobs = jobs.as_array().expect("a list");
        let Some(found) = jobs.iter().find(|found| found["job"] == job) else {
            return String::new();
        };
        match &found["state"] {
            serde_json::Value::String(state) => state.clone(),
            serde_json::Value::Object(state) => state.keys().next().expect("one").clone(),
            other => panic!("{other}"),
        }
    }

    /// Waits until one node runs the job, and no other says anything that is not final.
    pub(crate) fn settle(&self, job: &str) {
        let began = Instant::now();
        loop {
            let states: Vec<String> = self
                .nodes
                .keys()
                .map(|node| self.state(node, job))
                .collect();
            let running = states.iter().filter(|state| *state == "running").count();
            let is_open =
                |state: &String| matches!(state.as_str(), "leaving" | "uncertain" | "handed");
            assert!(running <= 1, "{states:?}");
            if running == 1 && !states.iter().any(is_open) {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "{states:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn can_post_copy(&self) -> bool {
        let doctor = run(self.path(), "doctor --json").stdout;
        let doctor: serde_json::Value = serde_json::from_slice(&doctor).expect("it is JSON");
        doctor.get("post_copy_problem").is_none()
    }

    pub(crate) fn kill(&mut self, name: &str) {
        let node = self.nodes.get_mut(name).expect("it is a node");
        node.process.kill().expect("it is a child");
        node.process.wait().expect("it was killed");
    }

    pub(crate) fn start(&mut self, name: &'static str) {
        let port = self.nodes[name].port;
        let process = serve(self.path(), name, port);
        self.nodes.insert(name, Node { port, process });
    }

    /// All that a job has written, put together from what the nodes keep.
    pub(crate) fn output(&self, job: &str) -> Vec<u8> {
        let mut segments = BTreeMap::new();
        for node in self.nodes.keys() {
            let kept = self.path().join(format!("node-{node}/jobs/{job}"));
            for entry in fs::read_dir(kept).into_iter().flatten() {
                let path = entry.expect("it can be read").path();
                let name = path.file_name().and_then(|name| name.to_str());
                let first = name.and_then(|name| name.strip_prefix("stdout."));
                if let Some(first) = first.and_then(|first| first.parse::<usize>().ok()) {
                    let bytes = fs::read(&path).expect("it can be read");
                    let longest: &mut Vec<u8> = segments.entry(first).or_default();
                    if longest.len() < bytes.len() {
                        *longest = bytes;
                    }
                }
            }
        }
        let mut output = Vec::new();
        for (first, bytes) in segments {
            assert!(
                first <= output.len(),
                "bytes from {} on are missing",
                output.len()
            );
            output.truncate(first);
            output.extend(bytes);
        }
        output
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in self.nodes.values_mut() {
            // It may have been killed.
            let _ = node.process.kill();
            let _ = node.process.wait();
        }
    }
}

/// Starts a node, and waits until it listens.
fn serve(directory: &Path, name: &str, port: u16) -> Child {
    let line = format!(
        "serve --keys keys/{name} --listen 127.0.0.1:{port} --directory node-{name} --checkpoint-every 200ms"
    );
    let mut process = command(directory, &line)
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut said = BufReader::new(process.stderr.take().expect("it is piped"));
    let mut first = String::new();
    while !first.contains("listens on") {
        first.clear();
        let read = said.read_line(&mut first).expect("it is text");
        assert!(read > 0, "{name} does not listen");
    }
    // What else it says is read, lest it waits.
    std::thread::spawn(move || {
        for line in said.lines().map_while(Result::ok) {
            eprintln!("{line}");
        }
    });
    process
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("there are ports");
    listener.local_addr().expect("it is bound").port()
}
