"""What Slurm tells the processes of a job."""

from __future__ import annotations

import os


def slurm_job() -> str | None:
    """Return the identity of the Slurm job (or array task) that runs this process."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")
