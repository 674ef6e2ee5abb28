//! `relay`: a network between namespaces whose packets come late, or not at all.
//!
//! Every namespace gets a TUN device. What is sent into one is held for a while and comes out of the one that it is
//! addressed to:
//!
//! ```text
//!  namespace a          relay (in the namespace that it was started in)          namespace b
//!  tun device  --read--> lost? --> held until it is due, the earliest first --write--> tun device
//! ```
//!
//! The rate is not its business: `tc ... tbf` on the devices sets it. Commands on standard input change the network while
//! it is in use, one a line: `delay MS`, `jitter MS`, `loss PERCENT`, `cut`, `mend`. At the end of standard input it ends, and
//! its devices are gone.

mod held;
mod network;

use std::io::{BufRead as _, stdin};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use clap::Parser;
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::network::{Conditions, Network};

/// Connects network namespaces by TUN devices with latency, jitter and loss.
#[derive(Parser)]
struct Arguments {
    /// A namespace and its address there; each gets a device `relayN`.
    #[arg(long = "node", value_name = "NAMESPACE=ADDRESS", required = true, value_parser = node)]
    nodes: Vec<Node>,
    /// One-way latency in milliseconds.
    #[arg(long, default_value_t = 0.0)]
    delay: f64,
    /// Up to so many milliseconds more, which may change the order of packets.
    #[arg(long, default_value_t = 0.0)]
    jitter: f64,
    /// Percentage of packets that are lost.
    #[arg(long, default_value_t = 0.0)]
    loss: f64,
    /// What decides which packets are lost.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Largest packet in bytes.
    #[arg(long, default_value_t = 1500)]
    mtu: u16,
}

#[derive(Clone)]
struct Node {
    namespace: String,
    address: std::net::Ipv4Addr,
}

fn node(text: &str) -> Result<Node, String> {
    let (namespace, address) = text.split_once('=').ok_or("give NAMESPACE=ADDRESS")?;
    Ok(Node {
        namespace: namespace.to_owned(),
        address: address.parse().map_err(|error| format!("{error}"))?,
    })
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let conditions = Conditions::new(arguments.delay, arguments.jitter, arguments.loss)?;
    let mut ports = Vec::new();
    for (number, node) in arguments.nodes.iter().enumerate() {
        let device = connect(&format!("relay{number}"), node, arguments.mtu)?;
        ports.push((node.address, Arc::new(device)));
    }
    let network = Network::start(ports, conditions, arguments.seed)?;
    println!("ready");
    for line in stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        network
            .change(&words)
            .with_context(|| format!("cannot do `{line}`"))?;
        println!("done");
    }
    Ok(())
}

/// Makes a device and hands it to a namespace; what the namespace sends comes to this process all the same.
fn connect(name: &str, node: &Node, mtu: u16) -> anyhow::Result<SyncDevice> {
    let device = DeviceBuilder::new()
        .name(name)
        .build_sync()
        .context("cannot make a TUN device: this needs root and /dev/net/tun")?;
    let Node { namespace, address } = node;
    let mtu = mtu.to_string();
    let address = format!("{address}/24");
    ip(&["link", "set", name, "netns", namespace])?;
    ip(&["-n", namespace, "addr", "add", &address, "dev", name])?;
    ip(&[
        "-n",
        namespace,
        "link",
        "set",
        name,
        "mtu",
        &mtu,
        "txqueuelen",
        "1000",
        "up",
    ])?;
    Ok(device)
}

fn ip(words: &[&str]) -> anyhow::Result<()> {
    let done = Command::new("ip").args(words).output();
    let done = done.context("cannot run `ip` (package iproute2)")?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        bail!("`ip {}` failed: {}", words.join(" "), said.trim());
    }
    Ok(())
}
