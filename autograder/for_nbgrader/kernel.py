"""An IPython kernel behind the sandbox's walls, for plain nbgrader.

``python -m autograder.for_nbgrader.kernel CONNECTION_FILE`` is how Jupyter starts it.

`SandboxedProvisioner` starts it and talks to it through sockets in a folder, since there is no network inside. The
kernel listens on them before it goes behind the walls, and takes them along as open files: the folder is not there
inside. So nothing that an answer could make, a link in a socket's place say, is ever opened outside. The kernel sees
the folder it is started in, read-only, and a scratch folder; see `autograder.sandbox.walls` for the rest.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from jupyter_client.provisioning import LocalProvisioner

from autograder.sandbox import walls

PORTS = ("shell_port", "iopub_port", "stdin_port", "control_port", "hb_port")


class SandboxedProvisioner(LocalProvisioner):
    """Gives each kernel a folder of its own with the sockets in it, and removes that with the kernel.

    jupyter_client finds it by the name ``sandboxed`` in a kernel spec's metadata.
    """

    folder: str | None = None

    async def pre_launch(self, **kwargs):
        if self.folder is None:  # a kernel that starts again keeps its sockets' names, for those who talk to it
            self.folder = tempfile.mkdtemp(prefix="kernel-")  # for its owner only
        if self.parent is not None:
            self.parent.transport = "ipc"
            self.parent.ip = f"{self.folder}/k"
        # what a process was started with it can read: nothing of the grader's environment goes along
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return await super().pre_launch(**kwargs | {"env": kept | {"OMP_NUM_THREADS": "1"}})

    async def cleanup(self, restart: bool = False) -> None:
        await super().cleanup(restart)
        if self.folder is not None and not restart:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None


def main() -> None:
    connection = json.loads(Path(sys.argv[1]).read_bytes())
    listeners = {connection[name]: _listen(f"{connection['ip']}-{connection[name]}") for name in PORTS}

    import torch  # noqa: F401  behind the walls its libraries alone could take the memory that an answer may have
    from ipykernel.kernelapp import IPKernelApp

    here = Path.cwd()
    separate = walls.can_separate(None, [here])
    standing = walls.enter([*listeners.values()], None, [here], separate=separate)
    if missing := [wall for wall in walls.WALLS if wall not in standing]:
        print(f"kernel: NOT in force: {', '.join(missing)}", file=sys.stderr)
    scratch = tempfile.mkdtemp(prefix="answers-")
    os.environ.pop("JPY_PARENT_PID", None)  # the kernel would look for its parent, which it does not see
    os.environ.update(HOME=scratch, TMPDIR=scratch, IPYTHONDIR=scratch, MPLCONFIGDIR=scratch)
    if separate:
        os.chdir(here)
    copy = Path(scratch, "connection.json")  # the original lies where the kernel sees nothing
    copy.write_text(json.dumps(connection))
    _listen_on(listeners)
    IPKernelApp.launch_instance(["-f", str(copy), *sys.argv[2:], "--HistoryManager.enabled=False"])


def _listen(path: str) -> int:
    """An open file that listens at ``path``, which an earlier kernel's may be in the way of."""
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(64)
    listener.setblocking(False)
    return listener.detach()


def _listen_on(listeners: dict[int, int]) -> None:
    """From now on ipykernel's sockets listen on open files, by the ports of which they ask for others.

    Source: ZMQ_USE_FD in zmq_setsockopt(3).
    """
    import zmq
    from ipykernel.heartbeat import Heartbeat
    from ipykernel.kernelapp import IPKernelApp

    def bind(app: Any, zmq_socket: zmq.Socket, port: int) -> int:
        zmq_socket.setsockopt(zmq.USE_FD, listeners[port])
        zmq_socket.bind(f"ipc://{app.ip}-{port}")
        return port

    IPKernelApp._try_bind_socket = bind
    Heartbeat._try_bind_socket = lambda beat: bind(beat, beat.socket, beat.port)


if __name__ == "__main__":
    main()
