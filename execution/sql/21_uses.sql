-- What steps use, and which of them are let through while it is paused.

-- What a step uses: what the plan says, and the action. NULL for the position: nothing.
CREATE FUNCTION uses_of(e executions, p_position int) RETURNS text[]
LANGUAGE sql VOLATILE AS $$
    SELECT ARRAY(
        SELECT unnest(p.uses) UNION SELECT unnest(a.uses)
         ORDER BY 1)
      FROM execution_steps n
      JOIN plan_steps p ON p.plan_id = e.plan_id
                       AND p."position" = coalesce(n.item_of, n."position")
      LEFT JOIN actions a ON a.name = n.action
     WHERE n.execution_id = e.id AND n."position" = p_position
$$;


-- Whether a step may go by the hold of a dependency. Once it has failed, it waits with
-- the others.
CREATE FUNCTION has_pass(p_execution uuid, p_position int, p_name text) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM dependency_passes d
                    WHERE d.execution_id = p_execution AND d."position" = p_position
                      AND d.name = p_name AND d.has_failed IS NOT true)
$$;


-- The same, of what a parked step says that it waits for.
CREATE FUNCTION is_let_through(s execution_steps) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM dependency_passes d
                    WHERE d.execution_id = s.execution_id AND d."position" = s."position"
                      AND s.waits_for = 'dependency:' || d.name
                      AND d.has_failed IS NOT true)
$$;


-- Executions with parked steps that are let through: who gave the pass may have died.
CREATE FUNCTION passing_executions() RETURNS SETOF uuid
LANGUAGE sql VOLATILE AS $$
    SELECT d.execution_id FROM dependency_passes d
     CROSS JOIN LATERAL (
         SELECT s FROM execution_steps s
          WHERE s.execution_id = d.execution_id AND s."position" = d."position"
            AND s.parked_at IS NOT NULL OFFSET 0) AS x
     WHERE is_let_through(x.s)
$$;
