# Shared by the jobs: a copy of the tracked files, an environment, and the tests in it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git ls-files -z | xargs -0 cp --parents -t "$work"
cd "$work"
export OMP_NUM_THREADS=1

# requirements GROUP...: what pyproject.toml asks for, a line each; "base" are the
# dependencies, the rest extras. OLDEST=1 gives the lower bounds.
requirements() {
    "${PYTHON:-python3}" - "$@" <<'PY'
import os
import sys
import tomllib

with open("pyproject.toml", "rb") as file:
    project = tomllib.load(file)["project"]
groups = {"base": project["dependencies"], **project["optional-dependencies"]}
for line in (line for name in sys.argv[1:] for line in groups[name]):
    print(line.replace(">=", "==") if os.environ.get("OLDEST") else line)
PY
}

# make_environment PIP-ARGUMENT...: those packages, what every test needs, and us
make_environment() {
    "${PYTHON:-python3}" -m venv .venv
    .venv/bin/pip install --quiet "$@" pytest pytest-xdist hypothesis numpydoc
    .venv/bin/pip install --quiet --no-deps -e .
    .venv/bin/pip check
    .venv/bin/python --version
    .venv/bin/pip list --format freeze
}

run_tests() {
    .venv/bin/python -m pytest -q -p no:cacheprovider "$@"
}
