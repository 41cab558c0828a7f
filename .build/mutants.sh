#!/usr/bin/env bash
# Mutation tests of the decisions: grading, changes, schedule, limits and the vault. A development command, not part of CI:
# about twenty minutes on two cores. Works on a copy, with mutmut in an environment of its own beside the project's (.venv).
#   .build/mutants.sh                  all modules
#   .build/mutants.sh app/vault.py     one of them
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
copy=$(mktemp -d)
modules=("$@")
[[ $# -gt 0 ]] || modules=(app/sync/evaluate.py app/sync/schedule.py 'app/sync/limits/*.py' app/catalog/changes.py app/vault.py)

git ls-files -z app tests migrations templates static wsgi.py README.md | xargs -0 cp --parents -t "$copy"
list() { printf '"%s", ' "$@"; }
cat >"$copy/pyproject.toml" <<TOML
[tool.pytest.ini_options]
addopts = ["-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:schemathesis"]
markers = ["browser: -", "postgres: -", "redis_server: -", "slow: -", "full: -"]

[tool.mutmut]
source_paths = ["app"]
only_mutate = [$(list "${modules[@]}")]
also_copy = ["migrations", "templates", "static", "wsgi.py", "README.md"]
# Unit tests only: a mutant that needs a database to be noticed has no test of its own.
pytest_add_cli_args = ["-k", "not sqlite and not postgresql"]
pytest_add_cli_args_test_selection = [$(list tests/sync/test_evaluate.py tests/sync/test_schedule.py \
  tests/sync/limits/test_circuit_breaker.py tests/sync/limits/test_limits_at_their_edges.py \
  tests/catalog/test_changes.py tests/test_vault.py)]
timeout_constant = 10.0
TOML

.venv/bin/python -m venv "$copy/venv"
"$copy/venv/bin/pip" install -q mutmut==3.8.1
"$copy/venv/bin/python" - "$root" <<'PY'
import sys, sysconfig
from pathlib import Path
packages = next((Path(sys.argv[1]) / ".venv/lib").glob("python3*")) / "site-packages"
(Path(sysconfig.get_path("purelib")) / "project.pth").write_text(f"{packages}\n")
PY
cd "$copy"
venv/bin/mutmut run --max-children 2
venv/bin/mutmut results
echo "The mutants are in $copy: show one with venv/bin/mutmut show NAME."
