"""The command line `plans`, one module per kind of reader:

    quick.py        `plans health`, without all that follows
    app.py          the list of commands, and how each begins and ends
    running.py      publish, submit, run
    listing.py      list
    looking.py      workers, show
    health.py       health
    watching.py     watch
    steering.py     pause, resume, cancel
    signalling.py   signal
    offering.py     actions
    checking.py     validate, db
    describing.py   schema, graph, explain, versions, diff
    serving.py      up, worker
    monitoring.py   flower
    hosting.py      inspect-app
    doctoring.py    doctor
    demo.py         demo
    ─────────────
    options.py      options that several commands share
    choosing.py     options that choose executions
    completing.py   what the shell is offered
    connecting.py   the engine, loaded when it is needed
    reading.py      plan files and parameters
    target.py       the database of commands that need no engine
    consulting.py   what the catalogue has against plans
    judging.py      what is found in plan files
    record.py       all that the database knows of one execution
    exits.py        exit codes, errors as one line, masked passwords
    output.py       values as JSON
    shapes.py       what `--json` prints, as JSON Schema
    tables.py       tables, and the console that they are shown on
    display.py      what people see: tables and lines
    explaining.py   what people see of plans that are explained or compared
    following.py    an execution shown while it runs
    overseeing.py   many of them
    children.py     programs that are started and end with us
    supervision.py  programs that are kept running until Ctrl-C
    flower.py       the Flower of `plans up`, and its password
    announcing.py   what `plans up` says
    staging.py      the kill of the demo, and what it tells
    verdict.py      what the demo claims, checked against the record

It decides nothing about executions: it asks the engine and shows the answer. A command
is imported when it is called, so that `plans --help` needs neither database nor queue.
"""

import sys
from typing import NoReturn

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command that the process was called with, and exit."""
    from .quick import answer

    code = answer(sys.argv[1:])
    if code is not None:
        sys.exit(code)
    # here, for it loads what takes half a second, most of which no answer needs
    from .app import main as run

    run()
