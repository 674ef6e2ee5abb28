//! Every reason to refuse, and what is sent otherwise.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::ids::{Epoch, MigrationId};
use crate::ownership::{Holding, Record, Transfer};

const OFFERED: Epoch = Epoch(5);

fn digest(byte: u8) -> Digest {
    Digest([byte; 32])
}

fn variant(byte: u8, features: &[&str]) -> Variant {
    Variant {
        digest: digest(byte),
        bytes: 1000,
        features: features.iter().map(|&feature| feature.to_owned()).collect(),
        makes_nans: true,
        is_relaxed: false,
    }
}

fn processor(architecture: &str) -> Processor {
    Processor {
        architecture: architecture.to_owned(),
        fused_multiply_add: true,
        canonical_nans: false,
        deterministic_relaxed_simd: false,
    }
}

/// An offer, and a destination that takes it.
struct Case {
    offer: Offer,
    capabilities: Capabilities,
    policy: Policy,
    situation: Situation,
}

impl Case {
    fn new() -> Self {
        Self {
            offer: Offer {
                job: JobId::new("life").unwrap(),
                source: NodeName::new("a").unwrap(),
                mode: Mode::Auto,
                module: ModuleOffer {
                    original: digest(1),
                    contract: 2,
                    variants: vec![variant(10, &["simd"]), variant(11, &[])],
                },
                memories: vec![MemoryOffer {
                    bytes: 3 << 16,
                    maximum_bytes: Some(1 << 20),
                }],
                sections: vec![SectionVersion {
                    name: "wasi".to_owned(),
                    major: 1,
                    minor: 2,
                    is_required: true,
                }],
                directories: vec![DirectoryNeed {
                    guest: "/data".to_owned(),
                    is_written: true,
                }],
                engine: "wasmtime 48".to_owned(),
                processor: processor("x86_64"),
                stack: StackHint {
                    frames: 10,
                    bytes: 1000,
                },
                state_bytes: 5000,
                compressions: vec![Compression::Zstd, Compression::Lz4],
                port: 7333,
            },
            capabilities: Capabilities {
                engine: "wasmtime 48".to_owned(),
                contract: 2,
                features: BTreeSet::from(["simd".to_owned()]),
                processor: processor("x86_64"),
                post_copy: Ok(()),
                kernel_page_bytes: 4096,
                sections: BTreeMap::from([("wasi".to_owned(), (1, 3))]),
                directories: BTreeMap::from([("/data".to_owned(), true)]),
                stack_bytes: Some(10_000),
                compressions: vec![Compression::Lz4],
            },
            policy: Policy {
                modules: None,
                memory_limit_bytes: 1 << 20,
                state_limit_bytes: 10_000,
                module_limit_bytes: 10_000,
                job_limit: 3,
            },
            situation: Situation::default(),
        }
    }

    fn decide(&self) -> Result<Acceptance, Refusal> {
        decide(
            &self.offer,
            OFFERED,
            &self.capabilities,
            &self.policy,
            &self.situation,
        )
    }

    /// The refusal after a change.
    fn refused(change: impl FnOnce(&mut Self)) -> Refusal {
        let mut case = Self::new();
        change(&mut case);
        let refusal = case.decide().expect_err("it is taken");
        let text = refusal.to_string();
        assert!(text.contains(": ") && text.len() > 40, "{text}");
        refusal
    }

    fn accepted(change: impl FnOnce(&mut Self)) -> Acceptance {
        let mut case = Self::new();
        change(&mut case);
        case.decide().expect("it is refused")
    }

    fn store(&mut self, byte: u8, features: &[&str], is_compiled: bool) {
        self.situation.modules.push(StoredModule {
            original: digest(1),
            variant: variant(byte, features),
            contract: 2,
            is_compiled,
        });
    }

    fn record(&mut self, epoch: u64, holding: fn(Transfer) -> Holding) {
        self.situation.record = Some(Record {
            epoch: Epoch(epoch),
            holding: holding(Transfer {
                migration: MigrationId([0; 16]),
                peer: NodeName::new("c").unwrap(),
            }),
        });
    }
}

#[test]
fn what_is_missing_is_sent() {
    let accepted = Case::accepted(|_| {});
    assert_eq!(accepted.module, ModuleNeed::Send(digest(10)));
    assert_eq!(accepted.compressions, [Compression::Lz4]);
    assert_eq!(accepted.warnings, [""; 0]);
    // An engine with fewer features gets the variant that it can run.
    let plain = Case::accepted(|case| case.capabilities.features.clear());
    assert_eq!(plain.module, ModuleNeed::Send(digest(11)));
}

#[test]
fn what_is_in_store_is_not_sent() {
    let accepted = Case::accepted(|case| case.store(11, &[], false));
    assert_eq!(accepted.module, ModuleNeed::Nothing(digest(11)));
    // One that the source has comes before one that it has not, and a compiled one before one that is not.
    let accepted = Case::accepted(|case| {
        case.store(12, &[], true);
        case.store(11, &[], false);
        case.store(10, &["simd"], true);
    });
    assert_eq!(accepted.module, ModuleNeed::Nothing(digest(10)));
    // What this engine cannot run is of no use.
    let accepted = Case::accepted(|case| case.store(12, &["gc"], true));
    assert_eq!(accepted.module, ModuleNeed::Send(digest(10)));
}

#[test]
fn jobs_and_sizes_are_limited() {
    assert_eq!(
        Case::refused(|case| case.situation.is_busy = true),
        Refusal::Busy
    );
    assert!(matches!(
        Case::refused(|case| case.situation.jobs = 3),
        Refusal::TooManyJobs {
            running: 3,
            limit: 3
        }
    ));
    assert!(matches!(
        Case::refused(|case| case.policy.memory_limit_bytes = 1 << 16),
        Refusal::TooMuchMemory { bytes: 196_608, .. }
    ));
    assert!(matches!(
        Case::refused(|case| case.offer.state_bytes = 10_001),
        Refusal::TooMuchState { .. }
    ));
    assert!(matches!(
        Case::refused(|case| case.policy.module_limit_bytes = 999),
        Refusal::TooLargeModule {
            bytes: 1000,
            limit: 999
        }
    ));
    assert!(matches!(
        Case::refused(|case| case.offer.stack.bytes = 10_001),
        Refusal::Stack { .. }
    ));
}

#[test]
fn numbers_that_would_overflow_are_refused() {
    let huge = MemoryOffer {
        bytes: u64::MAX - 5,
        maximum_bytes: None,
    };
    Case::refused(|case| case.offer.memories = vec![huge; 3]);
    assert!(matches!(
        Case::refused(|case| case.offer.memories = vec![huge; 101]),
        Refusal::Malformed(_)
    ));
    assert!(matches!(
        Case::refused(|case| case.offer.memories[0].maximum_bytes = Some(1)),
        Refusal::Malformed(_)
    ));
    assert!(matches!(
        Case::refused(|case| case.offer.module.variants.clear()),
        Refusal::Malformed(_)
    ));
}

#[test]
fn the_module_must_be_allowed_and_fit_the_engine() {
    assert!(matches!(
        Case::refused(|case| case.policy.modules = Some(BTreeSet::from([digest(10)]))),
        Refusal::ModuleNotAllowed { .. }
    ));
    Case::accepted(|case| case.policy.modules = Some(BTreeSet::from([digest(1)])));
    assert!(matches!(
        Case::refused(|case| case.offer.module.contract = 3),
        Refusal::Contract {
            offered: 3,
            supported: 2
        }
    ));
    let lacking = Case::refused(|case| {
        case.capabilities.features.clear();
        case.offer.module.variants.pop();
    });
    assert!(matches!(lacking, Refusal::Features { missing, .. } if missing == ["simd"]));
}

#[test]
fn the_host_must_have_what_the_guest_uses() {
    let of =
        |change: fn(&mut SectionVersion)| Case::refused(|case| change(&mut case.offer.sections[0]));
    let unknown = of(|section| section.name = "gpu".to_owned());
    assert!(matches!(
        unknown,
        Refusal::Section {
            supported: None,
            ..
        }
    ));
    let newer = of(|section| section.minor = 4);
    assert!(matches!(
        newer,
        Refusal::Section {
            supported: Some((1, 3)),
            ..
        }
    ));
    of(|section| section.major = 2);
    Case::accepted(|case| {
        case.offer.sections[0].name = "gpu".to_owned();
        case.offer.sections[0].is_required = false;
    });
    let missing = Case::refused(|case| case.capabilities.directories.clear());
    assert!(matches!(
        missing,
        Refusal::Directory {
            is_read_only: false,
            ..
        }
    ));
    let read_only = |case: &mut Case| {
        case.capabilities
            .directories
            .insert("/data".to_owned(), false);
    };
    let refused = Case::refused(read_only);
    assert!(matches!(
        refused,
        Refusal::Directory {
            is_read_only: true,
            ..
        }
    ));
    Case::accepted(|case| {
        read_only(case);
        case.offer.directories[0].is_written = false;
    });
}

#[test]
fn another_processor_matters_to_some_guests() {
    let other = |case: &mut Case| case.capabilities.processor = processor("aarch64");
    assert_eq!(Case::accepted(other).warnings.len(), 1);
    let canonical = Case::accepted(|case| {
        other(case);
        case.offer.processor.canonical_nans = true;
    });
    assert!(canonical.warnings.is_empty());
    let relaxed = |case: &mut Case| {
        other(case);
        for variant in &mut case.offer.module.variants {
            variant.is_relaxed = true;
        }
    };
    assert!(matches!(
        Case::refused(relaxed),
        Refusal::RelaxedSimd { .. }
    ));
    Case::accepted(|case| {
        relaxed(case);
        case.offer.processor.deterministic_relaxed_simd = true;
    });
}

#[test]
fn post_copy_needs_a_kernel_that_can() {
    let without = |case: &mut Case, mode| {
        case.capabilities.post_copy = Err("no userfaultfd".to_owned());
        case.offer.mode = mode;
    };
    for mode in [Mode::Post, Mode::Hybrid] {
        let refused = Case::refused(|case| without(case, mode));
        assert!(matches!(refused, Refusal::PostCopy { .. }));
    }
    for mode in [Mode::Auto, Mode::Pre, Mode::Stop] {
        assert!(
            Case::accepted(|case| without(case, mode))
                .post_copy
                .is_err()
        );
    }
}

#[test]
fn who_owns_the_job_does_not_get_it_again() {
    for holding in [Holding::Arrived, Holding::Committing, |_| Holding::Owned {
        arrival: None,
    }] {
        for epoch in [1, 5, 9] {
            assert_eq!(
                Case::refused(|case| case.record(epoch, holding)),
                Refusal::OwnedHere {
                    known: Epoch(epoch)
                }
            );
        }
    }
    for holding in [Holding::Gone, Holding::Fenced] {
        Case::accepted(|case| case.record(4, holding));
        for epoch in [5, 9] {
            assert_eq!(
                Case::refused(|case| case.record(epoch, holding)),
                Refusal::StaleEpoch {
                    offered: OFFERED,
                    known: Epoch(epoch)
                }
            );
        }
    }
}
