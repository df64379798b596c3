-- What the end of a step does to those that wait for it.

-- Count a completed step down in its successors: those that waited for nothing else
-- become ready. One statement, however wide the fan-out.
CREATE FUNCTION release_after_success(
    p_execution uuid, p_successors int[],
    OUT ready int[], OUT skips int, OUT drafts event_draft[]
)
LANGUAGE plpgsql AS $$
BEGIN
    skips := 0; ready := '{}'; drafts := '{}';
    IF cardinality(p_successors) = 0 THEN
        RETURN;
    END IF;
    WITH released AS (
        UPDATE execution_steps
           SET pending_deps = pending_deps - 1,
               status = CASE WHEN pending_deps = 1 THEN 'ready' ELSE status END,
               ready_at = CASE WHEN pending_deps = 1 THEN plans_now() END,
               deadline = CASE WHEN pending_deps = 1 THEN
                   plans_now() + make_interval(secs => deadline_seconds) END
         WHERE execution_id = p_execution AND "position" = ANY (p_successors)
           AND status = 'pending'
        RETURNING "position", status
    )
    SELECT coalesce(array_agg("position" ORDER BY "position"), '{}'),
           coalesce(array_agg(ROW('step.ready', "position", '{}')::event_draft
                              ORDER BY "position"), '{}')
      INTO ready, drafts FROM released WHERE status = 'ready';
END $$;


-- Count skipped steps down in their successors. Those that waited for nothing else and
-- are still wanted become ready; the others are skipped in their turn, and so on down
-- the line. Each round is one statement over the whole front, so that a long line of
-- skips does not cost a statement for each of its edges.
CREATE FUNCTION release_after_skip(
    p_execution uuid, p_positions int[],
    OUT ready int[], OUT skips int, OUT drafts event_draft[]
)
LANGUAGE plpgsql AS $$
DECLARE
    front int[] := p_positions;
    freed int[];
    skipped int[] := '{}';
    unused record;
BEGIN
    ready := '{}';
    WHILE cardinality(front) > 0 LOOP
        -- OFFSET 0 keeps each look-up one of its own: joined, the planner reads all the
        -- rows of the execution in every round
        WITH counted AS (
            SELECT succ, count(*)::int AS n
              FROM unnest(front) AS f
              CROSS JOIN LATERAL (
                  SELECT s.successors FROM execution_steps s
                   WHERE s.execution_id = p_execution AND s."position" = f OFFSET 0
              ) AS ended
              CROSS JOIN unnest(ended.successors) AS succ
             GROUP BY succ
        ), judged AS (
            SELECT t.row_id, c.n, t.pending_deps = c.n AS is_free,
                   t.pending_deps = c.n AND is_wanted(t.step) AS is_ready
              FROM counted c
              CROSS JOIN LATERAL (
                  SELECT s.ctid AS row_id, s.pending_deps, s AS step
                    FROM execution_steps s
                   WHERE s.execution_id = p_execution AND s."position" = c.succ
                     AND s.status = 'pending' OFFSET 0
              ) AS t
        ), released AS (
            UPDATE execution_steps t
               SET pending_deps = t.pending_deps - j.n,
                   status = CASE WHEN j.is_ready THEN 'ready'
                                 WHEN j.is_free THEN 'skipped' ELSE t.status END,
                   ready_at = CASE WHEN j.is_ready THEN plans_now() END,
                   deadline = CASE WHEN j.is_ready THEN
                       plans_now() + make_interval(secs => t.deadline_seconds) END,
                   ended_at = CASE WHEN j.is_free AND NOT j.is_ready THEN plans_now() END,
                   reason = CASE WHEN j.is_free AND NOT j.is_ready THEN 'needs' END
              FROM judged j
             -- the row cannot move: whoever would update it waits for our lock
             WHERE t.ctid = j.row_id
            RETURNING t."position", t.status
        )
        SELECT coalesce(array_agg("position" ORDER BY "position")
                        FILTER (WHERE status = 'ready'), '{}'),
               coalesce(array_agg("position" ORDER BY "position")
                        FILTER (WHERE status = 'skipped'), '{}')
          INTO freed, front FROM released;
        ready := ready || freed;
        skipped := skipped || front;
    END LOOP;
    SELECT * INTO unused FROM skip_fallbacks(p_execution, p_positions || skipped);
    skips := cardinality(skipped) + unused.skips;
    drafts := unused.drafts
           || ARRAY(SELECT ROW('step.skipped', p, '{"reason": "needs"}')::event_draft
                      FROM unnest(skipped) p)
           || ARRAY(SELECT ROW('step.ready', p, '{}')::event_draft FROM unnest(ready) p);
END $$;


-- Whether a step whose needs are all settled, one of them by a skip, should run: one
-- of them completed, or the plan is a plain sequence, in which the next step runs
-- after a skip as well.
CREATE FUNCTION is_wanted(p_step execution_steps) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (SELECT FROM execution_steps n
                    WHERE n.execution_id = p_step.execution_id
                      AND n."position" = ANY (p_step.needs) AND n.status = 'completed')
        OR (SELECT p.survives_skips
              FROM executions e
              JOIN plan_steps p ON p.plan_id = e.plan_id
                               AND p."position" = p_step."position"
             WHERE e.id = p_step.execution_id)
$$;


-- Cancel what has not started, of the whole execution or from one position up to before
-- another. What waits for a child has started: that one hears of it, and comes to its own
-- end first. The caller holds the lock and counts.
CREATE FUNCTION cancel_unstarted(
    p_execution uuid, p_first int DEFAULT 0, p_end int DEFAULT 2147483647,
    OUT cancels int, OUT drafts event_draft[]
)
LANGUAGE sql VOLATILE AS $$
    WITH cancelled AS (
        UPDATE execution_steps
           SET status = 'cancelled', ended_at = plans_now(), wake_at = NULL,
               waits_for = NULL, parked_at = NULL
         WHERE execution_id = p_execution AND "position" >= p_first AND "position" < p_end
           AND status IN ('pending', 'ready', 'waiting') AND child_id IS NULL
        RETURNING "position"
    )
    SELECT count(*)::int,
           coalesce(array_agg(ROW('step.cancelled', "position", '{}')::event_draft
                              ORDER BY "position"), '{}')
      FROM cancelled
$$;


-- Cancel the items of a step that have not started, for it will not wait for them.
CREATE FUNCTION cancel_items(
    s execution_steps, OUT cancels int, OUT drafts event_draft[]
)
LANGUAGE sql VOLATILE AS $$
    SELECT * FROM cancel_unstarted(
        s.execution_id, s.first_item, s.first_item + s.item_count)
$$;
