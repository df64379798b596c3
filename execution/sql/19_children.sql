-- Steps that run a plan: how an execution begins another one, and how word travels
-- between them. What happens to the parent reaches its children by a relay, a row that is
-- written in the same transaction and stays until every child has heard; so does the end
-- of a child, which its parent waits for. No transaction locks two executions.

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
-- `windows` are to be sent for the parent, `sent` are the child's own, as in a submit.
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
    IF outcome = 'begun' THEN
        UPDATE execution_steps t
           SET status = 'waiting', child_id = p_child, input = p_input,
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
               c.created_at + make_interval(secs => p.deadline_seconds), e, s)
      FROM plans p, executions e, execution_steps s
     WHERE p.id = c.plan_id AND e.id = c.parent_id
       AND s.execution_id = c.parent_id AND s."position" = c.parent_position
$$;


-- Leave word for the children of an execution, if it has any that run. The caller holds
-- its lock, and moves it.
CREATE FUNCTION relay_down(p_execution uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM execution_steps
                WHERE execution_id = p_execution AND child_id IS NOT NULL) THEN
        PERFORM leave_relay(p_execution);
        PERFORM tell_reconcilers();
    END IF;
END $$;


-- Leave word of an execution. The number, that of the transaction, tells a later word from
-- an earlier one, even if that was forgotten meanwhile.
CREATE FUNCTION leave_relay(p_execution uuid) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO relays (execution_id, number)
    VALUES (p_execution, pg_current_xact_id()::text::bigint)
    ON CONFLICT (execution_id) DO UPDATE SET number = excluded.number
$$;


-- Executions of which word is left.
CREATE FUNCTION relaying_executions(p_most int) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT execution_id FROM relays ORDER BY execution_id LIMIT p_most
$$;


-- What word is left of an execution: its `number`, and the children that do not stand as
-- they should. `act` is what to do to each: pause, resume, cancel, expire, or renew its
-- deadline.
CREATE FUNCTION read_relay(
    p_execution uuid, OUT number bigint, OUT has_ended bool, OUT children jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    -- who moves a child at this moment may have read where its parent stood before
    PERFORM pg_advisory_xact_lock(moves_within(p_execution));
    SELECT r.number INTO number FROM relays r WHERE r.execution_id = p_execution;
    -- statements of their own: what they see is no older than the word
    SELECT e.ended_at IS NOT NULL INTO has_ended FROM executions e WHERE e.id = p_execution;
    SELECT jsonb_agg(jsonb_build_array(w.id, w.act)) INTO children
      FROM (SELECT c.id, wanted_act(e, c) AS act
              FROM executions e
              JOIN executions c ON c.parent_id = e.id
                               AND c.status IN ('pending', 'running', 'paused')
             WHERE e.id = p_execution) AS w
     WHERE w.act IS NOT NULL;
END $$;


-- The lock of those who move the children of an execution: they share it.
CREATE FUNCTION moves_within(p_execution uuid) RETURNS bigint
LANGUAGE sql IMMUTABLE AS $$
    SELECT hashtextextended(format('celery-plans moves %s', p_execution), 0)
$$;


-- What is to be done to a child because of where its parent stands; NULL for nothing.
CREATE FUNCTION wanted_act(e executions, c executions) RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT CASE
        WHEN NOT EXISTS (SELECT FROM execution_steps s
                          WHERE s.execution_id = e.id AND s."position" = c.parent_position
                            AND s.child_id = c.id) THEN 'cancel'
        WHEN e.reason = 'deadline' THEN 'expire'
        WHEN e.reason = 'cancel' OR e.reason = 'abort' AND EXISTS (
                SELECT FROM plans p WHERE p.id = e.plan_id AND p.cancels_running)
        THEN 'cancel'
        -- nothing may start in it, and its parent would wait for it
        WHEN e.status = 'ending' AND c.status = 'paused' THEN 'cancel'
        WHEN e.status = 'paused' AND c.status IN ('pending', 'running') THEN 'pause'
        WHEN e.status = 'running' AND c.status = 'paused' AND c.paused_with_parent
        THEN 'resume'
        -- it was paused by itself, but the clock of the step stands still, or goes on
        WHEN c.status = 'paused' AND c.deadline IS DISTINCT FROM renew_child_deadline(c)
        THEN 'renew' END
$$;


-- Let a child follow its parent, if it still has to. It is read again under the child's
-- lock; the parent may move meanwhile, and then leaves word again.
CREATE FUNCTION move_child(
    p_child uuid,
    OUT act text, OUT status text, OUT last_seq bigint, OUT epoch int,
    OUT open_steps int, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    c executions;
    reason text;
BEGIN
    PERFORM begin_write();
    windows := '[]';
    PERFORM pg_advisory_xact_lock_shared(moves_within(x.parent_id))
       FROM executions x WHERE x.id = p_child;
    SELECT * INTO c FROM executions WHERE id = p_child FOR NO KEY UPDATE;
    IF c.status IN ('pending', 'running', 'paused') THEN
        SELECT wanted_act(e, c) INTO act FROM executions e WHERE e.id = c.parent_id;
    END IF;
    reason := format('%s with its parent', CASE act WHEN 'pause' THEN 'paused'
                     WHEN 'resume' THEN 'resumed' ELSE 'ended' END);
    CASE act
        WHEN 'pause' THEN
            PERFORM stop_execution(c, NULL, reason, true);
        WHEN 'resume' THEN
            windows := continue_execution(c, NULL, reason);
        WHEN 'cancel' THEN
            PERFORM begin_ending(p_child, 'cancel', NULL, reason);
        WHEN 'expire' THEN
            PERFORM begin_ending(p_child, 'deadline', NULL, reason);
        WHEN 'renew' THEN
            UPDATE executions x SET deadline = renew_child_deadline(c) WHERE x.id = c.id;
        ELSE
            NULL;
    END CASE;
    SELECT x.status, x.next_seq - 1, x.epoch, x.open_steps
      INTO status, last_seq, epoch, open_steps FROM executions x WHERE x.id = p_child;
END $$;


-- Forget the word of an execution, unless more of it has come since it was read.
CREATE FUNCTION forget_relay(p_execution uuid, p_number bigint) RETURNS bool
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    DELETE FROM relays r WHERE r.execution_id = p_execution AND r.number = p_number;
    RETURN FOUND;
END $$;


-- Tell the parent of an execution that has ended how: the step that waits for it ends
-- likewise, and what follows from it follows. The word of the end is forgotten in the same
-- transaction, unless those that it waits for no more, after a restore, have to hear yet.
-- Who finds it locked leaves it to the one that brings it.
--
-- outcome: ended, or nothing (somebody else has told it, or nobody waits any more). The
-- rest is the parent's.
CREATE FUNCTION end_child(
    p_child uuid,
    OUT outcome text, OUT parent uuid, OUT epoch int, OUT open_steps int, OUT status text,
    OUT last_seq bigint, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    c executions;
    e executions;
    s execution_steps;
BEGIN
    PERFORM begin_write();
    outcome := 'nothing'; windows := '[]';
    PERFORM FROM relays r WHERE r.execution_id = p_child FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO c FROM executions WHERE id = p_child AND ended_at IS NOT NULL;
    SELECT * INTO e FROM executions WHERE id = c.parent_id FOR NO KEY UPDATE;
    SELECT * INTO s FROM execution_steps t
     WHERE t.execution_id = e.id AND t."position" = c.parent_position
       AND t.child_id = p_child;
    IF c.id IS NULL THEN
        RETURN;
    END IF;
    DELETE FROM relays r
     WHERE r.execution_id = p_child AND NOT EXISTS (
        SELECT FROM executions x
         WHERE x.parent_id = p_child AND x.status IN ('pending', 'running', 'paused'));
    IF s."position" IS NULL THEN
        RETURN;
    END IF;
    outcome := 'ended'; parent := e.id;
    UPDATE execution_steps t SET failures = t.failures + (c.status <> 'completed')::int
     WHERE t.execution_id = e.id AND t."position" = s."position";
    IF c.status = 'completed' THEN
        windows := succeed_parent(e, s, c);
    ELSE
        -- it does not run any more, but this is the end of an attempt all the same
        PERFORM archive_attempt(s, parent_status(e, c), child_error(s, c));
        windows := settle_step(e.id, s."position", parent_status(e, c), NULL, NULL,
                               child_error(s, c), NULL);
    END IF;
    SELECT * INTO e FROM executions WHERE id = parent;
    status := e.status; epoch := e.epoch; open_steps := e.open_steps;
    last_seq := e.next_seq - 1;
END $$;


-- Complete a step whose child has completed. Returns the windows to send.
CREATE FUNCTION succeed_parent(e executions, s execution_steps, c executions)
RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    done record;
BEGIN
    done := succeed_step(e, s, c.result, NULL, '{}', NULL, NULL, NULL, NULL);
    RETURN done.windows;
END $$;


-- How a step ends whose child has not completed. One that was cancelled because its parent
-- ends is cancelled; if somebody cancelled only the child, the step has failed.
CREATE FUNCTION parent_status(e executions, c executions) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN c.status = 'timed_out' THEN 'timed_out'
                WHEN c.status = 'cancelled' AND e.status = 'ending' THEN 'cancelled'
                ELSE 'failed' END
$$;


CREATE FUNCTION child_error(s execution_steps, c executions) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_build_object(
        'code', CASE c.status WHEN 'timed_out' THEN 'E002' WHEN 'cancelled' THEN 'E004'
                ELSE coalesce(c.error ->> 'code', 'E003') END,
        'message', format('plan %s %s%s', p.name,
            CASE c.status WHEN 'timed_out' THEN 'timed out' WHEN 'cancelled'
                 THEN 'was cancelled' ELSE 'failed' END,
            ': ' || (c.error ->> 'message')),
        'step', s.name, 'timestamp', plans_now(), 'recoverable', true,
        'context', jsonb_build_object('child', c.id, 'plan', p.name))
      FROM plans p WHERE p.id = c.plan_id
$$;
