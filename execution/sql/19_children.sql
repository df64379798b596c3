-- Steps that run a plan: how an execution begins another one. How word travels between
-- them afterwards is in 19_relays. No transaction locks two executions.

-- How deep executions may lie within each other: a plan that names itself ends here.
CREATE FUNCTION most_depth() RETURNS int
LANGUAGE sql IMMUTABLE AS $$ SELECT 16 $$;


-- The plan that was published as NAME or NAME@VERSION, for a step that names it.
CREATE FUNCTION find_subplan(p_name text, OUT plan_id uuid, OUT declarations jsonb)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT p.id, coalesce(p.definition -> 'parameters', '{}') FROM published_plan(p_name) p
$$;


-- Begin an execution of a plan for the running step that asked for it, which waits for its
-- end. Both in one transaction: nobody else can know of the child before the commit, so it
-- needs no lock. A child of a paused execution begins as paused.
--
-- outcome:
--   begun      it is there; the step is not held any more
--   repeated   this very call had landed before: the same answer again
--   refused    the execution is ending: nothing begins
--   refused_key  its plan has a concurrency that does not let it begin, as `detail` says
--   postponed  one before it, which a restore has left behind, still has its key: the step
--              waits a second, and is not held any more
--   too_deep   its execution lies as deep as any may: nothing was changed
--   stale      the token no longer holds the step
--
-- Nothing begins but what the step names.
--
-- `windows` are to be sent for the parent, `child_windows` for the child, as in a submit.
CREATE FUNCTION begin_child(
    p_execution uuid, p_position int, p_token uuid, p_plan uuid, p_child uuid,
    p_parameters jsonb, p_input jsonb,
    OUT outcome text, OUT detail text, OUT epoch int, OUT last_seq bigint,
    OUT windows jsonb, OUT child_last_seq bigint, OUT child_windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    outline plan_outline := read_outline(p_plan);
    key text;
    e executions;
    s execution_steps;
BEGIN
    PERFORM begin_write();
    windows := '[]'; child_windows := '[]';
    -- before the execution: who admits has the lock of the key when it locks one
    SELECT r.key, r.detail INTO key, detail
      FROM find_child_key(outline, p_execution, p_child, p_parameters) AS r;
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = p_execution AND t."position" = p_position;
    outcome := CASE
        WHEN EXISTS (SELECT FROM executions x WHERE x.id = p_child) THEN 'repeated'
        WHEN s.lease_token IS DISTINCT FROM p_token OR s.status <> 'running' THEN 'stale'
        WHEN e.status NOT IN ('running', 'paused') THEN 'refused'
        WHEN detail IS NOT NULL AND has_stray(p_execution, key) THEN 'postponed'
        WHEN detail IS NOT NULL THEN 'refused_key'
        WHEN e.depth >= most_depth() THEN 'too_deep'
        ELSE 'begun' END;
    IF outcome = 'begun' AND NOT names_plan(
           e.plan_id, coalesce(s.item_of, p_position), p_plan) THEN
        RAISE EXCEPTION 'step % does not run this plan', s.name
            USING ERRCODE = 'insufficient_privilege';
    ELSIF outcome = 'begun' THEN
        UPDATE execution_steps t
           SET status = 'waiting', child_id = p_child, child_epoch = NULL, input = p_input,
               lease_token = NULL, worker_id = NULL, delivery = NULL, claimed_at = NULL,
               attempt_deadline = NULL, published_at = NULL
         WHERE t.execution_id = p_execution AND t."position" = p_position;
        e := write_execution(e, ARRAY[ROW('step.waiting', p_position, jsonb_build_object(
            'attempt', s.attempt, 'child', p_child))::event_draft]);
        child_last_seq := insert_child(e, s, outline, p_child, p_parameters, key);
    ELSIF outcome = 'postponed' THEN
        e.next_seq := park_step(p_execution, p_position, 1, NULL) + 1;
        IF e.status = 'running' THEN
            windows := publish_next(p_execution, s.queue);
        END IF;
    END IF;
    IF outcome IN ('begun', 'repeated') AND e.status = 'running' THEN
        windows := publish_next(p_execution, s.queue);
        child_windows := open_child(p_child, outcome = 'repeated');
    END IF;
    epoch := e.epoch; last_seq := e.next_seq - 1;
END $$;


-- Whether a step of a plan runs p_plan: one that was published under the name that it
-- states, and as the version, if it states one.
CREATE FUNCTION names_plan(p_of uuid, p_position int, p_plan uuid) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (
        SELECT FROM plan_steps t JOIN plans p ON p.id = p_plan
         WHERE t.plan_id = p_of AND t."position" = p_position
           AND p.published_at IS NOT NULL
           AND t.subplan IN (p.name, p.name || '@' || p.version))
$$;


-- The key of a child whose plan has a concurrency; or why it cannot begin. What it lies
-- within keeps its key until the child has ended: neither can wait for the other's end.
CREATE FUNCTION find_child_key(
    p_outline plan_outline, p_parent uuid, p_child uuid, p_parameters jsonb,
    OUT key text, OUT detail text
)
LANGUAGE plpgsql AS $$
DECLARE
    holders text[] := '{}';
BEGIN
    IF p_outline.on_conflict IS NULL THEN
        RETURN;
    END IF;
    SELECT r.key, r.fault INTO key, detail
      FROM render_key(p_outline.name, p_outline.key_parts, p_parameters) AS r;
    IF key IS NULL THEN
        RETURN;
    END IF;
    holders := find_enclosing(p_parent, key);
    IF cardinality(holders) >= p_outline.key_limit THEN
        detail := format('the key of plan %s belongs to execution %s, within which it would'
                         ' run', p_outline.name, array_to_string(holders[:5], ', '));
        RETURN;
    END IF;
    holders := '{}';
    IF p_outline.on_conflict = 'reject' THEN
        holders := find_holders(key, p_child, p_outline.key_limit);
    END IF;
    IF holders <> '{}' THEN
        detail := describe_refusal(p_outline.name, holders);
    END IF;
END $$;


-- Those that have a key, of an execution and all that it lies within.
CREATE FUNCTION find_enclosing(p_execution uuid, p_key text) RETURNS text[]
LANGUAGE sql VOLATILE AS $$
    WITH RECURSIVE around AS (
        SELECT id, parent_id, concurrency_key FROM executions WHERE id = p_execution
        UNION ALL
        SELECT e.id, e.parent_id, e.concurrency_key
          FROM around a JOIN executions e ON e.id = a.parent_id
    )
    SELECT coalesce(array_agg(id::text), '{}') FROM around WHERE concurrency_key = p_key
$$;


-- Whether a child has a key that no step of its parent waits for any more.
CREATE FUNCTION has_stray(p_execution uuid, p_key text) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (
        SELECT FROM executions c
         WHERE c.parent_id = p_execution AND c.concurrency_key = p_key
           AND c.ended_at IS NULL AND NOT EXISTS (
            SELECT FROM execution_steps s
             WHERE s.execution_id = p_execution AND s."position" = c.parent_position
               AND s.child_id = c.id))
$$;


-- Insert the child of a step. Returns the number of its last event.
CREATE FUNCTION insert_child(
    e executions, s execution_steps, p_outline plan_outline, p_child uuid,
    p_parameters jsonb, p_key text
) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    -- that of the step counts the execution's already; no depth lifts it beyond the highest
    priority int := least(9, s.priority);
    p plans;
    tags text[];
    c executions;
BEGIN
    SELECT * INTO p FROM plans WHERE id = p_outline.id;
    tags := ARRAY(SELECT jsonb_array_elements_text(
                      coalesce(p.definition -> 'tags', '[]')));
    -- a plan that runs itself has its own ones already
    tags := tags || ARRAY(SELECT t FROM unnest(e.tags) AS t WHERE t <> ALL (tags));
    PERFORM insert_executions(
        ARRAY[p_child], ARRAY[p_parameters],
        ARRAY[body_digest(p_outline.digest, p_parameters, priority, tags)],
        ARRAY[p_key], p_outline, priority, tags, coalesce(p.default_queue, e.queue),
        '{}');
    IF p_outline.holds THEN
        -- to give it its key takes the lock of that, and a transaction of its own
        PERFORM tell_reconcilers();
    END IF;
    UPDATE executions x
       SET parent_id = e.id, parent_position = s."position", depth = e.depth + 1,
           deadline = child_deadline(x.deadline, e, s)
     WHERE x.id = p_child
    RETURNING * INTO c;
    IF e.status = 'paused' THEN
        RETURN stop_execution(c, NULL, 'paused with its parent', true);
    END IF;
    RETURN c.next_seq - 1;
END $$;


-- Mark the first steps of a child as sent and return their windows. If that was done
-- before (p_again), they are those that nobody has claimed since.
CREATE FUNCTION open_child(p_child uuid, p_again bool) RETURNS jsonb
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT p_again THEN
        RETURN publish_ready(p_child);
    END IF;
    RETURN coalesce((
        SELECT jsonb_agg(chain_window(p_child, "position") ORDER BY "position")
          FROM unnest(first_sent(p_child)) AS sent("position")), '[]');
END $$;


-- By when a child must have ended: when its own plan says so (p_own), or when its parent or
-- the step that waits for it has to. The clock of the step stands still in a pause.
CREATE FUNCTION child_deadline(p_own timestamptz, e executions, s execution_steps)
RETURNS timestamptz
LANGUAGE sql IMMUTABLE AS $$
    SELECT least(p_own, e.deadline, CASE WHEN e.status <> 'paused' THEN s.deadline END)
$$;


-- The same of a child whose parent was paused or resumed.
CREATE FUNCTION renew_child_deadline(c executions) RETURNS timestamptz
LANGUAGE sql VOLATILE AS $$
    SELECT child_deadline(
               coalesce(c.retried_at, c.created_at)
               + make_interval(secs => p.deadline_seconds), e, s)
      FROM plans p, executions e, execution_steps s
     WHERE p.id = c.plan_id AND e.id = c.parent_id
       AND s.execution_id = c.parent_id AND s."position" = c.parent_position
$$;
