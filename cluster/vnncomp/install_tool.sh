#!/bin/bash
# install_tool.sh VERSION: install distverify into a virtual environment beside this folder, and compile its kernels.
set -euo pipefail

if [ "${1:-}" != v1 ]; then
    echo "expected version v1, got '${1:-}'" >&2
    exit 1
fi
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
environment="${DISTVERIFY_VENV:-$here/venv}"
python3 -m venv "$environment"
"$environment/bin/pip" install --quiet --upgrade pip
"$environment/bin/pip" install --quiet "${DISTVERIFY_SOURCE:-$here/../..}" onnxruntime
"$environment/bin/distverify" warm-up
