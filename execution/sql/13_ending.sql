-- The last thing of all: what a result is made of.

-- Executions whose last step has ended and whose runner died before it finished them.
CREATE FUNCTION unfinished_executions(p_most int) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT id FROM executions WHERE status = 'ending' AND open_steps = 0 LIMIT p_most
$$;


-- What the result of an execution is made of: why it ends, the template of its plan,
-- and what the steps that it names came to (without a template: its only leaf).
CREATE FUNCTION read_ending(
    p_execution uuid,
    OUT reason text, OUT plan text, OUT template jsonb, OUT parameters jsonb,
    OUT execution jsonb, OUT steps jsonb, OUT error jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    p plans;
BEGIN
    SELECT * INTO e FROM executions
     WHERE id = p_execution AND status = 'ending' AND open_steps = 0;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO p FROM plans WHERE id = e.plan_id;
    reason := e.reason; plan := p.name; template := p.result;
    parameters := e.parameters; error := e.error;
    execution := jsonb_build_object('id', e.id, 'created_at', e.created_at, 'tags', e.tags);
    steps := step_outcomes(p_execution, p.result_reads);
END $$;
