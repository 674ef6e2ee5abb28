//! What a source offers of its job, and what a destination answers.

use std::collections::BTreeMap;

use wasm_migrate::live::{LiveGuest, MissingPages};
use wasm_migrate::wasi::WasiBuilder;
use wasm_migrate::{HostState, abi};
use wasm_migrate_protocol::Epoch;
use wasm_migrate_protocol::offer::{
    Acceptance, Capabilities, Compression, DirectoryNeed, MemoryOffer, ModuleOffer, Offer, Policy,
    Processor as OfferedProcessor, Refusal, SectionVersion, Situation, StackHint, StoredModule,
    decide,
};
use wasm_migrate_protocol::ownership::Record;

use super::Node;
use super::compiled::{Compiled, engine_features};
use super::job::Job;
use super::source::Wishes;
use super::streams;
use crate::launch::Launch;
use crate::module::MODULE_BYTES_MAX;
use crate::portability::{PortabilityOptions, Processor};

/// Compressions that are read here, best first.
pub(crate) const COMPRESSIONS: [Compression; 2] = [Compression::Zstd, Compression::Lz4];

/// The engine, as others are told.
const ENGINE: &str = "wasmtime 48";

/// What is said of a job that is to move.
pub(crate) fn offer(
    node: &Node,
    job: &Job,
    guest: &LiveGuest,
    wishes: &Wishes,
) -> anyhow::Result<Offer> {
    let sizes = guest.status().memories;
    let maxima = maxima(&job.compiled);
    let memories = sizes.iter().enumerate().map(|(index, size)| MemoryOffer {
        bytes: size.bytes(),
        maximum_bytes: maxima.get(index).copied().flatten(),
    });
    let directories = job.about.launch.dirs.iter().map(|directory| DirectoryNeed {
        guest: directory.guest.clone(),
        is_written: true,
    });
    Ok(Offer {
        job: job.id.clone(),
        source: node.name.clone(),
        mode: wishes.config.mode,
        module: ModuleOffer {
            original: job.compiled.original(),
            contract: abi::ABI_VERSION,
            variants: vec![job.compiled.variant.clone()],
        },
        memories: memories.collect(),
        sections: sections(),
        directories: directories.collect(),
        engine: ENGINE.to_owned(),
        processor: offered(&job.compiled.processor),
        stack: StackHint::default(),
        state_bytes: 0,
        compressions: wishes.compressions.clone(),
        port: node.port,
    })
}

/// Does this node take a job?
pub(crate) fn answer(
    node: &Node,
    offer: &Offer,
    epoch: Epoch,
    record: Option<Record>,
) -> Result<Acceptance, Refusal> {
    let (jobs, used_bytes) = node.load();
    let limits = &node.hosting.policy.limits;
    let memory = limits.memory.unwrap_or_else(physical_memory);
    let policy = Policy {
        modules: limits.modules.clone(),
        memory_limit_bytes: memory.saturating_sub(used_bytes),
        state_limit_bytes: node.destination_config.state_limit_bytes,
        module_limit_bytes: MODULE_BYTES_MAX,
        job_limit: limits.jobs.unwrap_or(u32::MAX),
    };
    let situation = Situation {
        jobs,
        is_busy: node.is_moving(&offer.job),
        record,
        modules: node
            .modules_in_store()
            .into_iter()
            .map(|compiled| StoredModule {
                original: compiled.original(),
                variant: compiled.variant.clone(),
                contract: abi::ABI_VERSION,
                is_compiled: true,
            })
            .collect(),
    };
    // It is compiled as the guest needs it.
    let wanted = PortabilityOptions {
        canonicalize_nans: offer.processor.canonical_nans,
        deterministic_relaxed_simd: offer.processor.deterministic_relaxed_simd,
    };
    let directories = node.hosting.policy.directories.iter();
    let capabilities = Capabilities {
        engine: ENGINE.to_owned(),
        contract: abi::ABI_VERSION,
        features: engine_features(),
        processor: offered(&Processor::here(wanted)),
        post_copy: MissingPages::supported().map_err(|error| error.to_string()),
        kernel_page_bytes: u32::try_from(rustix::param::page_size()).unwrap_or(u32::MAX),
        sections: sections()
            .into_iter()
            .map(|section| (section.name, (section.major, section.minor)))
            .collect::<BTreeMap<_, _>>(),
        directories: directories
            .map(|(guest, directory)| (guest.clone(), directory.write))
            .collect(),
        stack_bytes: None,
        compressions: COMPRESSIONS.to_vec(),
    };
    decide(offer, epoch, &capabilities, &policy, &situation)
}

/// The states that go along with a job.
fn sections() -> Vec<SectionVersion> {
    let launch = Launch::default();
    let wasi = WasiBuilder::new().build();
    let section = |state: &dyn HostState| SectionVersion {
        name: state.name().to_owned(),
        major: state.version().major,
        minor: state.version().minor,
        is_required: true,
    };
    vec![
        section(&launch),
        section(&wasi),
        SectionVersion {
            name: streams::SECTION.to_owned(),
            major: streams::VERSION.major,
            minor: streams::VERSION.minor,
            is_required: true,
        },
    ]
}

fn offered(processor: &Processor) -> OfferedProcessor {
    OfferedProcessor {
        architecture: processor.architecture.clone(),
        fused_multiply_add: processor.fused_multiply_add,
        canonical_nans: processor.canonical_nans,
        deterministic_relaxed_simd: processor.deterministic_relaxed_simd,
    }
}

/// Bytes that each memory may have, where its type says so.
fn maxima(compiled: &Compiled) -> Vec<Option<u64>> {
    let module = compiled.guest.module();
    let memory = |index: usize| {
        let export = module.get_export(&format!("{}{index}", abi::MEMORY))?;
        let memory = export.memory()?.clone();
        let pages = memory.maximum();
        Some(pages.map(|pages| pages.saturating_mul(memory.page_size())))
    };
    (0..).map_while(memory).collect()
}

/// Memory of this machine.
fn physical_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| {
        let kilobytes = line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?;
        kilobytes.trim().parse::<u64>().ok()
    });
    total.map_or(4 << 30, |kilobytes| kilobytes << 10)
}
