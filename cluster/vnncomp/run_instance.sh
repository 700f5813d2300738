#!/bin/bash
# run_instance.sh VERSION CATEGORY ONNX VNNLIB RESULTS TIMEOUT: write the verdict, and a counterexample after sat, to RESULTS.
# ONNX is one file, or NAME=FILE several times with commas between them, for queries about several networks.
set -uo pipefail

if [ "${1:-}" != v1 ] || [ $# -lt 6 ]; then
    echo "usage: run_instance.sh v1 CATEGORY ONNX VNNLIB RESULTS TIMEOUT" >&2
    exit 1
fi
here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
models=()
IFS=, read -r -a listed <<< "$3"
for model in "${listed[@]}"; do
    case "$model" in
        *=*) models+=(--network "$model") ;;
        *)
            # A query of version 2.0 about one network names it; of 1.0, any name will do.
            content="$(case "$4" in *.gz) gzip -dc "$4" ;; *) cat "$4" ;; esac)"
            name="$(sed -n 's/.*(declare-network[[:space:]]\{1,\}\([A-Za-z][A-Za-z0-9_]*\).*/\1/p' <<< "$content" | head -n 1)"
            models+=(--network "${name:-N}=$model")
            ;;
    esac
done
"${DISTVERIFY_VENV:-$here/venv}/bin/distverify" verify "$4" "${models[@]}" --timeout "$6" --results-file "$5"
status=$?
if [ "$status" -ne 0 ]; then
    echo error > "$5"
fi
exit "$status"
