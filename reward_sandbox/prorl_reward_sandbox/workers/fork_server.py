"""The process from which verifier workers are forked: libraries imported and warm, single-threaded, idle.

Importing the verifiers takes seconds and forking milliseconds, so a killed worker is replaced at once. The service
asks over a control socket, each time handing over the new worker's end of a connection; when that socket closes,
however the service ended, the zygote kills its workers and leaves. It never sees an item: workers are its copies.
"""

from __future__ import annotations

import argparse
import gc
import logging
import os
import resource
import select
import signal
import socket
import sys
from collections.abc import Mapping

from prorl_api.process.logs import configure_logging
from prorl_api.spec.values import Domain
from prorl_reward_sandbox import hygiene
from prorl_reward_sandbox.workers import worker
from prorl_verifiers import Verifier, load_verifiers

READY = b"ready"
"""What the zygote says once it is warm; anything else is the reason why it cannot work."""
_HEADROOM_BYTES = 128 * 2**20
"""What judging ordinary answers may need beyond the libraries."""
FORK = b"F"
"""The one request: fork a worker that serves the connection sent along."""


def main() -> None:
    """Warm up, report ready, fork on request until the control socket closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--memory-bytes", type=int, required=True)
    arguments = parser.parse_args()
    configure_logging("sandbox-verifier", logging.WARNING)
    hygiene.ignore_terminal_signals()
    hygiene.make_undumpable()
    control = socket.socket(fileno=arguments.control_fd)
    verifiers = load_verifiers()
    for verifier in verifiers.values():
        verifier.warm_up()
    gc.collect()
    gc.freeze()  # so that workers' garbage collections do not copy the shared pages
    needed = _virtual_bytes() + _HEADROOM_BYTES
    if arguments.memory_bytes < needed:
        # Every answer would seem to exhaust the memory: a judge's failure disguised as the model's.
        fault = f"worker_memory_bytes must be at least {needed}, got {arguments.memory_bytes}: the libraries need it"
        control.sendall(fault.encode())
        return
    control.sendall(READY)
    _fork_on_request(control, verifiers, arguments.memory_bytes)


def _virtual_bytes() -> int:
    """Address space of this process, which its workers start with."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def _fork_on_request(control: socket.socket, verifiers: Mapping[Domain, Verifier], memory_bytes: int) -> None:
    children: dict[int, int] = {}  # handle of the process -> its id
    poller = select.poll()
    poller.register(control, select.POLLIN)
    while True:
        for descriptor, _ in poller.poll():
            if descriptor in children:
                poller.unregister(descriptor)
                os.waitpid(children.pop(descriptor), 0)
                os.close(descriptor)
                continue
            request, connections, _, _ = socket.recv_fds(control, 1, 1)
            if not request:
                _kill_all(children)
                return
            with socket.socket(fileno=connections[0]) as connection:
                pid = _fork_worker(control, connection, verifiers, memory_bytes)
            handle = os.pidfd_open(pid)
            children[handle] = pid
            poller.register(handle, select.POLLIN)


def _kill_all(children: Mapping[int, int]) -> None:
    for pid in children.values():
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _fork_worker(
    control: socket.socket, connection: socket.socket, verifiers: Mapping[Domain, Verifier], memory_bytes: int
) -> int:
    """Fork; the child serves and never returns."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        hygiene.die_with_parent()
        control.close()
        worker.serve(connection, verifiers, memory_bytes=memory_bytes)
        status = 0
    except ConnectionError:
        status = 0  # the service dropped us
    except BaseException:  # process edge: the zygote's stack must not unwind in the child
        logging.getLogger(__name__).exception("a verifier worker failed")
    finally:
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    main()
