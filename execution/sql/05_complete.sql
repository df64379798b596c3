-- The second hot write: a step has ended, and what follows from it.

-- Record the end of an attempt that is the step's last.
--
-- p_status is completed, failed, timed_out, cancelled (the code obeyed) or skipped (by
-- its condition); whether a failure aborts the execution or is skipped over is the step's
-- own policy.
-- p_covered is the position that the message's chain will send next, in the epoch
-- p_epoch: it is not sent again, unless the execution has moved to another epoch.
--
-- outcome:
--   recorded   it landed
--   repeated   this very record had landed before: the same answer again
--   stale      the token no longer holds the step; nothing was changed
CREATE FUNCTION complete_step(
    p_execution uuid, p_position int, p_token uuid, p_status text, p_result jsonb,
    p_input jsonb, p_error jsonb, p_variables jsonb, p_covered int, p_epoch int,
    OUT outcome text, OUT status text, OUT epoch int, OUT open_steps int,
    OUT last_seq bigint, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
BEGIN
    PERFORM begin_write();
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = p_execution AND t."position" = p_position;
    IF s.lease_token = p_token AND s.status = 'running' THEN
        outcome := 'recorded';
        IF p_status IN ('failed', 'timed_out') THEN
            UPDATE execution_steps t SET failures = t.failures + 1
             WHERE t.execution_id = p_execution AND t."position" = p_position;
        END IF;
        SELECT * INTO windows FROM settle_step(
            p_execution, p_position, p_status, 'condition', p_result, p_input, p_error,
            p_variables, CASE WHEN e.epoch = p_epoch THEN p_covered END);
        SELECT * INTO e FROM executions WHERE id = p_execution;
    ELSIF s.lease_token = p_token AND (s.status = p_status
          OR s.status = 'skipped' AND p_status IN ('failed', 'timed_out')) THEN
        outcome := 'repeated';
        windows := republish_successors(
            p_execution, s.successors, CASE WHEN e.epoch = p_epoch THEN p_covered END);
    ELSE
        outcome := 'stale';
        windows := '[]';
    END IF;
    status := e.status; epoch := e.epoch; open_steps := e.open_steps;
    last_seq := e.next_seq - 1;
END $$;


-- After an unknown commit, nobody knows whether the messages of these successors were
-- sent: answer their windows once more. A message too many is dropped by its claim.
CREATE FUNCTION republish_successors(p_execution uuid, p_successors int[], p_covered int)
RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(jsonb_agg(chain_window(p_execution, s."position")
                              ORDER BY s."position"), '[]')
      FROM execution_steps s
      JOIN executions e ON e.id = s.execution_id AND e.status = 'running'
     WHERE s.execution_id = p_execution AND s."position" = ANY (p_successors)
       AND s.status = 'ready' AND s.published_at IS NOT NULL
       AND s."position" IS DISTINCT FROM p_covered
$$;


-- Settle a step for good and let everything follow: its successors become ready or are
-- skipped, a failure ends the execution, the last step ends it too. The caller holds
-- the lock and has checked the token. Returns the windows to send.
CREATE FUNCTION settle_step(
    p_execution uuid, p_position int, p_status text, p_reason text, p_result jsonb,
    p_input jsonb, p_error jsonb, p_variables jsonb, p_covered int
) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    e executions;
    s execution_steps;
    policy text;
    drafts event_draft[];
    follow record;
    sendable int[] := '{}';
BEGIN
    SELECT * INTO e FROM executions WHERE id = p_execution;
    SELECT * INTO s FROM execution_steps
     WHERE execution_id = p_execution AND "position" = p_position;
    IF s.status = 'running' AND p_status IN ('failed', 'timed_out', 'cancelled') THEN
        PERFORM archive_attempt(
            s, CASE WHEN p_error ->> 'code' = 'E008' THEN 'lost' ELSE p_status END, p_error);
    END IF;
    IF p_status IN ('failed', 'timed_out') THEN
        SELECT p.on_failure INTO policy FROM plan_steps p
         WHERE p.plan_id = e.plan_id AND p."position" = p_position;
        IF policy = 'skip' THEN
            p_status := 'skipped'; p_reason := 'failed';
        END IF;
    END IF;
    UPDATE execution_steps
       SET status = p_status,
           reason = CASE WHEN p_status = 'skipped' THEN p_reason END,
           result = CASE WHEN p_status = 'completed' THEN p_result END,
           input = coalesce(p_input, input), error = p_error, ended_at = plans_now(),
           wake_at = NULL,
           progress = CASE WHEN p_status = 'completed' AND progress IS NOT NULL
                           THEN 100 ELSE progress END
     WHERE execution_id = p_execution AND "position" = p_position;
    drafts := ARRAY[ROW('step.' || p_status, p_position, jsonb_strip_nulls(
        jsonb_build_object('attempt', s.attempt, 'error', p_error, 'reason',
            CASE WHEN p_status = 'skipped' THEN p_reason END)))::event_draft];
    e.open_steps := e.open_steps - 1;
    IF p_status = 'completed' AND p_variables <> '{}' THEN
        e.variables := e.variables || p_variables;
        drafts := drafts || ROW('execution.variables', p_position, p_variables)::event_draft;
    END IF;

    IF p_status IN ('completed', 'skipped') THEN
        IF p_status = 'completed' THEN
            SELECT * INTO follow FROM release_after_success(p_execution, s.successors);
        ELSE
            SELECT * INTO follow FROM release_after_skip(p_execution, p_position);
        END IF;
        drafts := drafts || follow.drafts;
        e.open_steps := e.open_steps - follow.skips;
        sendable := follow.ready;
    ELSIF e.status IN ('pending', 'running', 'paused') THEN
        -- beyond its deadline it ends for that, not for the step that was cut by it
        e.reason := CASE WHEN e.deadline <= plans_now() THEN 'deadline' ELSE 'abort' END;
        e.error := CASE e.reason WHEN 'abort' THEN p_error END;
        SELECT * INTO follow FROM cancel_unstarted(p_execution);
        drafts := drafts || ROW('execution.ending', NULL,
                                jsonb_build_object('reason', e.reason))::event_draft
                  || follow.drafts;
        e.open_steps := e.open_steps - follow.cancels;
        PERFORM write_state(p_execution, e.next_seq + 1, e.status, 'ending', NULL, e.reason);
        e.status := 'ending';
    END IF;
    IF e.open_steps = 0 AND e.status IN ('pending', 'running', 'paused') THEN
        drafts := drafts || ROW('execution.ending', NULL, '{"reason": "result"}')::event_draft;
        PERFORM write_state(p_execution, e.next_seq + cardinality(drafts) - 1,
                            e.status, 'ending', NULL, 'result');
        e.status := 'ending'; e.reason := 'result';
    END IF;

    UPDATE executions
       SET status = e.status, reason = e.reason, open_steps = e.open_steps,
           error = e.error, variables = e.variables,
           next_seq = write_events(p_execution, e.next_seq, drafts)
     WHERE id = p_execution;
    IF e.status NOT IN ('pending', 'running') THEN
        RETURN '[]';
    END IF;
    RETURN send_successors(p_execution, sendable, p_covered, s.queue);
END $$;


-- Mark what the end of a step makes sendable. The step that the chain covers is only
-- marked; of the others as many are sent as the workers can use. Where nothing goes on in
-- the step's own queue, one more of a wider fan-out that is still waiting there is sent:
-- a lane ended, a lane begins.
CREATE FUNCTION send_successors(
    p_execution uuid, p_ready int[], p_covered int, p_queue text
) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    others int[] := array_remove(p_ready, p_covered);
    is_covered bool := p_covered = ANY (p_ready);
    windows jsonb := '[]';
BEGIN
    IF is_covered THEN
        UPDATE execution_steps
           SET published_at = plans_now(), publishes = publishes + 1
         WHERE execution_id = p_execution AND "position" = p_covered;
    END IF;
    IF cardinality(others) > 1 THEN
        RETURN publish_ready(p_execution);
    ELSIF cardinality(others) = 1 THEN
        windows := publish_steps(p_execution, others);
    END IF;
    IF EXISTS (SELECT FROM execution_steps s
                WHERE s.execution_id = p_execution AND s."position" = ANY (p_ready)
                  AND s.queue = p_queue) THEN
        RETURN windows;
    END IF;
    RETURN windows || publish_next(p_execution, p_queue);
END $$;


-- Count a completed step down in its successors: those that waited for nothing else
-- become ready. One statement, however wide the fan-out.
CREATE FUNCTION release_after_success(
    p_execution uuid, p_successors int[],
    OUT ready int[], OUT skips int, OUT drafts event_draft[]
)
LANGUAGE plpgsql AS $$
BEGIN
    skips := 0; ready := '{}'; drafts := '{}';
    IF cardinality(p_successors) = 0 THEN
        RETURN;
    END IF;
    WITH released AS (
        UPDATE execution_steps
           SET pending_deps = pending_deps - 1,
               status = CASE WHEN pending_deps = 1 THEN 'ready' ELSE status END,
               ready_at = CASE WHEN pending_deps = 1 THEN plans_now() END,
               deadline = CASE WHEN pending_deps = 1 THEN
                   plans_now() + make_interval(secs => deadline_seconds) END
         WHERE execution_id = p_execution AND "position" = ANY (p_successors)
           AND status = 'pending'
        RETURNING "position", status
    )
    SELECT coalesce(array_agg("position" ORDER BY "position"), '{}'),
           coalesce(array_agg(ROW('step.ready', "position", '{}')::event_draft
                              ORDER BY "position"), '{}')
      INTO ready, drafts FROM released WHERE status = 'ready';
END $$;


-- Count a skipped step down in its successors. Those that waited for nothing else and
-- are still wanted become ready; the others are skipped in their turn, and so on down
-- the line. Each round is one statement over the whole front, so that a long line of
-- skips does not cost a statement for each of its edges.
CREATE FUNCTION release_after_skip(
    p_execution uuid, p_position int,
    OUT ready int[], OUT skips int, OUT drafts event_draft[]
)
LANGUAGE plpgsql AS $$
DECLARE
    front int[] := ARRAY[p_position];
    freed int[];
    skipped int[] := '{}';
BEGIN
    ready := '{}';
    WHILE cardinality(front) > 0 LOOP
        -- OFFSET 0 keeps each look-up one of its own: joined, the planner reads all the
        -- rows of the execution in every round
        WITH counted AS (
            SELECT succ, count(*)::int AS n
              FROM unnest(front) AS f
              CROSS JOIN LATERAL (
                  SELECT s.successors FROM execution_steps s
                   WHERE s.execution_id = p_execution AND s."position" = f OFFSET 0
              ) AS ended
              CROSS JOIN unnest(ended.successors) AS succ
             GROUP BY succ
        ), judged AS (
            SELECT t.row_id, c.n, t.pending_deps = c.n AS is_free,
                   t.pending_deps = c.n AND is_wanted(t.step) AS is_ready
              FROM counted c
              CROSS JOIN LATERAL (
                  SELECT s.ctid AS row_id, s.pending_deps, s AS step
                    FROM execution_steps s
                   WHERE s.execution_id = p_execution AND s."position" = c.succ
                     AND s.status = 'pending' OFFSET 0
              ) AS t
        ), released AS (
            UPDATE execution_steps t
               SET pending_deps = t.pending_deps - j.n,
                   status = CASE WHEN j.is_ready THEN 'ready'
                                 WHEN j.is_free THEN 'skipped' ELSE t.status END,
                   ready_at = CASE WHEN j.is_ready THEN plans_now() END,
                   deadline = CASE WHEN j.is_ready THEN
                       plans_now() + make_interval(secs => t.deadline_seconds) END,
                   ended_at = CASE WHEN j.is_free AND NOT j.is_ready THEN plans_now() END,
                   reason = CASE WHEN j.is_free AND NOT j.is_ready THEN 'needs' END
              FROM judged j
             -- the row cannot move: whoever would update it waits for our lock
             WHERE t.ctid = j.row_id
            RETURNING t."position", t.status
        )
        SELECT coalesce(array_agg("position" ORDER BY "position")
                        FILTER (WHERE status = 'ready'), '{}'),
               coalesce(array_agg("position" ORDER BY "position")
                        FILTER (WHERE status = 'skipped'), '{}')
          INTO freed, front FROM released;
        ready := ready || freed;
        skipped := skipped || front;
    END LOOP;
    skips := cardinality(skipped);
    drafts := ARRAY(SELECT ROW('step.skipped', p, '{"reason": "needs"}')::event_draft
                      FROM unnest(skipped) p)
           || ARRAY(SELECT ROW('step.ready', p, '{}')::event_draft FROM unnest(ready) p);
END $$;


-- Whether a step whose needs are all settled, one of them by a skip, should run: one
-- of them completed, or the plan is a plain sequence, in which the next step runs
-- after a skip as well.
CREATE FUNCTION is_wanted(p_step execution_steps) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM execution_steps n
                    WHERE n.execution_id = p_step.execution_id
                      AND n."position" = ANY (p_step.needs) AND n.status = 'completed')
        OR (SELECT p.survives_skips
              FROM executions e
              JOIN plan_steps p ON p.plan_id = e.plan_id
                               AND p."position" = p_step."position"
             WHERE e.id = p_step.execution_id)
$$;


-- Cancel what has not started. The caller holds the lock and counts.
CREATE FUNCTION cancel_unstarted(
    p_execution uuid, OUT cancels int, OUT drafts event_draft[]
)
LANGUAGE sql VOLATILE AS $$
    WITH cancelled AS (
        UPDATE execution_steps
           SET status = 'cancelled', ended_at = plans_now(), wake_at = NULL
         WHERE execution_id = p_execution AND status IN ('pending', 'ready', 'waiting')
        RETURNING "position"
    )
    SELECT count(*)::int,
           coalesce(array_agg(ROW('step.cancelled', "position", '{}')::event_draft
                              ORDER BY "position"), '{}')
      FROM cancelled
$$;
