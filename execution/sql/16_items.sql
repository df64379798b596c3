-- A step for each item of a list: how they begin, and how they end together.

-- Let a running step wait for a step for each item of a list (p_items, a JSON array). They
-- are placed after all others; at most as many as the plan allows are ready at a time, and
-- each that ends lets another one begin.
--
-- outcome:
--   expanded   they are there; the step is not held any more
--   repeated   this very call had landed before: the same answer again
--   empty      there are none: the step is still held, and to be completed
--   refused    the execution is ending: nothing begins
--   stale      the token no longer holds the step
CREATE FUNCTION expand_step(
    p_execution uuid, p_position int, p_token uuid, p_attempt int, p_items jsonb,
    OUT outcome text, OUT status text, OUT epoch int, OUT open_steps int,
    OUT last_seq bigint, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
BEGIN
    PERFORM begin_write();
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = p_execution AND t."position" = p_position;
    windows := '[]';
    outcome := CASE
        WHEN s.item_count > 0 AND s.attempt = p_attempt THEN 'repeated'
        WHEN s.lease_token IS DISTINCT FROM p_token OR s.status <> 'running' THEN 'stale'
        WHEN e.status NOT IN ('running', 'paused') THEN 'refused'
        WHEN p_items = '[]' THEN 'empty'
        ELSE 'expanded' END;
    IF outcome = 'empty' THEN
        UPDATE execution_steps t SET first_item = p_position, item_count = 0
         WHERE t.execution_id = p_execution AND t."position" = p_position;
    ELSIF outcome = 'expanded' THEN
        e := add_items(e, s, p_items);
        IF e.status = 'running' THEN
            windows := publish_ready(p_execution);
        END IF;
    ELSIF outcome = 'repeated' THEN
        -- nobody knows whether they were sent
        windows := republish_items(s);
    END IF;
    status := e.status; epoch := e.epoch; open_steps := e.open_steps;
    last_seq := e.next_seq - 1;
END $$;


-- Add a step for each item, and let the one that they belong to wait for them. Returns the
-- execution as it is now.
CREATE FUNCTION add_items(e executions, s execution_steps, p_items jsonb)
RETURNS executions
LANGUAGE plpgsql AS $$
DECLARE
    first int := first_free(e);
    items int := jsonb_array_length(p_items);
    p plan_steps;
    at_once int;
BEGIN
    SELECT * INTO p FROM plan_steps t
     WHERE t.plan_id = e.plan_id AND t."position" = s."position";
    at_once := least(items, p.max_parallel);
    INSERT INTO execution_steps (execution_id, "position", name, action, queue, priority,
        needs, successors, item_of, item, pending_deps, status, ready_at, deadline)
    SELECT e.id, first + n - 1, format('%s[%s]', s.name, n - 1), s.action, s.queue,
           s.priority, '{}', ARRAY[s."position"], s."position",
           jsonb_build_object('item', value, 'index', n - 1),
           CASE WHEN n <= at_once THEN 0 ELSE 1 END,
           CASE WHEN n <= at_once THEN 'ready' ELSE 'pending' END,
           CASE WHEN n <= at_once THEN plans_now() END, s.deadline
      FROM jsonb_array_elements(p_items) WITH ORDINALITY AS given(value, n);
    UPDATE execution_steps t
       SET status = 'waiting', first_item = first, item_count = items,
           next_item = CASE WHEN at_once < items THEN first + at_once END,
           skips_left = coalesce(p.tolerate, floor(items * p.tolerate_percent / 100)::int),
           pending_deps = items, lease_token = NULL, worker_id = NULL, delivery = NULL,
           claimed_at = NULL, attempt_deadline = NULL, published_at = NULL
     WHERE t.execution_id = e.id AND t."position" = s."position";
    e.open_steps := e.open_steps + items;
    e.total_steps := e.total_steps + items;
    RETURN write_execution(e, ROW('step.waiting', s."position", jsonb_build_object(
            'attempt', s.attempt, 'items', items))::event_draft
        || ARRAY(SELECT ROW('step.added', first + n, '{}')::event_draft
                   FROM generate_series(0, items - 1) AS n)
        || ARRAY(SELECT ROW('step.ready', first + n, '{}')::event_draft
                   FROM generate_series(0, at_once - 1) AS n));
END $$;


-- The next item after p_item, before p_end, that has no place yet; NULL without one. It is
-- nearly always the very next: after a retry some between have ended already.
CREATE FUNCTION item_after(p_execution uuid, p_item int, p_end int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    at int := p_item + 1;
BEGIN
    WHILE at < p_end LOOP
        IF EXISTS (SELECT FROM execution_steps t
                    WHERE t.execution_id = p_execution AND t."position" = at
                      AND t.status = 'pending') THEN
            RETURN at;
        END IF;
        at := at + 1;
    END LOOP;
    RETURN NULL;
END $$;


-- The windows of a step's items that were sent and are not claimed yet.
CREATE FUNCTION republish_items(s execution_steps) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(jsonb_agg(chain_window(i.execution_id, i."position")
                              ORDER BY i."position"), '[]')
      FROM execution_steps i
      JOIN executions e ON e.id = i.execution_id AND e.status = 'running'
     WHERE i.execution_id = s.execution_id
       AND i."position" >= s.first_item AND i."position" < s.first_item + s.item_count
       AND i.status = 'ready' AND i.published_at IS NOT NULL
$$;


-- The first position that neither the plan nor the execution has taken.
CREATE FUNCTION first_free(e executions) RETURNS int
LANGUAGE sql VOLATILE AS $$
    SELECT 1 + greatest(
        (SELECT max("position") FROM plan_steps WHERE plan_id = e.plan_id),
        (SELECT max("position") FROM execution_steps WHERE execution_id = e.id))
$$;


-- Whether a step that waits for its items is beyond its deadline, which does not stand
-- still: it is about to expire.
CREATE FUNCTION is_expiring(s execution_steps) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT s.deadline <= plans_now() AND NOT has_parked_items(s)
       AND NOT EXISTS (SELECT FROM executions e
                        WHERE e.id = s.execution_id AND e.status = 'paused')
$$;


-- Count an item that has ended (p_status, with p_error) in the step that waits for it, and
-- let the next one begin; the last one completes that step. If the item aborts, or more
-- are skipped than the plan tolerates, that step fails: then `failure` is why.
--
-- `ends` is the number of steps that have ended besides the item. Nothing follows when the
-- step does not wait for items any more: they were disowned.
--
-- Nor does anything follow when the step is beyond its deadline, which the item that was
-- skipped may have been cut by.
--
-- A loop only becomes ready again, however its iteration has ended: who claims it decides
-- what follows.
CREATE FUNCTION end_item(
    s execution_steps, p_status text, p_error jsonb,
    OUT ends int, OUT ready int[], OUT drafts event_draft[], OUT failure jsonb
)
LANGUAGE plpgsql AS $$
DECLARE
    x execution_steps;
    follow record;
BEGIN
    ends := 0; ready := '{}'; drafts := '{}';
    SELECT * INTO x FROM execution_steps t
     WHERE t.execution_id = s.execution_id AND t."position" = s.item_of
       AND t.status = 'waiting' AND t.pending_deps > 0;
    IF NOT FOUND THEN
        RETURN;
    ELSIF x.iterations IS NOT NULL THEN
        UPDATE execution_steps t
           SET status = 'ready', pending_deps = 0, ready_at = plans_now()
         WHERE t.execution_id = x.execution_id AND t."position" = x."position";
        ready := ARRAY[x."position"];
        drafts := ARRAY[ROW('step.ready', x."position", '{}')::event_draft];
        RETURN;
    ELSIF p_status NOT IN ('completed', 'skipped') THEN
        failure := p_error;
    ELSIF p_status = 'skipped' AND x.skips_left = 0 THEN
        failure := jsonb_build_object(
            'code', 'E003', 'message', format(
                'more items of step %s failed than it tolerates; the last: %s', x.name,
                p_error ->> 'message'),
            'step', x.name, 'timestamp', plans_now(), 'recoverable', true,
            'context', jsonb_build_object('item', s.name));
    ELSIF p_status = 'skipped' AND is_expiring(x) THEN
        -- their deadline is one: the step expires as well, and must not complete before
        RETURN;
    END IF;
    UPDATE execution_steps t
       SET pending_deps = t.pending_deps - 1,
           skips_left = t.skips_left - (p_status = 'skipped' AND t.skips_left > 0)::int,
           next_item = CASE WHEN t.next_item IS NOT NULL THEN item_after(
               t.execution_id, t.next_item, t.first_item + t.item_count) END,
           status = CASE WHEN failure IS NOT NULL THEN 'failed'
                    WHEN t.pending_deps = 1 THEN 'completed' ELSE t.status END,
           error = failure,
           ended_at = CASE WHEN failure IS NOT NULL OR t.pending_deps = 1
                      THEN plans_now() END
     WHERE t.execution_id = x.execution_id AND t."position" = x."position";
    IF failure IS NOT NULL THEN
        ends := 1;
        drafts := ARRAY[ROW('step.failed', x."position", jsonb_build_object(
            'attempt', x.attempt, 'error', failure))::event_draft];
    ELSIF x.pending_deps = 1 THEN
        ends := 1;
        SELECT * INTO follow FROM release_after_success(x.execution_id, x.successors);
        ready := follow.ready;
        drafts := ROW('step.completed', x."position", jsonb_build_object(
            'attempt', x.attempt))::event_draft || follow.drafts;
    ELSIF x.next_item IS NOT NULL THEN
        UPDATE execution_steps t
           SET status = 'ready', pending_deps = 0, ready_at = plans_now()
         WHERE t.execution_id = x.execution_id AND t."position" = x.next_item;
        ready := ARRAY[x.next_item];
        drafts := ARRAY[ROW('step.ready', x.next_item, '{}')::event_draft];
    END IF;
END $$;
