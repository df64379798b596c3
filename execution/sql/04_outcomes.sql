-- What came of other steps, for the expressions of one that is claimed.

-- What the items of a step came to, in their order; null for those that were skipped.
CREATE FUNCTION item_results(p_execution uuid, p_first int, p_count int) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(jsonb_agg(result ORDER BY "position"), '[]')
      FROM execution_steps
     WHERE execution_id = p_execution
       AND "position" >= p_first AND "position" < p_first + p_count
$$;


-- What expressions may read of other steps, by name.
CREATE FUNCTION step_outcomes(p_execution uuid, p_positions int[]) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(jsonb_object_agg(name, jsonb_build_object(
               'status', status, 'result', result, 'results',
               CASE WHEN item_count IS NOT NULL AND iterations IS NULL
                         AND status = 'completed'
                    THEN item_results(p_execution, first_item, item_count) END,
               'error', error, 'attempt', attempt)), '{}')
      FROM execution_steps
     WHERE execution_id = p_execution AND "position" = ANY (p_positions)
$$;


-- The same, also of steps of a later section that were never added: those count as
-- skipped.
CREATE FUNCTION all_outcomes(p_execution uuid, p_positions int[]) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(jsonb_object_agg(p.name, jsonb_build_object(
               'status', coalesce(s.status, 'skipped'), 'result', s.result, 'results',
               CASE WHEN s.item_count IS NOT NULL AND s.iterations IS NULL
                         AND s.status = 'completed'
                    THEN item_results(p_execution, s.first_item, s.item_count) END,
               'error', s.error, 'attempt', coalesce(s.attempt, 0))), '{}')
      FROM executions e
      JOIN plan_steps p ON p.plan_id = e.plan_id AND p."position" = ANY (p_positions)
      LEFT JOIN execution_steps s ON s.execution_id = e.id AND s."position" = p."position"
     WHERE e.id = p_execution
$$;


-- What a step came to that is being undone by the one at p_position; NULL if none is.
CREATE FUNCTION undone_outcome(p_execution uuid, p_position int) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT o.value
      FROM executions e
      JOIN plan_steps p ON p.plan_id = e.plan_id AND p."position" = p_position
     CROSS JOIN jsonb_each(step_outcomes(e.id, ARRAY[p.undoes])) AS o
     WHERE e.id = p_execution AND p.undoes IS NOT NULL
$$;
