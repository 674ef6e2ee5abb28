"""Builds wasm-migrate for other architectures, to be run by qemu's user-mode emulation.

Debian's Rust compiler is used, whose standard libraries for other architectures are packages (scripts/lib/cross-setup);
where such a package cannot be had, cargo builds the library itself. Everything lies in .cache/cross, with a target
directory of its own. Programs are linked statically: dynamic ones hang under emulation.
"""
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = ROOT / ".cache" / "cross"
RUSTC = Path("/usr/bin/rustc")


class Failure(Exception):
    """A step that failed, told so that a person knows what to do next."""


@dataclass(frozen=True)
class Architecture:
    name: str
    debian: str
    triple: str
    tools: str
    qemu: str

    def binary(self):
        return WORK / "target" / self.triple / "cross" / "wasm-migrate"

    def command(self):
        return [f"qemu-{self.qemu}", str(self.binary())]


ARCHITECTURES = {architecture.name: architecture for architecture in [
    Architecture("aarch64", "arm64", "aarch64-unknown-linux-gnu", "aarch64-linux-gnu", "aarch64"),
    Architecture("s390x", "s390x", "s390x-unknown-linux-gnu", "s390x-linux-gnu", "s390x"),
    Architecture("riscv64", "riscv64", "riscv64gc-unknown-linux-gnu", "riscv64-linux-gnu", "riscv64"),
    Architecture("armv7", "armhf", "armv7-unknown-linux-gnueabihf", "arm-linux-gnueabihf", "arm"),
    Architecture("ppc64le", "ppc64el", "powerpc64le-unknown-linux-gnu", "powerpc64le-linux-gnu", "ppc64le"),
]}


def set_up(architectures):
    """Installs compilers and emulators, if they are not there."""
    WORK.mkdir(parents=True, exist_ok=True)
    names = [architecture.debian for architecture in architectures]
    done = subprocess.run([ROOT / "scripts" / "lib" / "cross-setup", WORK, *names])
    if done.returncode != 0:
        raise Failure("the compilers and emulators for other architectures cannot be installed")


def build(architecture):
    """Builds wasm-migrate for an architecture; says how long it took."""
    started = time.monotonic()
    command = ["cargo", "build", "--package", "wasm-migrate", "--bin", "wasm-migrate", "--profile", "cross",
               "--target", architecture.triple, "--quiet"]
    environment = {**os.environ, **settings(architecture)}
    if not (RUSTC.parent.parent / "lib" / "rustlib" / architecture.triple / "lib").exists():
        command += ["-Zbuild-std=std,panic_unwind"]
        environment["RUSTC_BOOTSTRAP"] = "1"
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Failure(f"wasm-migrate cannot be built for {architecture.name}:\n{done.stdout[-4000:]}")
    return time.monotonic() - started


def settings(architecture):
    tools, small = architecture.tools, architecture.triple.replace("-", "_")
    large = small.upper()
    return {
        "RUSTC": str(RUSTC),
        "CARGO_TARGET_DIR": str(WORK / "target"),
        f"CARGO_TARGET_{large}_LINKER": f"{tools}-gcc",
        f"CARGO_TARGET_{large}_RUSTFLAGS": "-Ctarget-feature=+crt-static",
        f"CC_{small}": f"{tools}-gcc",
        f"AR_{small}": f"{tools}-ar",
    }
