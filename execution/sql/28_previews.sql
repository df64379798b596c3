-- What an act of an operator would come to, for who asks before it is done.

-- What an act would come to, if it was done now: why it would be refused; and the steps
-- that would run, of the execution and of those within it, as arrays: execution, name,
-- action, role, status, attempts so far, and the seconds that these took.
CREATE FUNCTION preview_act(
    p_execution uuid, p_kind text, p_step text, p_renewed int[],
    OUT refusal text, OUT about text, OUT status text, OUT epoch int, OUT steps jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
BEGIN
    PERFORM begin_write();
    SELECT * INTO e FROM executions WHERE id = p_execution;
    s := find_named(p_execution, p_step);
    status := e.status; epoch := e.epoch; steps := '[]';
    SELECT r.refusal, r.about INTO refusal, about FROM refuse_act(e, s, p_kind, false) AS r;
    IF refusal IS NULL AND e.ended_at IS NOT NULL THEN
        steps := list_retried(p_execution, p_renewed, s."position");
    END IF;
END $$;


-- The steps that a retry lets run, without p_left and those that stand in for it, or are
-- items of it.
CREATE FUNCTION list_retried(p_execution uuid, p_renewed int[], p_left int) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    found jsonb;
    within jsonb;
    c record;
BEGIN
    SELECT coalesce(jsonb_agg(jsonb_build_array(
               p_execution, s.name, s.action, r.role, s.status, s.attempt,
               spent_seconds(s)) ORDER BY s."position"), '[]')
      INTO found
      FROM choose_retried(p_execution, p_renewed) AS r
      JOIN execution_steps s ON s.execution_id = p_execution AND s."position" = r."position"
     WHERE r.role IN ('anew', 'again', 'part') AND NOT is_left(s, p_left);
    FOR c IN SELECT r.child_id, s."position"
               FROM choose_retried(p_execution, p_renewed) AS r
               JOIN execution_steps s ON s.execution_id = p_execution
                                     AND s."position" = r."position"
              WHERE r.role = 'child' AND NOT is_left(s, p_left) ORDER BY r."position"
    LOOP
        within := list_retried(c.child_id, '{}', NULL);
        found := found || within;
    END LOOP;
    RETURN found;
END $$;


CREATE FUNCTION is_left(s execution_steps, p_left int) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    WITH RECURSIVE line AS (
        SELECT p_left AS p
        UNION
        SELECT t.fallback FROM line JOIN execution_steps t
            ON t.execution_id = s.execution_id AND t."position" = line.p
         WHERE t.fallback IS NOT NULL
    )
    SELECT p_left IS NOT NULL AND (s."position" IN (SELECT p FROM line)
                                   OR coalesce(s.item_of = p_left, false))
$$;


-- How long the attempts of a step took, all of its times together.
CREATE FUNCTION spent_seconds(s execution_steps) RETURNS float
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce((
        SELECT sum(extract(epoch FROM a.ended_at - a.claimed_at)) FROM step_attempts a
         WHERE a.execution_id = s.execution_id AND a."position" = s."position"), 0)::float
        + coalesce((
        SELECT extract(epoch FROM s.ended_at - s.claimed_at)
         WHERE s.status = 'completed' AND NOT EXISTS (
            SELECT FROM step_attempts a
             WHERE a.execution_id = s.execution_id AND a."position" = s."position"
               AND a.attempt = s.attempt)), 0)::float
$$;


-- A step as it would begin anew, for who gives it other inputs: `claim` is what a claim
-- would tell. `role` is what a retry makes of it; NULL if it stays. `open_needs` are those
-- without which its inputs cannot be made.
CREATE FUNCTION describe_stopped(
    p_execution uuid, p_step text,
    OUT "position" int, OUT of_step int, OUT role text, OUT has_items bool,
    OUT open_needs text, OUT claim jsonb, OUT plan text, OUT parameters jsonb,
    OUT execution jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
BEGIN
    PERFORM begin_write();
    SELECT * INTO e FROM executions WHERE id = p_execution;
    s := find_named(p_execution, p_step);
    "position" := s."position";
    IF s."position" IS NULL THEN
        RETURN;
    END IF;
    of_step := coalesce(s.item_of, s."position");
    SELECT c.role INTO role FROM choose_retried(p_execution, ARRAY[s."position"]) AS c
     WHERE c."position" = s."position" AND e.ended_at IS NOT NULL;
    SELECT p.for_each IS NOT NULL AND s.item_of IS NULL INTO has_items
      FROM plan_steps p WHERE p.plan_id = e.plan_id AND p."position" = of_step;
    open_needs := find_open_needs(p_execution, s.needs);
    claim := describe_claim(p_execution, find_started(e, s."position"));
    parameters := e.parameters;
    execution := jsonb_build_object('id', e.id, 'created_at', e.created_at, 'tags', e.tags);
    SELECT t.name INTO plan FROM plans t WHERE t.id = e.plan_id;
END $$;
