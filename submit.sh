#!/usr/bin/env bash
#SBATCH --job-name=cres
#SBATCH --output=/dev/null
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=SIGUSR1@180
# Train, sweep and prepare on a cluster; the same commands work without one (bash instead of sbatch).
#
#   sbatch submit.sh configs/s4d.yaml [--trainer.max_epochs=60 …]        one training: runs/s4d
#   sbatch --array=0-11 submit.sh configs/sweeps/s4d_size.yaml [--…]     a sweep, one task a point: runs/s4d_size/000 …
#   sbatch --nodes=2 --gpus-per-node=4 submit.sh configs/s4d.yaml        one training on eight GPUs
#   sbatch --array=0-15 submit.sh scripts/data_prep.py --input raw --output data/cres.hdf5 --task {task}/{tasks}
#                                                                        any script; {task} counts from 0
#   bash submit.sh configs/sweeps/s4d_size.yaml                          no Slurm: the points one after another
#   CRES_JOBS=4 bash submit.sh configs/sweeps/s4d_size.yaml              … or four at a time
#
# Partition, account, time, memory: options of sbatch, or SBATCH_PARTITION, SBATCH_ACCOUNT, SBATCH_TIMELIMIT. Also read:
#   CRES_SETUP       a file to source first (module load …, conda activate cres)
#   CRES_PYTHON      the Python to use (default: .venv/bin/python of the project, else python3)
#   CRES_HOME        the project's folder, when the job is submitted from another one
#   CRES_TASKS       without Slurm: which tasks or points, such as 0-3,7 (default: all points of a sweep)
#   CRES_TASK_COUNT  what {tasks} stands for, when not all tasks run (one is run again)
#   CRES_JOBS        without Slurm: how many at a time; each gets a GPU of its own where there are several
#   CRES_REQUEUES    how often a job may be queued again (default 50)
#   CRES_DRY_RUN     set to 1, it prints what would run
#
# Three minutes before the time limit, and when a job is preempted, the training saves its state; the job is queued
# again and goes on where it was. A sweep that is submitted again skips finished points and goes on with the others.
# Logs are in logs/. docs/cluster.md says more.

set -uo pipefail

fail() { echo "error: $*" >&2; exit 2; }

# Where things are ---------------------------------------------------------------------------------------------------

find_home() {
  home=${CRES_HOME:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}
  # Slurm runs a copy of this file from a folder of its own
  [[ -e $home/cli.py ]] || home=${SLURM_SUBMIT_DIR:-$PWD}
  [[ -e $home/cli.py ]] || fail "there is no cli.py in $home: submit from the project's folder, or name it in CRES_HOME"
}

find_python() {
  if [[ -n ${CRES_SETUP:-} ]]; then
    [[ -f $CRES_SETUP ]] || fail "CRES_SETUP names $CRES_SETUP, which does not exist"
    set +u; source "$CRES_SETUP"; set -u
  fi
  python=${CRES_PYTHON:-$home/.venv/bin/python}
  [[ -n ${CRES_PYTHON:-} || -x $python ]] || python=python3
  command -v "$python" >/dev/null || fail "there is no Python $python: run make demo once, or set CRES_PYTHON"
}

open_log() {
  mkdir -p logs || fail "the log folder $PWD/logs cannot be made"
  # Slurm opens its log before this file can make the folder, so the log is opened here, unless sbatch --output did
  if [[ -n $job && $(readlink "/proc/$$/fd/1") == /dev/null ]]; then
    exec >>"logs/$label-$job.log" 2>&1
  fi
}

# What to run --------------------------------------------------------------------------------------------------------

# expand 0-3,7 → 0 1 2 3 7
expand() {
  local part
  for part in ${1//,/ }; do
    if [[ $part =~ ^[0-9]+$ ]]; then echo "$part"
    elif [[ $part =~ ^([0-9]+)-([0-9]+)$ ]]; then seq "${BASH_REMATCH[1]}" "${BASH_REMATCH[2]}"
    else fail "CRES_TASKS is $1; it wants numbers such as 0-3,7"
    fi
  done
}

choose_tasks() {
  local chosen
  if [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then
    chosen=$SLURM_ARRAY_TASK_ID
  elif [[ -n ${CRES_TASKS:-} ]]; then
    chosen=$(expand "$CRES_TASKS") || exit 2
  elif [[ $kind == script ]]; then
    [[ $* != *"{task}"* ]] || fail "{task} counts the tasks of an array: sbatch --array=0-N, or CRES_TASKS=0-N bash submit.sh …"
    chosen=0
  else
    # refuses what no point can be trained with, once and not point by point
    chosen=$(sweep count "$what" "$@") || exit 2
    chosen=$(seq 0 $((chosen - 1)))
  fi
  mapfile -t tasks <<<"$chosen"
}

# What {tasks} stands for: all tasks of the array, which must then count from 0.
count_tasks() {
  if [[ -n ${CRES_TASK_COUNT:-} ]]; then
    echo "$CRES_TASK_COUNT"
  elif [[ -n ${SLURM_ARRAY_TASK_ID:-} ]]; then
    (( SLURM_ARRAY_TASK_MIN == 0 && SLURM_ARRAY_TASK_MAX + 1 == SLURM_ARRAY_TASK_COUNT )) ||
      fail "{tasks} is not known from a part of an array: set CRES_TASK_COUNT to the number of all its tasks"
    echo "$SLURM_ARRAY_TASK_COUNT"
  else
    (( tasks[0] == 0 && tasks[-1] + 1 == ${#tasks[@]} )) ||
      fail "{tasks} is not known from a part of the tasks: set CRES_TASK_COUNT to the number of all"
    echo "${#tasks[@]}"
  fi
}

sweep() { "$python" "$home/scripts/sweep.py" "$@"; }

# How to run it ------------------------------------------------------------------------------------------------------

# Processes a node: as sbatch was told, else one for each GPU.
measure_allocation() {
  nodes=${SLURM_JOB_NUM_NODES:-1} processes=1
  [[ -n $job ]] || return 0
  if [[ -n ${SLURM_NTASKS_PER_NODE:-} ]]; then
    processes=$SLURM_NTASKS_PER_NODE
  elif (( ${SLURM_NTASKS:-1} > nodes )); then
    (( SLURM_NTASKS % nodes == 0 )) || fail "$SLURM_NTASKS tasks do not fill $nodes nodes evenly: use --ntasks-per-node"
    processes=$((SLURM_NTASKS / nodes))
  elif [[ ${SLURM_GPUS_ON_NODE:-} =~ ^[0-9]+$ ]]; then
    processes=$SLURM_GPUS_ON_NODE
  fi
}

# launch PROCESSES_A_NODE NODES COMMAND…: run a command, as a job step where there is Slurm, and return its exit code.
launch() {
  local each=$1 over=$2 cpus step=()
  shift 2
  if [[ -n $job ]]; then
    # Without srun the signal would kill this shell, and the processes of one training would not find each other.
    step=(srun "--nodes=$over" "--ntasks=$((each * over))" "--ntasks-per-node=$each" --kill-on-bad-exit=1)
    cpus=$((${SLURM_CPUS_ON_NODE:-1} / each))
    if (( cpus > 0 )); then step+=("--cpus-per-task=$cpus"); else step+=(--overcommit); fi
    step+=(env "OMP_NUM_THREADS=${OMP_NUM_THREADS:-$((cpus > 0 ? cpus : 1))}")
  fi
  local words=(${step[@]+"${step[@]}"} "$python" "$@")  # bash before 4.4 takes an empty array for an unset name
  printf '+'; printf ' %q' "${words[@]}"; echo
  [[ ${CRES_DRY_RUN:-} != 1 ]] || return 0
  if [[ -n ${worker:-} ]]; then
    "${words[@]}" &
    child=$!
    wait "$child"
  else
    "${words[@]}"
  fi
}

# The signal of the time limit ended it, handled (state saved) or not (it came while Python was starting).
STOPPED_BY_TIME=138

queue_again() {
  local restarts=${SLURM_RESTART_COUNT:-0} most=${CRES_REQUEUES:-50}
  (( restarts < most )) || fail "job $job was queued again $restarts times and is not finished: see its log, raise --time, or set CRES_REQUEUES"
  echo "the time limit is near: job $job is queued again (restart $((restarts + 1)) of at most $most)"
  scontrol requeue "$job" || fail "Slurm does not queue job $job again: submit it once more to go on"
  # Slurm ends this job meanwhile
  sleep 120
  exit 0
}

# Refuse a folder that a running job writes to.
refuse_used() {
  local run=$1 owner
  [[ -n $job && -e $run/job ]] || return 0
  owner=$(<"$run/job")
  [[ $owner != "$job" && $owner =~ ^[0-9_]+$ ]] || return 0
  [[ -z $(squeue --noheader --jobs="$owner" --states=RUNNING,COMPLETING,SUSPENDED --format=%i 2>/dev/null) ]] ||
    fail "job $owner is training in $run: wait for it, scancel it, or choose another folder with --run=…"
}

has_checkpoint() { [[ -e $1/checkpoints/last.ckpt || -e $1/checkpoints/last.ckpt.previous ]]; }

# train INDEX OPTIONS…: one point, from its checkpoint if there is one that belongs to it, then its test split.
train() {
  local text lines run options started=no
  local asking=()
  [[ ${CRES_DRY_RUN:-} != 1 ]] || asking=(--dry-run)
  text=$(sweep point ${asking[@]+"${asking[@]}"} "$what" "$@") || return $?
  mapfile -t lines <<<"$text"
  run=${lines[0]} options=("${lines[@]:2}")
  mkdir -p "$run" || fail "the run's folder $run cannot be made"
  refuse_used "$run"
  echo "== $run on $(hostname -s)${job:+, job $job, start $((${SLURM_RESTART_COUNT:-0} + 1))}, $(date '+%F %T')"
  if [[ $kind == sweep ]]; then
    [[ ! -e $run/options || $(<"$run/options") == "$(printf '%s\n' "${options[@]}")" ]] ||
      fail "$run was trained with other options ($run/options lists them): rename the sweep, or remove that folder"
    if [[ -e $run/trained && $run/predictions.hdf5 -nt $run/trained ]]; then
      echo "$run is finished"
      return 0
    fi
    if [[ -e $run/pruned ]]; then echo "$run: $(<"$run/pruned")"; return 0; fi
    if has_checkpoint "$run"; then started=yes; fi
  elif [[ ${SLURM_RESTART_COUNT:-0} -gt 0 && -e $run/job && $(<"$run/job") == "$job" ]]; then
    # a checkpoint that is older than this job is of another training
    if has_checkpoint "$run" && [[ $run/checkpoints/last.ckpt -nt $run/job ]]; then started=yes; fi
  else
    rm -f "$run/trained"
  fi
  if [[ ${CRES_DRY_RUN:-} != 1 ]]; then
    printf '%s\n' "${options[@]}" >"$run/options"
    if [[ $started == no || $kind == sweep ]]; then echo "${job:-here}" >"$run/job"; fi
    # what the summary misses when not all points have begun
    [[ $kind != sweep ]] || echo "${lines[1]}" >"$run/../points"
  fi
  if [[ ! -e $run/trained ]]; then
    [[ $started == no ]] || options+=(--resume)
    # requeueing is decided here, for every command in the same way
    [[ -z $job ]] || options+=("--trainer.num_nodes=$nodes" "--trainer.devices=$processes" --interruption.requeue=false)
    launch "$processes" "$nodes" "$home/cli.py" fit "${options[@]}" || return $?
    # an adaptive sweep ends a point early that is worse than the others: nothing of it is to be tested
    if [[ -e $run/pruned ]]; then return 0; fi
    [[ ${CRES_DRY_RUN:-} == 1 ]] || touch "$run/trained"
  fi
  launch 1 1 "$home/cli.py" test "--run=$run" ${job:+--trainer.num_nodes=1 --trainer.devices=1} || return $?
}

# script INDEX WORDS…: one task of any script of the project.
script() {
  local index=$1 words=("${@:2}") count=1
  if [[ ${words[*]} == *"{tasks}"* ]]; then count=$(count_tasks) || exit 2; fi
  words=("${words[@]//"{tasks}"/$count}")
  launch 1 1 "$what" "${words[@]//"{task}"/$index}"
}

# One table and one page over all points; of an array, by the task that ends last.
summarise() {
  [[ $kind == sweep && ${CRES_DRY_RUN:-} != 1 ]] || return 0
  local when=()
  [[ -z $job ]] || when=(--when-complete)
  sweep summarise ${when[@]+"${when[@]}"} "$what" "$@" || echo "no summary was made: python scripts/sweep.py summarise $what" >&2
}

run_task() {
  if [[ $kind == script ]]; then script "$@"; else train "$@"; fi
}

# Stopped from outside: then the tasks that follow are not started.
is_stop() { (( $1 == 130 || $1 == 143 || $1 == STOPPED_BY_TIME )); }

one_after_another() {
  local index code failed=()
  for index in "${tasks[@]}"; do
    (run_task "$index" "$@")
    code=$?
    if [[ -n $job && $code == "$STOPPED_BY_TIME" ]]; then queue_again; fi
    if is_stop $code; then exit $code; fi
    if (( code != 0 )); then failed+=("$index"); fi
    if (( code != 0 && ${#tasks[@]} == 1 )); then exit $code; fi
  done
  summarise "$@"
  (( ${#failed[@]} == 0 )) || fail "${#failed[@]} of ${#tasks[@]} tasks failed: ${failed[*]} (the same command runs them again)"
}

# work NUMBER: every N-th task, each with a log of its own; returns 1 when one failed.
work() {
  local worker=$1 place log result=0
  shift
  child=
  trap '[[ -z $child ]] || { kill -TERM "$child"; wait "$child"; } 2>/dev/null; exit 143' TERM
  if (( gpus > 1 )); then export CUDA_VISIBLE_DEVICES=$((worker % gpus)); fi
  for (( place = worker; place < ${#tasks[@]}; place += jobs )); do
    log=logs/$label-${tasks[place]}.log
    echo "task ${tasks[place]}: $log"
    run_task "${tasks[place]}" "$@" >"$log" 2>&1 || { result=1; echo "task ${tasks[place]} failed: $(tail -n 1 "$log")" >&2; }
  done
  return $result
}

several_at_a_time() {
  local number pids=() pid result=0
  for (( number = 0; number < jobs; number++ )); do
    (work "$number" "$@") &
    pids+=($!)
  done
  trap 'kill -TERM "${pids[@]}" 2>/dev/null; wait; exit 130' INT TERM
  for pid in "${pids[@]}"; do wait "$pid" || result=1; done
  summarise "$@"
  (( result == 0 )) || fail "some tasks failed (the same command runs them again)"
}

main() {
  (( $# >= 1 )) || fail "name a configuration, a sweep or a script: sbatch submit.sh configs/s4d.yaml [--option=value …]"
  what=$1
  shift
  job=${SLURM_JOB_ID:-}
  [[ -z ${SLURM_ARRAY_TASK_ID:-} ]] || job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID
  label=$(basename "${what%.*}")
  jobs=${CRES_JOBS:-1} gpus=0 child=
  open_log
  find_home
  [[ -f $what ]] || fail "there is no $what; configurations are in configs/, sweeps in configs/sweeps/, scripts in scripts/"
  find_python
  if [[ $what == *.py ]]; then kind=script
  elif grep -qE '^(base|axes):' "$what"; then kind=sweep; export WANDB_RUN_GROUP=${WANDB_RUN_GROUP:-$label}
  else kind=training
  fi
  choose_tasks "$@"
  measure_allocation
  # glibc keeps freed blocks instead of handing them back to the kernel after every step (see cli.py)
  export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296 MALLOC_TOP_PAD_=268435456
  if (( jobs > 1 )) && [[ -z $job ]]; then
    if [[ -z ${CUDA_VISIBLE_DEVICES:-} ]]; then gpus=$(nvidia-smi -L 2>/dev/null | wc -l); fi
    several_at_a_time "$@"
  else
    one_after_another "$@"
  fi
}

main "$@"
