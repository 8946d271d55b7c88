"""A real JupyterLab and a real headless Chromium for the tests in this folder."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from notebook_page import new_page
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]
TOKEN = "a-token-for-tests"
SETTINGS = {
    # cells that are out of sight would not be drawn
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@dataclass
class Server:
    """A running JupyterLab."""

    url: str
    root: Path

    def address(self, path: str) -> str:
        return f"{self.url}/{path}?token={TOKEN}"


@pytest.fixture(scope="session")
def embedded() -> dict[str, str]:
    """The environment without the real data: with them labs take minutes, which is for tests/labs/test_on_real_data."""
    here = {name: value for name, value in os.environ.items() if name != "COURSE_DATA"}
    # TorchScript files hold the path of the cell that made them, with the kernel's process number: one name for all
    # and one thread: two test processes share two cores, and torch's idle threads would spin against each other
    return here | {"IPYKERNEL_CELL_NAME": "cell.py", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip(f"no Chromium on PATH ({', '.join(NAMES)}): nothing was tested in a browser")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = new_page(browser)
    yield page
    page.close()


@pytest.fixture(scope="session")
def start_lab(tmp_path_factory: pytest.TempPathFactory, embedded: dict[str, str]) -> Iterator[Callable[..., Server]]:
    """Starts JupyterLab in a folder, with settings and state of its own; by a command of its own, if one is given.
    With ``settings={}`` it is as on a new computer."""
    processes: list[subprocess.Popen] = []

    def start(
        root: Path,
        *options: str,
        command: Sequence[str] = (sys.executable, "-m", "jupyter", "lab"),
        settings: dict[str, dict] = SETTINGS,
    ) -> Server:
        own = tmp_path_factory.mktemp("jupyter")
        for name, values in settings.items():
            path = own / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(values), encoding="utf-8")
        folders = {
            "JUPYTER_CONFIG_DIR": own / "config",
            "JUPYTER_DATA_DIR": own / "data",
            "JUPYTER_RUNTIME_DIR": own / "runtime",
            "JUPYTERLAB_SETTINGS_DIR": own / "settings",
            "JUPYTERLAB_WORKSPACES_DIR": own / "workspaces",
            "IPYTHONDIR": own / "ipython",
        }
        port = _free_port()
        own_options = ["--no-browser", "--allow-root", f"--port={port}", "--ServerApp.port_retries=0"]
        words = [*command, *own_options, f"--IdentityProvider.token={TOKEN}", *options]
        log = (own / "log").open("wb")
        environment = embedded | {name: str(folder) for name, folder in folders.items()}
        process = subprocess.Popen(words, cwd=root, env=environment, stdout=log, stderr=subprocess.STDOUT)
        processes.append(process)
        server = Server(f"http://127.0.0.1:{port}", root)
        _wait_for(server, process, own / "log")
        return server

    yield start
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(server: Server, process: subprocess.Popen, log: Path) -> None:
    for _ in range(240):
        if process.poll() is not None:
            break
        try:
            urllib.request.urlopen(server.address("api/status"), timeout=5).close()
            return
        except OSError:
            time.sleep(0.25)
    raise RuntimeError(f"JupyterLab did not start:\n{log.read_text(errors='replace')[-3000:]}")
