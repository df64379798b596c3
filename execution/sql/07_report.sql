-- What a step tells while it runs. Each write is fenced by the token and says
-- whether it landed; none of them moves a state.

CREATE FUNCTION report_progress(
    p_execution uuid, p_position int, p_token uuid, p_percent float, p_message text,
    p_chunks bigint, p_records bigint,
    OUT landed bool, OUT last_seq bigint
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    seq bigint;
BEGIN
    PERFORM begin_write();
    SELECT next_seq INTO seq FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    UPDATE execution_steps
       SET progress = p_percent, progress_message = p_message, chunks = p_chunks,
           records = p_records
     WHERE execution_id = p_execution AND "position" = p_position
       AND lease_token = p_token AND status = 'running';
    landed := FOUND;
    IF landed THEN
        last_seq := write_events(p_execution, seq, ARRAY[ROW('step.progress', p_position,
            jsonb_strip_nulls(jsonb_build_object('percent', p_percent, 'message', p_message,
                'chunks', p_chunks, 'records', p_records)))::event_draft]) - 1;
        UPDATE executions SET next_seq = last_seq + 1 WHERE id = p_execution;
    END IF;
END $$;


-- Save what a step has done so far, for the attempt after it. The execution's lock
-- keeps the check of the token true until the commit.
CREATE FUNCTION save_checkpoint(
    p_execution uuid, p_position int, p_token uuid, p_data jsonb, OUT landed bool
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    PERFORM FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    INSERT INTO execution_checkpoints (execution_id, "position", attempt, data, saved_at)
    SELECT execution_id, "position", attempt, p_data, plans_now()
      FROM execution_steps
     WHERE execution_id = p_execution AND "position" = p_position
       AND lease_token = p_token AND status = 'running'
    ON CONFLICT (execution_id, "position") DO UPDATE
       SET data = excluded.data, attempt = excluded.attempt, saved_at = excluded.saved_at;
    landed := FOUND;
END $$;


-- Append log lines ([{level, message}]) and metrics ([{name, value}]) of an attempt.
CREATE FUNCTION append_observations(
    p_execution uuid, p_position int, p_token uuid, p_logs jsonb, p_metrics jsonb,
    OUT landed bool
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    n int;
BEGIN
    PERFORM begin_write();
    PERFORM FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    SELECT attempt INTO n FROM execution_steps
     WHERE execution_id = p_execution AND "position" = p_position
       AND lease_token = p_token AND status = 'running';
    landed := FOUND;
    IF landed THEN
        INSERT INTO execution_logs (execution_id, "position", attempt, level, message, at)
        SELECT p_execution, p_position, n, l.level, l.message, plans_now()
          FROM jsonb_to_recordset(p_logs) AS l(level text, message text);
        INSERT INTO execution_metrics (execution_id, "position", attempt, name, value, at)
        SELECT p_execution, p_position, n, m.name, m.value, plans_now()
          FROM jsonb_to_recordset(p_metrics) AS m(name text, value float);
    END IF;
END $$;


-- Whether the attempt should stop: its token is gone, or the execution was cancelled, or
-- has failed and its plan does not let the others finish. Later sections run to their end.
CREATE FUNCTION is_unwanted(p_execution uuid, p_position int, p_token uuid) RETURNS bool
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT NOT EXISTS (
        SELECT FROM execution_steps s JOIN executions e ON e.id = s.execution_id
         WHERE s.execution_id = p_execution AND s."position" = p_position
           AND s.lease_token = p_token AND s.status = 'running'
           AND (s.section <> 'steps' OR e.reason IS NULL OR e.reason = 'result'
                OR e.reason = 'abort' AND NOT EXISTS (
                    SELECT FROM plans p WHERE p.id = e.plan_id AND p.cancels_running)))
$$;
