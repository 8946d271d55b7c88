"""An IPython kernel behind the sandbox's walls, for plain nbgrader.

``python -m autograder.for_nbgrader.kernel CONNECTION_FILE`` is how Jupyter starts it.

`SandboxedProvisioner` starts it and talks to it through sockets in a folder, since there is no network inside. The
kernel sees the folder it is started in, read-only, and a scratch folder; see `autograder.sandbox.walls` for the rest.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from jupyter_client.provisioning import LocalProvisioner

from autograder.sandbox import walls


class SandboxedProvisioner(LocalProvisioner):
    """Gives each kernel a folder of its own with the sockets in it, and removes that with the kernel.

    jupyter_client finds it by the name ``sandboxed`` in a kernel spec's metadata.
    """

    folder: str | None = None

    async def pre_launch(self, **kwargs):
        if self.folder is None:  # a kernel that starts again keeps its sockets' names
            self.folder = tempfile.mkdtemp(prefix="kernel-")  # for its owner only
            os.mkdir(f"{self.folder}/s")  # noqa: PTH102
            os.chmod(f"{self.folder}/s", 0o777)  # noqa: PTH101  inside, the kernel is nobody
        if self.parent is not None:
            self.parent.transport = "ipc"
            self.parent.ip = f"{self.folder}/s/k"
        # what a process was started with it can read: nothing of the grader's environment goes along
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return await super().pre_launch(**kwargs | {"env": kept | {"OMP_NUM_THREADS": "1"}})

    async def cleanup(self, restart: bool = False) -> None:
        await super().cleanup(restart)
        if self.folder is not None and not restart:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None


def main() -> None:
    connection = Path(sys.argv[1])
    sockets = Path(json.loads(connection.read_text())["ip"]).parent
    copy = sockets / "connection.json"  # the original lies where the kernel sees nothing
    copy.write_bytes(connection.read_bytes())
    copy.chmod(0o644)

    from ipykernel.kernelapp import IPKernelApp

    here = Path.cwd()
    separate = walls.can_separate(None, [here], [sockets])
    null = os.open(os.devnull, os.O_RDWR)
    standing = walls.enter(null, None, [here], [sockets], separate=separate)
    if missing := [wall for wall in walls.WALLS if wall not in standing]:
        print(f"kernel: NOT in force: {', '.join(missing)}", file=sys.stderr)
    scratch = tempfile.mkdtemp(prefix="answers-")
    os.environ.pop("JPY_PARENT_PID", None)  # the kernel would look for its parent, which it does not see
    os.environ.update(HOME=scratch, TMPDIR=scratch, IPYTHONDIR=scratch, MPLCONFIGDIR=scratch)
    if separate:
        os.chdir(here)
    IPKernelApp.launch_instance(["-f", str(copy), *sys.argv[2:], "--HistoryManager.enabled=False"])


if __name__ == "__main__":
    main()
