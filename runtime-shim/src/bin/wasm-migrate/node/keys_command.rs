//! `wasm-migrate keys`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use wasm_migrate_node::keys::{Identity, adopt, issue, make_authority, make_self_signed};
use wasm_migrate_protocol::NodeName;

use crate::terminal::note;

/// Makes and shows the certificates by which nodes and people know each other.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Init(Init),
    Show(Show),
}

/// Makes a certificate and its key for a node or a person: signed by an authority, which is made if it is not there; or by itself,
/// for two machines that pin each other's; or taken from elsewhere.
#[derive(Args)]
struct Init {
    /// Directory that they go into, for --keys.
    directory: PathBuf,
    /// Name of the node or person.
    #[arg(long, required_unless_present = "certificate")]
    name: Option<NodeName>,
    /// Directory of the authority. Keep its key away from nodes.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["self_signed", "certificate"])]
    authority: Option<PathBuf>,
    /// Nobody vouches for it: the others list its fingerprint in their node.toml.
    #[arg(long)]
    self_signed: bool,
    /// Take this chain of certificates (PEM).
    #[arg(
        long,
        value_name = "FILE",
        requires = "key",
        conflicts_with = "self_signed"
    )]
    certificate: Option<PathBuf>,
    /// And its key (PEM).
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
    /// And the authority that vouches for others (PEM).
    #[arg(long, value_name = "FILE", requires = "certificate")]
    ca: Option<PathBuf>,
}

/// Prints name and fingerprint, as node.toml of others lists them.
#[derive(Args)]
struct Show {
    /// Directory of certificate and key.
    directory: PathBuf,
}

pub(crate) fn keys(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command {
        Command::Init(init) => make(init),
        Command::Show(Show { directory }) => {
            let identity = Identity::load(&directory)?;
            println!("name = \"{}\"", identity.name());
            println!("fingerprint = \"{}\"", identity.fingerprint());
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn make(init: Init) -> anyhow::Result<ExitCode> {
    let Init {
        directory,
        name,
        authority,
        self_signed,
        certificate,
        key,
        ca,
    } = init;
    let fingerprint = match (certificate, key, name) {
        (Some(certificate), Some(key), _) => adopt(&directory, &certificate, &key, ca.as_deref())?,
        (_, _, Some(name)) if self_signed => make_self_signed(&directory, &name)?,
        (_, _, Some(name)) => {
            let Some(authority) = authority else {
                anyhow::bail!(
                    "who vouches for it? Give --authority DIR (made if it is not there) or --self-signed"
                );
            };
            if !authority.join("ca.pem").exists() {
                let called = NodeName::new("authority")?;
                make_authority(&authority, &called)?;
                note(format_args!(
                    "made an authority in `{}`: whoever has ca-key.pem can be any node",
                    authority.display()
                ));
            }
            issue(&authority, &name, &directory)?
        }
        _ => anyhow::bail!("give --name, or --certificate and --key"),
    };
    note(format_args!(
        "made `{}` with the fingerprint {fingerprint}",
        directory.display()
    ));
    Ok(ExitCode::SUCCESS)
}
