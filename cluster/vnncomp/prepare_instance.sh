#!/bin/bash
# prepare_instance.sh VERSION CATEGORY ONNX VNNLIB: exit 0 where the instance can be tried, 1 where it cannot.
set -uo pipefail

if [ "${1:-}" != v1 ]; then
    echo "expected version v1, got '${1:-}'" >&2
    exit 1
fi
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
echo "preparing category '${2:-}', network '${3:-}', property '${4:-}'"
[ -x "${DISTVERIFY_VENV:-$here/venv}/bin/distverify" ] && [ -r "${4:-}" ]
