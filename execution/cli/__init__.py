"""The command line `plans`, one module per kind of reader:

    app.py          the list of commands, and how each begins and ends
    running.py      publish, submit, run
    looking.py      list, workers, show, watch
    offering.py     actions
    checking.py     validate, db
    describing.py   schema, graph, explain, versions, diff
    serving.py      up, worker
    demo.py         demo
    ─────────────
    options.py      options that several commands share
    reading.py      plan files and parameters
    target.py       the database of commands that need no engine
    consulting.py   what the catalogue has against plans
    judging.py      what is found in plan files
    record.py       all that the database knows of one execution
    exits.py        exit codes, errors as one line, masked passwords
    output.py       what `--json` prints
    display.py      what people see: tables and lines
    explaining.py   what people see of plans that are explained or compared
    following.py    an execution shown while it runs
    children.py     programs that are started and end with us
    supervision.py  programs that are kept running until Ctrl-C
    flower.py       Flower, behind a password
    announcing.py   what `plans up` says
    staging.py      the kill of the demo, and what it tells
    verdict.py      what the demo claims, checked against the record

It decides nothing about executions: it asks the engine and shows the answer. A command
is imported when it is called, so that `plans --help` needs neither database nor queue.
"""

from execution.cli.app import main

__all__ = ["main"]
