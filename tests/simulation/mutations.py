"""What the simulation must notice: one safeguard less each time.

A mutation is a text of our functions that is replaced, or a sweep of the reconcilers
that finds nothing. If the text is not there any more, the mutation says so: it has to
follow the functions.
"""

from dataclasses import dataclass

from execution.sql import read_functions


@dataclass(frozen=True)
class Mutation:
    """One safeguard taken away; `muted` is what sweeps do not find."""

    name: str
    text: str = ""
    instead: str = ""
    muted: frozenset[str] = frozenset()
    has_pausers: bool = True
    """Whether somebody pauses plans and queues in some of its worlds."""
    first_seed: int = 0
    """Where to begin to look: at one that noticed it when it was looked up last. Should
    another one do so by now, the test only takes longer."""

    def apply(self) -> str:
        """Return the text of all functions, altered; fails if it is not as expected."""
        whole = read_functions()
        if not self.text:
            return whole
        assert whole.count(self.text) == 1, f"{self.name}: its text stands elsewhere"
        return whole.replace(self.text, self.instead)


_STALE = (
    "WHEN s.lease_token IS DISTINCT FROM p_token OR s.status <> 'running' THEN"
    " 'stale'\n"
)
_HELD = "lease_token = p_token AND status = 'running'"

MUTATIONS = (
    Mutation(
        "a completion asks for no token",
        "IF s.lease_token = p_token AND s.status = 'running' THEN\n"
        "        outcome := 'recorded';",
        "IF s.status = 'running' THEN\n        outcome := 'recorded';",
        first_seed=3,
    ),
    Mutation(
        "a ride asks for no epoch",
        "rides := p_next_token IS NOT NULL AND e.epoch = p_epoch;",
        "rides := p_next_token IS NOT NULL;",
        first_seed=110,
    ),
    Mutation(
        "a ride asks for no state",
        "AND p_status = 'completed' AND e.status = 'running'\n       AND p_variables",
        "AND p_status = 'completed'\n       AND p_variables",
        first_seed=213,
    ),
    Mutation(
        "a retry asks for no token",
        "ELSIF s.lease_token IS DISTINCT FROM p_token OR s.status IS DISTINCT FROM"
        " 'running'\n          OR (e.status",
        "ELSIF (e.status",
        first_seed=3,
    ),
    Mutation(
        "progress asks for no token",
        f"       AND {_HELD};\n    landed := FOUND;\n    IF landed THEN\n"
        "        last_seq",
        ";\n    landed := FOUND;\n    IF landed THEN\n        last_seq",
        first_seed=89,
    ),
    Mutation(
        "a checkpoint asks for no token",
        f"       AND {_HELD};\n    IF NOT FOUND THEN\n        outcome := 'stale'",
        ";\n    IF NOT FOUND THEN\n        outcome := 'stale'",
        first_seed=61,
    ),
    Mutation(
        "log lines ask for no token",
        f"       AND {_HELD};\n    landed := FOUND;\n    IF landed THEN\n"
        "        SELECT CASE WHEN l.attempt",
        ";\n    landed := FOUND;\n    IF landed THEN\n"
        "        SELECT CASE WHEN l.attempt",
        first_seed=2,
    ),
    Mutation(
        "lines ask for no number",
        "l.number > coalesce(told, 0)",
        "true",
        first_seed=184,
    ),
    Mutation(
        "a claim asks for no epoch",
        "WHEN e.epoch <> p_epoch THEN 'the message is of another epoch'",
        "",
        first_seed=79,
    ),
    Mutation(
        "a claim asks for no state",
        "WHEN e.status NOT IN ('pending', 'running', 'ending')\n"
        "                    THEN e.status END",
        "END",
        first_seed=79,
    ),
    Mutation(
        "a later section begins before the events of the last step are written",
        "    e.next_seq := write_events(e.id, e.next_seq, p_drafts);\n"
        "    IF e.open_steps = 0 THEN",
        "    IF e.open_steps = 0 THEN\n"
        "        SELECT * INTO further FROM begin_section(e);\n"
        "        e := further.begun; p_drafts := p_drafts || further.drafts;\n"
        "    END IF;\n"
        "    e.next_seq := write_events(e.id, e.next_seq, p_drafts);\n"
        "    IF e.open_steps = 0 THEN",
        first_seed=41,
    ),
    Mutation(
        "an item that ends lets two others begin",
        "           next_item = CASE WHEN t.next_item IS NOT NULL THEN item_after(\n"
        "               t.execution_id, t.next_item, t.first_item + t.item_count)"
        " END,\n"
        "           status",
        "           next_item = t.next_item,\n           status",
        first_seed=145,
    ),
    Mutation(
        "items are expanded without a token",
        "AND s.attempt = p_attempt THEN 'repeated'\n"
        f"        {_STALE}        WHEN e.status",
        "AND s.attempt = p_attempt THEN 'repeated'\n        WHEN e.status",
        first_seed=244,
    ),
    Mutation(
        "an iteration wakes a loop that waits for it no more",
        "AND t.status = 'waiting' AND t.pending_deps > 0;",
        "AND t.status = 'waiting';",
        has_pausers=False,
        first_seed=234,
    ),
    Mutation(
        "an iteration begins from what came before the last",
        "jsonb_build_object('last', last, 'index', p_index), 0,",
        "jsonb_build_object('last', NULL, 'index', p_index), 0,",
        first_seed=19,
    ),
    Mutation(
        "a restore forgets which needs are settled no more",
        "                     WHERE n.execution_id = p_execution"
        ' AND n."position" = need\n'
        "                       AND n.status NOT IN ('completed', 'skipped') OFFSET 0",
        "                     WHERE false OFFSET 0",
        first_seed=2,
    ),
    Mutation(
        "what a restore let complete twice is undone twice",
        'GROUP BY p."position") AS undoing',
        'GROUP BY p."position", v.seq) AS undoing',
        first_seed=40,
    ),
    Mutation(
        "silence is measured by the clock",
        "AND pulse < (SELECT value FROM pulse) - coalesce(lease_seconds, p_lease)",
        "AND beat_at < plans_now() - make_interval(secs => p_lease)",
        first_seed=2,
    ),
    Mutation(
        "a sample from before the claim says who holds it",
        "w.beats >= s.claimed_beat + 2",
        "true",
        first_seed=2,
    ),
    Mutation(
        "a clock tells which sample is the younger one",
        "w.beats >= s.claimed_beat + 2",
        "w.sampled_at > s.claimed_at",
        first_seed=11,
    ),
    Mutation(
        "an admission asks for no room",
        "IF is_more OR state.room <= 0 THEN",
        "IF is_more OR state.next IS NULL THEN",
        first_seed=1,
    ),
    Mutation(
        "a plan that rejects asks for no room",
        "CASE WHEN cardinality(holders) < p_limit THEN '{}' ELSE holders END",
        "'{}'",
        first_seed=32,
    ),
    Mutation(
        "who waits for its key is resumed",
        "target text := CASE WHEN waits_for_key(e) OR e.is_delayed THEN 'pending'\n"
        "                   ELSE 'running' END;",
        "target text := 'running';",
        first_seed=2,
    ),
    Mutation(
        "nobody is given a key later", muted=frozenset({"due_keys"}), first_seed=1
    ),
    Mutation(
        "lost messages are not sent again",
        muted=frozenset({"unsent_steps"}),
        first_seed=21,
    ),
    Mutation(
        "what was never sent is not sent",
        muted=frozenset({"unsent_executions"}),
        first_seed=11,
    ),
    Mutation("lost steps are not found", muted=frozenset({"lost"}), first_seed=40),
    Mutation("nobody is woken", muted=frozenset({"due"})),
    Mutation("nobody is finished", muted=frozenset({"unfinished"}), first_seed=659),
)
