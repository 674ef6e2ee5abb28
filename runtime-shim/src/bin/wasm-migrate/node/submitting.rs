//! Starts jobs.

use std::sync::Arc;

use anyhow::Context as _;
use tokio::io::{AsyncRead, AsyncWrite};
use wasm_migrate_protocol::Epoch;
use wasm_migrate_protocol::ownership::{Holding, Ownership as _, Record};

use super::Node;
use super::directory;
use super::job::{About, Job, Place};
use super::requests::{Reply, Request, Submission, receive, send};
use super::streams::Streams;
use crate::launch::{Directory, Launch};
use crate::module::MODULE_BYTES_MAX;

/// Takes a program and starts it.
pub(crate) async fn submit(
    node: &Arc<Node>,
    submission: Submission,
    reader: &mut (dyn AsyncRead + Send + Unpin),
    writer: &mut (dyn AsyncWrite + Send + Unpin),
) -> anyhow::Result<()> {
    let known = (&node.journals).load(&submission.job)?;
    if known.is_some() || node.is_moving(&submission.job) {
        anyhow::bail!(
            "there is, or was, a job `{}` on this node: choose another name",
            submission.job
        );
    }
    let limits = &node.hosting.policy.limits;
    let (jobs, used) = node.load();
    if let Some(limit) = limits.jobs.filter(|limit| jobs >= *limit) {
        anyhow::bail!("{jobs} jobs run here, {limit} are allowed");
    }
    if let Some(limit) = limits.memory.filter(|limit| used >= *limit) {
        anyhow::bail!("jobs have {used} bytes of memory here, {limit} are allowed");
    }
    let path = node.hosting.directory.module(submission.module);
    if !path.exists() {
        send(writer, &Reply::SendModule).await?;
        let wasm = take_module(reader).await?;
        if *blake3::hash(&wasm).as_bytes() != submission.module.0 {
            anyhow::bail!("the module that came is not the one that was announced");
        }
        tokio::task::block_in_place(|| directory::write_whole(&path, &wasm))?;
    }
    tokio::task::block_in_place(|| start(node, submission))?;
    send(writer, &Reply::Done).await
}

async fn take_module(reader: &mut (dyn AsyncRead + Send + Unpin)) -> anyhow::Result<Vec<u8>> {
    let mut wasm = Vec::new();
    loop {
        match receive(reader).await? {
            Some(Request::Piece(piece)) if piece.is_empty() => return Ok(wasm),
            Some(Request::Piece(piece)) => {
                if (wasm.len() + piece.len()) as u64 > MODULE_BYTES_MAX {
                    anyhow::bail!("the module is larger than any may be");
                }
                wasm.extend(piece);
            }
            _ => anyhow::bail!("the module was expected"),
        }
    }
}

fn start(node: &Arc<Node>, submission: Submission) -> anyhow::Result<()> {
    let Submission {
        job: id,
        module,
        args,
        env,
        dirs,
        canonicalize_nans,
        deterministic_relaxed_simd,
        wants_input,
    } = submission;
    let mut about = About {
        module,
        launch: Launch::default(),
        canonicalize_nans,
        deterministic_relaxed_simd,
        wants_input,
    };
    let compiled = node.compile(module, about.portability())?;
    if !node.hosting.policy.allows_module(compiled.original()) {
        anyhow::bail!(
            "jobs of the module {} may not run here: node.toml lists those that may, below [limits]",
            compiled.original()
        );
    }
    let last = "_start".to_owned();
    if compiled.guest.module().get_export(&last).is_none() {
        anyhow::bail!("the module exports no function `_start`: jobs are WASI commands");
    }
    about.launch = Launch {
        entries: Launch::entries_of(compiled.guest.module(), last),
        prints_results: false,
        dirs: dirs
            .into_iter()
            .map(|guest| Directory {
                host: String::new(),
                guest,
            })
            .collect(),
        args,
        env,
    };
    let directory = node.hosting.directory.job(&id);
    directory::write_json(&node.hosting.directory.about(&id), &about)?;
    let (streams, _) = Streams::new(&directory)?;
    let job = Job::new(id.clone(), about, compiled, streams, Place::Dropped);
    let record = Record {
        epoch: Epoch(1),
        holding: Holding::Owned { arrival: None },
    };
    let mut journals = &node.journals;
    journals
        .compare_and_set(&id, None, &record)
        .context("the job cannot be owned")?;
    node.jobs().insert(id.clone(), Arc::clone(&job));
    if let Err(error) = job.start(&node.hosting) {
        // It has never run, and the name can be used again.
        node.forget_job(&id, &job);
        std::fs::remove_dir_all(&directory)?;
        return Err(error);
    }
    Ok(())
}
