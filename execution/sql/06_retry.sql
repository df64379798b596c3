-- An attempt failed, and another follows: at once or later, here or elsewhere.

-- An attempt, p_attempt, failed and another follows in p_wait seconds: archive the one
-- and count it. The next begins in place, under the same token; or, if p_parks, the step
-- waits in the database, holds nothing, and its lane goes to a sibling. So it does where
-- something is paused that it uses, until that is resumed. p_blamed are the dependencies
-- that the attempt failed of.
--
-- outcome: retrying (`attempt` is the number of the next); waiting; refused (the step is
-- no longer the caller's, the execution is ending, or a deadline has passed: nothing is
-- tried again then).
CREATE FUNCTION retry_step(
    p_execution uuid, p_position int, p_token uuid, p_attempt int, p_input jsonb,
    p_error jsonb, p_wait float, p_parks bool, p_blamed text[] DEFAULT NULL,
    OUT outcome text, OUT attempt int, OUT epoch int, OUT last_seq bigint,
    OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
    hold holds;
BEGIN
    PERFORM begin_write();
    windows := '[]';
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = p_execution AND t."position" = p_position;
    epoch := e.epoch; last_seq := e.next_seq - 1;
    outcome := repeated_retry(s, p_token, p_attempt, p_parks, p_error);
    IF outcome IS NOT NULL THEN
        attempt := s.attempt;
        RETURN;
    ELSIF s.lease_token IS DISTINCT FROM p_token OR s.status IS DISTINCT FROM 'running'
          OR (e.status NOT IN ('running', 'paused') AND s.section = 'steps')
          OR coalesce(latest_end(e, s) <= plans_now(), false) THEN
        outcome := 'refused';
        RETURN;
    END IF;
    PERFORM archive_attempt(
        s, CASE p_error ->> 'code' WHEN 'E002' THEN 'timed_out' ELSE 'failed' END, p_error);
    UPDATE execution_steps t SET failures = t.failures + 1, input = p_input
     WHERE t.execution_id = p_execution AND t."position" = p_position;
    IF p_blamed IS NOT NULL THEN
        PERFORM note_attempt(p_execution, p_position, p_blamed, true);
    END IF;
    -- an attempt that begins in place begins as a step does: who pauses waits for its
    -- commit, or is seen by the statement after this
    PERFORM share_holds();
    hold := find_dependency_hold(e, p_position);
    IF p_parks OR hold.id IS NOT NULL THEN
        outcome := 'waiting';
        last_seq := CASE WHEN hold.id IS NULL
            THEN park_step(p_execution, p_position, p_wait, p_error)
            ELSE park_running(p_execution, p_position, hold, p_error) END;
        IF e.status IN ('running', 'ending') THEN
            windows := publish_next(p_execution, s.queue);
        END IF;
        RETURN;
    END IF;
    outcome := 'retrying';
    UPDATE execution_steps t
       SET attempt = t.attempt + 1, claimed_at = plans_now(),
           attempt_deadline = attempt_deadline(
               e.plan_id, coalesce(s.item_of, p_position), p_wait, latest_end(e, s))
     WHERE t.execution_id = p_execution AND t."position" = p_position
    RETURNING t.attempt INTO attempt;
    last_seq := write_events(p_execution, e.next_seq, ARRAY[
        ROW('step.retrying', p_position, jsonb_build_object(
            'attempt', attempt, 'error', p_error, 'wait_seconds', p_wait))::event_draft]) - 1;
    UPDATE executions SET next_seq = last_seq + 1 WHERE id = p_execution;
END $$;


-- When a step must have ended, whatever its attempts: at its own deadline or the
-- execution's, which later sections outlive.
CREATE FUNCTION latest_end(e executions, s execution_steps) RETURNS timestamptz
LANGUAGE sql IMMUTABLE AS $$
    SELECT least(s.deadline, CASE s.section WHEN 'steps' THEN e.deadline END)
$$;


-- What this very call answered before, if it had landed and its answer was lost.
CREATE FUNCTION repeated_retry(
    p_step execution_steps, p_token uuid, p_attempt int, p_parks bool, p_error jsonb
) RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT CASE
        WHEN p_step.status = 'running' AND p_step.lease_token = p_token
             AND p_step.attempt = p_attempt + 1 THEN 'retrying'
        -- the step has let go of the token; the archive has kept it, and with it what
        -- tells this call from a main process that took the step away
        WHEN p_step.lease_token IS DISTINCT FROM p_token AND EXISTS (
            SELECT FROM step_attempts a
             WHERE a.execution_id = p_step.execution_id
               AND a."position" = p_step."position"
               AND a.attempt = p_attempt AND a.lease_token = p_token
               AND a.error = p_error) THEN 'waiting' END
$$;


-- Let a step that was running wait in the database: it holds nothing meanwhile, and a
-- reconciler makes it ready when its time has come. The caller holds the lock and has
-- archived the attempt. Returns the number of the last event.
CREATE FUNCTION park_step(p_execution uuid, p_position int, p_wait float, p_error jsonb)
RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    s execution_steps;
    seq bigint;
BEGIN
    UPDATE execution_steps
       SET status = 'waiting', wake_at = plans_now() + make_interval(secs => p_wait),
           lease_token = NULL, worker_id = NULL, delivery = NULL, claimed_at = NULL,
           attempt_deadline = NULL, published_at = NULL
     WHERE execution_id = p_execution AND "position" = p_position
    RETURNING * INTO s;
    SELECT next_seq INTO seq FROM executions WHERE id = p_execution;
    seq := write_events(p_execution, seq, ARRAY[ROW('step.waiting', p_position,
        jsonb_build_object('attempt', s.attempt, 'error', p_error, 'until', s.wake_at)
        )::event_draft]);
    UPDATE executions SET next_seq = seq WHERE id = p_execution;
    RETURN seq - 1;
END $$;
