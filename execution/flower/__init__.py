"""Flower, with a tab of executions, behind a login: what `plans flower` runs.

    serving.py      runs it until it is told to stop
    choices.py      how it is to run: options, variables, and what we choose
    app.py          Flower's application, with our handlers, templates and gate
    gate.py         who is let in, to do what
    logins.py       logins, as files and requests state them
    hearing.py      what is heard of tasks, and for how long it is kept
    executions.py   the tab: what it answers to, and what it keeps open
    parts.py        what the handlers of a tab share
    source.py       the service that is asked, opened when it is needed
    pages.py        what all pages have in common: headers, tokens, errors
    listing.py      the list of executions
    reading.py      one execution, read to be shown
    showing.py      its page, and the acts on it
    following.py    streams that keep pages current
    streams.py      how many there are, and their end
    pulse.py        whether anything has moved
    words.py        what templates may call
    assets.py       the files of static/
    navigation.py   the entry in Flower's navigation
    templates/      pages; one with a name of Flower's stands in for Flower's
    static/         the script and the style sheet of the tab

It is the only package that knows Flower and Tornado, so that nothing else needs them
installed. `celery -A … flower` stays Flower as it is.
"""
