-- Steps that wait for a signal, and how an execution receives those that were sent to it.
--
-- A signal is kept from the moment it is sent. It is received under the lock of its
-- execution: then it has its event, and its place among the others of its name. The step
-- that waits for it takes it in the same transaction, and has ended with that. So no step
-- waits for a name of which a received signal is left, and each signal is taken once.

-- What a step waits for that waits for a signal of this name.
CREATE FUNCTION name_wait(p_name text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$ SELECT 'signal:' || p_name $$;


-- Let a running step wait for a signal of the name p_name, for p_seconds or, where that is
-- NULL, for as long as it takes. One that was sent early ends it at once.
--
-- outcome:
--   waiting    it is not held any more; a repeated call is answered the same
--   ended      it has taken a signal, and is completed; a repeated call answers the same,
--              and once more what is to be sent
--   refused    the execution is ending: nothing more waits in it
--   stale      the token no longer holds the step
CREATE FUNCTION await_signal(
    p_execution uuid, p_position int, p_token uuid, p_input jsonb, p_name text,
    p_seconds float,
    OUT outcome text, OUT status text, OUT epoch int, OUT open_steps int,
    OUT last_seq bigint, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
    early execution_signals;
    done record;
BEGIN
    PERFORM begin_write();
    windows := '[]';
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = p_execution AND t."position" = p_position;
    outcome := CASE
        WHEN s.status = 'waiting' AND s.waits_for = name_wait(p_name) THEN 'waiting'
        WHEN s.status = 'completed' AND s.lease_token = p_token THEN 'ended'
        WHEN s.lease_token IS DISTINCT FROM p_token OR s.status <> 'running' THEN 'stale'
        WHEN e.status NOT IN ('running', 'paused') AND s.section = 'steps' THEN 'refused'
        END;
    IF outcome = 'ended' THEN
        windows := republish_since(p_execution, s.ended_at, NULL, e.epoch);
    ELSIF outcome IS NULL THEN
        SELECT * INTO done FROM receive_signals(e);
        e := done.received; windows := done.windows;
        SELECT * INTO early FROM oldest_signal(p_execution, p_name);
        outcome := CASE WHEN early.id IS NULL THEN 'waiting' ELSE 'ended' END;
        IF outcome = 'ended' THEN
            SELECT * INTO done FROM take_signal(e, s, early, p_input);
            e := done.ended; windows := windows || done.windows;
        ELSE
            e := begin_wait(e, s, p_input, p_name, p_seconds);
            IF e.status IN ('running', 'ending') THEN
                windows := windows || publish_next(p_execution, s.queue);
            END IF;
        END IF;
    END IF;
    status := e.status; epoch := e.epoch; open_steps := e.open_steps;
    last_seq := e.next_seq - 1;
END $$;


-- Let a step that is held wait for a signal; it holds nothing then. Returns the execution
-- as it is now.
CREATE FUNCTION begin_wait(
    e executions, s execution_steps, p_input jsonb, p_name text, p_seconds float
) RETURNS executions
LANGUAGE plpgsql AS $$
DECLARE
    -- while it is paused, no time passes: a resume adds what has gone by since the pause
    until timestamptz := CASE e.status WHEN 'paused' THEN e.paused_at ELSE plans_now() END
                       + make_interval(secs => p_seconds);
BEGIN
    UPDATE execution_steps t
       SET status = 'waiting', waits_for = name_wait(p_name), wake_at = until,
           input = p_input, lease_token = NULL, worker_id = NULL, delivery = NULL,
           claimed_at = NULL, attempt_deadline = NULL, published_at = NULL
     WHERE t.execution_id = e.id AND t."position" = s."position";
    e.next_seq := write_events(e.id, e.next_seq, ARRAY[ROW('step.waiting', s."position",
        jsonb_strip_nulls(jsonb_build_object(
            'attempt', s.attempt, 'signal', p_name, 'until', until)))::event_draft]);
    UPDATE executions x SET next_seq = e.next_seq WHERE x.id = e.id;
    RETURN e;
END $$;


-- Of the signals of a name that were received and not taken, the first.
CREATE FUNCTION oldest_signal(p_execution uuid, p_name text) RETURNS execution_signals
LANGUAGE sql VOLATILE AS $$
    SELECT * FROM execution_signals g
     WHERE g.execution_id = p_execution AND g.name = p_name
       AND g.seq > 0 AND g.taken_by IS NULL
     ORDER BY g.seq LIMIT 1
$$;


-- Receive what was sent to an execution and not received: each signal goes to the first
-- step that waits for it, or is kept. What comes after the end is only marked, for the
-- terminal event is the last. The caller holds the lock. Returns the execution as it is
-- now, and what is to be sent.
CREATE FUNCTION receive_signals(
    e executions, OUT received executions, OUT windows jsonb
)
LANGUAGE plpgsql AS $$
DECLARE
    sent execution_signals;
    s execution_steps;
    done record;
BEGIN
    windows := '[]';
    FOR sent IN
        SELECT * FROM execution_signals g
         WHERE g.execution_id = e.id AND g.seq IS NULL ORDER BY g.sent_at, g.id
    LOOP
        IF e.ended_at IS NOT NULL THEN
            UPDATE execution_signals g SET seq = 0
             WHERE g.execution_id = e.id AND g.id = sent.id;
            CONTINUE;
        END IF;
        sent.seq := e.next_seq;
        e.next_seq := write_events(e.id, e.next_seq, ARRAY[ROW(
            'signal.received', NULL, describe_signal(sent))::event_draft]);
        UPDATE execution_signals g SET seq = sent.seq
         WHERE g.execution_id = e.id AND g.id = sent.id;
        UPDATE executions x SET next_seq = e.next_seq WHERE x.id = e.id;
        SELECT * INTO s FROM execution_steps t
         WHERE t.execution_id = e.id AND t.status = 'waiting'
           AND t.waits_for = name_wait(sent.name)
         ORDER BY t."position" LIMIT 1;
        IF FOUND THEN
            SELECT * INTO done FROM take_signal(e, s, sent, NULL);
            e := done.ended; windows := windows || done.windows;
        END IF;
    END LOOP;
    received := e;
END $$;


-- What the timeline says of a signal: all but its payload, which is the result of the step
-- that takes it.
CREATE FUNCTION describe_signal(sent execution_signals) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'name', sent.name, 'by', sent.by, 'reason', sent.reason, 'seq', sent.seq))
$$;


-- Let a step take a signal: its payload is the result, and the step is completed. The
-- caller holds the lock. Returns the execution as it is now, and what is to be sent.
CREATE FUNCTION take_signal(
    e executions, s execution_steps, sent execution_signals, p_input jsonb,
    OUT ended executions, OUT windows jsonb
)
LANGUAGE plpgsql AS $$
DECLARE
    done record;
BEGIN
    UPDATE execution_signals g SET taken_by = s."position", taken_at = plans_now()
     WHERE g.execution_id = e.id AND g.id = sent.id;
    e.next_seq := write_events(e.id, e.next_seq, ARRAY[ROW(
        'signal.taken', s."position", describe_signal(sent))::event_draft]);
    SELECT * INTO done FROM succeed_step(
        e, s, sent.payload, p_input, '{}', NULL, NULL, NULL, NULL);
    ended := done.ended; windows := done.windows;
END $$;


-- End a step that has waited for its signal for as long as it was to: with its default, if
-- it states one. The caller holds the lock. Returns what is to be sent.
CREATE FUNCTION give_up_waiting(e executions, s execution_steps) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    name text := substr(s.waits_for, length(name_wait('')) + 1);
    done record;
BEGIN
    e.next_seq := write_events(e.id, e.next_seq, ARRAY[ROW(
        'signal.missed', s."position", jsonb_build_object('name', name))::event_draft]);
    UPDATE executions x SET next_seq = e.next_seq WHERE x.id = e.id;
    IF s.input ? 'default' THEN
        SELECT * INTO done FROM succeed_step(
            e, s, s.input -> 'default', NULL, '{}', NULL, NULL, NULL, NULL);
        RETURN done.windows;
    END IF;
    RETURN settle_step(
        e.id, s."position", 'timed_out', NULL, NULL,
        jsonb_build_object(
            'code', 'E002',
            'message', format('step %s waited %s for signal %s, which did not come',
                              s.name, s.input ->> 'timeout', name),
            'step', s.name, 'timestamp', plans_now(), 'recoverable', true,
            'context', jsonb_build_object('signal', name)),
        NULL);
END $$;


-- The signals that were sent to an execution, in their order: first those that it has
-- received.
CREATE FUNCTION list_signals(p_execution uuid)
RETURNS TABLE (
    id uuid, name text, payload jsonb, by text, reason text, key text,
    sent_at timestamptz, taken_by text, taken_at timestamptz
)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT g.id, g.name, g.payload, g.by, g.reason, g.key, g.sent_at, s.name, g.taken_at
      FROM execution_signals g
      LEFT JOIN execution_steps s ON s.execution_id = g.execution_id
                                 AND s."position" = g.taken_by
     WHERE g.execution_id = p_execution
     ORDER BY nullif(g.seq, 0), g.sent_at, g.id
$$;


-- Executions to which signals were sent that nobody has received: from inside a
-- transaction, by SQL.
CREATE FUNCTION signalled_executions(p_most int) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT DISTINCT g.execution_id FROM execution_signals g
     WHERE g.seq IS NULL
     LIMIT p_most
$$;


-- Receive what was sent to an execution, unless somebody holds it.
CREATE FUNCTION deliver_signals(
    p_execution uuid,
    OUT outcome text, OUT epoch int, OUT open_steps int, OUT status text,
    OUT last_seq bigint, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    done record;
BEGIN
    PERFORM begin_write();
    outcome := 'nothing'; windows := '[]';
    SELECT * INTO e FROM executions WHERE id = p_execution
       FOR NO KEY UPDATE SKIP LOCKED;
    IF e.id IS NULL OR NOT EXISTS (
            SELECT FROM execution_signals g
             WHERE g.execution_id = p_execution AND g.seq IS NULL) THEN
        RETURN;
    END IF;
    outcome := 'received';
    SELECT * INTO done FROM receive_signals(e);
    e := done.received; windows := done.windows;
    status := e.status; epoch := e.epoch; open_steps := e.open_steps;
    last_seq := e.next_seq - 1;
END $$;
