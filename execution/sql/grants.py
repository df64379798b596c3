"""Who may call what, where a database has a role for each kind of program.

Nobody but the owner of the schema may write to its tables. What others do, they do by
calling functions that run with the owner's rights: those that are called from outside,
which are the ones with a search path of their own. Everything else is for the owner.

Pure text, installed with the functions each time: what is new is granted at once, and
what is gone leaves nothing behind.
"""

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum


class Role(StrEnum):
    """A group of logins; `deploy/postgres/roles.sql` makes them."""

    MIGRATOR = "plans_migrator"
    """Owns the schema, and brings it up to date."""
    WORKER = "plans_worker"
    """Runs steps, and reconciles."""
    PRODUCER = "plans_producer"
    """Submits, waits, signals, operates."""
    READER = "plans_reader"
    """Looks, and changes nothing."""


_WORKER = """
    act_on_item append_observations await_signal beat begin_child claim_step
    complete_step drain_step due_batches due_dependencies due_keys end_worker
    expand_step expire_execution expire_step finish_execution fire_schedule
    hand_out_items held_steps is_held is_unwanted is_wanted_to_yield
    queued_schedules read_ending register_worker relaying_executions repeat_step
    report_progress resend_step retry_step return_message reuse_result
    save_checkpoint signalled_executions sleep_step start_delayed sweep take_step
    told_tokens unfinished_executions unsent_executions wake_steps yield_step
"""
_PRODUCER = """
    ask_run begin_batch cancel_execution create_schedule delete_execution
    delete_schedule end_hold guard_dependency move_batch open_batch
    operate_execution pause_dependency pause_execution pause_schedule publish_plan
    register_plan remark_execution resume_dependency resume_execution send_signal
    set_hold signal submit submit_execution submit_executions unguard_dependency
    update_schedule
"""
# what an act leaves to be done is done by who acted, or else by a reconciler
_BOTH = """
    admit_next begin_run deliver_signals end_child finish_stopped forget_relay
    move_child move_dependency next_run read_relay read_trial resumable_executions
    send_steps supersede_execution supersede_run unpark_steps
"""
_ALL = """
    count_items describe_stopped diagnose_messages find_subplan holds_of
    list_dependencies list_signals plans_now preview_act preview_acts read_awaiting
    read_diagnosis read_standstill running_under
"""
_CALLERS: Iterable[tuple[str, frozenset[Role]]] = (
    (_WORKER, frozenset({Role.WORKER})),
    (_PRODUCER, frozenset({Role.PRODUCER})),
    (_BOTH, frozenset({Role.WORKER, Role.PRODUCER})),
    (_ALL, frozenset({Role.WORKER, Role.PRODUCER, Role.READER})),
)

WAYS_IN: Mapping[str, frozenset[Role]] = {
    name: roles for names, roles in _CALLERS for name in names.split()
}
"""The functions that are called from outside, and by whom."""

TABLES: Mapping[Role, tuple[str, ...]] = {
    # who is acted on is chosen by a query that the filter of a batch becomes
    Role.PRODUCER: ("INSERT (batch_id, position, execution_id) ON batch_items",),
}
"""What may be done to tables beyond reading, which all may."""

_OTHERS = ", ".join(role for role in Role if role is not Role.MIGRATOR)

# Ours are known by their comment. What others have put into the schema is left alone,
# but for reading.
_GRANTS = f"""
REVOKE ALL ON SCHEMA {{schema}} FROM PUBLIC, {_OTHERS};
GRANT USAGE ON SCHEMA {{schema}} TO {_OTHERS};
REVOKE ALL ON ALL TABLES IN SCHEMA {{schema}} FROM PUBLIC, {_OTHERS};
GRANT SELECT ON ALL TABLES IN SCHEMA {{schema}} TO {_OTHERS};
{{tables}}
DO $$
DECLARE
    ways_in jsonb := '{{ways_in}}';
    f record;
BEGIN
    FOR f IN
        SELECT p.oid::regprocedure AS name, ways_in ->> p.proname::text AS callers,
               p.prokind = 'f' AND p.proconfig IS NOT NULL AS is_closed
          FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace
           AND obj_description(p.oid, 'pg_proc') = 'celery-plans'
    LOOP
        EXECUTE format('REVOKE ALL ON ROUTINE %s FROM PUBLIC', f.name);
        IF f.callers IS NULL THEN
            CONTINUE;
        END IF;
        IF f.is_closed THEN
            EXECUTE format('ALTER ROUTINE %s SECURITY DEFINER', f.name);
        END IF;
        EXECUTE format('GRANT EXECUTE ON ROUTINE %s TO %s', f.name, f.callers);
    END LOOP;
END $$;
"""  # noqa: S608  # names of our own


WRITTEN_GRANTS = """
SELECT DISTINCT pg_get_userbyid(a.grantee) || ' ' || p.proname
  FROM pg_proc p CROSS JOIN LATERAL aclexplode(p.proacl) AS a
 WHERE p.pronamespace = to_regnamespace(quote_ident(:schema))
   AND a.privilege_type = 'EXECUTE'
"""
"""Asks which roles may call which functions of a schema, as `ROLE FUNCTION`."""


def list_lacking(granted: Collection[str]) -> list[Role]:
    """Return the roles that may not call all that is meant for them.

    `granted` is the answer to `WRITTEN_GRANTS`.
    """
    lacking = {
        role
        for name, roles in WAYS_IN.items()
        for role in roles
        if f"{role} {name}" not in granted
    }
    return sorted(lacking)


def write_grants(quoted_schema: str) -> str:
    """Return the SQL that gives every role what it needs, and nothing else.

    It is for the owner to run, after the functions were installed, in a session whose
    search path begins with the schema.
    """
    ways_in = ", ".join(
        f'"{name}": "{", ".join(sorted(roles))}"'
        for name, roles in sorted(WAYS_IN.items())
    )
    tables = "\n".join(
        f"GRANT {right} TO {role};"
        for role, rights in TABLES.items()
        for right in rights
    )
    return (
        _GRANTS.replace("{schema}", quoted_schema)
        .replace("{tables}", tables)
        .replace("{ways_in}", f"{{{ways_in}}}")
    )
