-- The way in.

-- Store a plan under its digest, with its steps compiled; a plan that is known is
-- left as it is. In a transaction of its own: inside a long one, the unique digest
-- would make everybody else's submits of the same plan wait for it.
CREATE FUNCTION register_plan(
    p_id uuid, p_name text, p_version text, p_digest text, p_definition jsonb,
    p_deadline_seconds float, p_result jsonb, p_result_reads int[], p_steps jsonb
) RETURNS uuid
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    stored uuid;
BEGIN
    PERFORM begin_write();
    INSERT INTO plans (id, name, version, digest, definition, deadline_seconds, result,
                       result_reads)
    VALUES (p_id, p_name, p_version, p_digest, p_definition, p_deadline_seconds, p_result,
            p_result_reads)
    ON CONFLICT (digest) DO NOTHING;
    IF FOUND THEN
        INSERT INTO plan_steps (plan_id, "position", name, action, queue, priority, needs,
            successors, reads, survives_skips, on_failure, timeout_seconds,
            deadline_seconds, max_attempts, max_lost, retry, retries_timeouts, inputs)
        SELECT p_id, s.* FROM jsonb_to_recordset(p_steps) AS s(
            "position" int, name text, action text, queue text, priority smallint,
            needs int[], successors int[], reads int[], survives_skips bool,
            on_failure text, timeout_seconds float, deadline_seconds float,
            max_attempts int, max_lost int, retry jsonb, retries_timeouts bool,
            inputs jsonb);
        RETURN p_id;
    END IF;
    -- a statement of its own: the one above could not see the row that won
    SELECT id INTO stored FROM plans WHERE digest = p_digest;
    RETURN stored;
END $$;


-- What a key stands for: two submits are the same if these are.
CREATE FUNCTION body_digest(p_plan text, p_parameters jsonb, p_priority int, p_tags text[])
RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT encode(sha256(convert_to(jsonb_build_array(
        p_plan, p_parameters, p_priority,
        ARRAY(SELECT t FROM unnest(p_tags) t ORDER BY t COLLATE "C"))::text, 'UTF8')), 'hex')
$$;


-- Begin an execution: its key, its row, its steps and their first events, at once.
--
-- Unless p_sends, nothing is marked as sent, and the reconcilers are told as soon as
-- the caller's transaction commits: nobody can send from inside it.
--
-- outcome: created; existing (the same key or id with the same body: the id that was
-- given first); conflict (the same key or id with another body).
CREATE FUNCTION submit_execution(
    p_execution uuid, p_plan uuid, p_parameters jsonb, p_key text,
    p_priority int, p_tags text[], p_queue text, p_sends bool,
    OUT outcome text, OUT execution_id uuid, OUT last_seq bigint, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    plan plans;
    body text;
    earlier record;
    drafts event_draft[];
BEGIN
    PERFORM begin_write();
    SELECT * INTO plan FROM plans WHERE id = p_plan;
    body := body_digest(plan.digest, p_parameters, p_priority, p_tags);
    IF p_key IS NOT NULL THEN
        INSERT INTO submissions (key, execution_id, digest, created_at)
        VALUES (p_key, p_execution, body, plans_now())
        ON CONFLICT (key) DO NOTHING;
        SELECT s.execution_id AS id, s.digest INTO earlier
          FROM submissions s WHERE s.key = p_key;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the execution of key % is being deleted', p_key
                USING ERRCODE = 'serialization_failure', HINT = 'Submit again.';
        ELSIF earlier.digest <> body THEN
            outcome := 'conflict'; execution_id := earlier.id; RETURN;
        ELSIF earlier.id <> p_execution THEN
            outcome := 'existing'; execution_id := earlier.id; windows := '[]'; RETURN;
        END IF;
    END IF;

    INSERT INTO executions (id, plan_id, status, open_steps, total_steps, priority, tags,
                            digest, parameters, created_at, deadline)
    SELECT p_execution, p_plan, 'pending', count(*), count(*), p_priority, p_tags,
           body, p_parameters, plans_now(),
           plans_now() + make_interval(secs => plan.deadline_seconds)
      FROM plan_steps WHERE plan_id = p_plan
    ON CONFLICT (id) DO NOTHING;
    execution_id := p_execution;
    IF NOT FOUND THEN
        SELECT CASE WHEN e.digest = body THEN 'existing' ELSE 'conflict' END
          INTO outcome FROM executions e WHERE e.id = p_execution;
        IF outcome = 'conflict' THEN
            -- written above, for an execution that this call does not begin
            DELETE FROM submissions s WHERE s.key = p_key AND s.execution_id = p_execution;
        END IF;
        windows := '[]';
        RETURN;
    END IF;

    INSERT INTO execution_steps (execution_id, "position", name, action, queue,
        priority, needs, successors, pending_deps, deadline_seconds, status, ready_at,
        deadline)
    SELECT p_execution, s."position", s.name, s.action, coalesce(s.queue, p_queue),
           p_priority + s.priority, s.needs, s.successors, cardinality(s.needs),
           s.deadline_seconds,
           CASE WHEN cardinality(s.needs) = 0 THEN 'ready' ELSE 'pending' END,
           CASE WHEN cardinality(s.needs) = 0 THEN plans_now() END,
           CASE WHEN cardinality(s.needs) = 0
                THEN plans_now() + make_interval(secs => s.deadline_seconds) END
      FROM plan_steps s WHERE s.plan_id = p_plan;

    SELECT array_agg(ROW('step.ready', s."position", '{}')::event_draft
                     ORDER BY s."position")
      INTO drafts
      FROM plan_steps s WHERE s.plan_id = p_plan AND cardinality(s.needs) = 0;
    drafts := ROW('execution.state_changed', NULL, '{"from": null, "to": "pending"}')
              ::event_draft || drafts;
    last_seq := write_events(p_execution, 1, drafts) - 1;
    PERFORM write_state(p_execution, 1, NULL, 'pending', NULL, 'submitted');
    UPDATE executions SET next_seq = last_seq + 1 WHERE id = p_execution;

    windows := '[]';
    IF p_sends THEN
        windows := publish_ready(p_execution);
    ELSE
        PERFORM tell_reconcilers();
    END IF;
    outcome := 'created';
END $$;
