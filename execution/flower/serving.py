"""Runs Flower until it is told to stop.

Promises: SIGTERM and SIGINT end it well, whatever its servers do; nothing is asked of
PostgreSQL or the broker before it listens.
"""

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from celery import Celery

from ..celery.host_settings import load_app
from ..dispatcher import create_app
from ..installation import name_broker, open_installation
from ..settings import Settings
from .app import ExecutionsFlower
from .choices import Choice, FlowerChoices, choose
from .gate import is_loopback

logger = logging.getLogger(__name__)

_SECONDS_TO_CLOSE = 3.0
_SECONDS_TO_END = 1.0
"""Of what is left then: tasks, and after them threads."""


def serve(
    given: FlowerChoices, app_name: str | None, announce: Callable[[str], None]
) -> None:
    """Run Flower in the main thread; `announce` is told where it is.

    Shown is what `celery -A app_name` would be of, or the stand-alone app. Raises
    SettingsError for what cannot be, and SetupError when the address cannot be
    listened on.
    """
    choice = choose(given)
    settings = Settings.from_environment()
    host = load_app(app_name) if app_name else None
    installation = open_installation(
        settings if host is None else name_broker(settings, host)
    )
    try:
        capp = host or create_app(installation.settings)
        _set_logs(capp)
        _run(_serve(choice, capp, installation.settings, announce))
    finally:
        installation.close()
    _leave_threads()


def _run(main: Coroutine[Any, Any, None]) -> None:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(main)
    finally:
        # not asyncio.run: it would wait for threads, and these for a broker
        loop.close()


async def _serve(
    choice: Choice, capp: Celery, settings: Settings, announce: Callable[[str], None]
) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    flower = ExecutionsFlower(choice, capp, settings)
    try:
        announce(flower.open())
        _warn_of_plain_text(choice)
        await stopping.wait()
        logger.info("Flower was told to stop")
    finally:
        with suppress(TimeoutError):
            await asyncio.wait_for(flower.close(), _SECONDS_TO_CLOSE)
        await _end_tasks()


async def _end_tasks() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        # some end with what a thread of theirs does, and that may wait for a server
        await asyncio.wait(others, timeout=_SECONDS_TO_END)


def _leave_threads() -> None:
    """End the process now if a thread waits for a server: Python would wait, too."""
    until = time.monotonic() + _SECONDS_TO_END
    others = [each for each in threading.enumerate() if not each.daemon]
    others.remove(threading.main_thread())
    for thread in others:
        thread.join(max(until - time.monotonic(), 0.0))
    if not any(thread.is_alive() for thread in others):
        return
    logger.info("ending the process, and with it calls that servers do not answer")
    logging.shutdown()
    sys.stdout.flush()
    os._exit(0)


def _set_logs(capp: Celery) -> None:
    """Log as workers do; requests are not logged, for their addresses hold tokens."""
    capp.log.setup(loglevel=logging.INFO, redirect_stdouts=False)
    access = logging.getLogger("tornado.access")
    access.addHandler(logging.NullHandler())
    access.propagate = False


def _warn_of_plain_text(choice: Choice) -> None:
    options = choice.options
    is_near = options.unix_socket or is_loopback(options.address)
    if not is_near and not options.certfile:
        logger.warning(
            "logins come in plain text; put a proxy with TLS in front of Flower, or"
            " set FLOWER_CERTFILE and FLOWER_KEYFILE"
        )
