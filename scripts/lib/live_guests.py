"""The guests that scripts/live moves: corpus/live/*.c, and what they do if they are not moved."""
import functools
import os
import subprocess
from pathlib import Path

import corpus_build
import corpus_packages

ROOT = corpus_packages.ROOT
WORK = ROOT / ".cache" / "live"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
MIGRATE = TARGET / "wasm-migrate"
TIME_LIMIT = 120


class Failure(Exception):
    pass


@functools.cache
def module(name):
    """A guest, migratized."""
    original = WORK / "guests" / f"{name}.wasm"
    try:
        corpus_build.compile_c([ROOT / "corpus" / "live" / f"{name}.c"], [ROOT / "corpus" / "live" / f"{name}.c"], [],
                               original, "")
    except corpus_packages.Failure as failure:
        raise Failure(str(failure)) from None
    migratized = original.with_suffix(".mig.wasm")
    done = subprocess.run([TARGET / "wasm-migratize", original, "-o", migratized], capture_output=True, timeout=TIME_LIMIT)
    if done.returncode != 0:
        raise Failure(f"wasm-migratize {original}: {done.stderr.decode(errors='replace')}")
    return migratized


@functools.cache
def oracle(name, *args, stdin=b"", data=None):
    """Output and exit status of a guest that stays where it is; `data` is its directory /data."""
    flags = ["--dir", f"{data}::/data"] if data else []
    command = [MIGRATE, "run", *flags, "--snapshot", WORK / "oracle.snapshot", module(name), "--", *args]
    done = subprocess.run([str(word) for word in command], input=stdin, capture_output=True, timeout=TIME_LIMIT)
    if not done.stdout or done.returncode == 0:
        raise Failure(f"the oracle of {name} {args}: exit status {done.returncode}: {done.stderr.decode(errors='replace')}")
    return done.stdout, done.returncode
