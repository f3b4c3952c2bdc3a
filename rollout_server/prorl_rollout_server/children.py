"""Blocking work beside the event loop that must not keep the process from ending, and the processes it started."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable
from typing import NoReturn, TypeVar

Result = TypeVar("Result")


async def in_daemon_thread(function: Callable[[], Result]) -> Result:
    """Run a function as `asyncio.to_thread` does; but a process that is told to stop does not wait for it to return."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Result] = loop.create_future()

    def settle(result: Result | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]  # a Result whenever there is no error

    def work() -> None:
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001  # a thread's edge: handed to the awaiting task
            loop.call_soon_threadsafe(settle, None, error)
        else:
            loop.call_soon_threadsafe(settle, result, None)

    threading.Thread(target=work, daemon=True).start()
    return await future


def leave(code: int) -> NoReturn:
    """End this process now, and every process it started: threads that still run are not waited for."""
    import psutil

    children = psutil.Process().children(recursive=True)
    for child in children:
        try:
            child.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(children, timeout=2)
    logging.shutdown()
    os._exit(code)
