//! `wasm-migrate move` and `plan`.

use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::json;
use wasm_migrate_protocol::offer::{Compression, Mode};
use wasm_migrate_protocol::progress::{Phase, Progress};
use wasm_migrate_protocol::{JobId, NodeName, PAGE_BYTES};

use super::client::{NodeOptions, runtime, unexpected};
use super::offers::COMPRESSIONS;
use super::requests::{MoveOrder, Plan, Reply, Request};
use crate::options::{bytes, duration};
use crate::terminal::{is_quiet, note};

/// Which job, where to, and how.
#[derive(Args)]
struct Order {
    /// The job.
    job: JobId,
    /// The node that it is to move to, as its certificate names it; with @HOST:PORT if the job's node does not know where that is.
    #[arg(value_name = "NODE[@HOST:PORT]")]
    to: String,
    /// How it moves.
    #[arg(long, value_name = "MODE", default_value = "auto")]
    mode: ModeOption,
    /// How long the job may stand still, if that can be had.
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = duration)]
    downtime_target: Duration,
    /// Bytes a second at most; K, M and G are understood.
    #[arg(long, value_name = "SIZE", value_parser = bytes)]
    bandwidth: Option<u64>,
    /// How pages are compressed.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    compress: CompressOption,
    /// Slow the job down if it writes faster than the link takes.
    #[arg(long)]
    auto_converge: bool,
    /// Print JSON: an event a line, the last with the outcome.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    node: NodeOptions,
}

/// Moves a job to another node while it runs.
#[derive(Args)]
pub(crate) struct MoveArguments {
    #[command(flatten)]
    order: Order,
}

/// Says what moving a job would cost, without moving it.
#[derive(Args)]
pub(crate) struct PlanArguments {
    #[command(flatten)]
    order: Order,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum ModeOption {
    /// It stops, all goes, it runs
    Stop,
    /// Its memory goes while it runs, then it stops for the rest
    Pre,
    /// It stops, all but its memory goes, it runs, and its memory follows
    Post,
    /// As pre; pages follow if that is sooner
    Hybrid,
    /// What fits job and link best
    Auto,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum CompressOption {
    /// As hard as pays on the link
    Auto,
    Lz4,
    Zstd,
    None,
}

impl Order {
    fn order(&self) -> anyhow::Result<MoveOrder> {
        let (to, address) = match self.to.split_once('@') {
            Some((name, address)) => (name, Some(address.to_owned())),
            None => (self.to.as_str(), None),
        };
        Ok(MoveOrder {
            job: self.job.clone(),
            to: NodeName::new(to)?,
            address,
            mode: match self.mode {
                ModeOption::Stop => Mode::Stop,
                ModeOption::Pre => Mode::Pre,
                ModeOption::Post => Mode::Post,
                ModeOption::Hybrid => Mode::Hybrid,
                ModeOption::Auto => Mode::Auto,
            },
            downtime_target: self.downtime_target,
            bytes_per_second: self.bandwidth.map(|bandwidth| bandwidth as f64),
            compressions: match self.compress {
                CompressOption::Auto => COMPRESSIONS.to_vec(),
                CompressOption::Lz4 => vec![Compression::Lz4],
                CompressOption::Zstd => vec![Compression::Zstd],
                CompressOption::None => Vec::new(),
            },
            auto_converge: self.auto_converge,
        })
    }
}

pub(crate) fn migrate(arguments: &MoveArguments) -> anyhow::Result<ExitCode> {
    let MoveArguments { order } = arguments;
    runtime()?.block_on(async {
        let mut connection = order.node.connect().await?;
        connection.send(&Request::Move(order.order()?)).await?;
        let bar = Bar::new(order.json);
        let mut last = None;
        loop {
            match connection.reply().await? {
                Reply::Progress(progress) => {
                    match order.json {
                        true => event(&json!({"event": "progress", "progress": progress}))?,
                        false => bar.show(&progress),
                    }
                    last = Some(progress);
                }
                Reply::Moved => {
                    connection.close().await;
                    bar.clear();
                    match order.json {
                        true => event(&json!({"event": "moved"}))?,
                        false => note(format_args!("{}", summary(&order.job, &order.to, last))),
                    }
                    return Ok(ExitCode::SUCCESS);
                }
                Reply::Stayed(reason) => {
                    bar.clear();
                    if order.json {
                        event(&json!({"event": "stayed", "reason": reason}))?;
                    }
                    anyhow::bail!("job {} stays where it is: {reason}", order.job);
                }
                other => return unexpected(&other),
            }
        }
    })
}

fn event(event: &serde_json::Value) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{event}")?;
    out.flush()?;
    Ok(())
}

fn summary(job: &JobId, to: &str, last: Option<Progress>) -> String {
    let mut text = format!("job {job} has moved to {to}");
    if let Some(progress) = last {
        let bytes = HumanBytes(progress.bytes_sent);
        text += &format!(
            " ({}, {bytes} in {} rounds",
            format!("{:?}", progress.mode).to_lowercase(),
            progress.round
        );
        if let Some(downtime) = progress.downtime {
            text += &format!(", stood still for {:.1} ms", downtime.as_secs_f64() * 1e3);
        }
        text += ")";
    }
    text
}

/// Progress on a terminal.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new(is_json: bool) -> Self {
        let is_shown = !is_json && !is_quiet() && std::io::stderr().is_terminal();
        let bar = is_shown.then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}");
            ProgressBar::new_spinner().with_style(style.expect("the template is right"))
        });
        Self(bar)
    }

    fn show(&self, progress: &Progress) {
        let Some(bar) = &self.0 else { return };
        let phase = match progress.phase {
            Phase::Connecting => "connecting",
            Phase::Offering => "offering",
            Phase::Module => "sending the module",
            Phase::Copying => "copying",
            Phase::Stopped => "stopped",
            Phase::Committing => "committing",
            Phase::Pushing => "pages follow",
            Phase::Settling => "settling",
            Phase::Finished => "finished",
        };
        let mut text = format!(
            "{phase}: round {}, {} sent, {} left",
            progress.round,
            HumanBytes(progress.bytes_sent),
            HumanBytes(progress.pages_remaining * PAGE_BYTES)
        );
        if let Some(rate) = progress.dirty_pages_per_second {
            text += &format!(", {rate:.0} pages/s written");
        }
        if let Some(bandwidth) = progress.bandwidth_bytes_per_second {
            text += &format!(", {}/s", HumanBytes(bandwidth as u64));
        }
        if let Some(time) = progress.time_remaining {
            text += &format!(", {:.1} s to go", time.as_secs_f64());
        }
        bar.set_message(text);
        bar.tick();
    }

    fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

pub(crate) fn plan(arguments: &PlanArguments) -> anyhow::Result<ExitCode> {
    let PlanArguments { order } = arguments;
    let plan = runtime()?.block_on(async {
        let mut connection = order.node.connect().await?;
        connection.send(&Request::Plan(order.order()?)).await?;
        match connection.reply().await? {
            Reply::Plan(plan) => {
                connection.close().await;
                Ok(plan)
            }
            other => unexpected(&other),
        }
    })?;
    let mut out = std::io::stdout().lock();
    if order.json {
        serde_json::to_writer_pretty(&mut out, &plan)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    print_plan(&plan, &mut out).context("the plan cannot be printed")?;
    Ok(ExitCode::SUCCESS)
}

fn print_plan(plan: &Plan, out: &mut impl std::io::Write) -> std::io::Result<()> {
    let Plan {
        round_trip,
        bytes_per_second,
        touched_pages,
        dirty_pages_per_second,
        packed_page_bytes,
        predictions,
        chosen,
    } = plan;
    writeln!(
        out,
        "link      {}/s, round trip {:.1} ms",
        HumanBytes(*bytes_per_second as u64),
        round_trip.as_secs_f64() * 1e3
    )?;
    writeln!(
        out,
        "job       {} in pages that are not zero, {packed_page_bytes:.0} bytes a page packed",
        HumanBytes(touched_pages * PAGE_BYTES)
    )?;
    if let Some(rate) = dirty_pages_per_second {
        writeln!(out, "          writes {rate:.0} pages/s anew")?;
    }
    writeln!(
        out,
        "{:<8} {:>12} {:>7} {:>10} {:>12}",
        "MODE", "BYTES", "ROUNDS", "TOTAL", "DOWNTIME"
    )?;
    for prediction in predictions {
        let is_chosen = *chosen == Some(prediction.mode);
        writeln!(
            out,
            "{:<8} {:>12} {:>7} {:>8.2} s {:>9.1} ms{}{}",
            format!("{:?}", prediction.mode).to_lowercase(),
            HumanBytes(prediction.bytes as u64).to_string(),
            prediction.rounds,
            prediction.total.as_secs_f64(),
            prediction.downtime.as_secs_f64() * 1e3,
            if prediction.meets_target {
                ""
            } else {
                "  longer than the target"
            },
            if is_chosen { "  <- auto" } else { "" }
        )?;
    }
    Ok(())
}
