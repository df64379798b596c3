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
--
-- outcome: saved; asked (the same, and the attempt may end here: it is asked to yield);
-- stale (nothing was saved).
CREATE FUNCTION save_checkpoint(
    p_execution uuid, p_position int, p_token uuid, p_data jsonb, OUT outcome text
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
BEGIN
    PERFORM begin_write();
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    SELECT * INTO s FROM execution_steps
     WHERE execution_id = p_execution AND "position" = p_position
       AND lease_token = p_token AND status = 'running';
    IF NOT FOUND THEN
        outcome := 'stale';
        RETURN;
    END IF;
    INSERT INTO execution_checkpoints (execution_id, "position", attempt, data, saved_at)
    VALUES (p_execution, p_position, s.attempt, p_data, plans_now())
    ON CONFLICT (execution_id, "position") DO UPDATE
       SET data = excluded.data, attempt = excluded.attempt, saved_at = excluded.saved_at;
    outcome := CASE WHEN is_asked_to_yield(e, s) THEN 'asked' ELSE 'saved' END;
END $$;


-- Append lines ([{number, level, source, message, age}], the age in seconds) and metrics
-- ([{name, value}]) of an attempt. Lines that stand there already are passed over: after
-- an unknown commit the same call can be made again. Ids are drawn under the execution's
-- lock, so that who has read one has seen all below it.
CREATE FUNCTION append_observations(
    p_execution uuid, p_position int, p_token uuid, p_logs jsonb, p_metrics jsonb,
    OUT landed bool
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    n int;
    told int := 0;
    now timestamptz;
BEGIN
    PERFORM begin_write();
    PERFORM FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    SELECT attempt INTO n FROM execution_steps
     WHERE execution_id = p_execution AND "position" = p_position
       AND lease_token = p_token AND status = 'running';
    landed := FOUND;
    IF landed THEN
        SELECT CASE WHEN l.attempt = n THEN l.number ELSE 0 END INTO told
          FROM execution_logs l
         WHERE l.execution_id = p_execution AND l."position" = p_position
         ORDER BY l.id DESC LIMIT 1;
        now := plans_now();
        INSERT INTO execution_logs (execution_id, "position", attempt, number, level,
            source, message, at)
        SELECT p_execution, p_position, n, l.number, l.level, l.source, l.message,
               now - l.age * interval '1 second'
          FROM jsonb_to_recordset(p_logs)
            AS l(number int, level text, source text, message text, age float)
         WHERE l.number > coalesce(told, 0)
         ORDER BY l.number;
        INSERT INTO execution_metrics (execution_id, "position", attempt, name, value, at)
        SELECT p_execution, p_position, n, m.name, m.value, now
          FROM jsonb_to_recordset(p_metrics) AS m(name text, value float);
    END IF;
END $$;


-- Whether the attempt should stop: its token is gone, or it was told to end, or the
-- execution has outlived its deadline. Later sections run to their end.
CREATE FUNCTION is_unwanted(p_execution uuid, p_position int, p_token uuid) RETURNS bool
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT NOT EXISTS (
        SELECT FROM execution_steps s JOIN executions e ON e.id = s.execution_id
         WHERE s.execution_id = p_execution AND s."position" = p_position
           AND s.lease_token = p_token AND s.status = 'running'
           AND (s.section <> 'steps' OR e.status <> 'ending'
                OR e.told_at IS NULL AND e.reason <> 'deadline'))
$$;
