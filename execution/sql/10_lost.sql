-- What nobody runs any more, and the way back. Sweeps look without locks; each act then
-- locks one execution and looks again.

-- Steps that nobody runs any more: their worker is dead, has left, or is unknown; or it
-- lives, and in a sample that was begun after the claim it neither ran the delivery nor
-- showed the token (a child was killed). Its next beat after the claim may carry a sample
-- from before it; the one after that was begun when the claim had shown its token. A
-- delivery that only waits there proves nothing: it may be the killed child's own, come
-- back.
CREATE VIEW lost_steps AS
SELECT s.execution_id, s."position", s.lease_token,
       CASE WHEN w.id IS NULL OR w.ended_at IS NOT NULL
            THEN 'its worker is gone' ELSE 'its process is gone' END AS cause
  FROM execution_steps s
  LEFT JOIN workers w ON w.id = s.worker_id
 WHERE s.status = 'running'
   AND (w.id IS NULL OR w.ended_at IS NOT NULL
        OR (w.beats >= s.claimed_beat + 2
            AND NOT s.delivery = ANY (w.deliveries)
            AND NOT s.lease_token = ANY (w.tokens)));


-- Running steps that were told to end, and by when they have to. Whoever cancelled may have
-- said how long they may take; else their worker does. Few executions end at a time, so
-- that is where to begin. What comes after the steps of a plan runs to its end.
CREATE VIEW told_steps AS
SELECT s.execution_id, s."position", s.lease_token, s.worker_id, s.attempt, s.failures,
       s.attempt_deadline, s.item_of, e.plan_id, g.grace_seconds,
       e.told_at + make_interval(secs => g.grace_seconds) AS ends_at
  FROM executions e
  JOIN execution_steps s ON s.execution_id = e.id AND s.status = 'running'
                        AND s.section = 'steps'
  LEFT JOIN workers w ON w.id = s.worker_id
 CROSS JOIN LATERAL (
       SELECT coalesce(e.grace_seconds, w.grace_seconds, 0) AS grace_seconds) AS g
 WHERE e.status = 'ending' AND e.told_at IS NOT NULL;


-- Running steps that have outlived their attempt's timeout, a deadline, or the time that
-- they were given after a cancel: those of this worker, for only it can end the process
-- that runs them; and those that their own worker should have ended p_grace seconds ago.
-- What was told to end is not timed out any more, whatever comes first.
CREATE FUNCTION overdue_steps(p_worker uuid, p_grace float)
RETURNS TABLE (
    execution_id uuid, "position" int, lease_token uuid, attempt int, failures int,
    retry jsonb, cause text
)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT s.execution_id, s."position", s.lease_token, s.attempt, s.failures + 1, p.retry,
           'timeout'
      FROM execution_steps s
      JOIN executions e ON e.id = s.execution_id
      JOIN plan_steps p ON p.plan_id = e.plan_id
                       AND p."position" = coalesce(s.item_of, s."position")
     WHERE s.status = 'running' AND s.attempt_deadline < plans_now()
       AND (s.worker_id = p_worker
            OR s.attempt_deadline < plans_now() - make_interval(secs => p_grace))
       AND NOT (e.status = 'ending' AND e.told_at IS NOT NULL AND s.section = 'steps')
     UNION ALL
    SELECT t.execution_id, t."position", t.lease_token, t.attempt, t.failures + 1, p.retry,
           'cancel'
      FROM told_steps t
      JOIN plan_steps p ON p.plan_id = t.plan_id
                       AND p."position" = coalesce(t.item_of, t."position")
     WHERE least(t.ends_at, t.attempt_deadline) <= plans_now()
           - CASE t.worker_id WHEN p_worker THEN interval '0'
             ELSE make_interval(secs => p_grace) END
$$;


-- Whether nobody took a step from this token: it runs under it, or has succeeded, and
-- its process may be at the next step already.
CREATE FUNCTION is_held(p_execution uuid, p_position int, p_token uuid) RETURNS bool
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT EXISTS (SELECT FROM execution_steps
                    WHERE execution_id = p_execution AND "position" = p_position
                      AND status IN ('running', 'completed') AND lease_token = p_token)
$$;


CREATE FUNCTION lost_steps_of_all(p_most int)
RETURNS TABLE (execution_id uuid, "position" int, lease_token uuid)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT execution_id, "position", lease_token FROM lost_steps LIMIT p_most
$$;


-- Take a step away from an attempt that is lost or overdue. p_cause is lost, timeout or
-- cancel; after that the step ends. Else it is tried again, at once or p_wait seconds later, until its losses
-- (or its attempts) are used up, or its deadline has passed.
--
-- outcome: returned, waiting, ended, or nothing (it is no longer so; or, with p_patient
-- false, somebody else holds the execution at this moment).
CREATE FUNCTION take_step(
    p_execution uuid, p_position int, p_token uuid, p_cause text, p_wait float,
    p_patient bool,
    OUT outcome text, OUT epoch int, OUT open_steps int, OUT status text,
    OUT last_seq bigint, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
    failure jsonb;
BEGIN
    PERFORM begin_write();
    outcome := 'nothing'; windows := '[]';
    IF p_patient THEN
        -- a stranger may hold the row for long: others wait for this reconciler
        PERFORM set_config('lock_timeout', '1s', true);
        SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    ELSE
        SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE SKIP LOCKED;
    END IF;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = p_execution AND t."position" = p_position
       AND t.status = 'running' AND t.lease_token = p_token;
    IF e.id IS NULL OR s."position" IS NULL OR NOT is_due(s, p_cause) THEN
        RETURN;
    END IF;
    failure := CASE p_cause WHEN 'cancel' THEN cancel_error(e, s)
               ELSE attempt_error(e, s, p_cause) END;
    -- that somebody cancels says no more of what a step uses than that its process is gone
    PERFORM note_taken(e, s, CASE p_cause WHEN 'cancel' THEN 'lost' ELSE p_cause END);
    UPDATE execution_steps t
       SET losses = losses + (p_cause = 'lost')::int,
           failures = failures + (p_cause = 'timeout')::int
     WHERE t.execution_id = p_execution AND t."position" = p_position;
    IF is_last_attempt(e, s, p_cause) THEN
        outcome := 'ended';
        windows := settle_step(
            p_execution, p_position,
            CASE p_cause WHEN 'lost' THEN 'failed' WHEN 'cancel' THEN 'cancelled'
            ELSE 'timed_out' END,
            NULL, NULL, failure, NULL);
    ELSE
        PERFORM archive_attempt(
            s, CASE p_cause WHEN 'lost' THEN 'lost' ELSE 'timed_out' END, failure);
        IF p_wait > 0 THEN
            outcome := 'waiting';
            PERFORM park_step(p_execution, p_position, p_wait, failure);
        ELSE
            outcome := 'returned';
            PERFORM give_back(p_execution, p_position, p_cause, failure);
        END IF;
        IF e.status IN ('running', 'ending') THEN
            windows := CASE outcome
                WHEN 'returned' THEN publish_steps(p_execution, ARRAY[p_position])
                ELSE publish_next(p_execution, s.queue) END;
        END IF;
    END IF;
    SELECT * INTO e FROM executions WHERE id = p_execution;
    status := e.status; epoch := e.epoch; open_steps := e.open_steps;
    last_seq := e.next_seq - 1;
END $$;


-- Whether a running step is lost, or overdue, at this moment.
CREATE FUNCTION is_due(p_step execution_steps, p_cause text) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(CASE p_cause
        WHEN 'lost' THEN EXISTS (
            SELECT FROM lost_steps l
             WHERE l.execution_id = p_step.execution_id
               AND l."position" = p_step."position")
        WHEN 'cancel' THEN EXISTS (
            SELECT FROM told_steps t
             WHERE t.execution_id = p_step.execution_id
               AND t."position" = p_step."position"
               AND least(t.ends_at, t.attempt_deadline) <= plans_now())
        ELSE p_step.attempt_deadline < plans_now() END, false)
$$;


-- Whether no attempt may follow the one that is lost or overdue.
CREATE FUNCTION is_last_attempt(p_execution executions, p_step execution_steps, p_cause text)
RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT (p_execution.status = 'ending' AND p_step.section = 'steps') OR CASE p_cause
        WHEN 'lost' THEN p_step.losses + 1 >= p.max_lost
        ELSE p_step.failures + 1 >= p.max_attempts OR NOT p.retries_timeouts
             OR coalesce(latest_end(p_execution, p_step) <= plans_now(), false) END
      FROM plan_steps p
     WHERE p.plan_id = p_execution.plan_id
       AND p."position" = coalesce(p_step.item_of, p_step."position")
$$;


-- Make a step ready again whose attempt was taken. The caller holds the lock and has
-- archived the attempt.
CREATE FUNCTION give_back(p_execution uuid, p_position int, p_cause text, p_error jsonb)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM make_ready_again(p_execution, p_position, ROW(
        CASE p_cause WHEN 'lost' THEN 'step.lost' ELSE 'step.retrying' END, p_position,
        (SELECT jsonb_build_object('attempt', s.attempt, 'error', p_error)
           FROM execution_steps s
          WHERE s.execution_id = p_execution AND s."position" = p_position))::event_draft);
END $$;


-- The record of an attempt that did not live to write its own.
CREATE FUNCTION attempt_error(
    p_execution executions, p_step execution_steps, p_cause text
) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_build_object(
        'code', CASE p_cause WHEN 'lost' THEN 'E008' ELSE 'E002' END,
        'message', CASE
            WHEN p_cause = 'lost' THEN format(
                'attempt %s of step %s was lost: %s', p_step.attempt, p_step.name,
                (SELECT cause FROM lost_steps l
                  WHERE l.execution_id = p_step.execution_id
                    AND l."position" = p_step."position"))
            WHEN p_execution.deadline <= plans_now() AND p_step.section = 'steps' THEN format(
                'attempt %s of step %s was cut by the deadline of its plan',
                p_step.attempt, p_step.name)
            WHEN p_step.deadline <= plans_now() THEN format(
                'attempt %s of step %s was cut by the deadline of the step',
                p_step.attempt, p_step.name)
            ELSE format('attempt %s of step %s outlived its timeout',
                p_step.attempt, p_step.name) END,
        'step', p_step.name, 'timestamp', plans_now(), 'recoverable', true,
        'context', jsonb_build_object('worker', p_step.worker_id))
$$;
