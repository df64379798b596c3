-- A plan as the database keeps it, and what its executions begin with.

-- Store a plan under its digest, with its steps compiled; a plan that is known is
-- left as it is. In a transaction of its own: inside a long one, the unique digest
-- would make everybody else's submits of the same plan wait for it.
CREATE FUNCTION register_plan(
    p_id uuid, p_name text, p_version text, p_digest text, p_definition jsonb,
    p_deadline_seconds float, p_result jsonb, p_result_reads int[], p_rollback text[],
    p_cancels_running bool, p_end_steps int[], p_concurrency_key jsonb,
    p_concurrency_limit int, p_on_conflict text, p_steps jsonb
) RETURNS uuid
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    stored uuid;
BEGIN
    PERFORM begin_write();
    INSERT INTO plans (id, name, version, digest, definition, deadline_seconds, result,
                       result_reads, rollback, cancels_running, end_steps,
                       concurrency_key, concurrency_limit, on_conflict)
    VALUES (p_id, p_name, p_version, p_digest, p_definition, p_deadline_seconds, p_result,
            p_result_reads, p_rollback, p_cancels_running, p_end_steps,
            p_concurrency_key, p_concurrency_limit, p_on_conflict)
    ON CONFLICT (digest) DO NOTHING;
    IF FOUND THEN
        INSERT INTO plan_steps (plan_id, "position", name, action, queue, priority, needs,
            successors, reads, survives_skips, on_failure, timeout_seconds,
            deadline_seconds, max_attempts, max_lost, retry, retries_timeouts, inputs,
            condition, section, run_on, undoes, for_each, max_parallel, tolerate,
            tolerate_percent, fallback, stands_in_for, item_reads, cache, restore,
            restore_times, repeat, subplan, uses, awaits, payload)
        SELECT p_id, s.* FROM jsonb_to_recordset(p_steps) AS s(
            "position" int, name text, action text, queue text, priority smallint,
            needs int[], successors int[], reads int[], survives_skips bool,
            on_failure text, timeout_seconds float, deadline_seconds float,
            max_attempts int, max_lost int, retry jsonb, retries_timeouts bool,
            inputs jsonb, condition text, section text, run_on text, undoes int,
            for_each text, max_parallel int, tolerate int, tolerate_percent float,
            fallback int, stands_in_for int, item_reads int[],
            cache jsonb, restore int, restore_times int, repeat jsonb, subplan text,
            uses text[], awaits text, payload jsonb);
        RETURN p_id;
    END IF;
    -- a statement of its own: the one above could not see the row that won
    SELECT id INTO stored FROM plans WHERE digest = p_digest;
    RETURN stored;
END $$;


-- What an execution of a plan begins with, whoever submits it: all but the sections that
-- come after its steps. `queues` are those that actions have, by their names, for the
-- steps that state none; NULL if none has one. `on_conflict` and what goes with it are of
-- plans whose executions have a key; one that `holds` them lets none of its roots be ready,
-- and neither does `starts_at`, a moment that is to come.
CREATE TYPE plan_outline AS (
    id uuid, name text, digest text, deadline_seconds float, total_steps int, roots int[],
    queues jsonb, key_parts jsonb, key_limit int, on_conflict text, holds bool,
    starts_at timestamptz
);


CREATE FUNCTION read_outline(p_plan uuid, p_at timestamptz DEFAULT NULL)
RETURNS plan_outline
LANGUAGE plpgsql AS $$
DECLARE
    outline plan_outline;
BEGIN
    SELECT id, name, digest, deadline_seconds, concurrency_key, concurrency_limit,
           on_conflict, coalesce(on_conflict <> 'reject', false)
      INTO outline.id, outline.name, outline.digest, outline.deadline_seconds,
           outline.key_parts, outline.key_limit, outline.on_conflict, outline.holds
      FROM plans WHERE id = p_plan;
    SELECT count(*), coalesce(array_agg(s."position" ORDER BY s."position")
                              FILTER (WHERE cardinality(s.needs) = 0), '{}'),
           jsonb_object_agg(a.name, a.queue)
               FILTER (WHERE s.queue IS NULL AND a.queue IS NOT NULL)
      INTO outline.total_steps, outline.roots, outline.queues
      FROM plan_steps s LEFT JOIN actions a ON a.name = s.action
     WHERE s.plan_id = p_plan AND s.section = 'steps';
    IF p_at > plans_now() THEN
        outline.starts_at := p_at; outline.holds := true;
    END IF;
    IF outline.holds THEN
        outline.roots := '{}';
    END IF;
    RETURN outline;
END $$;
