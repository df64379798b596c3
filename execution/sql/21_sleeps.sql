-- Steps that sleep: they wait in the database, and hold nothing meanwhile.

-- Let a running step sleep for p_seconds or until p_until. Once it wakes it is claimed
-- again; that its input is recorded says that it has slept.
--
-- outcome:
--   asleep     it waits; a repeated call is answered the same
--   over       p_until is past: it is still held, and ends at once
--   refused    the execution is ending: nothing more waits in it
--   stale      the token no longer holds the step
CREATE FUNCTION sleep_step(
    p_execution uuid, p_position int, p_token uuid, p_input jsonb, p_seconds float,
    p_until timestamptz,
    OUT outcome text, OUT epoch int, OUT last_seq bigint, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
    seconds float;
BEGIN
    PERFORM begin_write();
    windows := '[]';
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = p_execution AND t."position" = p_position;
    epoch := e.epoch; last_seq := e.next_seq - 1;
    seconds := coalesce(p_seconds, extract(epoch FROM p_until - plans_now()));
    outcome := CASE
        WHEN s.status = 'waiting' AND s.input IS NOT NULL THEN 'asleep'
        WHEN s.lease_token IS DISTINCT FROM p_token OR s.status <> 'running' THEN 'stale'
        WHEN e.status NOT IN ('running', 'paused') AND s.section = 'steps' THEN 'refused'
        WHEN seconds <= 0 THEN 'over'
        ELSE 'asleep' END;
    IF outcome = 'asleep' AND s.status = 'running' THEN
        UPDATE execution_steps t SET input = p_input
         WHERE t.execution_id = p_execution AND t."position" = p_position;
        last_seq := park_step(p_execution, p_position, seconds, NULL);
        IF e.status IN ('running', 'ending') THEN
            windows := publish_next(p_execution, s.queue);
        END IF;
    END IF;
END $$;
