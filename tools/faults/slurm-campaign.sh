#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A fault campaign as a Slurm job array: one shard for each task, on a file system that all nodes share.
#
#   sbatch --array=1-16 --cpus-per-task=8 slurm-campaign.sh PLAN.json RUNS FOLDER -- command…
#   opennrt faults campaign --merge FOLDER/shard-* --junit junit.xml --html report.html
#
# A task that was cancelled goes on where it stopped when it is submitted again in the same way: PLAN, RUNS, the array and the
# command. More options of the campaign, such as --timeout 30, come from OPENNRT_CAMPAIGN_OPTIONS.
set -eu

if [ "$#" -lt 5 ] || [ "$4" != "--" ]; then
  echo "usage: sbatch --array=1-N $0 PLAN.json RUNS FOLDER -- command..." >&2
  exit 2
fi
plan=$1 runs=$2 folder=$3
shift 4
: "${SLURM_ARRAY_TASK_ID:?is not set: submit this script with sbatch --array=1-N}"
if [ "${SLURM_ARRAY_TASK_MIN:-1}" != 1 ] || [ "${SLURM_ARRAY_TASK_STEP:-1}" != 1 ]; then
  echo "the array is $SLURM_ARRAY_TASK_MIN-..., expected --array=1-N" >&2
  exit 2
fi
mkdir -p "$folder"
# shellcheck disable=SC2086 # options are words
exec opennrt faults campaign --plan "$plan" --runs "$runs" --jobs "${SLURM_CPUS_PER_TASK:-1}" --resume \
  --shard "$SLURM_ARRAY_TASK_ID/${SLURM_ARRAY_TASK_MAX:-1}" --state "$folder/shard-$SLURM_ARRAY_TASK_ID" \
  ${OPENNRT_CAMPAIGN_OPTIONS:-} -- "$@"
