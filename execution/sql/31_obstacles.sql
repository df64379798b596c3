-- Why steps do not run: the facts, all of one moment. What follows from them is decided
-- elsewhere.

-- How an execution stands, and its steps that neither run nor have completed: first those
-- that are about to run, then those that ended otherwise, then those that wait for others.
-- At most p_most of them, or the one that p_step names, if `is_known`; `steps_in_all` counts
-- them. A worker lives that has beaten within p_lease seconds. NULL: there is no such
-- execution.
--
-- STABLE: all of it is read from one snapshot.
CREATE FUNCTION read_standstill(
    p_execution uuid, p_step text, p_lease float, p_most int
) RETURNS jsonb
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    still int[];
BEGIN
    SELECT * INTO e FROM executions WHERE id = p_execution;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    still := ARRAY(
        SELECT s."position" FROM execution_steps s
         WHERE s.execution_id = e.id AND s.status NOT IN ('running', 'completed')
           AND (p_step IS NULL OR s.name = p_step)
         ORDER BY array_position(ARRAY['ready', 'waiting', 'failed', 'timed_out',
                                       'cancelled', 'pending', 'skipped'], s.status),
                  s."position");
    RETURN describe_standing(e) || jsonb_build_object(
        'steps_in_all', cardinality(still),
        'is_known', p_step IS NULL OR EXISTS (
            SELECT FROM execution_steps s
             WHERE s.execution_id = e.id AND s.name = p_step),
        'steps', (
            SELECT coalesce(jsonb_agg(describe_still(e, s, p_lease) ORDER BY c.n), '[]')
              FROM unnest(still[1:p_most]) WITH ORDINALITY AS c(at, n)
              JOIN execution_steps s ON s.execution_id = e.id AND s."position" = c.at));
END $$;


-- The execution itself: its state, who paused it, and for whom it waits.
CREATE FUNCTION describe_standing(e executions) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'now', plans_now(), 'id', e.id, 'status', e.status, 'reason', e.reason, 'section', e.section,
        'parent', CASE WHEN e.paused_with_parent THEN e.parent_id END,
        'error', e.error,
        'running', ARRAY(
            SELECT s.name FROM execution_steps s
             WHERE s.execution_id = e.id AND s.status = 'running'
             ORDER BY s."position" LIMIT 5),
        -- who paused it; of one that has ended, who asked for that
        'last_act', (
            SELECT jsonb_build_object(
                       'by', h.by, 'reason', nullif(h.reason, e.reason), 'at', h.at)
              FROM execution_states h
             WHERE h.execution_id = e.id
               AND h.to_status = CASE WHEN e.ended_at IS NULL THEN e.status ELSE 'ending' END
             ORDER BY h.seq DESC LIMIT 1),
        'delayed_until', CASE WHEN e.is_delayed THEN e.starts_at END,
        'key', CASE WHEN waits_for_key(e) THEN shown_key(e.concurrency_key) END,
        'key_holders', ARRAY(
            SELECT x.id FROM executions x
             WHERE waits_for_key(e) AND x.concurrency_key = e.concurrency_key
               AND x.admitted_at IS NOT NULL AND x.ended_at IS NULL
             ORDER BY x.admitted_at LIMIT 5))
$$;


-- The steps that a pending one waits for, ten at most, and how many there are.
CREATE FUNCTION unsettled_needs(s execution_steps) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'count', count(*),
        'first', coalesce(jsonb_agg(jsonb_build_array(n.name, n.status)
                          ORDER BY n."position") FILTER (WHERE n.rank <= 10), '[]'))
      FROM (SELECT t.name, t.status, t."position",
                   row_number() OVER (ORDER BY t."position") AS rank
              FROM unnest(s.needs) AS need
              JOIN execution_steps t ON t.execution_id = s.execution_id
                                    AND t."position" = need
             WHERE s.status = 'pending' AND t.status NOT IN ('completed', 'skipped')) AS n
$$;


-- How many slots the living workers of a queue have; if none is free, what runs longest.
CREATE FUNCTION describe_slots(p_queue text, p_lease float) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    WITH serving AS (
        SELECT w.id, w.slots FROM workers w
         WHERE w.ended_at IS NULL AND p_queue = ANY (w.queues)
           AND w.beat_at > plans_now() - make_interval(secs => p_lease)
    ), taking AS (
        SELECT s.execution_id, s.name, s.worker_id, s.claimed_at
          FROM execution_steps s
         WHERE s.status = 'running' AND s.worker_id IN (SELECT id FROM serving)
    )
    SELECT jsonb_build_object(
        'slots', (SELECT sum(slots) FROM serving),
        'longest', (
            SELECT jsonb_build_object(
                       'execution', t.execution_id, 'step', t.name,
                       'seconds', extract(epoch FROM plans_now() - t.claimed_at))
              FROM taking t
             WHERE NOT EXISTS (
                SELECT FROM serving w
                 WHERE w.slots > (SELECT count(*) FROM taking u WHERE u.worker_id = w.id))
             ORDER BY t.claimed_at LIMIT 1))
$$;


-- For a ready step: which living workers serve its queue, which of them could run it, how
-- many slots they have and what runs longest if none is free, and how many messages come
-- before its own (a thousand at most are counted).
CREATE FUNCTION describe_service(s execution_steps, p_lease float) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN s.status <> 'ready' THEN '{}' ELSE jsonb_build_object(
        -- one that drains serves nothing any more
        'living', count(w.id) FILTER (WHERE w.queues <> '{}'),
        'serving', count(w.id) FILTER (WHERE s.queue = ANY (w.queues)),
        'able', count(w.id) FILTER (
            WHERE s.queue = ANY (w.queues) AND s.action = ANY (w.actions)),
        'ahead', (
            SELECT count(*) FROM (
                SELECT FROM execution_steps t
                 WHERE t.queue = s.queue AND t.status = 'ready'
                   AND t.published_at < s.published_at AND t.priority >= s.priority
                 LIMIT 1000) AS earlier)) || describe_slots(s.queue, p_lease) END
      FROM (SELECT 1) AS one
      LEFT JOIN workers w ON w.ended_at IS NULL
                         AND w.beat_at > plans_now() - make_interval(secs => p_lease)
$$;


-- What people, or failures, have paused that a step would start under.
CREATE FUNCTION holds_over(e executions, s execution_steps) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object(
               'kind', h.kind, 'name', h.name, 'by', h.by, 'reason', h.reason,
               -- how it is tried again, if it is
               'trial', d.state, 'tried_at', d.look_at)
               ORDER BY h.created_at, h.kind, h.name), '[]')
      FROM hold_names(e, s."position", s.queue, s.section) AS n
      JOIN holds h ON h.kind = n.kind AND h.name = n.name
      LEFT JOIN dependencies d ON h.kind = 'dependency' AND d.name = h.name
$$;


-- A step that does not run, and all that it may wait for.
CREATE FUNCTION describe_still(e executions, s execution_steps, p_lease float)
RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'name', s.name, 'action', s.action, 'queue', s.queue, 'status', s.status,
        'reason', s.reason, 'attempt', s.attempt, 'failures', s.failures,
        'losses', s.losses, 'max_attempts', p.max_attempts, 'max_lost', p.max_lost,
        -- of a step that waits for its next attempt the row has none
        'error', coalesce(s.error, (
            SELECT a.error FROM step_attempts a
             WHERE a.execution_id = e.id AND a."position" = s."position"
             ORDER BY a.attempt DESC LIMIT 1)),
        'wake_at', s.wake_at, 'is_sent', s.published_at IS NOT NULL,
        'needs', unsettled_needs(s),
        'waits_for', s.waits_for, 'holds', holds_over(e, s),
        'items', s.item_count, 'iterations', s.iterations,
        'items_left', CASE WHEN s.item_count > 0 THEN s.pending_deps END,
        'item_of', (SELECT o.name FROM execution_steps o
                     WHERE o.execution_id = e.id AND o."position" = s.item_of),
        'max_parallel', CASE WHEN s.item_of IS NOT NULL THEN p.max_parallel END,
        'fallback', (SELECT o.name FROM execution_steps o
                      WHERE o.execution_id = e.id AND o."position" = s.fallback),
        'stands_in_for', (SELECT o.name FROM execution_steps o
                           WHERE o.execution_id = e.id AND o."position" = s.stands_in_for),
        'child', s.child_id,
        'child_status', (SELECT x.status FROM executions x WHERE x.id = s.child_id))
        || describe_service(s, p_lease)
      FROM plan_steps p
     WHERE p.plan_id = e.plan_id AND p."position" = coalesce(s.item_of, s."position")
$$;
