"""The programs that are measured: the kernels of corpus/bench.toml and the commands of corpus/manifest.toml."""
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

import corpus_build
from corpus_packages import CACHE, ROOT, Failure

CORPUS = CACHE / "corpus"
SAMPLE = {"gemm", "jacobi-2d", "floyd-warshall", "embedded", "fib", "binary-trees", "bytecode", "expression-tree", "lua",
          "zstd"}


@dataclass
class Program:
    """A WASI program with its work. `group` says what kind of program it is."""
    name: str
    group: str
    wasm: Path
    stdout_sha256: str
    exit_code: int = 0
    args: list = field(default_factory=list)
    env: list = field(default_factory=list)
    dirs: list = field(default_factory=list)


def programs(names, sample):
    """The programs whose names contain one of `names` (all if there are none), or the sample."""
    bench = tomllib.loads((ROOT / "corpus" / "bench.toml").read_text())
    manifest = tomllib.loads((ROOT / "corpus" / "manifest.toml").read_text())
    found = [kernel(entry) for entry in bench["kernel"] if wanted(entry, names, sample)]
    found += [real_program(entry) for entry in manifest["program"] if is_work(entry) and wanted(entry, names, sample)]
    missing = [program.name for program in found if not program.wasm.exists()]
    if missing:
        raise Failure(f"not there: {', '.join(missing)}: run scripts/fetch-corpus")
    if not found:
        raise Failure(f"no program has one of {', '.join(names)} in its name; corpus/bench.toml and "
                      "corpus/manifest.toml list them")
    return found


def wanted(entry, names, sample):
    if names:
        return any(name in entry["name"] for name in names)
    return not sample or entry["name"] in SAMPLE


def is_work(entry):
    """Does it compute? A program that waits, or reads what somebody types, says nothing about speed."""
    return entry.get("kind", "command") == "command" and "stdin" not in entry and not entry.get("waits", False)


def kernel(entry):
    return Program(entry["name"], entry["group"], corpus_build.kernel_path(entry["name"]), entry["stdout_sha256"],
                   args=[entry["name"]])


def real_program(entry):
    split = lambda pairs, separator: [pair.split(separator, 1) for pair in pairs]
    return Program(entry["name"], "real", CORPUS / f"{entry['name']}.wasm", entry["stdout_sha256"],
                   entry.get("exit_code", 0), [entry["name"], *entry.get("args", [])],
                   split(entry.get("env", []), "="), split(entry.get("dirs", []), "::"))
