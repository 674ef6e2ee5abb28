"""What corpus/manifest.toml and corpus/bench.toml say, as objects."""
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent.parent
CACHE = ROOT / ".cache" / "corpus"

# How every C program is built, before its own flags. The name section stays, the debug information goes.
C_FLAGS = ["-target", "wasm32-wasi", "-O2", "-std=gnu17", "-Wl,--strip-debug"]


class Problem(Exception):
    """Something that the person at the terminal has to know; ends the command."""


@dataclass
class Package:
    """An archive in a registry."""
    name: str
    registry: str
    version: str
    sha256: str
    licence: str = ""

    @property
    def directory(self):
        """Where it is unpacked."""
        return CACHE / "packages" / f"{self.name.replace('/', '-').lstrip('@')}-{self.version}"


@dataclass
class Program:
    """A module of the corpus with its work; fields as corpus/manifest.toml explains them."""
    name: str
    licence: str = ""
    sample: bool = False
    kind: str = "command"
    package: str | None = None
    file: str | None = None
    sha256: str | None = None
    build: dict | None = None
    data: list = field(default_factory=list)
    args: list = field(default_factory=list)
    env: list = field(default_factory=list)
    dirs: list = field(default_factory=list)
    stdin: str | None = None
    waits: bool = False
    exit_code: int = 0
    stdout_sha256: str = ""
    time_class: str = ""
    construct: str | None = None
    group: str | None = None

    @property
    def is_kernel(self):
        return self.group is not None

    @property
    def module(self):
        """Where its module is put."""
        return (CACHE / "kernels" if self.is_kernel else CACHE) / f"{self.name}.wasm"


@dataclass
class Manifest:
    """All of corpus/."""
    packages: dict
    programs: list
    refused: list
    kernels: list

    @classmethod
    def read(cls):
        manifest = load("corpus/manifest.toml")
        packages = {entry["name"]: Package(**entry) for entry in manifest["package"]}
        kernels = [
            Program(name=entry["name"], group=entry["group"], sample=True, stdout_sha256=entry.get("stdout_sha256", ""),
                    build={"tool": "zig", "ours": [f"corpus/c/{entry['name']}.c"], "flags": entry.get("flags", []),
                           "depends": ["corpus/c/kernel.h"]})
            for entry in load("corpus/bench.toml")["kernel"]
        ]
        read = cls(packages, [Program(**entry) for entry in manifest["program"]],
                   [Program(**entry) for entry in manifest.get("refused", [])], kernels)
        for program in read.programs + read.refused:
            if program.package is not None and program.package not in packages:
                raise Problem(f"{program.name} wants the package {program.package}, which has no [[package]] entry")
        return read

    def packages_of(self, programs):
        """The packages that these programs need, each once, in the manifest's order."""
        wanted = {program.package for program in programs}
        return [package for name, package in self.packages.items() if name in wanted]


def load(path):
    return tomllib.loads((ROOT / path).read_text())
