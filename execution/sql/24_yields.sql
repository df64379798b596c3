-- Steps that are given back before they are done, and count neither as failures nor as
-- losses: by their own code at a checkpoint, because somebody has paused them or because
-- their worker is to stop; by their worker, when it may wait no longer; and messages that
-- a worker which is to stop does not run any more.

-- Whether who runs a step is asked to yield at its next checkpoint: the execution is
-- paused, or all of its plan, a tag or the queue. Not for a dependency that is: what was
-- let through to try it out has to come to its end. That a worker is to stop is known to
-- the worker alone.
CREATE FUNCTION is_asked_to_yield(e executions, s execution_steps) RETURNS bool
LANGUAGE plpgsql AS $$
BEGIN
    IF e.status = 'paused' THEN
        RETURN true;
    ELSIF NOT EXISTS (SELECT FROM holds) THEN
        RETURN false;
    END IF;
    RETURN EXISTS (
        SELECT FROM hold_names(e, s."position", s.queue, s.section) AS n
          JOIN holds h ON h.kind = n.kind AND h.name = n.name
         WHERE h.kind <> 'dependency');
END $$;


-- The same, asked by an attempt that saves no checkpoint at the moment. One that holds
-- its step no more is asked as well: whatever it does is refused.
CREATE FUNCTION is_wanted_to_yield(p_execution uuid, p_position int, p_token uuid)
RETURNS bool
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT NOT EXISTS (
        SELECT FROM execution_steps s JOIN executions e ON e.id = s.execution_id
         WHERE s.execution_id = p_execution AND s."position" = p_position
           AND s.lease_token = p_token AND s.status = 'running'
           AND NOT is_asked_to_yield(e, s))
$$;


-- Give a step back whose code has yielded after a checkpoint. p_cause is pause or drain.
-- If nothing holds it up (any more), it is sent at once.
--
-- outcome: yielded; refused (the execution is ending: none of its steps begins again);
-- stale (the step is somebody else's).
CREATE FUNCTION yield_step(
    p_execution uuid, p_position int, p_token uuid, p_attempt int, p_cause text,
    p_input jsonb,
    OUT outcome text, OUT epoch int, OUT last_seq bigint, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
BEGIN
    PERFORM begin_write();
    windows := '[]';
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = p_execution AND t."position" = p_position;
    epoch := e.epoch; last_seq := e.next_seq - 1;
    IF has_yielded(s, p_token, p_attempt) THEN
        outcome := 'yielded';
    ELSIF s.lease_token IS DISTINCT FROM p_token OR s.status <> 'running' THEN
        outcome := 'stale';
    ELSIF e.status = 'ending' AND s.section = 'steps' THEN
        outcome := 'refused';
    ELSE
        outcome := 'yielded';
        PERFORM archive_attempt(s, 'yielded', NULL);
        UPDATE execution_steps t SET input = coalesce(p_input, t.input)
         WHERE t.execution_id = p_execution AND t."position" = p_position;
        last_seq := make_ready_again(p_execution, p_position, ROW(
            'step.yielded', p_position,
            jsonb_build_object('attempt', s.attempt, 'cause', p_cause))::event_draft);
        IF e.status IN ('running', 'ending') THEN
            windows := publish_steps(p_execution, ARRAY[p_position]);
        END IF;
    END IF;
END $$;


-- Whether this very call has landed before, and only its answer was lost.
CREATE FUNCTION has_yielded(p_step execution_steps, p_token uuid, p_attempt int)
RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT p_step.lease_token IS DISTINCT FROM p_token AND EXISTS (
        SELECT FROM step_attempts a
         WHERE a.execution_id = p_step.execution_id
           AND a."position" = p_step."position" AND a.attempt = p_attempt
           AND a.lease_token = p_token AND a.outcome = 'yielded')
$$;


-- Make a step ready that was running; p_draft says why. The caller holds the lock and has
-- archived the attempt. Returns the number of the last event.
CREATE FUNCTION make_ready_again(
    p_execution uuid, p_position int, p_draft event_draft
) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    seq bigint;
BEGIN
    UPDATE execution_steps
       SET status = 'ready', ready_at = plans_now(), lease_token = NULL,
           worker_id = NULL, delivery = NULL, claimed_at = NULL,
           attempt_deadline = NULL, published_at = NULL
     WHERE execution_id = p_execution AND "position" = p_position;
    SELECT next_seq INTO seq FROM executions WHERE id = p_execution;
    seq := write_events(p_execution, seq, ARRAY[
        p_draft, ROW('step.ready', p_position, '{}')::event_draft]);
    UPDATE executions SET next_seq = seq WHERE id = p_execution;
    RETURN seq - 1;
END $$;


-- What a worker runs at this moment.
CREATE FUNCTION held_steps(p_worker uuid)
RETURNS TABLE (execution_id uuid, "position" int, lease_token uuid)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT s.execution_id, s."position", s.lease_token FROM execution_steps s
     WHERE s.status = 'running' AND s.worker_id = p_worker
$$;


-- Take a step from a worker that is to stop and may wait no longer: somebody else begins
-- it anew at once. In an execution that is ending none follows, and it is cancelled.
--
-- outcome: returned, ended, or nothing (it is no longer held under that token).
CREATE FUNCTION drain_step(
    p_execution uuid, p_position int, p_token uuid,
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
    -- a stranger may hold the row for long, and the worker is in a hurry
    PERFORM set_config('lock_timeout', '2s', true);
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = p_execution AND t."position" = p_position
       AND t.status = 'running' AND t.lease_token = p_token;
    IF e.id IS NULL OR s."position" IS NULL THEN
        RETURN;
    ELSIF e.status = 'ending' AND s.section = 'steps' THEN
        outcome := 'ended';
        windows := settle_step(p_execution, p_position, 'cancelled', NULL, NULL,
                               drain_error(s), NULL);
    ELSE
        outcome := 'returned';
        PERFORM archive_attempt(s, 'drained', NULL);
        PERFORM make_ready_again(p_execution, p_position, ROW(
            'step.drained', p_position,
            jsonb_build_object('attempt', s.attempt))::event_draft);
        IF e.status IN ('running', 'ending') THEN
            windows := publish_steps(p_execution, ARRAY[p_position]);
        END IF;
    END IF;
    SELECT * INTO e FROM executions WHERE id = p_execution;
    status := e.status; epoch := e.epoch; open_steps := e.open_steps;
    last_seq := e.next_seq - 1;
END $$;


-- The record of a step that was cut when none could follow.
CREATE FUNCTION drain_error(p_step execution_steps) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_build_object(
        'code', 'E004',
        'message', format('attempt %s of step %s was cut by the stop of its worker while'
            ' the execution was ending', p_step.attempt, p_step.name),
        'step', p_step.name, 'timestamp', plans_now(), 'recoverable', true,
        'context', jsonb_build_object('worker', p_step.worker_id))
$$;


-- Send a step once more whose message lies with a worker that does not run it any more:
-- the first link of the message that is not settled, if it is ready.
CREATE FUNCTION return_message(
    p_execution uuid, p_positions int[], p_epoch int,
    OUT landed bool, OUT epoch int, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    link int;
BEGIN
    PERFORM begin_write();
    landed := false; windows := '[]';
    PERFORM set_config('lock_timeout', '2s', true);
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    epoch := e.epoch;
    IF e.epoch = p_epoch AND e.status IN ('pending', 'running', 'ending') THEN
        SELECT c."position" INTO link
          FROM choose_link(p_execution, p_positions, NULL) c WHERE c.outcome = 'ready';
        landed := FOUND;
    END IF;
    IF landed THEN
        windows := publish_steps(p_execution, ARRAY[link]);
    END IF;
END $$;
