"""A SLURM of one machine with two slots, in a temporary folder: ``python tests/slurm/cluster.py COMMAND ...``.

It has what a cluster has: munge for who is who, the controller, the daemon of a node, and the accounting that
``sacct`` reads, which needs a database. Debian's packages are ``slurm-wlm slurmdbd munge mariadb-server``.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "slurmdbd", "mariadbd", "mariadb-install-db", "sbatch", "sacct")
SLURM_CONF = """
ClusterName=two_slots
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,batch_sched_delay=0,requeue_delay=1,defer
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports[2]}
AccountingStoragePass={folder}/munge.socket
JobAcctGatherType=jobacct_gather/none
MailProg=/bin/true
ReturnToService=2
KillWait=5
MessageTimeout=30
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
SLURMDBD_CONF = """
DbdHost=localhost
DbdPort={ports[2]}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports[3]}
StorageUser=root
PidFile={folder}/slurmdbd.pid
LogFile={folder}/slurmdbd.log
"""


def why_not() -> str | None:
    """Say why no cluster can be started here, or return None."""
    missing = [name for name in PROGRAMS if _find(name) is None]
    if missing:
        return f"SLURM is not installed: no {', '.join(missing)}"
    return None if os.geteuid() == 0 else "munge and SLURM are started as root only"


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _free_ports(number: int) -> list[int]:
    sockets = [socket.socket() for _ in range(number)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Cluster:
    """The services, their settings and logs in ``folder``; ``environment`` is that of a user of the cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
        self._services: dict[str, subprocess.Popen[bytes]] = {}
        self._ports = _free_ports(4)

    def start(self) -> None:
        """Start all services, each when those that it needs answer."""
        for name in ("state", "spool"):
            (self.folder / name).mkdir(parents=True)
        host = socket.gethostname().split(".")[0]
        for name, text in (("slurm", SLURM_CONF), ("slurmdbd", SLURMDBD_CONF)):
            path = self.folder / f"{name}.conf"
            path.write_text(text.format(folder=self.folder, ports=self._ports, host=host))
            path.chmod(0o600)
        self._start_munge()
        self._start_database()
        self._serve("slurmdbd", "-D")
        self.wait("sacctmgr -n list cluster", lambda: self._succeeds("sacctmgr", "-n", "list", "cluster"))
        self.run("sacctmgr", "-i", "add", "cluster", "two_slots")
        self.start_controller()
        self._serve("slurmd", "-D", "-N", host)
        self.wait("an idle node", lambda: "idle" in self.run("sinfo", "-h", "-o", "%T"))

    def start_controller(self) -> None:
        """Start the controller, which finds the jobs that it left."""
        self._serve("slurmctld", "-D")
        self.wait("the controller", lambda: self._succeeds("scontrol", "ping"))

    def kill_controller(self) -> None:
        """Kill the controller; jobs go on."""
        self._end("slurmctld", signal.SIGKILL)

    def stop(self) -> None:
        """End the jobs and all services, those first that need others."""
        if "slurmctld" in self._services:
            subprocess.run(["scancel", "--user=root"], env=self.environment, capture_output=True)
        for name in list(self._services)[::-1]:
            self._end(name, signal.SIGTERM)

    def run(self, *command: str) -> str:
        """Return the output of one of SLURM's commands."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}\n{self.logs()}")
        return done.stdout

    def wait(self, what: str, happened: Callable[[], object], seconds: float = 30) -> None:
        """Wait until something has happened.

        Raises:
            TimeoutError: If it has not in time; with the ends of the logs.
        """
        end = time.monotonic() + seconds
        while not happened():
            if time.monotonic() > end:
                raise TimeoutError(f"{what}: not within {seconds} s\n{self.logs()}")
            time.sleep(0.1)

    def logs(self) -> str:
        """Return the last lines of every service's log."""
        texts = {path.name: path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log"))}
        return "\n".join(f"== {name}\n" + "\n".join(text.splitlines()[-12:]) for name, text in texts.items())

    def _start_munge(self) -> None:
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(1024))
        key.chmod(0o600)
        files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "seed-file": "seed"}
        paths = [f"--{option}={self.folder}/munge.{ending}" for option, ending in files.items()]
        self._serve("munged", "--foreground", "--force", f"--log-file={self.folder}/munge.log", *paths)
        self.wait("munge", (self.folder / "munge.socket").exists)

    def _start_database(self) -> None:
        data, here = f"--datadir={self.folder}/database", f"--socket={self.folder}/database.socket"
        user = "--user=root"
        with (self.folder / "install.log").open("w") as log:
            options = (
                "--no-defaults",
                data,
                user,
                "--auth-root-authentication-method=normal",
                "--skip-test-db",
            )
            subprocess.run([str(_find("mariadb-install-db")), *options], stdout=log, stderr=log, check=True)
        address = (f"--port={self._ports[3]}", "--bind-address=127.0.0.1", here)
        self._serve("mariadbd", "--no-defaults", data, user, *address, "--innodb-flush-log-at-trx-commit=0")
        self.wait("the database", (self.folder / "database.socket").exists)

    def _serve(self, name: str, *options: str) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            command = [str(_find(name)), *options]
            self._services[name] = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)

    def _end(self, name: str, number: int) -> None:
        service = self._services.pop(name)
        service.send_signal(number)
        try:
            service.wait(10)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()

    def _succeeds(self, *command: str) -> bool:
        return not subprocess.run(command, env=self.environment, capture_output=True).returncode


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start a cluster in an empty folder, and end it."""
    started = Cluster(folder)
    try:
        started.start()
        yield started
    finally:
        started.stop()


if __name__ == "__main__":
    if reason := why_not():
        sys.exit(f"error: {reason}")
    with tempfile.TemporaryDirectory() as name, cluster(Path(name)) as running:
        sys.exit(subprocess.run(sys.argv[1:], env=running.environment).returncode)
