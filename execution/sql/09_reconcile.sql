-- What a reconciler finds, and the way back. Sweeps look without locks; each act
-- then locks one execution and looks again.

-- Steps that nobody runs any more: their worker is dead, has left, or is unknown; or
-- it lives, and in a sample that was begun after the claim it neither ran the delivery
-- nor showed the token (a child was killed). A delivery that only waits there proves
-- nothing: it may be the killed child's own, come back.
CREATE VIEW lost_steps AS
SELECT s.execution_id, s."position", s.lease_token,
       CASE WHEN w.id IS NULL OR w.ended_at IS NOT NULL
            THEN 'its worker is gone' ELSE 'its process is gone' END AS cause
  FROM execution_steps s
  LEFT JOIN workers w ON w.id = s.worker_id
 WHERE s.status = 'running'
   AND (w.id IS NULL OR w.ended_at IS NOT NULL
        OR (w.sampled_at > s.claimed_at
            AND NOT s.delivery = ANY (w.deliveries)
            AND NOT s.lease_token = ANY (w.tokens)));


-- Running steps of one worker that have outlived their attempt's timeout. Their own
-- worker asks: only it can end the process that runs them.
CREATE FUNCTION overdue_steps(p_worker uuid)
RETURNS TABLE (execution_id uuid, "position" int, lease_token uuid)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT execution_id, "position", lease_token FROM execution_steps
     WHERE status = 'running' AND worker_id = p_worker AND attempt_deadline < plans_now()
$$;


CREATE FUNCTION lost_steps_of_all(p_most int)
RETURNS TABLE (execution_id uuid, "position" int, lease_token uuid)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT execution_id, "position", lease_token FROM lost_steps LIMIT p_most
$$;


-- Take a step away from an attempt that is lost or overdue. p_cause is lost or
-- timeout. The step is ready again, until its losses (or its attempts) are used up.
--
-- outcome: returned, ended, or nothing (it is no longer so; or, with p_patient false,
-- somebody else holds the execution at this moment).
CREATE FUNCTION take_step(
    p_execution uuid, p_position int, p_token uuid, p_cause text, p_patient bool,
    OUT outcome text, OUT epoch int, OUT open_steps int, OUT status text,
    OUT last_seq bigint, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
    p plan_steps;
    failure jsonb;
    is_so bool;
    is_last bool;
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
    is_so := CASE p_cause
        WHEN 'lost' THEN EXISTS (SELECT FROM lost_steps l
             WHERE l.execution_id = p_execution AND l."position" = p_position)
        ELSE s.attempt_deadline < plans_now() END;
    IF e.id IS NULL OR s."position" IS NULL OR is_so IS NOT TRUE THEN
        RETURN;
    END IF;
    SELECT * INTO p FROM plan_steps t
     WHERE t.plan_id = e.plan_id AND t."position" = p_position;
    failure := attempt_error(s, p_cause);
    is_last := e.status = 'ending' OR CASE p_cause
        WHEN 'lost' THEN s.losses + 1 >= p.max_lost
        ELSE s.failures + 1 >= p.max_attempts END;
    UPDATE execution_steps t
       SET losses = losses + (p_cause = 'lost')::int,
           failures = failures + (p_cause = 'timeout')::int
     WHERE t.execution_id = p_execution AND t."position" = p_position;
    IF is_last THEN
        outcome := 'ended';
        windows := settle_step(
            p_execution, p_position,
            CASE p_cause WHEN 'lost' THEN 'failed' ELSE 'timed_out' END,
            NULL, NULL, NULL, failure, NULL, NULL);
    ELSE
        outcome := 'returned';
        PERFORM archive_attempt(
            s, CASE p_cause WHEN 'lost' THEN 'lost' ELSE 'timed_out' END, failure);
        UPDATE execution_steps t
           SET status = 'ready', ready_at = plans_now(), lease_token = NULL,
               worker_id = NULL, delivery = NULL, claimed_at = NULL,
               attempt_deadline = NULL, published_at = NULL
         WHERE t.execution_id = p_execution AND t."position" = p_position;
        UPDATE executions
           SET next_seq = write_events(p_execution, e.next_seq, ARRAY[
               ROW(CASE p_cause WHEN 'lost' THEN 'step.lost' ELSE 'step.retrying' END,
                   p_position, jsonb_build_object('attempt', s.attempt, 'error', failure)
                   )::event_draft,
               ROW('step.ready', p_position, '{}')::event_draft])
         WHERE id = p_execution;
        IF e.status = 'running' THEN
            windows := publish_steps(p_execution, ARRAY[p_position]);
        END IF;
    END IF;
    SELECT * INTO e FROM executions WHERE id = p_execution;
    status := e.status; epoch := e.epoch; open_steps := e.open_steps;
    last_seq := e.next_seq - 1;
END $$;


-- The record of an attempt that did not live to write its own.
CREATE FUNCTION attempt_error(p_step execution_steps, p_cause text)
RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_build_object(
        'code', CASE p_cause WHEN 'lost' THEN 'E008' ELSE 'E002' END,
        'message', CASE p_cause
            WHEN 'lost' THEN format(
                'attempt %s of step %s was lost: %s', p_step.attempt, p_step.name,
                (SELECT cause FROM lost_steps l
                  WHERE l.execution_id = p_step.execution_id
                    AND l."position" = p_step."position"))
            ELSE format('attempt %s of step %s outlived its timeout',
                p_step.attempt, p_step.name) END,
        'step', p_step.name, 'timestamp', plans_now(), 'recoverable', true,
        'context', jsonb_build_object('worker', p_step.worker_id))
$$;


-- Ready steps whose message is missing: never sent, or sent and still unclaimed
-- although a worker of the queue had a slot free in a sample begun after that. No
-- more of them than there are free slots; and each waits twice as long as the time
-- before, from two beats up to five minutes.
CREATE FUNCTION unsent_steps(p_beat float)
RETURNS TABLE (execution_id uuid, "position" int, publishes int)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    WITH idle AS (
        SELECT w.sampled_at, w.queues, w.actions, w.slots - w.in_hand AS slots
          FROM workers w
         WHERE w.ended_at IS NULL AND w.slots > w.in_hand
    ), free AS (
        SELECT q AS queue, sum(i.slots) AS slots
          FROM idle i CROSS JOIN unnest(i.queues) AS q
         GROUP BY q
    ), missing AS (
        SELECT s.execution_id, s."position", s.publishes, f.slots,
               row_number() OVER (PARTITION BY s.queue
                   ORDER BY s.priority DESC, s.ready_at, s."position") AS rank
          FROM execution_steps s
          JOIN free f ON f.queue = s.queue
          JOIN executions e ON e.id = s.execution_id
         WHERE s.status = 'ready' AND e.status IN ('pending', 'running')
           AND (s.published_at IS NULL
                OR s.published_at < plans_now() - make_interval(secs => least(
                    300, 2 * p_beat * power(2, least(s.publishes - 1, 10)))))
           AND EXISTS (SELECT FROM idle i
                        WHERE s.queue = ANY (i.queues) AND s.action = ANY (i.actions)
                          AND i.sampled_at > coalesce(s.published_at, '-infinity'))
    )
    SELECT execution_id, "position", publishes FROM missing WHERE rank <= slots
$$;


-- Mark a ready step as sent once more, if nobody has in the meantime.
CREATE FUNCTION resend_step(
    p_execution uuid, p_position int, p_publishes int,
    OUT landed bool, OUT epoch int, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
BEGIN
    PERFORM begin_write();
    windows := '[]';
    SELECT * INTO e FROM executions WHERE id = p_execution
       FOR NO KEY UPDATE SKIP LOCKED;
    epoch := e.epoch;
    landed := e.status IN ('pending', 'running') AND EXISTS (
        SELECT FROM execution_steps s
         WHERE s.execution_id = p_execution AND s."position" = p_position
           AND s.status = 'ready' AND s.publishes = p_publishes);
    landed := coalesce(landed, false);
    IF landed THEN
        windows := publish_steps(p_execution, ARRAY[p_position]);
    END IF;
END $$;


-- Executions whose last step has ended and whose runner died before it finished them.
CREATE FUNCTION unfinished_executions(p_most int) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT id FROM executions WHERE status = 'ending' AND open_steps = 0 LIMIT p_most
$$;


-- What the result of an execution is made of: why it ends, the template of its plan,
-- and what the steps that it names came to (without a template: its only leaf).
CREATE FUNCTION read_ending(
    p_execution uuid,
    OUT reason text, OUT plan text, OUT template jsonb, OUT parameters jsonb,
    OUT execution jsonb, OUT steps jsonb, OUT error jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    p plans;
BEGIN
    SELECT * INTO e FROM executions
     WHERE id = p_execution AND status = 'ending' AND open_steps = 0;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO p FROM plans WHERE id = e.plan_id;
    reason := e.reason; plan := p.name; template := p.result;
    parameters := e.parameters; error := e.error;
    execution := jsonb_build_object('id', e.id, 'created_at', e.created_at, 'tags', e.tags);
    steps := step_outcomes(p_execution, p.result_reads);
END $$;
