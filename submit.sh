#!/usr/bin/env bash
#SBATCH --job-name=cres
#SBATCH --output=logs/%x-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=SIGUSR1@180
# Train one model, under Slurm or without it:
#
#   sbatch submit.sh configs/s4d.yaml [--trainer.max_epochs=60 …]
#   sbatch --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 submit.sh configs/s4d.yaml
#   bash submit.sh configs/s4d.yaml                          (no Slurm: the same training here)
#
# Partition, account, time and the like are options of sbatch or its environment variables (SBATCH_PARTITION,
# SBATCH_ACCOUNT, SBATCH_TIMELIMIT). Environment variables read here:
#   CRES_PYTHON   the Python to use (default: .venv/bin/python, or python3 where there is none)
#   CRES_SETUP    a file to source first (modules, conda activate cres)
#   CRES_RUN      folder of the run (default: runs/<name of the config>)
# Three minutes before the time limit Slurm sends SIGUSR1 to the training, which saves and queues itself again; it
# then goes on where it was. `mkdir -p logs` before the first sbatch: Slurm opens the log before this file runs.

set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")}"

fail() { echo "error: $*" >&2; exit 2; }

[[ $# -ge 1 ]] || fail "name a configuration: sbatch submit.sh configs/s4d.yaml [--option=value …]"
config=$1
shift
[[ -f $config ]] || fail "there is no configuration $config; those that come with the program are in configs/"
[[ -z ${CRES_SETUP:-} ]] || { [[ -f $CRES_SETUP ]] || fail "CRES_SETUP names $CRES_SETUP, which does not exist"; source "$CRES_SETUP"; }

python=${CRES_PYTHON:-.venv/bin/python}
command -v "$python" >/dev/null || python=python3
command -v "$python" >/dev/null || fail "there is no Python: run make, or set CRES_PYTHON"

run=${CRES_RUN:-runs/$(basename "$config" .yaml)}
mkdir -p logs "$run"

arguments=(fit -c "$config" "--run=$run" "$@")
# A job that was queued again goes on; a new one starts afresh.
if [[ ${SLURM_RESTART_COUNT:-0} -gt 0 && -e $run/checkpoints/last.ckpt ]]; then
  arguments+=(--resume)
fi

# glibc keeps freed blocks instead of handing them back to the kernel after every step (see cli.py).
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=268435456

launch=()
if [[ -n ${SLURM_JOB_ID:-} ]]; then
  # Without srun the signal would kill the shell, and several tasks would wait for each other for ever.
  export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}
  launch=(srun --kill-on-bad-exit=1)
  arguments+=("--trainer.num_nodes=${SLURM_JOB_NUM_NODES:-1}" "--trainer.devices=${SLURM_NTASKS_PER_NODE:-1}")
fi
echo "+ ${launch[*]:-} $python cli.py ${arguments[*]}"
exec "${launch[@]}" "$python" cli.py "${arguments[@]}"
