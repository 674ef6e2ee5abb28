//! What the processor lets a guest see, and whether it stays the same when the guest moves.
//!
//! WebAssembly leaves two things to the processor: the bits of a NaN that an operator makes, and what relaxed vector
//! operators do at the edges. A snapshot records what its guest was compiled for. Where that differs at the
//! destination, NaNs are pointed out unless both sides make them canonical, and relaxed operators are refused unless both
//! sides run them deterministically.

use std::fmt;

use clap::Args;
use serde::{Deserialize, Serialize};
use wasm_migrate::{CodeOrigin, HostState, HostStateError, Machine, SectionVersion, Sections};
use wasmparser::{Operator, Parser, Payload};

/// Section of a snapshot that holds [`Processor`], as JSON.
const PROCESSOR_SECTION: &str = "processor";

/// Architecture of code for any processor of the kind.
const ANY_X86: &str = "any x86_64";

/// Where wasmtime 48 runs relaxed vector operators otherwise, also when it is to run them as everywhere (`scripts/cross riscv64` has
/// shown it).
const DIFFERENT_RELAXED: &str = "riscv64";

/// How far a guest is made independent of the processor. A guest that was started so stays so.
#[derive(Args, Debug, Clone, Copy)]
pub(crate) struct PortabilityOptions {
    /// Make all NaNs that the guest computes the same on every processor (float code gets slower). A guest that was
    /// started so goes on so wherever it is resumed.
    #[arg(long, help_heading = "Portability")]
    pub(crate) canonicalize_nans: bool,
    /// Run relaxed SIMD operators the same on every processor. Without it, a guest that has some does not move to
    /// another kind of processor.
    #[arg(long, help_heading = "Portability")]
    pub(crate) deterministic_relaxed_simd: bool,
}

/// What a guest is compiled for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Processor {
    /// As `std::env::consts::ARCH` names it, or [`ANY_X86`].
    pub(crate) architecture: String,
    /// Does it multiply and add in one step? Relaxed operators then do.
    pub(crate) fused_multiply_add: bool,
    /// Are all NaNs made canonical?
    pub(crate) canonical_nans: bool,
    /// Do relaxed vector operators do the same everywhere?
    pub(crate) deterministic_relaxed_simd: bool,
}

/// What of a module depends on the processor.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Dependence {
    /// Has it operators that make NaNs?
    pub(crate) makes_nans: bool,
    /// Has it relaxed vector operators?
    pub(crate) is_relaxed: bool,
}

impl Processor {
    /// This machine's, for a guest that starts here.
    pub(crate) fn here(options: PortabilityOptions) -> Self {
        let PortabilityOptions {
            canonicalize_nans,
            deterministic_relaxed_simd,
        } = options;
        Self {
            architecture: std::env::consts::ARCH.to_owned(),
            fused_multiply_add: fuses_multiply_add(),
            canonical_nans: canonicalize_nans,
            deterministic_relaxed_simd,
        }
    }

    /// This machine's, for a guest that ran on another before.
    pub(crate) fn after(from: Option<&Self>, options: PortabilityOptions) -> Self {
        let here = Self::here(options);
        Self {
            canonical_nans: here.canonical_nans || from.is_some_and(|from| from.canonical_nans),
            deterministic_relaxed_simd: here.deterministic_relaxed_simd
                || from.is_some_and(|from| from.deterministic_relaxed_simd),
            ..here
        }
    }

    /// Runs code that was compiled before, as it was compiled.
    pub(crate) fn take_over(&mut self, code: &CodeOrigin) -> anyhow::Result<()> {
        for (is_wanted, has, option) in [
            (
                self.canonical_nans,
                code.canonical_nans,
                "--canonicalize-nans",
            ),
            (
                self.deterministic_relaxed_simd,
                code.deterministic_relaxed_simd,
                "--deterministic-relaxed-simd",
            ),
        ] {
            if is_wanted && !has {
                anyhow::bail!("the guest needs code that `wasm-migrate compile {option}` makes");
            }
        }
        self.canonical_nans = code.canonical_nans;
        self.deterministic_relaxed_simd = code.deterministic_relaxed_simd;
        if code.machine == Machine::X86 && !code.is_native {
            // What relaxed operators do there follows from the instructions that all of the kind have.
            ANY_X86.clone_into(&mut self.architecture);
            self.fused_multiply_add = false;
        }
        Ok(())
    }

    /// The one that a snapshot was taken on, if it says.
    pub(crate) fn read(sections: &Sections) -> anyhow::Result<Option<Self>> {
        match sections.get(PROCESSOR_SECTION) {
            Some(section) if VERSION.reads(section.version) => {
                Ok(Some(serde_json::from_slice(&section.bytes)?))
            }
            _ => Ok(None),
        }
    }

    /// Do relaxed vector operators do what they do on all such processors?
    fn runs_relaxed_alike(&self) -> bool {
        self.deterministic_relaxed_simd && self.architecture != DIFFERENT_RELAXED
    }

    /// Can a guest of this module go on here that was compiled for `from` before? What may differ but does no
    /// harm in most programs is logged.
    pub(crate) fn check_move(&self, from: &Self, wasm: &[u8]) -> anyhow::Result<()> {
        let is_deterministic = from.runs_relaxed_alike() && self.runs_relaxed_alike();
        let is_same_processor = self.architecture == from.architecture
            && self.fused_multiply_add == from.fused_multiply_add;
        let is_same_relaxed = is_deterministic
            || is_same_processor
                && from.deterministic_relaxed_simd == self.deterministic_relaxed_simd;
        let is_same_nans = self.architecture == from.architecture || from.canonical_nans;
        if is_same_relaxed && is_same_nans {
            return Ok(());
        }
        let dependence = Dependence::find(wasm)?;
        if dependence.is_relaxed && !is_same_relaxed {
            let advice = match [from, self].map(|one| one.architecture == DIFFERENT_RELAXED) {
                [false, false] => {
                    "start it with `run --deterministic-relaxed-simd` to be able to move it"
                }
                _ => {
                    "on riscv64 the engine runs them otherwise even with `--deterministic-relaxed-simd`, so it can move among \
                     other processors only"
                }
            };
            anyhow::bail!(
                "the guest uses relaxed SIMD operators, which do not do the same here ({self}) as where it \
                 ran before ({from}): {advice}"
            );
        }
        if dependence.makes_nans && !is_same_nans {
            log::warn!(
                "the guest computes with floats and moves from {from} to {self}: the bits of NaNs may \
                 differ; start it with `run --canonicalize-nans` if that matters"
            );
        }
        Ok(())
    }
}

impl fmt::Display for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            architecture,
            fused_multiply_add,
            canonical_nans: _,
            deterministic_relaxed_simd,
        } = self;
        f.write_str(architecture)?;
        if !fused_multiply_add {
            f.write_str(" without fused multiply-add")?;
        }
        if *deterministic_relaxed_simd {
            f.write_str(", deterministic")?;
        }
        Ok(())
    }
}

const VERSION: SectionVersion = SectionVersion::new(1, 0);

impl HostState for Processor {
    fn name(&self) -> &str {
        PROCESSOR_SECTION
    }

    fn version(&self) -> SectionVersion {
        VERSION
    }

    /// No: an embedder's host compiles guests as it likes.
    fn is_required(&self) -> bool {
        false
    }

    fn snapshot(&mut self) -> Result<Vec<u8>, HostStateError> {
        Ok(serde_json::to_vec(self)?)
    }

    /// Nothing: the guest has been compiled for this machine, and the move was checked before.
    fn restore(&mut self, _: SectionVersion, _: &[u8]) -> Result<(), HostStateError> {
        Ok(())
    }

    /// Nothing: it has no effect by itself.
    fn activate(&mut self) {}

    /// Nothing: it has no effect by itself.
    fn abort(&mut self) {}
}

impl Dependence {
    /// Looks through all code of a module.
    pub(crate) fn find(wasm: &[u8]) -> anyhow::Result<Self> {
        let mut found = Self::default();
        for payload in Parser::new(0).parse_all(wasm) {
            if let Payload::CodeSectionEntry(body) = payload? {
                for operator in body.get_operators_reader()? {
                    let operator = operator?;
                    found.makes_nans = found.makes_nans || makes_nans(&operator);
                    found.is_relaxed = found.is_relaxed || is_relaxed(&operator);
                }
            }
        }
        Ok(found)
    }
}

#[cfg(target_arch = "x86_64")]
fn fuses_multiply_add() -> bool {
    std::arch::is_x86_feature_detected!("fma")
}

/// Every other architecture that engines compile for has it.
#[cfg(not(target_arch = "x86_64"))]
fn fuses_multiply_add() -> bool {
    true
}

/// Can this operator make a NaN out of numbers, or choose among NaNs?
fn makes_nans(operator: &Operator<'_>) -> bool {
    use Operator as O;
    matches!(
        operator,
        O::F32Add
            | O::F32Sub
            | O::F32Mul
            | O::F32Div
            | O::F32Sqrt
            | O::F32Min
            | O::F32Max
            | O::F32Ceil
            | O::F32Floor
            | O::F32Trunc
            | O::F32Nearest
            | O::F32DemoteF64
            | O::F64Add
            | O::F64Sub
            | O::F64Mul
            | O::F64Div
            | O::F64Sqrt
            | O::F64Min
            | O::F64Max
            | O::F64Ceil
            | O::F64Floor
            | O::F64Trunc
            | O::F64Nearest
            | O::F64PromoteF32
            | O::F32x4Add
            | O::F32x4Sub
            | O::F32x4Mul
            | O::F32x4Div
            | O::F32x4Sqrt
            | O::F32x4Min
            | O::F32x4Max
            | O::F32x4Ceil
            | O::F32x4Floor
            | O::F32x4Trunc
            | O::F32x4Nearest
            | O::F32x4DemoteF64x2Zero
            | O::F64x2Add
            | O::F64x2Sub
            | O::F64x2Mul
            | O::F64x2Div
            | O::F64x2Sqrt
            | O::F64x2Min
            | O::F64x2Max
            | O::F64x2Ceil
            | O::F64x2Floor
            | O::F64x2Trunc
            | O::F64x2Nearest
            | O::F64x2PromoteLowF32x4
    )
}

fn is_relaxed(operator: &Operator<'_>) -> bool {
    use Operator as O;
    matches!(
        operator,
        O::I8x16RelaxedSwizzle
            | O::I32x4RelaxedTruncF32x4S
            | O::I32x4RelaxedTruncF32x4U
            | O::I32x4RelaxedTruncF64x2SZero
            | O::I32x4RelaxedTruncF64x2UZero
            | O::F32x4RelaxedMadd
            | O::F32x4RelaxedNmadd
            | O::F64x2RelaxedMadd
            | O::F64x2RelaxedNmadd
            | O::I8x16RelaxedLaneselect
            | O::I16x8RelaxedLaneselect
            | O::I32x4RelaxedLaneselect
            | O::I64x2RelaxedLaneselect
            | O::F32x4RelaxedMin
            | O::F32x4RelaxedMax
            | O::F64x2RelaxedMin
            | O::F64x2RelaxedMax
            | O::I16x8RelaxedQ15mulrS
            | O::I16x8RelaxedDotI8x16I7x16S
            | O::I32x4RelaxedDotI8x16I7x16AddS
    )
}

#[cfg(test)]
mod tests {
    use super::{Dependence, Processor};

    fn processor(architecture: &str, canonical_nans: bool, deterministic: bool) -> Processor {
        Processor {
            architecture: architecture.to_owned(),
            fused_multiply_add: true,
            canonical_nans,
            deterministic_relaxed_simd: deterministic,
        }
    }

    fn relaxed() -> Vec<u8> {
        wat::parse_str(
            "(module (func (param v128) (result v128)
               (f32x4.relaxed_madd (local.get 0) (local.get 0) (local.get 0))))",
        )
        .expect("it is well-formed")
    }

    #[test]
    fn dependence_is_found() {
        let floats =
            wat::parse_str("(module (func (result f64) (f64.sqrt (f64.const -1))))").expect("well");
        let found = Dependence::find(&floats).expect("well");
        assert!(found.makes_nans && !found.is_relaxed);
        assert!(Dependence::find(&relaxed()).expect("well").is_relaxed);
        let plain = wat::parse_str("(module (func (result f64) (f64.const nan)))").expect("well");
        assert_eq!(
            Dependence::find(&plain).expect("well"),
            Dependence::default()
        );
    }

    #[test]
    fn relaxed_guests_stay_unless_deterministic_on_both_sides() {
        let (here, there) = (
            processor("x86_64", false, false),
            processor("s390x", false, false),
        );
        let wasm = relaxed();
        assert!(here.check_move(&here, &wasm).is_ok());
        let refused = there
            .check_move(&here, &wasm)
            .expect_err("it is another processor");
        assert!(
            refused.to_string().contains("--deterministic-relaxed-simd"),
            "{refused}"
        );
        let (here, there) = (
            processor("x86_64", false, true),
            processor("s390x", false, true),
        );
        assert!(there.check_move(&here, &wasm).is_ok());
        assert!(
            there
                .check_move(&processor("s390x", false, false), &wasm)
                .is_err(),
            "the mode must not change either"
        );
        assert!(
            processor("riscv64", false, true)
                .check_move(&here, &wasm)
                .is_err(),
            "there the mode does not help"
        );
        let older = Processor {
            fused_multiply_add: false,
            ..processor("x86_64", false, false)
        };
        assert!(
            older
                .check_move(&processor("x86_64", false, false), &wasm)
                .is_err()
        );
    }
}
