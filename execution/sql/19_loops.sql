-- Loops: a step for each iteration, one after the other. They are items of which there is
-- never more than one under way: `first_item` is the last that has begun.

-- Let a running step wait for its next iteration, number p_index, counted from 0. It is
-- placed after all other steps, and begins at once or, where the plan says so, a while
-- later. Its inputs may name what the iteration before it came to.
--
-- With p_next_token, the worker rides on to it: it is claimed in the same transaction, for
-- the message of p_epoch that the worker has in hand. `next` is what a claim would have
-- answered, or NULL.
--
-- outcome:
--   begun      it is there; the step is not held any more
--   repeated   this very call had landed before: the same answer again
--   refused    the execution is ending: nothing begins
--   stale      the token no longer holds the step
CREATE FUNCTION repeat_step(
    p_execution uuid, p_position int, p_token uuid, p_index int, p_epoch int,
    p_next_token uuid DEFAULT NULL, p_worker uuid DEFAULT NULL,
    p_delivery text DEFAULT NULL,
    OUT outcome text, OUT status text, OUT epoch int, OUT last_seq bigint,
    OUT windows jsonb, OUT next jsonb, OUT variables jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    s execution_steps;
    begun record;
    started started_step;
BEGIN
    PERFORM begin_write();
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = p_execution AND t."position" = p_position;
    windows := '[]';
    outcome := CASE
        WHEN s.iterations > p_index THEN 'repeated'
        WHEN s.lease_token IS DISTINCT FROM p_token OR s.status <> 'running' THEN 'stale'
        WHEN e.status NOT IN ('running', 'paused') THEN 'refused'
        ELSE 'begun' END;
    IF outcome = 'begun' THEN
        SELECT * INTO begun FROM add_iteration(
            e, s, p_index, CASE WHEN e.epoch = p_epoch THEN p_next_token END, p_worker,
            p_delivery);
        e := begun.now; started := begun.started; windows := begun.windows;
    ELSIF outcome = 'repeated' THEN
        started := find_started(e, (
            SELECT t."position" FROM execution_steps t
             WHERE t.execution_id = p_execution AND t."position" = s.first_item
               AND t.status = 'running' AND t.lease_token = p_next_token));
        -- nobody knows whether it was sent
        windows := republish_items(s);
    END IF;
    status := e.status; epoch := e.epoch; last_seq := e.next_seq - 1;
    IF started."position" IS NOT NULL THEN
        next := describe_claim(p_execution, started);
        variables := e.variables;
    END IF;
END $$;


-- Add an iteration of a loop, and let the loop wait for it; with p_next_token, begin it
-- for that worker, if it can. What was lost before it counts no more: the loop has come
-- further since. Returns the execution as it is now, and what is sent.
CREATE FUNCTION add_iteration(
    e executions, s execution_steps, p_index int, p_next_token uuid, p_worker uuid,
    p_delivery text,
    OUT now executions, OUT started started_step, OUT windows jsonb
)
LANGUAGE plpgsql AS $$
DECLARE
    at int := first_free(e);
    pause interval := loop_pause(e, s, p_index);
    drafts event_draft[];
    last jsonb;
BEGIN
    SELECT i.result INTO last FROM execution_steps i
     WHERE i.execution_id = e.id AND i."position" = s.first_item;
    INSERT INTO execution_steps (execution_id, "position", name, action, queue, priority,
        needs, successors, item_of, item, pending_deps, status, ready_at, wake_at, deadline)
    VALUES (e.id, at, format('%s[%s]', s.name, p_index), s.action, s.queue, s.priority,
        '{}', ARRAY[s."position"], s."position",
        jsonb_build_object('last', last, 'index', p_index), 0,
        CASE WHEN pause IS NULL THEN 'ready' ELSE 'waiting' END,
        CASE WHEN pause IS NULL THEN plans_now() END, plans_now() + pause, s.deadline);
    UPDATE execution_steps t
       SET status = 'waiting', first_item = at, item_count = 1, iterations = p_index + 1,
           pending_deps = 1, losses = 0, lease_token = NULL, worker_id = NULL,
           delivery = NULL, claimed_at = NULL, attempt_deadline = NULL, published_at = NULL
     WHERE t.execution_id = e.id AND t."position" = s."position";
    drafts := ARRAY[
        ROW('step.waiting', s."position", jsonb_build_object(
            'attempt', s.attempt, 'iteration', p_index))::event_draft,
        ROW('step.added', at, '{}')::event_draft,
        CASE WHEN pause IS NULL THEN ROW('step.ready', at, '{}')::event_draft
             ELSE ROW('step.waiting', at, jsonb_build_object(
                 'iteration', p_index, 'until', plans_now() + pause))::event_draft END];
    windows := '[]';
    IF e.status = 'running' AND pause IS NULL THEN
        IF p_next_token IS NOT NULL THEN
            started := start_step(e, at, p_next_token, p_worker, p_delivery, true);
        END IF;
        IF started."position" IS NULL THEN
            windows := publish_steps(e.id, ARRAY[at]);
        ELSE
            drafts := drafts || tell_start(started, p_worker);
        END IF;
    END IF;
    e.open_steps := e.open_steps + 1;
    e.total_steps := e.total_steps + 1;
    now := write_execution(e, drafts);
END $$;


-- How long the iteration p_index of a loop waits before it begins; NULL if not at all.
CREATE FUNCTION loop_pause(e executions, s execution_steps, p_index int) RETURNS interval
LANGUAGE sql VOLATILE AS $$
    SELECT make_interval(secs => (p.repeat ->> 'wait_seconds')::float)
      FROM plan_steps p
     WHERE p.plan_id = e.plan_id AND p."position" = s."position" AND p_index > 0
$$;


-- A loop as who has claimed it is told of it: what the plan says, how many iterations it
-- has begun, and how the last of them ended.
CREATE FUNCTION describe_loop(p_execution uuid, p_position int, p_repeat jsonb)
RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT p_repeat || jsonb_build_object(
               'begun', coalesce(s.iterations, 0), 'status', i.status,
               'result', i.result, 'error', i.error)
      FROM execution_steps s
      LEFT JOIN execution_steps i ON i.execution_id = s.execution_id
                                 AND i."position" = s.first_item
     WHERE s.execution_id = p_execution AND s."position" = p_position
$$;
