"""Fetches pinned packages by name through the registries' own clients, checks their digests, unpacks them.

A package is an entry of the `[package]` table of corpus/manifest.toml. What is fetched stays in
.cache/packages/<registry>/<name>-<version>, so nothing is downloaded twice.
"""
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / ".cache"
VENV = CACHE / "venv"
PYTHON = VENV / "bin" / "python"
REQUIREMENTS = ROOT / "scripts" / "lib" / "requirements.txt"


class Failure(Exception):
    """A step that failed, told so that a person knows what to do next."""


def run(command, cwd=None, env=None):
    """Runs a command and returns its standard output; its diagnostics become the failure's message."""
    command = [str(part) for part in command]
    try:
        done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True)
    except FileNotFoundError:
        raise Failure(f"`{command[0]}` is not installed: install it and try again") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-3000:]
        raise Failure(f"`{' '.join(command)}` ended with exit code {done.returncode}:\n{said}")
    return done.stdout


def file_sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_sha256(path, expected, what):
    found = file_sha256(path)
    if found != expected:
        raise Failure(f"{what} has sha256 {found}, expected {expected}: the download is damaged or the package "
                      f"was replaced; delete {path} to fetch it again, and change the pin only if you know why")


def tool_directory(name):
    """Installs a tool pinned in requirements.txt into .cache/venv, once; returns its package directory."""
    text = REQUIREMENTS.read_text()
    found = re.search(rf"^{re.escape(name)}==(\S+)(?: \\\n +--hash=\S+)+", text, re.MULTILINE)
    if not found:
        raise Failure(f"{REQUIREMENTS} pins no tool `{name}`")
    stamp = VENV / f"{name}-{found[1]}.installed"
    if not stamp.exists():
        create_venv()
        with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirement:
            requirement.write(found[0] + "\n")
            requirement.flush()
            run([PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                 "--require-hashes", "-r", requirement.name])
        stamp.touch()
    return next(VENV.glob("lib/python3*/site-packages"))


def tool_pin(name):
    """The pinned version of a tool, to make it part of what a built program depends on."""
    return re.search(rf"^{re.escape(name)}==(\S+)", REQUIREMENTS.read_text(), re.MULTILINE)[1]


def create_venv():
    if not PYTHON.exists():
        venv.create(VENV, with_pip=True, clear=VENV.exists())


def package_directory(name, pin):
    """The unpacked package; fetches it first if needed."""
    registry, version = pin["registry"], pin["version"]
    directory = CACHE / "packages" / registry / f"{name.replace('/', '+')}-{version}"
    if not directory.exists():
        fetch = {"pypi": fetch_wheel, "npm": fetch_npm, "crates": fetch_crate}[registry]
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent) as scratch:
            unpacked = fetch(name, version, pin["sha256"], Path(scratch))
            unpacked.rename(directory)
    return directory


def fetch_wheel(name, version, sha256, scratch):
    create_venv()
    run([PYTHON, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--only-binary", ":all:", "-d", scratch, f"{name}=={version}"])
    archive = only_file(scratch, "*.whl", f"{name}=={version}")
    check_sha256(archive, sha256, f"the wheel of {name} {version}")
    with zipfile.ZipFile(archive) as wheel:
        wheel.extractall(scratch / "unpacked")
    return scratch / "unpacked"


def fetch_npm(name, version, sha256, scratch):
    run(["npm", "pack", "--silent", "--pack-destination", scratch, f"{name}@{version}"], cwd=scratch)
    archive = only_file(scratch, "*.tgz", f"{name}@{version}")
    check_sha256(archive, sha256, f"the archive of {name} {version}")
    with tarfile.open(archive) as tar:
        tar.extractall(scratch / "unpacked", filter="data")
    return scratch / "unpacked" / "package"


def fetch_crate(name, version, sha256, scratch):
    """Lets cargo vendor the crate as the only dependency of a project of its own."""
    (scratch / "src").mkdir()
    (scratch / "src" / "lib.rs").touch()
    (scratch / "Cargo.toml").write_text(
        '[package]\nname = "fetch"\nversion = "0.0.0"\nedition = "2021"\n\n[workspace]\n\n'
        f'[dependencies]\n{name} = {{ version = "={version}", default-features = false }}\n')
    run(["cargo", "vendor", "--quiet", "vendor"], cwd=scratch)
    crate = scratch / "vendor" / name
    found = json.loads((crate / ".cargo-checksum.json").read_text())["package"]
    if found != sha256:
        raise Failure(f"crate {name} {version} has sha256 {found}, expected {sha256}: the crate was replaced, or "
                      "the pin is wrong")
    return crate


def only_file(directory, pattern, what):
    files = list(directory.glob(pattern))
    if len(files) != 1:
        raise Failure(f"expected one archive of {what}, found {[file.name for file in files]}")
    return files[0]


def copy_atomically(source, target):
    """Copies so that an interrupted run leaves no half file under the final name."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copyfile(source, partial)
    partial.rename(target)
