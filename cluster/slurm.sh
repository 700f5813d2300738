#!/usr/bin/env bash
#SBATCH --job-name=distverify
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --mem=0
#SBATCH --exclusive
#SBATCH --time=04:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=distverify-%j.log
#
# Any distverify command that takes --address, on a Ray cluster that lives as long as the job. From wherever the data are:
#   sbatch --nodes=4 PATH/TO/cluster/slurm.sh certify net.onnx data.npz --eps 0.01 -o out.h5
# Whole nodes, each with all the CPUs that it has.
# HEAD_INTERFACE=ib0 chooses the network between the nodes; default: that of the first node's first address.
# Exclusive, because `ray symmetric-run` ends with `ray stop`, which ends every Ray of this user on the node.
set -euo pipefail

if (($# == 0)); then
    echo "usage: sbatch [OPTIONS] cluster/slurm.sh certify MODEL DATA ... -o OUT.h5" >&2
    exit 2
fi
nodes=${SLURM_JOB_NUM_NODES:?submit this script with sbatch}
# Slurm runs a copy of this script from a folder of its own, and knows where the script itself is.
script=$(scontrol show job --oneline "${SLURM_JOB_ID:?}" | sed -n 's/.* Command=\([^ ]*\).*/\1/p')
environment=$(dirname "$script")/environment.sh
if [[ ! -r $environment ]]; then
    echo "slurm.sh: $environment is not there; keep environment.sh beside slurm.sh, in a folder that all nodes see" >&2
    exit 2
fi

# shellcheck source=cluster/environment.sh
source "$environment"
ray get-auth-token --generate >/dev/null # into ~/.ray, which all nodes see

# An address, not a name: on its own node a name often means 127.0.1.1, and no node would become the head.
if [[ -n ${HEAD_INTERFACE:-} ]]; then
    head_ip=$(ip -4 -oneline address show dev "$HEAD_INTERFACE" | awk '{ sub("/.*", "", $4); print $4; exit }')
else
    head_ip=$(hostname --all-ip-addresses | awk '{ print $1 }')
fi
address=${head_ip:?no address found; set HEAD_INTERFACE}:6379

export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=${RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT:-300}
# shellcheck disable=SC2016 # expanded on each node
srun --nodes="$nodes" --ntasks="$nodes" --ntasks-per-node=1 --whole --cpu-bind=none \
    bash -c 'source "$0" && address=$1 nodes=$2 && shift 2 &&
        exec ray symmetric-run --address "$address" --min-nodes "$nodes" --num-cpus="$(nproc)" -- \
            distverify "$@" --address "$address"' \
    "$environment" "$address" "$nodes" "$@"
