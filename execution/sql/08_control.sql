-- What people and programs ask of an execution. Each is one compare-and-set on its
-- row, on the same path as the claims: what has returned is true for the next claim.
--
-- landed says whether the execution was in a state that allows the move; `status` is
-- where it stands now, NULL when there is no such execution.

CREATE FUNCTION pause_execution(
    p_execution uuid, p_by text, p_reason text,
    OUT landed bool, OUT status text, OUT last_seq bigint
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
BEGIN
    PERFORM begin_write();
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    status := e.status;
    landed := coalesce(e.status IN ('pending', 'running'), false);
    IF landed THEN
        last_seq := stop_execution(e, p_by, p_reason, false);
        status := 'paused';
    END IF;
END $$;


-- Pause an execution that can be; a child may be paused with its parent. The caller holds
-- the lock. Returns the number of its last event.
CREATE FUNCTION stop_execution(
    e executions, p_by text, p_reason text, p_with_parent bool
) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    last_seq bigint;
BEGIN
    PERFORM write_state(e.id, e.next_seq, e.status, 'paused', p_by, p_reason);
    last_seq := write_events(e.id, e.next_seq, ARRAY[ROW('execution.paused', NULL,
        jsonb_strip_nulls(jsonb_build_object('by', p_by, 'reason', p_reason))
        )::event_draft]) - 1;
    UPDATE executions
       SET status = 'paused', paused_at = plans_now(), next_seq = last_seq + 1,
           paused_with_parent = p_with_parent,
           deadline = CASE WHEN p_with_parent THEN renew_child_deadline(e)
                      ELSE e.deadline END
     WHERE id = e.id;
    PERFORM relay_down(e.id);
    RETURN last_seq;
END $$;


-- Go on. The epoch rises, so that messages from before the pause are dropped; what is
-- ready is sent anew, as much of it as the workers can use. What waits for its time or its
-- key goes on waiting.
CREATE FUNCTION resume_execution(
    p_execution uuid, p_by text, p_reason text,
    OUT landed bool, OUT status text, OUT last_seq bigint, OUT epoch int, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
BEGIN
    PERFORM begin_write();
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    status := e.status;
    landed := coalesce(e.status = 'paused', false);
    windows := '[]';
    IF landed THEN
        windows := continue_execution(e, p_by, p_reason);
        SELECT x.status, x.epoch, x.next_seq - 1 INTO status, epoch, last_seq
          FROM executions x WHERE x.id = p_execution;
    END IF;
END $$;


-- Resume an execution that is paused. The caller holds the lock. Returns the windows to
-- send.
CREATE FUNCTION continue_execution(e executions, p_by text, p_reason text) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    target text := CASE WHEN waits_for_key(e) OR e.is_delayed THEN 'pending'
                   ELSE 'running' END;
    drafts event_draft[] := ARRAY[ROW('execution.resumed', NULL, jsonb_strip_nulls(
        jsonb_build_object('by', p_by, 'reason', p_reason)))];
BEGIN
    IF e.is_delayed THEN
        drafts := drafts || draft_delayed(e);
    ELSIF target = 'pending' THEN
        drafts := drafts || draft_held(e);
        PERFORM tell_reconcilers();
    END IF;
    PERFORM write_state(e.id, e.next_seq, 'paused', target, p_by, p_reason);
    UPDATE executions x
       SET status = target, epoch = e.epoch + 1,
           next_seq = write_events(e.id, e.next_seq, drafts),
           started_at = CASE target
                        WHEN 'running' THEN coalesce(x.started_at, plans_now()) END,
           paused_at = NULL, paused_with_parent = false,
           deadline = CASE WHEN e.parent_id IS NULL THEN x.deadline
                      ELSE renew_child_deadline(e) END
     WHERE id = e.id;
    UPDATE execution_steps s SET published_at = NULL
     WHERE s.execution_id = e.id AND s.status = 'ready';
    -- what a person has stopped does not use up its time meanwhile
    UPDATE execution_steps s
       SET deadline = s.deadline + (plans_now() - greatest(
               e.paused_at, s.deadline - make_interval(secs => s.deadline_seconds)))
     WHERE s.execution_id = e.id AND s.deadline IS NOT NULL
       -- what is parked beside it is given all of its time when that ends
       AND s.parked_at IS NULL
       AND (s.status IN ('ready', 'waiting')
            OR s.status = 'pending' AND s.item_of IS NOT NULL);
    UPDATE execution_steps s
       SET wake_at = s.wake_at + (plans_now() - e.paused_at)
     WHERE s.execution_id = e.id AND s.status = 'waiting' AND s.wake_at IS NOT NULL
       AND is_signal_wait(s.waits_for);
    PERFORM relay_down(e.id);
    RETURN publish_ready(e.id);
END $$;


-- Begin the end. Unstarted steps are cancelled at once; running ones are told, and have
-- p_grace seconds; the last of them to end lets the execution be finished. What ends
-- already is only told, if its steps were not, or have another time now.
CREATE FUNCTION cancel_execution(
    p_execution uuid, p_by text, p_reason text, p_grace float DEFAULT NULL,
    OUT landed bool, OUT status text, OUT last_seq bigint, OUT open_steps int
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    PERFORM FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    landed := begin_ending(p_execution, 'cancel', p_by, p_reason, p_grace)
           OR hasten_ending(p_execution, p_by, p_reason, p_grace);
    SELECT e.status, e.next_seq - 1, e.open_steps INTO status, last_seq, open_steps
      FROM executions e WHERE e.id = p_execution;
    IF NOT landed THEN
        last_seq := NULL; open_steps := NULL;
    END IF;
END $$;


-- The same for an execution whose deadline has passed, unless it has ended or somebody
-- holds it. Its running steps have the same deadline: their own workers end them.
CREATE FUNCTION expire_execution(
    p_execution uuid,
    OUT landed bool, OUT status text, OUT last_seq bigint, OUT open_steps int
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
BEGIN
    PERFORM begin_write();
    SELECT * INTO e FROM executions WHERE id = p_execution
       FOR NO KEY UPDATE SKIP LOCKED;
    landed := false;
    IF e.deadline <= plans_now() THEN
        landed := begin_ending(p_execution, 'deadline', NULL, NULL);
    END IF;
    SELECT x.status, x.next_seq - 1, x.open_steps INTO status, last_seq, open_steps
      FROM executions x WHERE x.id = p_execution;
END $$;


-- Let an execution end for p_reason, if it has not begun to end; say whether it did. Its
-- running steps have p_grace seconds after a cancel; NULL leaves that to their workers.
-- The caller holds the lock.
CREATE FUNCTION begin_ending(
    p_execution uuid, p_reason text, p_by text, p_comment text,
    p_grace float DEFAULT NULL
) RETURNS bool
LANGUAGE plpgsql AS $$
DECLARE
    e executions;
    rest record;
BEGIN
    SELECT * INTO e FROM executions
     WHERE id = p_execution AND status IN ('pending', 'running', 'paused');
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF e.is_delayed THEN
        PERFORM forget_delay(p_execution);
    END IF;
    SELECT * INTO rest FROM cancel_unstarted(p_execution);
    PERFORM write_state(p_execution, e.next_seq, e.status, 'ending', p_by,
                        coalesce(p_comment, p_reason));
    e.status := 'ending'; e.reason := p_reason;
    e.open_steps := e.open_steps - rest.cancels;
    e := write_execution(e, ROW('execution.ending', NULL, jsonb_strip_nulls(
        jsonb_build_object('reason', p_reason, 'by', p_by, 'comment', p_comment,
                           'grace_seconds', p_grace)))::event_draft || rest.drafts);
    PERFORM tell_running(p_execution, p_reason = 'cancel', p_grace);
    IF e.section <> 'steps' THEN
        -- nobody who could send is here
        PERFORM tell_reconcilers();
    END IF;
    PERFORM relay_down(p_execution);
    RETURN true;
END $$;


-- Reach the terminal state that the reason of the end leads to: last of all, when
-- nothing runs any more, and once.
CREATE FUNCTION finish_execution(
    p_execution uuid, p_status text, p_result jsonb, p_error jsonb,
    OUT landed bool, OUT status text, OUT last_seq bigint
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
BEGIN
    PERFORM begin_write();
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    status := e.status;
    last_seq := e.next_seq - 1;
    landed := coalesce(e.status = 'ending' AND e.open_steps = 0 AND e.section = 'over'
        AND (p_result IS NULL OR p_status = 'completed')
        AND (p_status = CASE e.reason WHEN 'result' THEN 'completed' WHEN 'abort' THEN 'failed'
                        WHEN 'cancel' THEN 'cancelled' ELSE 'timed_out' END
             -- all steps are well, but the result could not be made of them
             OR (e.reason = 'result' AND p_status = 'failed')), false);
    IF landed THEN
        PERFORM write_state(p_execution, e.next_seq, 'ending', p_status, NULL, e.reason);
        last_seq := write_events(p_execution, e.next_seq, ARRAY[ROW(
            'execution.' || p_status, NULL, jsonb_strip_nulls(
                jsonb_build_object('error', coalesce(p_error, e.error))))::event_draft]) - 1;
        UPDATE executions
           SET status = p_status, result = p_result, error = coalesce(p_error, e.error),
               ended_at = plans_now(), next_seq = last_seq + 1
         WHERE id = p_execution;
        status := p_status;
        IF e.parent_id IS NOT NULL THEN
            PERFORM leave_relay(p_execution);
        END IF;
        IF e.admitted_at IS NOT NULL OR e.schedule IS NOT NULL THEN
            -- another one may wait for its key or its end, or be about to
            PERFORM tell_reconcilers();
        END IF;
    END IF;
END $$;


-- A remark in the history of states, without a change.
CREATE FUNCTION remark_execution(
    p_execution uuid, p_by text, p_reason text, OUT landed bool, OUT last_seq bigint
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
BEGIN
    PERFORM begin_write();
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    landed := FOUND;
    IF landed THEN
        PERFORM write_state(p_execution, e.next_seq, e.status, e.status, p_by, p_reason);
        last_seq := write_events(p_execution, e.next_seq, ARRAY[ROW(
            'execution.state_changed', NULL, jsonb_build_object(
                'from', e.status, 'to', e.status, 'by', p_by, 'reason', p_reason)
            )::event_draft]) - 1;
        UPDATE executions SET next_seq = last_seq + 1 WHERE id = p_execution;
    END IF;
END $$;
