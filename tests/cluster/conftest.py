"""A Slurm of two nodes on one host, from the distribution's packages, in a temporary folder; nothing else is touched.

It needs root (the daemons do) and Debian's or Ubuntu's packages slurmd, slurmctld, slurm-client and munge. They are
installed when they are missing, unless CRES_INSTALL_SLURM=0. The daemons run on ports and sockets of their own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("slurmd", "slurmctld", "slurm-client", "munge")
PROGRAMS = ("slurmd", "slurmctld", "munged", "sbatch", "srun", "scontrol", "squeue")
PATIENCE_S = 900.0

CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=30
MinJobAge=7200
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
GresTypes=gpu
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 Port={first_port} CPUs=4 Gres=gpu:2 State=UNKNOWN
NodeName={host}-second NodeHostname={host} NodeAddr=127.0.0.1 Port={second_port} CPUs=4 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class SmallSlurm:
    """The daemons, and the commands of a user in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "CRES_"))},
            "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin",
            "SLURM_CONF": str(folder / "slurm.conf"),
            "CRES_PYTHON": sys.executable,
            "CRES_HOME": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "WANDB_MODE": "disabled",
        }
        self._daemons: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start munged, slurmctld and a slurmd for each node, and wait for the nodes."""
        host = socket.gethostname().partition(".")[0]
        # the first node has the host's name, which resolves: the processes of a training meet there
        self.nodes = (host, f"{host}-second")
        for name in ("state", *(f"spool-{node}" for node in self.nodes)):
            (self.folder / name).mkdir()
        ports = dict(zip(("controller_port", "first_port", "second_port"), free_ports(3), strict=True))
        text = CONFIGURATION.format(host=host, folder=self.folder, **ports)
        (self.folder / "slurm.conf").write_text(text)
        # two GPUs that are none: enough to see how many processes submit.sh starts
        for name in ("gpu0", "gpu1"):
            (self.folder / name).touch()
        (self.folder / "gres.conf").write_text(f"NodeName={host} Name=gpu File={self.folder}/gpu[0-1]\n")
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        munge = [
            f"--{name}={self.folder / f'munge.{name}'}" for name in ("socket", "pid-file", "log-file", "seed-file")
        ]
        self._daemon("munged", "--foreground", "--force", f"--key-file={key}", *munge)
        self.wait_for((self.folder / "munge.socket").exists, "munged", 60)
        self._daemon("slurmctld", "-D", "-c")
        for node in self.nodes:
            self._daemon("slurmd", "-D", "-N", node)
        self.wait_for(self._nodes_are_idle, "the two nodes", 120)

    def _nodes_are_idle(self) -> bool:
        states = self.run("sinfo", "--noheader", "--Node", "--format=%t", check=False)
        return states.split() == ["idle"] * len(self.nodes)

    def _daemon(self, *words: str) -> None:
        with (self.folder / f"{words[0]}-{len(self._daemons)}.out").open("wb") as output:
            self._daemons.append(subprocess.Popen(words, env=self.environment, stdout=output, stderr=output))

    @staticmethod
    def wait_for(condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
        """Return when a condition holds; fail when it does not in time."""
        end = time.monotonic() + patience_s
        while not condition():
            if time.monotonic() > end:
                pytest.fail(f"waited {patience_s:.0f} s for {what}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End all jobs and daemons."""
        self.run("scancel", "--user=root", check=False)
        time.sleep(2)
        for daemon in reversed(self._daemons):
            daemon.terminate()
            daemon.wait(60)

    def run(self, *words: str, check: bool = True, cwd: Path | None = None) -> str:
        """Run a command of Slurm; return what it said."""
        done = subprocess.run(
            words, cwd=cwd, env=self.environment, capture_output=True, text=True, check=False, timeout=600
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def submit(self, cwd: Path, *words: str) -> str:
        """Submit a job; return its number."""
        return self.run("sbatch", "--parsable", *words, cwd=cwd).strip()

    def facts(self, job: str) -> dict[str, str]:
        """Return what scontrol knows about a job or the task of an array."""
        words = self.run("scontrol", "--oneliner", "show", "job", job).splitlines()[0].split()
        return dict(word.partition("=")[::2] for word in words)

    def state(self, job: str) -> str:
        """Return the state of a job or the task of an array."""
        return self.facts(job)["JobState"]

    def wait_end(self, *jobs: str) -> None:
        """Wait until jobs have ended, restarts included."""
        for job in jobs:
            self.wait_for(
                lambda job=job: self.state(job) not in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "REQUEUED"),
                f"job {job} to end",
            )


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def missing_programs() -> list[str]:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    return [program for program in PROGRAMS if shutil.which(program, path=path) is None]


def install() -> None:
    """Install Slurm's packages, or skip with what is missing."""
    if os.environ.get("CRES_INSTALL_SLURM") == "0":
        pytest.skip(f"{', '.join(missing_programs())} are missing and CRES_INSTALL_SLURM=0 forbids to install them")
    if shutil.which("apt-get") is None:
        pytest.skip(f"{', '.join(missing_programs())} are missing and there is no apt-get to install them with")
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
        done = subprocess.run(["apt-get", "--quiet", *words], env=quiet, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"apt-get {words[0]} failed: {(done.stderr.strip().splitlines() or ['without a word'])[-1]}")
    if missing_programs():
        pytest.skip(f"the packages {', '.join(PACKAGES)} are installed, but without {', '.join(missing_programs())}")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SmallSlurm]:
    """A Slurm that runs."""
    if os.geteuid() != 0:
        pytest.skip("a Slurm of our own wants root: run make test-cluster in a container or as root")
    if missing_programs():
        install()
    cluster = SmallSlurm(tmp_path_factory.mktemp("slurm"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
