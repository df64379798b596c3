"""What is wrong with an installation, decided from what was seen of it.

    codes.py        what can be wrong, each with its fix
    findings.py     what is
    facts.py        what is looked at, as it was seen
    programs.py     versions and settings
    servers.py      PostgreSQL, its schema, the broker, clocks
    fleet.py        workers, queues, actions
    intents.py      what PostgreSQL wants, beside messages and attempts
    judging.py      all of it

Pure: who looks, and what is done about it, is decided elsewhere.
"""
