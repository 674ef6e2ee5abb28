//! Kinds of machines that code can be compiled for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What compiled code runs on: a processor, or wasmtime's interpreter, Pulley, where there is no compiler for the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Machine {
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86,
    /// 64-bit Arm.
    Aarch64,
    /// IBM Z.
    S390x,
    /// 64-bit RISC-V with the extensions G and C; and V, for code with vectors.
    Riscv64,
    /// The interpreter on little-endian 32-bit processors.
    Pulley32,
    /// The interpreter on little-endian 64-bit processors.
    Pulley64,
    /// The interpreter on big-endian 32-bit processors.
    Pulley32be,
    /// The interpreter on big-endian 64-bit processors.
    Pulley64be,
}

/// All of them, with other names that people have for the same. Those of processors without a compiler are Pulley's.
const NAMES: [(Machine, &[&str]); 8] = [
    (Machine::X86, &["x86_64", "x86-64", "amd64"]),
    (Machine::Aarch64, &["aarch64", "arm64"]),
    (Machine::S390x, &["s390x"]),
    (Machine::Riscv64, &["riscv64", "riscv64gc"]),
    (
        Machine::Pulley32,
        &["pulley32", "arm", "armv7", "armhf", "i686"],
    ),
    (
        Machine::Pulley64,
        &["pulley64", "ppc64le", "powerpc64le", "loongarch64"],
    ),
    (Machine::Pulley32be, &["pulley32be"]),
    (Machine::Pulley64be, &["pulley64be", "ppc64", "powerpc64"]),
];

impl Machine {
    /// The one whose code runs in this process.
    #[must_use]
    pub fn here() -> Self {
        let is_big = cfg!(target_endian = "big");
        match std::env::consts::ARCH {
            "x86_64" => Self::X86,
            "aarch64" => Self::Aarch64,
            "s390x" => Self::S390x,
            "riscv64" => Self::Riscv64,
            _ if cfg!(target_pointer_width = "32") && is_big => Self::Pulley32be,
            _ if cfg!(target_pointer_width = "32") => Self::Pulley32,
            _ if is_big => Self::Pulley64be,
            _ => Self::Pulley64,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let found = NAMES.iter().find(|(machine, _)| *machine == self);
        found.expect("all are in the list").1[0]
    }

    /// As compilers call it.
    #[cfg(feature = "compile")]
    pub(super) fn triple(self) -> &'static str {
        match self {
            Self::X86 => "x86_64-unknown-linux-gnu",
            Self::Aarch64 => "aarch64-unknown-linux-gnu",
            Self::S390x => "s390x-unknown-linux-gnu",
            Self::Riscv64 => "riscv64gc-unknown-linux-gnu",
            interpreter => interpreter.name(),
        }
    }

    /// Can the processor of this process work with vectors as code for this machine does?
    pub(super) fn has_vectors_here() -> bool {
        // The standard library's own way to ask is not stable yet. Linux names single-letter extensions by a bit for each.
        #[cfg(all(target_arch = "riscv64", target_os = "linux"))]
        return rustix::param::linux_hwcap().0 & (1 << (b'v' - b'a')) != 0;
        #[cfg(not(all(target_arch = "riscv64", target_os = "linux")))]
        return true;
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Machine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = |(_, names): &&(Self, &[&str])| names.contains(&text);
        match NAMES.iter().find(named) {
            Some((machine, _)) => Ok(*machine),
            None => {
                let names: Vec<_> = NAMES
                    .iter()
                    .flat_map(|(_, names)| *names)
                    .copied()
                    .collect();
                Err(format!("`{text}` is none of {}", names.join(", ")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Machine, NAMES};

    #[test]
    fn names_are_read() {
        for (machine, names) in NAMES {
            for name in names {
                assert_eq!(name.parse(), Ok(machine));
            }
            assert_eq!(machine.to_string(), names[0]);
            let json = serde_json::to_string(&machine).expect("it can be written");
            assert_eq!(json, format!("\"{machine}\""));
        }
        let refused = "pdp11".parse::<Machine>();
        assert!(refused.is_err_and(|error| error.contains("aarch64")));
    }

    #[test]
    fn this_machine_is_known() {
        #[cfg(target_arch = "x86_64")]
        assert_eq!(Machine::here(), Machine::X86);
        let width = if cfg!(target_pointer_width = "32") {
            "32"
        } else {
            "64"
        };
        assert!(Machine::here().name().contains(width));
    }
}
