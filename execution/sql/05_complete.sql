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
-- p_guards are dependencies that the attempt has used well, or that it failed of.
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
    p_decision jsonb DEFAULT NULL, p_guards text[] DEFAULT NULL,
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
            IF p_guards IS NOT NULL THEN
                PERFORM note_attempt(p_execution, p_position, p_guards, false);
            END IF;
            RETURN;
        END IF;
    END IF;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = p_execution AND t."position" = p_position;
    IF s.lease_token = p_token AND s.status = 'running' THEN
        outcome := 'recorded';
        IF p_guards IS NOT NULL THEN
            -- what has failed may begin anew below, under another token
            PERFORM note_attempt(
                p_execution, p_position, p_guards, p_status <> 'completed');
        END IF;
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
            IF p_status = 'cancelled' AND e.status = 'ending' THEN
                p_error := sign_cancel(p_execution, p_error);
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
           error = NULL, ended_at = plans_now(), child_id = NULL, wake_at = NULL,
           waits_for = NULL,
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
