"""Builds wasm-migrate for other architectures, to be run by qemu's user-mode emulation.

Debian's Rust compiler is used, whose standard libraries for other architectures are packages (scripts/lib/cross-setup);
where such a package cannot be had, cargo builds the library itself. Everything lies in .cache/cross, with a target
directory of its own. Programs are linked statically: dynamic ones hang under emulation.

The emulated programs have no compiler, which would take three times as long to build and be slow there: they run code
that is compiled here.
"""
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = ROOT / ".cache" / "cross"
RUSTC = Path("/usr/bin/rustc")
PROFILE = "cross"


class Failure(Exception):
    """A step that failed, told so that a person knows what to do next."""


@dataclass(frozen=True)
class Architecture:
    name: str
    # Names that Debian, Rust, the GNU tools and qemu have for it.
    debian: str
    triple: str
    tools: str
    qemu: str
    # What `wasm-migrate compile --target` calls its code.
    machine: str

    def binary(self, has_compiler=False):
        return target_directory(has_compiler) / self.triple / PROFILE / "wasm-migrate"

    def command(self, has_compiler=False):
        return [f"qemu-{self.qemu}", str(self.binary(has_compiler))]


ARCHITECTURES = {architecture.name: architecture for architecture in [
    Architecture("aarch64", "arm64", "aarch64-unknown-linux-gnu", "aarch64-linux-gnu", "aarch64", "aarch64"),
    Architecture("s390x", "s390x", "s390x-unknown-linux-gnu", "s390x-linux-gnu", "s390x", "s390x"),
    Architecture("riscv64", "riscv64", "riscv64gc-unknown-linux-gnu", "riscv64-linux-gnu", "riscv64", "riscv64"),
    # These are interpreted: wasmtime has no compiler for them.
    Architecture("armv7", "armhf", "armv7-unknown-linux-gnueabihf", "arm-linux-gnueabihf", "arm", "pulley32"),
    Architecture("ppc64le", "ppc64el", "powerpc64le-unknown-linux-gnu", "powerpc64le-linux-gnu", "ppc64le", "pulley64"),
]}


def target_directory(has_compiler):
    # Two, lest each build undo the other's program.
    return WORK / ("target-compiler" if has_compiler else "target")


def set_up(architectures):
    """Installs compilers and emulators, if they are not there."""
    WORK.mkdir(parents=True, exist_ok=True)
    names = [architecture.debian for architecture in architectures]
    done = subprocess.run([ROOT / "scripts" / "lib" / "cross-setup", WORK, *names])
    if done.returncode != 0:
        raise Failure("the compilers and emulators for other architectures are not there, see above")


def build(architecture, has_compiler=False):
    """Builds wasm-migrate for an architecture; says how long it took."""
    features = ["--features", "compile"] if has_compiler else []
    words = ["--target", architecture.triple, "--no-default-features", *features]
    environment = linking(architecture)
    if not (RUSTC.parent.parent / "lib" / "rustlib" / architecture.triple / "lib").exists():
        words += ["-Zbuild-std=std,panic_unwind"]
        environment["RUSTC_BOOTSTRAP"] = "1"
    return cargo(words, environment, has_compiler, f"for {architecture.name}")


def linking(architecture):
    tools, small = architecture.tools, architecture.triple.replace("-", "_")
    large = small.upper()
    return {
        f"CARGO_TARGET_{large}_LINKER": f"{tools}-gcc",
        f"CARGO_TARGET_{large}_RUSTFLAGS": "-Ctarget-feature=+crt-static",
        f"CC_{small}": f"{tools}-gcc",
        f"AR_{small}": f"{tools}-ar",
    }


def cargo(words, environment, has_compiler, what):
    started = time.monotonic()
    command = ["cargo", "build", "--package", "wasm-migrate", "--bin", "wasm-migrate", "--profile", PROFILE, "--quiet"]
    environment = {**os.environ, "RUSTC": str(RUSTC), "CARGO_TARGET_DIR": str(target_directory(has_compiler)),
                   **environment}
    done = subprocess.run([*command, *words], cwd=ROOT, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Failure(f"wasm-migrate {what} cannot be built:\n{done.stdout[-4000:]}")
    return time.monotonic() - started
