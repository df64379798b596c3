-- Deleting an execution: only one that has ended, with all that lies within it.

-- Delete an ended execution, those within it, and what it was submitted under. Returns
-- those that are gone: none if one of them has not ended, or if a parent has it within.
CREATE FUNCTION delete_execution(p_execution uuid) RETURNS text[]
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    family text[];
BEGIN
    PERFORM begin_write();
    SELECT * INTO e FROM executions WHERE id = p_execution FOR UPDATE;
    IF e.ended_at IS NULL OR e.parent_id IS NOT NULL THEN
        -- its parent waits to hear of its end, or has a value of its
        RETURN '{}';
    END IF;
    -- one that nobody waits for any more may outlive its parent
    WITH RECURSIVE within AS (
        SELECT e.id, e.ended_at
        UNION ALL
        SELECT x.id, x.ended_at FROM within w JOIN executions x ON x.parent_id = w.id
    )
    SELECT array_agg(id::text) INTO family FROM within
    HAVING bool_and(ended_at IS NOT NULL);
    IF family IS NULL THEN
        RETURN '{}';
    END IF;
    DELETE FROM executions WHERE id = p_execution;
    DELETE FROM submissions WHERE execution_id = p_execution;
    RETURN family;
END $$;
