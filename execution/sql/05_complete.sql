-- The second hot write: a step has ended, and what follows from it.

-- Record the end of an attempt that is the step's last, and ride on to the next step.
--
-- p_status is completed, failed, timed_out, cancelled (the code obeyed) or skipped (by
-- its condition); whether a failure aborts the execution or is skipped over is the step's
-- own policy.
-- p_covered is the position that the message's chain will send next, in the epoch
-- p_epoch: it is not sent again, unless the execution has moved to another epoch.
--
-- With p_next_token, the worker rides on after a success: it claims in the same
-- transaction the step that follows, or the next of a fan-out, for the message that it
-- has in hand. `next` is what a claim would have answered, or NULL.
--
-- With p_digest, the result of a success is stored under it for p_ttl_seconds.
--
-- p_decision is what a recovery strategy has decided, unless that is a success.
--
-- outcome:
--   recorded   it landed
--   repeated   this very record had landed before: the same answer again
--   stale      the token no longer holds the step; nothing was changed
CREATE FUNCTION complete_step(
    p_execution uuid, p_position int, p_token uuid, p_status text, p_result jsonb,
    p_input jsonb, p_error jsonb, p_variables jsonb, p_covered int, p_epoch int,
    p_next_token uuid DEFAULT NULL, p_worker uuid DEFAULT NULL,
    p_delivery text DEFAULT NULL,
    p_digest text DEFAULT NULL, p_ttl_seconds float DEFAULT NULL,
    p_decision jsonb DEFAULT NULL,
    OUT outcome text, OUT status text, OUT epoch int, OUT open_steps int,
    OUT last_seq bigint, OUT windows jsonb, OUT next jsonb, OUT variables jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
    started started_step;
    done record;
    rides bool;
BEGIN
    PERFORM begin_write();
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    IF e.epoch IS DISTINCT FROM p_epoch OR e.status = 'ending' THEN
        p_covered := NULL;
    END IF;
    rides := p_next_token IS NOT NULL AND e.epoch = p_epoch;
    IF rides AND p_status = 'completed' AND e.status = 'running'
       AND p_variables = '{}' THEN
        done := ride_on(e.id, e.plan_id, e.deadline, e.next_seq, p_position, p_token,
                        p_result, p_input, p_next_token, p_worker, p_delivery);
        IF done.next IS NOT NULL THEN
            outcome := 'recorded'; windows := '[]';
            status := e.status; epoch := e.epoch; open_steps := e.open_steps - 1;
            next := done.next; last_seq := done.last_seq;
            variables := e.variables;
            IF p_digest IS NOT NULL THEN
                PERFORM store_result(p_execution, p_position, p_digest, p_ttl_seconds);
            END IF;
            RETURN;
        END IF;
    END IF;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = p_execution AND t."position" = p_position;
    IF s.lease_token = p_token AND s.status = 'running' THEN
        outcome := 'recorded';
        IF p_status = 'completed' THEN
            done := succeed_step(e, s, p_result, p_input, p_variables, p_covered,
                                 CASE WHEN rides THEN p_next_token END, p_worker,
                                 p_delivery);
            e := done.ended; started := done.started; windows := done.windows;
            IF p_digest IS NOT NULL THEN
                PERFORM store_result(p_execution, p_position, p_digest, p_ttl_seconds);
            END IF;
        ELSE
            IF p_status IN ('failed', 'timed_out') THEN
                UPDATE execution_steps t SET failures = t.failures + 1
                 WHERE t.execution_id = p_execution AND t."position" = p_position;
            END IF;
            windows := settle_step(
                p_execution, p_position, p_status,
                CASE WHEN p_decision IS NULL THEN 'condition' ELSE 'decided' END, p_input,
                p_error, p_covered, p_decision);
            SELECT * INTO e FROM executions WHERE id = p_execution;
        END IF;
    ELSIF recorded_end(s, p_token, p_status, p_error) IS NOT NULL THEN
        outcome := 'repeated';
        windows := republish_since(
            p_execution, recorded_end(s, p_token, p_status, p_error), p_covered, p_epoch);
        IF p_next_token IS NOT NULL THEN
            -- what this very call took before a pause is still its own, in any epoch
            started := find_started(e, (
                SELECT t."position" FROM execution_steps t
                 WHERE t.execution_id = p_execution AND t.status = 'running'
                   AND t.lease_token = p_next_token));
        END IF;
        IF started."position" IS NULL AND e.status = 'running' THEN
            -- which lane that call began, nobody knows: begin one more
            windows := windows || publish_next(p_execution, s.queue);
        END IF;
    ELSE
        outcome := 'stale';
        windows := '[]';
    END IF;
    status := e.status; epoch := e.epoch; open_steps := e.open_steps;
    last_seq := e.next_seq - 1;
    IF started."position" IS NOT NULL THEN
        next := describe_claim(p_execution, started);
        variables := e.variables;
    END IF;
END $$;


-- The plain cases of a ride, and by far the most frequent: a step has succeeded that has one
-- successor at most, in whose count it is one of several, or the only one. In the latter
-- case the worker goes on to the successor, in the former to the next of a fan-out. An item
-- counts in the step that it is an item of, and may let another item begin. Each
-- statement starts an executor anew, which costs more than the rows do: so all rows are
-- written by one, and the functions for the other cases are not used. The caller holds the
-- lock.
--
-- Nothing is written, and NULL is returned, unless the step is held by p_token and the
-- worker may run the next one, in the same queue; then the general way decides.
CREATE FUNCTION ride_on(
    p_execution uuid, p_plan uuid, p_deadline timestamptz, p_next_seq bigint,
    p_position int, p_token uuid, p_result jsonb, p_input jsonb, p_next_token uuid,
    p_worker uuid, p_delivery text,
    OUT next jsonb, OUT last_seq bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    moment timestamptz := plans_now();
    c record;
    n record;
    frees bool;
    releases bool;
BEGIN
    -- OFFSET 0 keeps the look-up one of its own: joined, the planner may read all the
    -- rows of an execution that is younger than its statistics
    SELECT s.queue, s.attempt, cardinality(s.successors) AS width, t."position" AS join_at,
           t.status AS join_status, t.queue AS join_queue, t.pending_deps, t.next_item,
           NULL::int AS next
      INTO c
      FROM execution_steps s
      LEFT JOIN LATERAL (
          SELECT * FROM execution_steps x
           WHERE x.execution_id = p_execution AND x."position" = s.successors[1] OFFSET 0
      ) AS t ON true
     WHERE s.execution_id = p_execution AND s."position" = p_position
       AND s.status = 'running' AND s.lease_token = p_token
       AND s.fallback IS NULL AND s.stands_in_for IS NULL;
    IF NOT FOUND OR c.width > 1 OR c.join_status <> 'pending'
       AND (c.join_status <> 'waiting' OR c.pending_deps <= 1) THEN
        RETURN;
    END IF;
    frees := coalesce(c.pending_deps = 1, false);
    releases := frees OR c.next_item IS NOT NULL;
    IF NOT frees THEN
        c.next := coalesce(c.next_item, (first_unsent(p_execution, c.queue, 1))[1]);
    ELSIF c.join_queue = c.queue THEN
        c.next := c.join_at;
    END IF;
    SELECT t."position", t.name, t.action, t.failures, t.attempt + 1 AS attempt, t.input,
           coalesce(p.timeout_seconds, a.timeout_seconds) AS timeout_seconds,
           p.inputs, p.retry, w.hostname, w.beats,
           CASE WHEN t.item_of IS NULL THEN p.reads ELSE p.item_reads END AS reads,
           CASE WHEN coalesce(t.item_of, t.iterations) IS NULL
                THEN p.condition END AS condition,
           CASE WHEN t.item_of IS NULL THEN p.for_each END AS for_each, t.item,
           t.stands_in_for IS NOT NULL AS is_fallback, p.cache,
           CASE WHEN t.item_of IS NULL THEN p.repeat END AS repeat, p.subplan
      INTO n
      FROM execution_steps t
      JOIN plan_steps p ON p.plan_id = p_plan
                       AND p."position" = coalesce(t.item_of, t."position")
      JOIN workers w ON w.id = p_worker AND w.ended_at IS NULL
                    AND t.action = ANY (w.actions) AND t.queue = ANY (w.queues)
      LEFT JOIN actions a ON a.name = t.action
     WHERE t.execution_id = p_execution AND t."position" = c.next;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    UPDATE execution_steps t
       SET status = CASE t."position" WHEN p_position THEN 'completed'
                    WHEN n."position" THEN 'running' ELSE t.status END,
           pending_deps = CASE WHEN t."position" = n."position" THEN 0
                          WHEN t."position" = c.join_at THEN t.pending_deps - 1
                          ELSE t.pending_deps END,
           next_item = CASE WHEN t."position" = c.join_at
                       THEN nullif(t.next_item + 1, t.first_item + t.item_count) END,
           ended_at = CASE t."position" WHEN p_position THEN moment END,
           result = CASE t."position" WHEN p_position THEN p_result END,
           input = CASE t."position" WHEN p_position THEN coalesce(p_input, t.input)
                   ELSE t.input END,
           error = NULL,
           progress = CASE WHEN t."position" = p_position AND t.progress IS NOT NULL
                      THEN 100 END,
           progress_message = CASE t."position" WHEN p_position THEN t.progress_message END,
           chunks = CASE t."position" WHEN p_position THEN t.chunks END,
           records = CASE t."position" WHEN p_position THEN t.records END,
           ready_at = CASE WHEN t."position" = n."position" AND releases THEN moment
                      ELSE t.ready_at END,
           deadline = CASE WHEN t."position" = n."position" AND frees
                      THEN moment + make_interval(secs => t.deadline_seconds)
                      ELSE t.deadline END,
           attempt = CASE t."position" WHEN n."position" THEN n.attempt ELSE t.attempt END,
           lease_token = CASE t."position" WHEN n."position" THEN p_next_token
                         ELSE t.lease_token END,
           worker_id = CASE t."position" WHEN n."position" THEN p_worker
                       ELSE t.worker_id END,
           delivery = CASE t."position" WHEN n."position" THEN p_delivery
                      ELSE t.delivery END,
           claimed_by_ride = t.claimed_by_ride OR t."position" = n."position",
           claimed_at = CASE t."position" WHEN n."position" THEN moment
                        ELSE t.claimed_at END,
           claimed_beat = CASE t."position" WHEN n."position" THEN n.beats
                          ELSE t.claimed_beat END,
           attempt_deadline = CASE t."position" WHEN n."position" THEN least(
                   p_deadline,
                   CASE WHEN frees THEN moment + make_interval(secs => t.deadline_seconds)
                        ELSE t.deadline END,
                   moment + make_interval(secs => n.timeout_seconds))
               ELSE t.attempt_deadline END
     WHERE t.execution_id = p_execution
       AND t."position" IN (p_position, n."position", coalesce(c.join_at, p_position));
    INSERT INTO execution_events (execution_id, seq, type, "position", data, at)
    SELECT p_execution, p_next_seq + row_number() OVER (ORDER BY d.rank) - 1, d.type,
           d."position", d.data, moment
      FROM (VALUES
          (1, 'step.completed', p_position, jsonb_build_object('attempt', c.attempt)),
          (2, 'step.ready', n."position", '{}'),
          (3, 'step.started', n."position", jsonb_build_object(
              'attempt', n.attempt, 'worker', p_worker, 'host', n.hostname))
          ) AS d(rank, type, "position", data)
     WHERE releases OR d.rank <> 2;
    last_seq := p_next_seq + 1 + releases::int;
    UPDATE executions SET next_seq = last_seq + 1, open_steps = executions.open_steps - 1
     WHERE id = p_execution;
    next := describe_claim(p_execution, ROW(
        n."position", n.name, n.action, NULL, n.attempt, n.failures, NULL, NULL, n.input,
        n.inputs, n.reads, n.retry, n.hostname, 'steps', n.condition, n.for_each, n.item,
        n.is_fallback, n.cache, n.repeat, n.subplan)::started_step);
END $$;


-- Record a success and let everything follow, with as few writes as it takes: this is
-- what nearly every step comes to. The caller holds the lock and has checked the token.
-- Returns the execution as it is now, the step that the worker rides on to, if there is
-- one, and the windows to send.
CREATE FUNCTION succeed_step(
    e executions, s execution_steps, p_result jsonb, p_input jsonb, p_variables jsonb,
    p_covered int, p_next_token uuid, p_worker uuid, p_delivery text,
    OUT ended executions, OUT started started_step, OUT windows jsonb
)
LANGUAGE plpgsql AS $$
DECLARE
    drafts event_draft[] := ARRAY[
        ROW('step.completed', s."position", jsonb_build_object('attempt', s.attempt))];
    follow record;
    is_open bool := e.status IN ('pending', 'running') OR s.section <> 'steps';
    sendable int[] := '{}';
    chosen int;
    leaves_lane bool := true;
    unused record;
BEGIN
    UPDATE execution_steps t
       SET status = 'completed', result = p_result, input = coalesce(p_input, t.input),
           error = NULL, ended_at = plans_now(), child_id = NULL,
           progress = CASE WHEN t.progress IS NOT NULL THEN 100 END
     WHERE t.execution_id = s.execution_id AND t."position" = s."position";
    e.open_steps := e.open_steps - 1;
    IF p_variables <> '{}' THEN
        e.variables := e.variables || p_variables;
        drafts := drafts || ROW('execution.variables', s."position", p_variables)::event_draft;
    END IF;
    IF s.item_of IS NOT NULL THEN
        SELECT * INTO follow FROM end_item(s, 'completed', NULL);
        e.open_steps := e.open_steps - follow.ends;
        drafts := drafts || follow.drafts;
        sendable := follow.ready;
    ELSIF is_open AND p_next_token IS NOT NULL AND cardinality(s.successors) = 1 THEN
        -- the next link of a chain: freed and started by one write
        started := start_step(
            e, s.successors[1], p_next_token, p_worker, p_delivery, true);
        IF started."position" IS NOT NULL THEN
            drafts := drafts || ROW('step.ready', started."position", '{}')::event_draft;
            -- a worker that rides to another queue leaves the lane that it had in this
            leaves_lane := started.queue <> s.queue;
        END IF;
    END IF;
    IF s.fallback IS NOT NULL THEN
        SELECT * INTO unused FROM skip_fallbacks(s.execution_id, ARRAY[s."position"]);
        drafts := drafts || unused.drafts;
        e.open_steps := e.open_steps - unused.skips;
    END IF;
    IF s.stands_in_for IS NOT NULL THEN
        SELECT * INTO follow FROM replace_failed(s, p_result);
        drafts := drafts || follow.drafts;
        e.open_steps := e.open_steps - follow.ends;
        sendable := follow.ready;
    ELSIF s.item_of IS NULL AND started."position" IS NULL
       AND cardinality(s.successors) > 0 THEN
        SELECT * INTO follow FROM release_after_success(s.execution_id, s.successors);
        drafts := drafts || follow.drafts;
        sendable := follow.ready;
    END IF;
    IF is_open AND p_next_token IS NOT NULL AND started."position" IS NULL
       AND NOT coalesce(p_covered = ANY (sendable), false) THEN
        chosen := choose_next(s, sendable);
        IF chosen IS NOT NULL THEN
            started := start_step(e, chosen, p_next_token, p_worker, p_delivery, true);
            sendable := array_remove(sendable, started."position");
        END IF;
        -- unless nothing waits there, or this worker goes on with it
        leaves_lane := chosen IS NOT NULL AND started."position" IS NULL;
    END IF;
    IF started."position" IS NOT NULL THEN
        drafts := drafts || tell_start(started, p_worker);
    END IF;
    windows := '[]';
    IF is_open AND (leaves_lane OR cardinality(sendable) > 0) THEN
        windows := send_successors(
            s.execution_id, sendable, p_covered, CASE WHEN leaves_lane THEN s.queue END);
    END IF;
    ended := write_execution(e, drafts);
    IF ended.section <> e.section THEN
        windows := windows || publish_ready(e.id);
    END IF;
END $$;


-- Which step a worker that has completed one should ride on to: one that has just become
-- ready in the same queue, or else the next of a fan-out that is waiting there unsent.
CREATE FUNCTION choose_next(s execution_steps, p_ready int[]) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    chosen int;
BEGIN
    IF cardinality(p_ready) > 0 THEN
        SELECT n."position" INTO chosen FROM execution_steps n
         WHERE n.execution_id = s.execution_id AND n."position" = ANY (p_ready)
           AND n.queue = s.queue
         ORDER BY n.priority DESC, n."position" LIMIT 1;
    END IF;
    RETURN coalesce(chosen, (first_unsent(s.execution_id, s.queue, 1))[1]);
END $$;


-- Write an execution whose step has ended, and its timeline; begin its end, or a further
-- section of it, when nothing is open any more, and reach it where the result needs no
-- evaluation. The caller holds the lock; e.open_steps, e.variables, e.reason, e.error and
-- e.status are as they are to be. Returns the execution as it is now.
CREATE FUNCTION write_execution(e executions, p_drafts event_draft[]) RETURNS executions
LANGUAGE plpgsql AS $$
DECLARE
    further record;
    result_of int;
    result jsonb;
BEGIN
    IF e.open_steps = 0 AND e.status IN ('pending', 'running', 'paused') THEN
        PERFORM write_state(e.id, e.next_seq + cardinality(p_drafts), e.status, 'ending',
                            NULL, 'result');
        p_drafts := p_drafts || ROW('execution.ending', NULL, '{"reason": "result"}')::event_draft;
        e.status := 'ending'; e.reason := 'result';
    END IF;
    e.next_seq := write_events(e.id, e.next_seq, p_drafts);
    IF e.open_steps = 0 THEN
        -- after the events: the order of what is undone is read from them
        SELECT * INTO further FROM begin_section(e);
        e := further.begun;
        e.next_seq := write_events(e.id, e.next_seq, further.drafts);
    END IF;
    UPDATE executions
       SET status = e.status, reason = e.reason, open_steps = e.open_steps,
           total_steps = e.total_steps, section = e.section,
           error = e.error, variables = e.variables, next_seq = e.next_seq
     WHERE id = e.id;
    IF e.open_steps = 0 AND e.reason = 'result' THEN
        SELECT p.result_reads[1] INTO result_of FROM plans p
         WHERE p.id = e.plan_id AND p.result IS NULL;
        IF FOUND THEN
            -- without a template, it is what the only leaf came to
            SELECT s.result INTO result FROM execution_steps s
             WHERE s.execution_id = e.id AND s."position" = result_of;
            PERFORM finish_execution(e.id, 'completed', result, NULL);
            SELECT * INTO e FROM executions WHERE id = e.id;
        END IF;
    END IF;
    RETURN e;
END $$;


-- When this very end of a step was recorded before, if it had landed and its answer was
-- lost. A step that has fallen back, or that the execution has gone back to before, has let
-- go of the token: the archive has kept it.
CREATE FUNCTION recorded_end(
    s execution_steps, p_token uuid, p_status text, p_error jsonb
) RETURNS timestamptz
LANGUAGE sql VOLATILE AS $$
    SELECT CASE
        WHEN s.lease_token = p_token AND (s.status = p_status
             OR s.status = 'skipped' AND p_status IN ('failed', 'timed_out'))
        THEN s.ended_at
        ELSE (
            SELECT max(a.ended_at) FROM step_attempts a
             WHERE a.execution_id = s.execution_id AND a."position" = s."position"
               AND a.lease_token = p_token
               AND (a.outcome = p_status AND a.error = p_error
                    OR a.outcome = 'restored' AND p_status IN ('completed', 'skipped'))
            ) END
$$;


-- After an unknown commit, nobody knows whether the messages were sent of what it let
-- begin: successors, the next item, a fallback, a section of the end. Answer once more
-- the windows of all that has become ready since; and, if the epoch is not p_epoch any
-- more, of all that was sent since: a restore sends anew what was ready before. A message
-- too many is dropped by its claim.
CREATE FUNCTION republish_since(
    p_execution uuid, p_moment timestamptz, p_covered int, p_epoch int
) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(jsonb_agg(chain_window(p_execution, s."position")
                              ORDER BY s."position"), '[]')
      FROM execution_steps s
      JOIN executions e ON e.id = s.execution_id AND e.status IN ('running', 'ending')
     WHERE s.execution_id = p_execution
       AND s.status = 'ready' AND s.published_at IS NOT NULL
       AND (s.ready_at >= p_moment OR e.epoch <> p_epoch AND s.published_at >= p_moment)
       AND s."position" IS DISTINCT FROM p_covered
$$;


-- Settle a step that did not succeed, for good, and let everything follow: its successors
-- become ready or are skipped, or its failure ends the execution, or lets it go back to
-- before an earlier step. p_status is failed,
-- timed_out, cancelled, or skipped for p_reason. The caller holds the lock and has
-- checked the token. Returns the windows to send.
CREATE FUNCTION settle_step(
    p_execution uuid, p_position int, p_status text, p_reason text, p_input jsonb,
    p_error jsonb, p_covered int, p_decision jsonb DEFAULT NULL
) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    e executions;
    s execution_steps;
    policy text;
    target int;
    times int;
    drafts event_draft[];
    follow record;
    sendable int[] := '{}';
    has_failed bool;
    failed int[] := '{}';
BEGIN
    SELECT * INTO e FROM executions WHERE id = p_execution;
    SELECT * INTO s FROM execution_steps
     WHERE execution_id = p_execution AND "position" = p_position;
    IF s.status = 'running' AND p_status <> 'skipped' THEN
        PERFORM archive_attempt(
            s, CASE WHEN p_error ->> 'code' = 'E008' THEN 'lost' ELSE p_status END, p_error);
    END IF;
    IF p_status IN ('failed', 'timed_out') THEN
        SELECT p.on_failure, p.restore, p.restore_times INTO policy, target, times
          FROM plan_steps p
         WHERE p.plan_id = e.plan_id AND p."position" = coalesce(s.item_of, p_position)
           -- the failure of an iteration is that of its loop, whose policy it is
           AND (s.item_of IS NULL OR p.repeat IS NULL);
        IF p_decision ->> 'kind' = 'restore' THEN
            SELECT f.policy, f.target, f.times, coalesce(f.fault, p_error)
              INTO policy, target, times, p_error
              FROM follow_strategy(s, p_decision ->> 'step') AS f;
        END IF;
        IF policy = 'skip' THEN
            p_status := 'skipped'; p_reason := 'failed';
        ELSIF policy IN ('fallback', 'strategy') AND s.fallback IS NOT NULL
              AND e.status IN ('pending', 'running', 'paused') THEN
            RETURN fall_back(e, s, p_input, p_error);
        ELSIF policy = 'restore' AND s.restores < times
              AND e.status IN ('pending', 'running', 'paused')
              AND coalesce(e.deadline > plans_now(), true) THEN
            RETURN restore_steps(e, s, target, times, p_error);
        END IF;
    END IF;
    UPDATE execution_steps
       SET status = p_status, reason = CASE WHEN p_status = 'skipped' THEN p_reason END,
           input = coalesce(p_input, input), error = p_error, ended_at = plans_now(),
           wake_at = NULL, child_id = NULL
     WHERE execution_id = p_execution AND "position" = p_position;
    drafts := ARRAY[ROW('step.' || p_status, p_position, jsonb_strip_nulls(
        jsonb_build_object('attempt', s.attempt, 'error', p_error, 'reason',
            CASE WHEN p_status = 'skipped' THEN p_reason END)))::event_draft];
    e.open_steps := e.open_steps - 1;
    has_failed := p_status <> 'skipped';
    IF s.stands_in_for IS NOT NULL THEN
        SELECT * INTO follow FROM fail_replaced(s, p_status);
        drafts := drafts || follow.drafts;
        failed := follow.failed;
        e.open_steps := e.open_steps - cardinality(failed);
    END IF;
    IF s.item_count > 0 THEN
        -- what was to become of each item goes with it
        SELECT * INTO follow FROM cancel_items(s);
        drafts := drafts || follow.drafts;
        e.open_steps := e.open_steps - follow.cancels;
    END IF;
    IF s.item_of IS NOT NULL THEN
        SELECT * INTO follow FROM end_item(s, p_status, p_error);
        drafts := drafts || follow.drafts;
        e.open_steps := e.open_steps - follow.ends;
        sendable := follow.ready;
        p_error := follow.failure;
        has_failed := follow.failure IS NOT NULL;
    ELSIF p_status = 'skipped' THEN
        SELECT * INTO follow FROM release_after_skip(p_execution, failed || p_position);
        drafts := drafts || follow.drafts;
        e.open_steps := e.open_steps - follow.skips;
        sendable := follow.ready;
    ELSIF s.section <> 'steps' THEN
        -- the end of an execution goes on, whatever becomes of a part of it
        SELECT * INTO follow FROM release_after_success(p_execution, s.successors);
        drafts := drafts || follow.drafts;
        sendable := follow.ready;
    END IF;
    IF has_failed AND s.section = 'steps' AND e.status IN ('pending', 'running', 'paused')
    THEN
        -- beyond its deadline it ends for that, not for the step that was cut by it
        e.reason := CASE WHEN e.deadline <= plans_now() THEN 'deadline' ELSE 'abort' END;
        e.error := CASE e.reason WHEN 'abort' THEN p_error END;
        PERFORM write_state(p_execution, e.next_seq + cardinality(drafts), e.status, 'ending',
                            NULL, e.reason);
        SELECT * INTO follow FROM cancel_unstarted(p_execution);
        drafts := drafts || ROW('execution.ending', NULL,
                                jsonb_build_object('reason', e.reason))::event_draft
                  || follow.drafts;
        e.open_steps := e.open_steps - follow.cancels;
        e.status := 'ending';
        PERFORM relay_down(p_execution);
    END IF;
    e := write_execution(e, drafts);
    IF e.section <> s.section THEN
        RETURN publish_ready(p_execution);
    ELSIF e.status NOT IN ('pending', 'running') AND s.section = 'steps' THEN
        RETURN '[]';
    END IF;
    RETURN send_successors(p_execution, sendable, p_covered, s.queue);
END $$;


-- Mark what the end of a step makes sendable. The step that the chain covers is only
-- marked; of the others as many are sent as the workers can use. p_queue is the step's
-- own, unless its worker rides on in it: where nothing goes on in it, one more of a wider
-- fan-out that is still waiting there is sent. A lane ended, a lane begins.
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
    IF p_queue IS NULL OR EXISTS (
            SELECT FROM execution_steps s
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


-- Count skipped steps down in their successors. Those that waited for nothing else and
-- are still wanted become ready; the others are skipped in their turn, and so on down
-- the line. Each round is one statement over the whole front, so that a long line of
-- skips does not cost a statement for each of its edges.
CREATE FUNCTION release_after_skip(
    p_execution uuid, p_positions int[],
    OUT ready int[], OUT skips int, OUT drafts event_draft[]
)
LANGUAGE plpgsql AS $$
DECLARE
    front int[] := p_positions;
    freed int[];
    skipped int[] := '{}';
    unused record;
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
    SELECT * INTO unused FROM skip_fallbacks(p_execution, p_positions || skipped);
    skips := cardinality(skipped) + unused.skips;
    drafts := unused.drafts
           || ARRAY(SELECT ROW('step.skipped', p, '{"reason": "needs"}')::event_draft
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


-- Cancel what has not started. What waits for a child has: that one hears of it, and
-- comes to its own end first. The caller holds the lock and counts.
CREATE FUNCTION cancel_unstarted(
    p_execution uuid, OUT cancels int, OUT drafts event_draft[]
)
LANGUAGE sql VOLATILE AS $$
    WITH cancelled AS (
        UPDATE execution_steps
           SET status = 'cancelled', ended_at = plans_now(), wake_at = NULL
         WHERE execution_id = p_execution AND status IN ('pending', 'ready', 'waiting')
           AND child_id IS NULL
        RETURNING "position"
    )
    SELECT count(*)::int,
           coalesce(array_agg(ROW('step.cancelled', "position", '{}')::event_draft
                              ORDER BY "position"), '{}')
      FROM cancelled
$$;


-- Cancel the items of a step that have not started, for it will not wait for them.
CREATE FUNCTION cancel_items(
    s execution_steps, OUT cancels int, OUT drafts event_draft[]
)
LANGUAGE sql VOLATILE AS $$
    WITH cancelled AS (
        UPDATE execution_steps
           SET status = 'cancelled', ended_at = plans_now(), wake_at = NULL
         WHERE execution_id = s.execution_id
           AND "position" >= s.first_item AND "position" < s.first_item + s.item_count
           AND status IN ('pending', 'ready', 'waiting') AND child_id IS NULL
        RETURNING "position"
    )
    SELECT count(*)::int,
           coalesce(array_agg(ROW('step.cancelled', "position", '{}')::event_draft
                              ORDER BY "position"), '{}')
      FROM cancelled
$$;
