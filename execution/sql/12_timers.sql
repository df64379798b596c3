-- What the clock brings: waits that are over, deadlines that have passed.

-- Executions with waiting steps whose time has come.
CREATE FUNCTION due_executions(p_most int) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT DISTINCT s.execution_id FROM execution_steps s
     WHERE s.status = 'waiting' AND s.wake_at <= plans_now()
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
           SET status = 'ready', ready_at = plans_now(), wake_at = NULL
         WHERE execution_id = e.id AND status = 'waiting' AND wake_at <= plans_now()
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


-- Executions that have outlived their deadline.
CREATE FUNCTION expired_executions(p_most int) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT id FROM executions
     WHERE status IN ('pending', 'running', 'paused') AND deadline <= plans_now()
     LIMIT p_most
$$;


-- Steps that wait, for a slot or for a time, beyond their deadline. While an execution
-- is paused, theirs stands still. Items go with the step that they belong to, whose
-- deadline they have; what waits for a child goes with that, which has the same.
CREATE FUNCTION expired_steps(p_most int)
RETURNS TABLE (execution_id uuid, "position" int)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT s.execution_id, s."position"
      FROM execution_steps s
      JOIN executions e ON e.id = s.execution_id
                       AND e.status IN ('pending', 'running', 'ending')
     WHERE s.status IN ('ready', 'waiting') AND s.deadline <= plans_now()
       AND s.item_of IS NULL AND s.child_id IS NULL
     LIMIT p_most
$$;


-- Time out a step that does not run, unless somebody holds its execution.
CREATE FUNCTION expire_step(
    p_execution uuid, p_position int,
    OUT outcome text, OUT epoch int, OUT open_steps int, OUT status text,
    OUT last_seq bigint, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
BEGIN
    PERFORM begin_write();
    outcome := 'nothing'; windows := '[]';
    SELECT * INTO e FROM executions
     WHERE id = p_execution AND executions.status IN ('pending', 'running', 'ending')
       FOR NO KEY UPDATE SKIP LOCKED;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = e.id AND t."position" = p_position
       AND t.status IN ('ready', 'waiting') AND t.deadline <= plans_now();
    IF e.id IS NULL OR s."position" IS NULL THEN
        RETURN;
    END IF;
    outcome := 'ended';
    windows := settle_step(
        p_execution, p_position, 'timed_out', NULL, NULL,
        jsonb_build_object(
            'code', 'E002',
            'message', format('step %s did not end within its deadline of %s s',
                              s.name, s.deadline_seconds),
            'step', s.name, 'timestamp', plans_now(), 'recoverable', true,
            'context', '{}'::jsonb),
        NULL);
    SELECT * INTO e FROM executions WHERE id = p_execution;
    status := e.status; epoch := e.epoch; open_steps := e.open_steps;
    last_seq := e.next_seq - 1;
END $$;
