"""A real Slurm for the length of a test: munged, slurmctld and a slurmd for each of two nodes, all below one folder.

The nodes live on this machine, but each has a network address, a host name and pretended GPUs of its own: a process
that looks for the others on ``localhost``, or under the wrong name, does not find them, as on a cluster. CPUs and
memory are claimed freely. GPUs are devices that behave as ``/dev/null``, so that Slurm deals them out.

Three partitions: ``debug``; ``low``, whose jobs are put back into the queue when ``high`` wants their nodes.
"""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

PACKAGES = ("slurmctld", "slurmd", "slurm-client", "munge", "iproute2")
"""What has to be installed, by the names of Debian and Ubuntu."""

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "ip", "nsenter", "unshare")
NUM_NODES = 2
NUM_GPUS = 8
_PATH = f"{os.environ['PATH']}:/usr/local/sbin:/usr/sbin:/sbin"  # where daemons are
_PATIENCE = 60.0


class SlurmError(Exception):
    """The cluster does not start, or does not do what it is told."""


def why_not() -> str | None:
    """Why there can be no cluster here; None if there can be one."""
    if missing := [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]:
        return f"{', '.join(missing)} not installed: apt-get install --no-install-recommends {' '.join(PACKAGES)}"
    if os.geteuid() != 0:
        return "only root may start a Slurm that runs jobs"
    name = f"acrn-try-{os.getpid()}"
    try:
        _ip("netns", "add", name)
        _ip("netns", "delete", name)
    except SlurmError as error:
        return f"this machine lets nobody make network namespaces ({error})"
    return None


class ThrowawaySlurm:
    """The cluster; a context manager that starts it and takes it down with all its jobs.

    Attributes:
        root: the folder of all its files; short, since sockets lie in it.
        environment: what programs of Slurm need to find it, beside the variables of this process.
    """

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="acrn-slurm-", dir="/tmp"))
        self.environment = {"SLURM_CONF": str(self.root / "slurm.conf")}
        self.nodes = tuple(f"node{number}" for number in range(NUM_NODES))
        self._tag = f"{os.getpid() % 0xFFFF:04x}"
        self._network = f"10.213.{os.getpid() % 250 + 1}"
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._stack = ExitStack()

    def __enter__(self) -> "ThrowawaySlurm":
        try:
            self._stack.callback(shutil.rmtree, self.root, ignore_errors=True)
            self._connect()
            self._configure()
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def run(self, *command: str) -> str:
        """What a program of Slurm says.

        Raises:
            SlurmError: if it fails, with what it says then.
        """
        return _said(command, self.environment)

    def states(self) -> dict[str, str]:
        """The states of all jobs that were ever submitted, by their ids."""
        lines = self.run("squeue", "--noheader", "--array", "--states=all", "--format=%i|%T").split()
        return {job_id: state for job_id, _, state in (line.partition("|") for line in lines)}

    def wait_for(self, condition: Callable[[], object], what: str, seconds: float = 600.0) -> None:
        """Wait until something is so.

        Args:
            condition: whether it is.
            what: it is called.
            seconds: to wait at most.

        Raises:
            SlurmError: if it does not come to pass, with what is in the queue.
        """
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                raise SlurmError(f"{what}: not within {seconds:.0f} s; the jobs: {self.states()}")
            time.sleep(0.1)

    @contextmanager
    def waiting(self, partition: str = "debug") -> Iterator[None]:
        """Take jobs meanwhile, and let none of them begin."""
        self.run("scontrol", "update", f"PartitionName={partition}", "State=DOWN")
        try:
            yield
        finally:
            self.run("scontrol", "update", f"PartitionName={partition}", "State=UP")

    def wait_until_quiet(self) -> None:
        """Wait until no job is going."""
        over = {"COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "PREEMPTED", "NODE_FAIL", "DEADLINE", "OUT_OF_MEMORY"}
        self.wait_for(lambda: set(self.states().values()) <= over, "the end of all jobs")

    def _connect(self) -> None:
        """A bridge, and a network namespace for each node with a cable to it."""
        bridge = f"acrn{self._tag}"
        _ip("link", "add", bridge, "type", "bridge")
        self._stack.callback(_ip, "link", "delete", bridge)
        _ip("address", "add", f"{self._network}.1/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for number in range(len(self.nodes)):
            space, cable = self._space(number), f"acrn{self._tag}{number}"
            _ip("netns", "add", space)
            self._stack.callback(_ip, "netns", "delete", space)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", cable, "master", bridge, "up")
            _ip("-n", space, "link", "set", "lo", "up")
            _ip("-n", space, "link", "set", "eth0", "up")
            _ip("-n", space, "address", "add", f"{self._address(number)}/24", "dev", "eth0")

    def _space(self, number: int) -> str:
        return f"acrn-{self._tag}-{number}"

    def _address(self, number: int) -> str:
        return f"{self._network}.{10 + number}"

    def _configure(self) -> None:
        root, controller = self.root, f"{self._network}.1"
        for name in ("state", "spool", "gpus", "munge"):
            (root / name).mkdir(mode=0o755)
        root.chmod(0o755)
        (root / "munge" / "key").write_bytes(secrets.token_bytes(1024))
        (root / "munge" / "key").chmod(0o600)
        for number in range(NUM_GPUS):
            os.mknod(root / "gpus" / str(number), 0o20666, os.makedev(1, 3))
        (root / "gres.conf").write_text(
            f"NodeName=node[0-{NUM_NODES - 1}] Name=gpu File={root}/gpus/[0-{NUM_GPUS - 1}]\n"
        )
        (root / "plugstack.conf").touch()
        hosts = {"localhost": "127.0.0.1", socket.gethostname(): controller}
        hosts |= {node: self._address(number) for number, node in enumerate(self.nodes)}
        (root / "hosts").write_text("".join(f"{address} {name}\n" for name, address in hosts.items()))
        ports = [_free_port(controller) for _ in range(1 + NUM_NODES)]
        lines = [line.strip() for line in _SETTINGS.format(root=root, port=ports[0]).splitlines()]
        lines.append(f"SlurmctldHost={socket.gethostname()}({controller})")
        lines += [
            f"NodeName={node} NodeHostname={node} NodeAddr={self._address(number)} Port={ports[1 + number]} CPUs=16 "
            f"RealMemory=1000000 Gres=gpu:{NUM_GPUS} State=UNKNOWN"
            for number, node in enumerate(self.nodes)
        ]
        (root / "slurm.conf").write_text("\n".join(lines) + "\n")

    def _start(self) -> None:
        root, conf = self.root, self.environment["SLURM_CONF"]
        munge = root / "munge"
        self._stack.callback(self._stop)
        self._daemon(
            "munged", "--foreground", f"--key-file={munge}/key", f"--socket={munge}/socket",
            f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed",
        )  # fmt: skip
        self.wait_for(lambda: (munge / "socket").exists(), "munged", _PATIENCE)
        self._daemon("slurmctld", "-D", "-f", conf)
        # A host name of its own and a view of /etc/hosts; `ip netns exec` would hide more than the network.
        script = 'mount --bind "$0/hosts" /etc/hosts && hostname "$1" && exec slurmd -D -f "$0/slurm.conf" -N "$1"'
        for number, node in enumerate(self.nodes):
            (root / "spool" / node).mkdir()
            space = f"--net=/run/netns/{self._space(number)}"
            own = ("unshare", "--mount", "--uts", "bash", "-c", script, str(root), node)
            self._daemon("nsenter", space, *own)
        self.wait_for(self._is_up, "a cluster that is up", _PATIENCE)

    def _is_up(self) -> bool:
        for daemon in self._daemons:
            if daemon.poll() is not None:
                logs = "".join(path.read_text()[-2000:] for path in sorted(self.root.glob("*.log")))
                raise SlurmError(f"{daemon.args!r} has ended:\n{logs}")
        try:
            return self.run("sinfo", "--noheader", "-N", "-p", "debug", "-o", "%t").split() == ["idle"] * NUM_NODES
        except SlurmError:
            return False  # the controller does not answer yet

    def _daemon(self, *command: str) -> None:
        log = (self.root / f"{len(self._daemons)}_{command[0]}.log").open("wb")
        with closing(log):
            daemon = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=_clean({**os.environ, "PATH": _PATH, **self.environment}),
                start_new_session=True,
            )
        self._daemons.append(daemon)

    def _stop(self) -> None:
        """End all jobs, then the daemons, then whatever is left in the namespaces of the nodes."""
        try:
            self.run("scancel", "--full", "--signal=KILL", f"--user={os.getuid()}")
            self.run("scancel", f"--user={os.getuid()}")
            self.wait_until_quiet()
        except (SlurmError, OSError):
            pass  # it may be gone already
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in self._daemons:
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        for number in range(len(self.nodes)):
            for process in _ip("netns", "pids", self._space(number)).split():
                os.kill(int(process), signal.SIGKILL)


def _ip(*command: str) -> str:
    return _said(["ip", *command], {})


def _said(command: Sequence[str], environment: Mapping[str, str]) -> str:
    """What a program writes, if all goes well."""
    variables = {**os.environ, "PATH": _PATH, **environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    if done.returncode:
        raise SlurmError(f"{' '.join(command)}: {done.stderr}{done.stdout}")
    return done.stdout


def _free_port(address: str) -> int:
    with closing(socket.socket()) as one:
        one.bind((address, 0))
        return int(one.getsockname()[1])


def _clean(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what a job of another cluster, in which this may run, has said of itself."""
    kept = {"SLURM_CONF"}
    foreign = ("SLURM_", "SBATCH_", "SRUN_", "SUBMITIT_")
    return {name: value for name, value in environment.items() if name in kept or not name.startswith(foreign)}


_SETTINGS = """
    ClusterName=throwaway
    SlurmctldPort={port}
    SlurmUser=root
    SlurmdUser=root
    AuthType=auth/munge
    CredType=cred/munge
    AuthInfo=socket={root}/munge/socket,cred_expire=5
    StateSaveLocation={root}/state
    SlurmdSpoolDir={root}/spool/%n
    SlurmctldPidFile={root}/slurmctld.pid
    SlurmdPidFile={root}/slurmd.%n.pid
    SlurmctldLogFile={root}/slurmctld.log
    SlurmdLogFile={root}/slurmd.%n.log
    PlugStackConfig={root}/plugstack.conf
    ProctrackType=proctrack/linuxproc
    TaskPlugin=task/none
    JobAcctGatherType=jobacct_gather/none
    AccountingStorageType=accounting_storage/none
    JobCompType=jobcomp/none
    SelectType=select/cons_tres
    SelectTypeParameters=CR_Core
    SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0,sched_min_interval=0
    GresTypes=gpu
    MpiDefault=none
    ReturnToService=2
    SlurmdParameters=config_overrides
    SlurmctldParameters=preempt_send_user_signal
    PreemptType=preempt/partition_prio
    PreemptMode=REQUEUE
    KillWait=5
    MinJobAge=86400
    SlurmctldTimeout=30
    SlurmdTimeout=300
    PartitionName=debug Nodes=ALL Default=YES PriorityTier=5 MaxTime=INFINITE State=UP PreemptMode=OFF
    PartitionName=low Nodes=ALL PriorityTier=1 MaxTime=INFINITE State=UP PreemptMode=REQUEUE GraceTime=60
    PartitionName=high Nodes=ALL PriorityTier=10 MaxTime=INFINITE State=UP PreemptMode=OFF
"""
