-- What every write stands on: the clock, the isolation, the timeline.
--
-- Every function that writes to an execution takes the lock of its row first, in a
-- statement of its own: in one statement, the reads would use a snapshot that is
-- older than the lock.

-- The only clock. Read after the lock, so that waiting for it does not date anything
-- back. Tests replace this function to move time.
CREATE FUNCTION plans_now() RETURNS timestamptz
LANGUAGE sql VOLATILE AS $$ SELECT clock_timestamp() $$;


-- A draft of an event; it gets its number when the transaction's last statement
-- writes the timeline.
CREATE TYPE event_draft AS (type text, "position" int, data jsonb);


-- What a later statement must be able to rely on. Under REPEATABLE READ the reads
-- after a lock would see the past: joins would be lost.
CREATE FUNCTION begin_write() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'celery-plans writes under READ COMMITTED only, not under %',
            upper(current_setting('transaction_isolation'))
            USING HINT = 'Set default_transaction_isolation to ''read committed''.';
    END IF;
    IF current_setting('synchronous_commit') = 'off' THEN
        -- a commit that was reported must survive a crash of the server
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
END $$;


-- Wake the reconcilers that listen, once this transaction commits: it leaves ready
-- steps that nobody sends. Without a listener they are found a tick later.
CREATE FUNCTION tell_reconcilers() RETURNS void
LANGUAGE sql AS $$
    SELECT pg_notify('plans_ready', current_schema())
$$;


-- Append drafts to the timeline. The caller holds the lock of the execution and
-- stores the number that is returned as the execution's next_seq.
CREATE FUNCTION write_events(p_execution uuid, p_next_seq bigint, p_drafts event_draft[])
RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO execution_events (execution_id, seq, type, "position", data, at)
    SELECT p_execution, p_next_seq + d.n - 1, d.type, d."position",
           coalesce(d.data, '{}'), plans_now()
      FROM unnest(p_drafts) WITH ORDINALITY AS d(type, "position", data, n);
    RETURN p_next_seq + coalesce(cardinality(p_drafts), 0);
END $$;


-- One change of state into the history, under the number of its event.
CREATE FUNCTION write_state(
    p_execution uuid, p_seq bigint, p_from text, p_to text, p_by text, p_reason text
) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO execution_states (execution_id, seq, from_status, to_status, by, reason, at)
    VALUES (p_execution, p_seq, p_from, p_to, p_by, p_reason, plans_now())
$$;


-- Keep an attempt that did not end well; the step's row goes on to the next one.
CREATE FUNCTION archive_attempt(p_step execution_steps, p_outcome text, p_error jsonb)
RETURNS void
LANGUAGE sql AS $$
    INSERT INTO step_attempts (execution_id, "position", attempt, outcome, lease_token,
                               worker_id, claimed_at, ended_at, error)
    VALUES (p_step.execution_id, p_step."position", p_step.attempt, p_outcome,
            p_step.lease_token, p_step.worker_id, p_step.claimed_at, plans_now(), p_error)
$$;
