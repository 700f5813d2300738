# shellcheck shell=bash
# Sourced on every node that runs without a container (local.yaml, slurm.sh), before Ray and before distverify.
export PATH="$HOME/distverify/bin:$PATH"
export RAY_AUTH_MODE=token

# Compiled kernels stay on the node: home is often a network file system, where nodes of other processors write as well.
# Numba unpickles what it finds there, so the folder must be this user's own.
cache="${TMPDIR:-/tmp}/distverify-numba-$(id -u)"
if mkdir -m 700 "$cache" 2>/dev/null || { [ -d "$cache" ] && [ ! -L "$cache" ] && [ -O "$cache" ]; }; then
    export NUMBA_CACHE_DIR="$cache"
else
    echo "environment.sh: $cache is not usable; kernels are compiled into the installation" >&2
fi
unset cache
