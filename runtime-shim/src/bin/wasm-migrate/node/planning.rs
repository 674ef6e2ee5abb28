//! What it would cost to move a job, before anything of it is sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use wasm_migrate_protocol::convergence::Goals;
use wasm_migrate_protocol::link::LinkEstimate;
use wasm_migrate_protocol::plan::{PlanInput, choose, predict, switch_in};
use wasm_migrate_protocol::working_set::WorkingSet;

use super::Node;
use super::guest_pages::GuestPages;
use super::requests::{MoveOrder, PIECE_BYTES, Plan, Reply, Request, receive, send};

/// Bytes are sent for so long to measure a link.
const MEASURED_TIME: Duration = Duration::from_millis(500);
/// At least and at most so many pieces.
const PIECES: std::ops::Range<u32> = 4..256;

/// What is known of the way to another node.
struct Measured {
    round_trip: Duration,
    bytes_per_second: f64,
    can_post_copy: bool,
    has_module: bool,
}

pub(crate) async fn plan(node: &Arc<Node>, order: &MoveOrder) -> anyhow::Result<Plan> {
    let job = node.job(&order.job)?;
    let guest = job
        .guest()
        .with_context(|| format!("job {} does not run here", job.id))?;
    if node.is_moving(&job.id) {
        anyhow::bail!("job {} is being moved", job.id);
    }
    let measured = measure(node, order, job.about.module).await?;
    let variant_bytes = job.compiled.variant.bytes;
    let sample = tokio::task::block_in_place(|| {
        let claim = job.claim()?;
        GuestPages::new(claim, guest).measure()
    })?;
    let bytes_per_second = order
        .bytes_per_second
        .map_or(measured.bytes_per_second, |limit| {
            limit.min(measured.bytes_per_second)
        });
    let mut link = LinkEstimate::default();
    link.saw_round_trip(measured.round_trip);
    link.heard_bandwidth(bytes_per_second);
    let input = PlanInput {
        guest: sample,
        link,
        module_bytes: if measured.has_module {
            0
        } else {
            variant_bytes
        },
        compile_time: Duration::ZERO,
        goals: Goals {
            downtime_target: order.downtime_target,
            switch: switch_in(order.mode, measured.can_post_copy),
            may_throttle: order.auto_converge,
            most_rounds: node.source_config.most_rounds,
            fixed_pause: node.source_config.fixed_pause,
        },
        can_post_copy: measured.can_post_copy,
    };
    let predictions = predict(&input);
    Ok(Plan {
        round_trip: measured.round_trip,
        bytes_per_second,
        touched_pages: input.guest.touched_pages,
        dirty_pages_per_second: WorkingSet::new(&input.guest).pages_per_second(),
        packed_page_bytes: input.guest.packed_page_bytes,
        chosen: choose(&predictions).map(|best| best.mode),
        predictions,
    })
}

/// Sends bytes without meaning to the other node.
async fn measure(
    node: &Node,
    order: &MoveOrder,
    module: wasm_migrate_protocol::Digest,
) -> anyhow::Result<Measured> {
    let stream = node.command_to(&order.to, order.address.as_deref()).await?;
    let (mut reader, mut writer) = stream.into_split();
    let began = Instant::now();
    send(&mut writer, &Request::Measure { module }).await?;
    send(&mut writer, &Request::Piece(Vec::new())).await?;
    let reply = receive(&mut reader).await?;
    let round_trip = began.elapsed();
    let Some(Reply::Measured {
        post_copy,
        has_module,
    }) = reply
    else {
        anyhow::bail!(
            "node {} does not let itself be measured: {reply:?}",
            order.to
        );
    };
    let mut noise = vec![0; PIECE_BYTES];
    getrandom::fill(&mut noise).map_err(std::io::Error::from)?;
    let began = Instant::now();
    send(&mut writer, &Request::Measure { module }).await?;
    let mut pieces = 0;
    while pieces < PIECES.start || pieces < PIECES.end && began.elapsed() < MEASURED_TIME {
        send(&mut writer, &Request::Piece(noise.clone())).await?;
        pieces += 1;
    }
    send(&mut writer, &Request::Piece(Vec::new())).await?;
    receive::<Reply>(&mut reader).await?;
    let time = began.elapsed().saturating_sub(round_trip);
    let bytes = f64::from(pieces) * PIECE_BYTES as f64;
    Ok(Measured {
        round_trip,
        bytes_per_second: bytes / time.as_secs_f64().max(1e-6),
        can_post_copy: post_copy.is_ok(),
        has_module,
    })
}
