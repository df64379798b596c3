-- A step has ended without success, and what is sent when any has ended.

-- Settle a step that did not succeed, for good, and let everything follow: its successors
-- become ready or are skipped, or its failure ends the execution, or lets it go back to
-- before an earlier step. p_status is failed, timed_out, cancelled, or skipped for
-- p_reason. The caller holds the lock and has checked the token. Returns the windows to
-- send.
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
           wake_at = NULL, child_id = NULL, waits_for = NULL, parked_at = NULL
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
        PERFORM tell_running(p_execution, e.reason = 'abort' AND (
            SELECT p.cancels_running FROM plans p WHERE p.id = e.plan_id), NULL);
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
