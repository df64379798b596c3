-- What a cancel does to code that runs: it is told, and has a time to end by itself. The
-- main process of its worker tells it, and ends it after that time (see `told_steps`).

-- Write down, as an execution begins to end, whether its running steps are told to end as
-- well, and how long they may take; NULL leaves that to their workers. The caller holds
-- the lock. What an earlier end has left there must not count for this one.
CREATE FUNCTION tell_running(p_execution uuid, p_are_told bool, p_grace float)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE executions
       SET told_at = CASE WHEN p_are_told THEN plans_now() END,
           -- not greatest(), which would take what is not said for nothing
           grace_seconds = CASE WHEN p_are_told AND p_grace < 0 THEN 0
                           WHEN p_are_told THEN p_grace END
     WHERE id = p_execution AND (p_are_told OR told_at IS NOT NULL);
    IF p_are_told AND EXISTS (SELECT FROM execution_steps
                               WHERE execution_id = p_execution AND status = 'running')
    THEN
        -- their workers need not hear of it at their next look
        PERFORM tell_reconcilers();
    END IF;
END $$;


-- Tell what still runs of an execution that ends already: it was to be waited for, or is
-- given another time. Says whether there was something to tell. The caller holds the lock.
CREATE FUNCTION hasten_ending(p_execution uuid, p_by text, p_comment text, p_grace float)
RETURNS bool
LANGUAGE plpgsql AS $$
DECLARE
    e executions;
BEGIN
    SELECT * INTO e FROM executions
     WHERE id = p_execution AND status = 'ending' AND section = 'steps'
       AND open_steps > 0 AND (told_at IS NULL OR p_grace IS NOT NULL);
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM write_state(p_execution, e.next_seq, 'ending', 'ending', p_by,
                        coalesce(p_comment, 'cancel'));
    e.next_seq := write_events(p_execution, e.next_seq, ARRAY[ROW(
        'execution.state_changed', NULL, jsonb_strip_nulls(jsonb_build_object(
            'from', 'ending', 'to', 'ending', 'by', p_by,
            'reason', coalesce(p_comment, 'cancel'), 'grace_seconds', p_grace))
        )::event_draft]);
    UPDATE executions SET next_seq = e.next_seq WHERE id = p_execution;
    PERFORM tell_running(p_execution, true, p_grace);
    PERFORM relay_down(p_execution);
    RETURN true;
END $$;


-- The tokens of the steps that a worker runs and that were told to end.
CREATE FUNCTION told_tokens(p_worker uuid) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT lease_token FROM told_steps WHERE worker_id = p_worker
$$;


-- Who let an execution end, and why, in the record of a step that was cut by that.
CREATE FUNCTION sign_cancel(p_execution uuid, p_error jsonb) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_set(p_error, '{context}', coalesce(p_error -> 'context', '{}')
                     || coalesce((
        SELECT jsonb_strip_nulls(jsonb_build_object('by', h.by, 'reason', h.reason))
          FROM execution_states h
         WHERE h.execution_id = p_execution AND h.to_status = 'ending'
         ORDER BY h.seq DESC LIMIT 1), '{}'))
$$;


-- The record of an attempt that was cut after a cancel.
CREATE FUNCTION cancel_error(e executions, s execution_steps) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT sign_cancel(e.id, jsonb_build_object(
        'code', 'E004',
        'message', format(
            'attempt %s of step %s was ended: its execution %s, and it did not end by'
            ' itself within %s s', s.attempt, s.name,
            CASE e.reason WHEN 'cancel' THEN 'was cancelled' ELSE 'is ending' END,
            t.grace_seconds),
        'step', s.name, 'timestamp', plans_now(), 'recoverable', false,
        'context', jsonb_build_object('worker', s.worker_id)))
      FROM told_steps t
     WHERE t.execution_id = s.execution_id AND t."position" = s."position"
$$;
