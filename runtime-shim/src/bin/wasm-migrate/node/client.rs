//! How tools reach a node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::runtime::Runtime;
use wasm_migrate_node::keys::Identity;
use wasm_migrate_node::meet::{Dialler, Via};
use wasm_migrate_node::policy::Policy;

use super::requests::{Reply, Request, receive, send};

/// Which node, and as whom.
#[derive(Args, Debug, Clone)]
pub(crate) struct NodeOptions {
    /// The node's address.
    #[arg(
        long,
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:7333",
        env = "WASM_MIGRATE_NODE",
        help_heading = "Node"
    )]
    node: String,
    /// Directory of your certificate and key, as `wasm-migrate keys init` makes it.
    #[arg(
        long,
        value_name = "DIR",
        env = "WASM_MIGRATE_KEYS",
        required_unless_present = "insecure_loopback",
        help_heading = "Node"
    )]
    keys: Option<PathBuf>,
    /// How the node is reached.
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        help_heading = "Node"
    )]
    via: ViaOption,
    /// The node was started with --insecure-loopback.
    #[arg(long, conflicts_with = "keys", help_heading = "Node")]
    insecure_loopback: bool,
}

/// How a node is reached.
#[derive(ValueEnum, Debug, Clone, Copy)]
pub(crate) enum ViaOption {
    /// QUIC, or TLS over TCP if nobody answers on UDP
    Auto,
    /// QUIC
    Quic,
    /// TLS over TCP
    Tcp,
}

impl From<ViaOption> for Via {
    fn from(option: ViaOption) -> Self {
        match option {
            ViaOption::Auto => Self::Auto,
            ViaOption::Quic => Self::Quic,
            ViaOption::Tcp => Self::Tcp,
        }
    }
}

/// How long a node is told that there is nothing more to ask.
const FAREWELL: Duration = Duration::from_secs(1);

/// A stream to a node.
pub(crate) struct Connection {
    pub(crate) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(crate) writer: Box<dyn AsyncWrite + Send + Unpin>,
}

pub(crate) fn runtime() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no threads can be started")
}

impl NodeOptions {
    /// The same for another node, of which the address is known or not.
    pub(crate) fn at(&self, address: String) -> Self {
        Self {
            node: address,
            ..self.clone()
        }
    }

    pub(crate) fn address(&self) -> &str {
        &self.node
    }

    /// Of a node in this process, as itself.
    pub(crate) fn to_own(address: SocketAddr, keys: Option<PathBuf>, via: ViaOption) -> Self {
        let host = match address.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        Self {
            node: SocketAddr::new(host, address.port()).to_string(),
            insecure_loopback: keys.is_none(),
            keys,
            via,
        }
    }

    /// Asks something that is just done or not.
    pub(crate) async fn ask(&self, request: &Request) -> anyhow::Result<()> {
        let mut connection = self.connect().await?;
        connection.ask(request).await?;
        connection.close().await;
        Ok(())
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let dialler = match &self.keys {
            Some(keys) => {
                let identity = Identity::load(keys)?;
                let policy = keys.join("node.toml");
                let policy = match policy.exists() {
                    true => Policy::load(&policy)?,
                    false => Policy::default(),
                };
                Dialler::new(&identity, Arc::new(policy), self.via.into())?
            }
            None => Dialler::insecure_loopback(),
        };
        let stream = dialler.command(&self.node, None).await?;
        let (reader, writer) = stream.into_split();
        Ok(Connection {
            reader: Box::new(reader),
            writer: Box::new(writer),
        })
    }
}

impl Connection {
    pub(crate) async fn send(&mut self, request: &Request) -> anyhow::Result<()> {
        send(&mut self.writer, request).await
    }

    /// The next answer; an error if it is one.
    pub(crate) async fn reply(&mut self) -> anyhow::Result<Reply> {
        match receive(&mut self.reader).await? {
            Some(Reply::Error(error)) => anyhow::bail!("{error}"),
            Some(reply) => Ok(reply),
            None => anyhow::bail!("the node has closed the connection: look at what it logs"),
        }
    }

    /// Says that there is nothing more to ask.
    pub(crate) async fn close(mut self) {
        // The node has answered; whether it hears this does not matter.
        let _ = tokio::time::timeout(FAREWELL, self.writer.shutdown()).await;
    }

    /// Asks something that is just done or not.
    pub(crate) async fn ask(&mut self, request: &Request) -> anyhow::Result<()> {
        self.send(request).await?;
        match self.reply().await? {
            Reply::Done => Ok(()),
            other => unexpected(&other),
        }
    }
}

/// What another version may answer.
pub(crate) fn unexpected<R>(reply: &Reply) -> anyhow::Result<R> {
    anyhow::bail!(
        "the node answers what was not asked ({reply:?}): use the same version on both sides"
    )
}
