-- How signals are sent: what an execution could do with one, and how it is kept.

-- The pattern that fits this text and no other.
CREATE FUNCTION escape_pattern(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT replace(replace(replace(p_text, '\', '\\'), '%', '\%'), '_', '\_')
$$;


-- What an execution could do with a signal of this name: which of its steps may take it,
-- and what each of them asks of its payload. Those that wait for it, or will for sure; or
-- else those whose name is not known before they begin, and could come to be this one.
CREATE FUNCTION steps_awaiting(p_execution uuid, p_plan uuid, p_name text)
RETURNS TABLE (name text, payload jsonb)
LANGUAGE sql VOLATILE AS $$
    WITH sure AS (
        SELECT p.name, p.payload FROM plan_steps p
         WHERE p.plan_id = p_plan
           AND (p.awaits = escape_pattern(p_name) OR EXISTS (
                SELECT FROM execution_steps s
                 WHERE s.execution_id = p_execution AND s.status = 'waiting'
                   AND s.waits_for = name_wait(p_name)
                   AND coalesce(s.item_of, s."position") = p."position"))
    )
    SELECT * FROM sure
    UNION ALL
    SELECT p.name, p.payload FROM plan_steps p
     WHERE p.plan_id = p_plan AND p_name LIKE p.awaits AND NOT EXISTS (SELECT FROM sure)
$$;


-- What has to be known of an execution before a signal is sent to it: its state, NULL if
-- there is none; what the steps ask that may take the signal, as an object by their names;
-- and the names that its plan waits for, as they are written.
CREATE FUNCTION read_awaiting(
    p_execution uuid, p_name text, OUT status text, OUT plan text, OUT takers jsonb,
    OUT written text[]
)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT e.status, p.name,
           (SELECT jsonb_object_agg(t.name, t.payload)
              FROM steps_awaiting(e.id, e.plan_id, p_name) AS t),
           ARRAY(SELECT s.inputs ->> 'wait_for' FROM plan_steps s
                  WHERE s.plan_id = e.plan_id AND s.awaits IS NOT NULL
                  ORDER BY s."position")
      FROM executions e JOIN plans p ON p.id = e.plan_id
     WHERE e.id = p_execution
$$;


-- Keep a signal, if the execution can do anything with it. Its id is drawn by the sender,
-- so that the same call again answers the same; so does another one with the same key.
--
-- outcome:
--   sent       it is there, and not received yet
--   repeated   it was there
--   conflict   its key belongs to another signal
--   over       the execution has ended (`detail` says how)
--   unawaited  no step of it could ever wait for it
--   unknown    there is no such execution
CREATE FUNCTION keep_signal(
    p_execution uuid, p_id uuid, p_name text, p_payload jsonb, p_by text, p_reason text,
    p_key text, OUT outcome text, OUT detail text, OUT signal_id uuid
)
LANGUAGE plpgsql AS $$
DECLARE
    e executions;
    known execution_signals;
BEGIN
    SELECT * INTO e FROM executions WHERE id = p_execution;
    INSERT INTO execution_signals (execution_id, id, name, payload, by, reason, key, sent_at)
    SELECT p_execution, p_id, p_name, p_payload, p_by, p_reason, p_key, plans_now()
     WHERE e.ended_at IS NULL
       AND EXISTS (SELECT FROM steps_awaiting(e.id, e.plan_id, p_name))
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        outcome := 'sent'; signal_id := p_id;
        RETURN;
    END IF;
    -- a statement of its own: the one above could not see the row that won
    SELECT * INTO known FROM execution_signals g
     WHERE g.execution_id = p_execution AND (g.id = p_id OR g.key = p_key);
    signal_id := known.id;
    outcome := CASE
        WHEN e.id IS NULL THEN 'unknown'
        WHEN known.id IS NULL AND e.ended_at IS NOT NULL THEN 'over'
        WHEN known.id IS NULL THEN 'unawaited'
        WHEN known.name = p_name AND known.payload IS NOT DISTINCT FROM p_payload
        THEN 'repeated' ELSE 'conflict' END;
    detail := CASE outcome WHEN 'over' THEN e.status WHEN 'conflict' THEN known.name END;
END $$;


-- Send a signal to an execution: it is received at once. The caller has looked at its
-- payload.
CREATE FUNCTION send_signal(
    p_execution uuid, p_id uuid, p_name text, p_payload jsonb, p_by text, p_reason text,
    p_key text,
    OUT outcome text, OUT detail text, OUT signal_id uuid, OUT status text,
    OUT epoch int, OUT open_steps int, OUT last_seq bigint, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    done record;
    kept record;
BEGIN
    PERFORM begin_write();
    windows := '[]';
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    SELECT * INTO kept FROM keep_signal(
        p_execution, p_id, p_name, p_payload, p_by, p_reason, p_key);
    outcome := kept.outcome; detail := kept.detail; signal_id := kept.signal_id;
    IF outcome IN ('sent', 'repeated') THEN
        SELECT * INTO done FROM receive_signals(e);
        e := done.received; windows := done.windows;
    END IF;
    IF outcome = 'repeated' AND e.status IN ('pending', 'running', 'ending') THEN
        -- nobody knows whether that call sent what it was to
        windows := windows || republish_since(
            p_execution, (SELECT g.taken_at FROM execution_signals g
                           WHERE g.execution_id = p_execution AND g.id = signal_id),
            NULL, e.epoch);
    END IF;
    status := e.status; epoch := e.epoch; open_steps := e.open_steps;
    last_seq := e.next_seq - 1;
END $$;


-- Send a signal in the caller's transaction: it is there if, and as soon as, that commits,
-- and is received then. It locks nothing, so that no worker waits for the caller. Returns
-- the id of the signal; the same key with the same name and payload returns the id that
-- was given first.
--
-- SELECT celery_plans.signal('019a…', 'approval', '{"approved": true}', by => 'ann');
CREATE FUNCTION signal(
    execution uuid, name text, payload jsonb DEFAULT NULL, by text DEFAULT NULL,
    reason text DEFAULT NULL, key text DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    known record;
    kept record;
BEGIN
    PERFORM begin_write();
    payload := coalesce(payload, 'null');
    SELECT * INTO known FROM read_awaiting(execution, name);
    IF known.takers IS NOT NULL THEN
        payload := bind_payload(known.takers, payload);
    END IF;
    SELECT * INTO kept FROM keep_signal(
        execution, gen_random_uuid(), name, payload, by, reason, key);
    IF kept.outcome = 'unknown' THEN
        RAISE EXCEPTION 'there is no execution %', execution
            USING ERRCODE = 'no_data_found';
    ELSIF kept.outcome = 'over' THEN
        RAISE EXCEPTION 'execution % has ended: it is %', execution, kept.detail
            USING ERRCODE = 'object_not_in_prerequisite_state';
    ELSIF kept.outcome = 'unawaited' THEN
        RAISE EXCEPTION 'no step of plan % waits for signal %; %', known.plan,
            quote_literal(name), CASE known.written WHEN '{}' THEN 'none waits for any'
                ELSE 'there are ' || array_to_string(known.written, ', ') END
            USING ERRCODE = 'invalid_parameter_value';
    ELSIF kept.outcome = 'conflict' THEN
        RAISE EXCEPTION 'the key % belongs to another signal of execution %',
            quote_literal(key), execution USING ERRCODE = 'unique_violation';
    END IF;
    PERFORM tell_reconcilers();
    RETURN kept.signal_id;
END $$;


-- The payload as every step that may take it asks for it, or an error that lists what does
-- not fit.
CREATE FUNCTION bind_payload(p_takers jsonb, p_payload jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    declared jsonb;
    given jsonb;
BEGIN
    IF octet_length(p_payload::text) > 262144 THEN
        RAISE EXCEPTION 'the payload takes more than 256 kB'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR declared IN
        SELECT value FROM jsonb_each(p_takers) WHERE value <> 'null'
    LOOP
        given := coalesce(nullif(p_payload, 'null'), '{}');
        IF jsonb_typeof(given) <> 'object' THEN
            RAISE EXCEPTION 'the payload must be a JSON object'
                USING ERRCODE = 'invalid_parameter_value';
        END IF;
        p_payload := bind_values(declared, given, 'payload', 'nobody asks for this');
    END LOOP;
    RETURN p_payload;
END $$;
