"""Write .hashes.txt and .hashes-test.txt anew: .constraints.txt with the SHA-256 of every file of each release.

To be run after a change of .constraints.txt, with uv on the PATH (`pip install uv`): `python .build/hashes.py`.
uv asks the package index for the hashes of all files of a release, for whatever platform and Python; it takes no other
version than .constraints.txt says. tests/test_supply.py holds the three files to each other.
"""

import re
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Wanted by packages of ours only where Modelsync does not run: on Windows, on PyPy, and in a browser.
ELSEWHERE = ("brotlicffi", "colorama", "httpx2-jsfetch")
OPTIONS = ["--universal", "--python-version=3.11", "--generate-hashes", "--no-annotate", "--no-header", "--quiet"]
OPTIONS += ["--no-emit-index-url", "--constraints=.constraints.txt", "--group=pyproject.toml:build"]
OPTIONS += [f"--no-emit-package={name}" for name in ELSEWHERE]
ABOUT = """\
# {what}, with the hashes of every file of each release, for pip's
# hash-checking mode (README: "Installing with hashes"). Made from .constraints.txt by .build/hashes.py.
"""


def entries(*extras: str) -> list[str]:
    """One text for each package: its pin, its marker and its hashes."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "locked.txt")
        command = ["uv", "pip", "compile", *OPTIONS, *extras, f"--output-file={path}", "pyproject.toml"]
        subprocess.run(command, cwd=ROOT, check=True)
        text = path.read_text(encoding="utf-8")
    return re.findall(r"^[A-Za-z0-9].*\n(?:    --hash=.*\n)+", text, re.MULTILINE)


def main() -> None:
    what = "What a server runs, and what builds it"
    (ROOT / ".hashes.txt").write_text(ABOUT.format(what=what) + "".join(entries()), encoding="utf-8")
    # Whole, and not only what comes in addition: the tests want some packages in more places than a server does.
    what = "The same, and what the tests need"
    tests = "".join(entries("--extra=test"))
    (ROOT / ".hashes-test.txt").write_text(ABOUT.format(what=what) + tests, encoding="utf-8")


if __name__ == "__main__":
    main()
