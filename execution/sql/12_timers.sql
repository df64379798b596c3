-- What the clock brings: waits that are over, deadlines that have passed.

-- Whether a step that waits for this waits for a signal.
CREATE FUNCTION is_signal_wait(p_waits_for text) RETURNS bool
LANGUAGE sql IMMUTABLE AS $$ SELECT coalesce(p_waits_for LIKE 'signal:%', false) $$;


-- Whether the time of a step that waits does not pass: it waits for a signal, and a person
-- has paused its execution.
CREATE FUNCTION stands_still(s execution_steps) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT is_signal_wait(s.waits_for) AND EXISTS (
        SELECT FROM executions e WHERE e.id = s.execution_id AND e.status = 'paused')
$$;


-- Executions with waiting steps whose time has come; what waits for a signal expires.
CREATE FUNCTION due_executions(p_most int) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT DISTINCT s.execution_id FROM execution_steps s
     WHERE s.status = 'waiting' AND s.wake_at <= plans_now()
       AND NOT is_signal_wait(s.waits_for)
     LIMIT p_most
$$;


-- Make the waiting steps of an execution ready whose time has come, and send them if
-- it is not paused; unless somebody holds it.
CREATE FUNCTION wake_steps(
    p_execution uuid, OUT woken int, OUT epoch int, OUT last_seq bigint, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    due int[];
BEGIN
    PERFORM begin_write();
    windows := '[]';
    SELECT * INTO e FROM executions WHERE id = p_execution
       FOR NO KEY UPDATE SKIP LOCKED;
    WITH ready AS (
        UPDATE execution_steps
           SET status = 'ready', ready_at = plans_now(), wake_at = NULL,
               waits_for = NULL
         WHERE execution_id = e.id AND status = 'waiting' AND wake_at <= plans_now()
           AND NOT is_signal_wait(waits_for)
        RETURNING "position"
    )
    SELECT coalesce(array_agg("position" ORDER BY "position"), '{}') INTO due FROM ready;
    woken := cardinality(due); epoch := e.epoch;
    IF woken = 0 THEN
        RETURN;
    END IF;
    last_seq := write_events(p_execution, e.next_seq, ARRAY(
        SELECT ROW('step.ready', d, '{}')::event_draft FROM unnest(due) d)) - 1;
    UPDATE executions SET next_seq = last_seq + 1 WHERE id = p_execution;
    IF e.status IN ('running', 'ending') THEN
        windows := publish_ready(p_execution);
    END IF;
END $$;


CREATE FUNCTION draft_delayed(e executions) RETURNS event_draft
LANGUAGE sql IMMUTABLE AS $$
    SELECT ROW('execution.delayed', NULL,
               jsonb_build_object('until', e.starts_at))::event_draft
$$;


-- Tell of new executions that they begin later. The number of that event was known when
-- they were inserted.
CREATE FUNCTION tell_delayed(p_executions uuid[]) RETURNS void
LANGUAGE sql VOLATILE AS $$
    INSERT INTO execution_events (execution_id, seq, type, data, at)
    SELECT e.id, 2, d.type, d.data, plans_now()
      FROM executions e CROSS JOIN LATERAL draft_delayed(e) AS d
     WHERE e.id = ANY (p_executions)
$$;


-- Delayed executions whose time has come. What is paused begins after it is resumed.
CREATE FUNCTION delayed_executions(p_most int) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT id FROM executions
     WHERE is_delayed AND status = 'pending' AND starts_at <= plans_now()
     ORDER BY starts_at
     LIMIT p_most
$$;


-- Let a delayed execution begin whose time has come, unless somebody holds it. If its
-- plan has a concurrency, it asks for its key now: it waits for it (`held_key`: admit_next
-- is to be called), or is ended where the plan rejects it (`open_steps` is 0 then, if it
-- is to be finished).
CREATE FUNCTION start_delayed(
    p_execution uuid,
    OUT landed bool, OUT epoch int, OUT last_seq bigint, OUT open_steps int,
    OUT windows jsonb, OUT held_key text
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    p plans;
    key text;
BEGIN
    PERFORM begin_write();
    -- a caller's transaction that submits may hold the key for long
    PERFORM set_config('lock_timeout', '1s', true);
    windows := '[]'; landed := false;
    SELECT * INTO e FROM executions x
     WHERE x.id = p_execution AND x.is_delayed AND x.status = 'pending'
       AND x.starts_at <= plans_now()
       FOR NO KEY UPDATE SKIP LOCKED;
    IF e.id IS NULL THEN
        RETURN;
    END IF;
    landed := true;
    SELECT * INTO p FROM plans WHERE id = e.plan_id;
    IF p.on_conflict IS NOT NULL THEN
        key := (render_key(p.name, p.concurrency_key, e.parameters)).key;
    END IF;
    UPDATE executions x SET is_delayed = false WHERE x.id = e.id;
    IF p.on_conflict IS NULL THEN
        PERFORM release_roots(e);
        windows := publish_ready(e.id);
    ELSIF p.on_conflict <> 'reject' THEN
        held_key := key;
        PERFORM hold_execution(e, key);
    ELSIF refuse_held(e, key, p) IS NULL THEN
        UPDATE executions x SET concurrency_key = key, admitted_at = plans_now()
         WHERE x.id = e.id;
        PERFORM release_roots(e);
        windows := publish_ready(e.id);
    END IF;
    SELECT x.epoch, x.next_seq - 1, x.open_steps INTO epoch, last_seq, open_steps
      FROM executions x WHERE x.id = e.id;
END $$;


-- An execution that ends before its time waits for nothing any more: were it retried, it
-- would begin at once, or wait for its key. The caller holds its lock.
CREATE FUNCTION forget_delay(p_execution uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE executions e
       SET is_delayed = false,
           concurrency_key = (render_key(p.name, p.concurrency_key, e.parameters)).key
      FROM plans p
     WHERE e.id = p_execution AND p.id = e.plan_id;
END $$;


-- Make ready what has waited for nothing but the time or the key of an execution; p_first
-- come before that in its timeline. The caller holds its lock.
CREATE FUNCTION release_roots(e executions, p_first event_draft[] DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz := plans_now();
    drafts event_draft[];
BEGIN
    WITH released AS (
        UPDATE execution_steps
           SET status = 'ready', pending_deps = 0, ready_at = now,
               deadline = CASE WHEN item_of IS NULL
                          THEN now + make_interval(secs => deadline_seconds)
                          ELSE deadline END
         WHERE execution_steps.execution_id = e.id AND status = 'pending'
           AND is_held_back(e, execution_steps)
        RETURNING "position"
    )
    SELECT array_agg(ROW('step.ready', "position", '{}')::event_draft ORDER BY "position")
      INTO drafts FROM released;
    UPDATE executions SET next_seq = write_events(e.id, e.next_seq, p_first || drafts)
     WHERE id = e.id;
END $$;


-- End an execution whose time has come and whose key others have, as its plan wants it;
-- returns what is said of it, NULL if there is room.
CREATE FUNCTION refuse_held(e executions, p_key text, p plans) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    holders text[];
BEGIN
    PERFORM lock_key(p_key);
    holders := ARRAY(SELECT l.id::text FROM live_under(p_key) AS l
                      LIMIT p.concurrency_limit);
    IF cardinality(holders) < p.concurrency_limit THEN
        RETURN NULL;
    END IF;
    PERFORM begin_ending(e.id, 'cancel', 'concurrency', describe_refusal(p.name, holders));
    RETURN describe_refusal(p.name, holders);
END $$;


-- Executions that have outlived their deadline.
CREATE FUNCTION expired_executions(p_most int) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT id FROM executions
     WHERE status IN ('pending', 'running', 'paused') AND deadline <= plans_now()
     LIMIT p_most
$$;


-- Whether one of the items of a step is parked: the time of all of them stands still.
CREATE FUNCTION has_parked_items(s execution_steps) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT s.item_count > 0 AND EXISTS (
        SELECT FROM execution_steps i
         WHERE i.execution_id = s.execution_id AND i."position" >= s.first_item
           AND i."position" < s.first_item + s.item_count AND i.parked_at IS NOT NULL)
$$;


-- Steps that wait, for a slot or for a time, beyond their deadline. While an execution
-- is paused, theirs stands still. Items go with the step that they belong to, whose
-- deadline they have; what waits for a child goes with that, which has the same. What is
-- parked has its time to come. And steps that have waited for a signal as long as they were
-- to.
CREATE FUNCTION expired_steps(p_most int)
RETURNS TABLE (execution_id uuid, "position" int)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT s.execution_id, s."position"
      FROM execution_steps s
      JOIN executions e ON e.id = s.execution_id
                       AND e.status IN ('pending', 'running', 'ending')
     WHERE s.status IN ('ready', 'waiting') AND s.deadline <= plans_now()
       AND s.item_of IS NULL AND s.child_id IS NULL
       AND s.parked_at IS NULL AND NOT has_parked_items(s)
    UNION
    SELECT s.execution_id, s."position"
      FROM execution_steps s
      JOIN executions e ON e.id = s.execution_id
                       AND e.status IN ('pending', 'running', 'ending')
     WHERE s.status = 'waiting' AND s.wake_at <= plans_now()
       AND is_signal_wait(s.waits_for)
     LIMIT p_most
$$;


-- Time out a step that does not run, unless somebody holds its execution; or end its wait
-- for a signal, perhaps with its default; a signal that was sent and not received yet comes
-- before that.
--
-- outcome: ended, received, or nothing.
CREATE FUNCTION expire_step(
    p_execution uuid, p_position int,
    OUT outcome text, OUT epoch int, OUT open_steps int, OUT status text,
    OUT last_seq bigint, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
    done record;
BEGIN
    PERFORM begin_write();
    outcome := 'nothing'; windows := '[]';
    SELECT * INTO e FROM executions
     WHERE id = p_execution AND executions.status IN ('pending', 'running', 'ending')
       FOR NO KEY UPDATE SKIP LOCKED;
    IF EXISTS (SELECT FROM execution_signals g
                WHERE g.execution_id = e.id AND g.seq IS NULL) THEN
        -- what was sent in time may have waited for a worker for as long as the step
        SELECT * INTO done FROM receive_signals(e);
        outcome := 'received'; e := done.received; windows := done.windows;
    END IF;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = e.id AND t."position" = p_position
       AND t.status IN ('ready', 'waiting')
       AND (t.deadline <= plans_now() AND t.parked_at IS NULL AND NOT has_parked_items(t)
            OR t.wake_at <= plans_now() AND is_signal_wait(t.waits_for));
    IF outcome = 'nothing' AND s."position" IS NULL THEN
        RETURN;
    ELSIF s."position" IS NULL THEN
        NULL;
    ELSIF s.deadline <= plans_now() THEN
        outcome := 'ended';
        windows := windows || settle_step(
            p_execution, p_position, 'timed_out', NULL, NULL,
            jsonb_build_object(
                'code', 'E002',
                'message', format('step %s did not end within its deadline of %s s',
                                  s.name, s.deadline_seconds),
                'step', s.name, 'timestamp', plans_now(), 'recoverable', true,
                'context', '{}'::jsonb),
            NULL);
    ELSE
        outcome := 'ended';
        windows := windows || give_up_waiting(e, s);
    END IF;
    SELECT * INTO e FROM executions WHERE id = p_execution;
    status := e.status; epoch := e.epoch; open_steps := e.open_steps;
    last_seq := e.next_seq - 1;
END $$;
