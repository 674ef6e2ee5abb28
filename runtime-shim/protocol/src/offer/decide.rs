//! The destination's decision on an offer, as one pure function.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Acceptance, Compression, DirectoryNeed, Mode, ModuleNeed, Offer, Processor, Refusal, Variant,
};
use crate::ids::{Digest, Epoch, PAGE_BYTES};
use crate::ownership::{Record, may_arrive};

/// Memories that a guest may have: what WebAssembly's engines allow.
const MEMORIES_MAX: usize = 100;

/// Where engines run relaxed vector operators otherwise, also when they are to run them as everywhere (wasmtime 48).
const DIFFERENT_RELAXED: &str = "riscv64";

/// What a destination can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Name and version of the engine.
    pub engine: String,
    /// Version of the contract between module and host.
    pub contract: u32,
    /// Features beyond WebAssembly 1.0 that the engine has.
    pub features: BTreeSet<String>,
    /// What guests are compiled for here.
    pub processor: Processor,
    /// Can pages follow a running guest? If not, why.
    pub post_copy: Result<(), String>,
    /// Bytes of a page of the kernel.
    pub kernel_page_bytes: u32,
    /// States of the host by name, with the newest version that is read: (major, minor).
    pub sections: BTreeMap<String, (u16, u16)>,
    /// Directories by the guest's name; is writing allowed?
    pub directories: BTreeMap<String, bool>,
    /// Bytes of values that a guest's stack may hold, if there is an estimate.
    pub stack_bytes: Option<u64>,
    /// Compressions that it reads, best first; `None` need not be said.
    pub compressions: Vec<Compression>,
}

/// What a destination allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Digests of original modules; all if there is no list.
    pub modules: Option<BTreeSet<Digest>>,
    /// Bytes of a guest's memories together.
    pub memory_limit_bytes: u64,
    /// Bytes of a guest's state without memory.
    pub state_limit_bytes: u64,
    /// Bytes of a migratized module.
    pub module_limit_bytes: u64,
    /// Jobs at once.
    pub job_limit: u32,
}

/// What a destination has at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Situation {
    /// Jobs that run or arrive.
    pub jobs: u32,
    /// Is this very job being moved?
    pub is_busy: bool,
    /// What this job's journal says, if there is one.
    pub record: Option<Record>,
    /// Modules in store.
    pub modules: Vec<StoredModule>,
}

/// A module in a destination's store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredModule {
    /// Digest of the original module.
    pub original: Digest,
    /// What the store knows of this variant.
    pub variant: Variant,
    /// Version of the contract that it speaks.
    pub contract: u32,
    /// Is there compiled code for it?
    pub is_compiled: bool,
}

/// Does the destination take the guest, and what does it need?
///
/// # Errors
/// It does not: the first reason found, cheap and general ones first.
pub fn decide(
    offer: &Offer,
    epoch: Epoch,
    capabilities: &Capabilities,
    policy: &Policy,
    situation: &Situation,
) -> Result<Acceptance, Refusal> {
    check_situation(epoch, policy, situation)?;
    check_sizes(offer, policy)?;
    let (module, variant) = choose_module(offer, capabilities, policy, situation)?;
    check_host(offer, capabilities)?;
    let warnings = check_processor(offer, variant, &capabilities.processor)?;
    if let (Mode::Post | Mode::Hybrid, Err(reason)) = (offer.mode, &capabilities.post_copy) {
        return Err(Refusal::PostCopy {
            reason: reason.clone(),
        });
    }
    let readable = |compression: &Compression| capabilities.compressions.contains(compression);
    Ok(Acceptance {
        module,
        post_copy: capabilities.post_copy.clone(),
        kernel_page_bytes: capabilities.kernel_page_bytes,
        compressions: offer
            .compressions
            .iter()
            .copied()
            .filter(readable)
            .collect(),
        memory_limit_bytes: policy.memory_limit_bytes,
        engine: capabilities.engine.clone(),
        processor: capabilities.processor.clone(),
        warnings,
    })
}

fn check_situation(epoch: Epoch, policy: &Policy, situation: &Situation) -> Result<(), Refusal> {
    if situation.is_busy {
        return Err(Refusal::Busy);
    }
    may_arrive(situation.record.as_ref(), epoch)?;
    if situation.jobs >= policy.job_limit {
        return Err(Refusal::TooManyJobs {
            running: situation.jobs,
            limit: policy.job_limit,
        });
    }
    Ok(())
}

fn check_sizes(offer: &Offer, policy: &Policy) -> Result<(), Refusal> {
    if offer.memories.len() > MEMORIES_MAX {
        return Err(Refusal::Malformed(format!(
            "{} memories, of at most {MEMORIES_MAX}",
            offer.memories.len()
        )));
    }
    let mut bytes = 0u64;
    for memory in &offer.memories {
        if memory.maximum_bytes.is_some_and(|most| most < memory.bytes) {
            return Err(Refusal::Malformed(format!(
                "a memory of {} bytes that may not have as many",
                memory.bytes
            )));
        }
        let whole_pages = memory.bytes.checked_next_multiple_of(PAGE_BYTES);
        bytes = bytes.saturating_add(whole_pages.unwrap_or(u64::MAX));
    }
    if bytes > policy.memory_limit_bytes {
        return Err(Refusal::TooMuchMemory {
            bytes,
            limit: policy.memory_limit_bytes,
        });
    }
    if offer.state_bytes > policy.state_limit_bytes {
        return Err(Refusal::TooMuchState {
            bytes: offer.state_bytes,
            limit: policy.state_limit_bytes,
        });
    }
    Ok(())
}

/// The variant that will run: one in store, compiled if possible, before one that must be sent.
fn choose_module<'a>(
    offer: &'a Offer,
    capabilities: &Capabilities,
    policy: &Policy,
    situation: &'a Situation,
) -> Result<(ModuleNeed, &'a Variant), Refusal> {
    let module = &offer.module;
    if let Some(allowed) = &policy.modules
        && !allowed.contains(&module.original)
    {
        return Err(Refusal::ModuleNotAllowed {
            original: module.original,
        });
    }
    let missing = |variant: &Variant| -> Vec<String> {
        let needed = variant.features.iter();
        let lacks = |feature: &&String| !capabilities.features.contains(*feature);
        needed.filter(lacks).cloned().collect()
    };
    let is_offered = |digest| module.variants.iter().any(|sent| sent.digest == digest);
    let stored = situation.modules.iter().filter(|stored| {
        stored.original == module.original
            && stored.contract == capabilities.contract
            && missing(&stored.variant).is_empty()
    });
    // Among equals, the one that the source has as well: that its state fits is certain.
    let best = stored.max_by_key(|stored| (is_offered(stored.variant.digest), stored.is_compiled));
    if let Some(stored) = best {
        let variant = &stored.variant;
        return Ok((ModuleNeed::Nothing(variant.digest), variant));
    }
    if module.contract != capabilities.contract {
        return Err(Refusal::Contract {
            offered: module.contract,
            supported: capabilities.contract,
        });
    }
    let lacks = module
        .variants
        .iter()
        .map(|variant| (missing(variant), variant));
    let (lack, variant) = lacks
        .min_by_key(|(lack, _)| lack.len())
        .ok_or_else(|| Refusal::Malformed("no variant of the module".to_owned()))?;
    if !lack.is_empty() {
        return Err(Refusal::Features {
            engine: capabilities.engine.clone(),
            missing: lack,
        });
    }
    if variant.bytes > policy.module_limit_bytes {
        return Err(Refusal::TooLargeModule {
            bytes: variant.bytes,
            limit: policy.module_limit_bytes,
        });
    }
    Ok((ModuleNeed::Send(variant.digest), variant))
}

fn check_host(offer: &Offer, capabilities: &Capabilities) -> Result<(), Refusal> {
    for section in &offer.sections {
        let supported = capabilities.sections.get(&section.name).copied();
        let is_readable = supported
            .is_some_and(|(major, minor)| section.major == major && section.minor <= minor);
        if section.is_required && !is_readable {
            return Err(Refusal::Section {
                name: section.name.clone(),
                offered: (section.major, section.minor),
                supported,
            });
        }
    }
    for DirectoryNeed { guest, is_written } in &offer.directories {
        let is_writable = capabilities.directories.get(guest);
        let is_read_only = is_writable == Some(&false);
        if is_writable.is_none() || is_read_only && *is_written {
            return Err(Refusal::Directory {
                guest: guest.clone(),
                is_read_only,
            });
        }
    }
    match capabilities.stack_bytes {
        Some(limit) if offer.stack.bytes > limit => Err(Refusal::Stack {
            bytes: offer.stack.bytes,
            limit,
        }),
        _ => Ok(()),
    }
}

/// What the guest could notice of another processor. What matters to few guests is a warning.
fn check_processor(
    offer: &Offer,
    variant: &Variant,
    here: &Processor,
) -> Result<Vec<String>, Refusal> {
    let there = &offer.processor;
    let is_same_processor = there.architecture == here.architecture
        && there.fused_multiply_add == here.fused_multiply_add;
    // A guest that was started deterministic goes on so: the destination compiles it like that.
    let is_alike = there.deterministic_relaxed_simd
        && there.architecture != DIFFERENT_RELAXED
        && here.architecture != DIFFERENT_RELAXED;
    if variant.is_relaxed && !is_alike && !is_same_processor {
        return Err(Refusal::RelaxedSimd {
            source: there.architecture.clone(),
            destination: here.architecture.clone(),
        });
    }
    let mut warnings = Vec::new();
    if variant.makes_nans && !there.canonical_nans && there.architecture != here.architecture {
        warnings.push(format!(
            "the guest computes with floats and moves from {} to {}: the bits of NaNs may differ; start it with \
             `--canonicalize-nans` if that matters",
            there.architecture, here.architecture
        ));
    }
    Ok(warnings)
}
