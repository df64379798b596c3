-- The way in: an execution of a plan, or many at once, begin.

-- What a key stands for: two submits are the same if these are.
CREATE FUNCTION body_digest(
    p_plan text, p_parameters jsonb, p_priority int, p_tags text[],
    p_at timestamptz DEFAULT NULL
) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT encode(sha256(convert_to((jsonb_build_array(
        p_plan, p_parameters, p_priority,
        ARRAY(SELECT t FROM unnest(p_tags) t ORDER BY t COLLATE "C"))
        -- a number, for how a moment is written depends on the session
        || CASE WHEN p_at IS NULL THEN '[]' ELSE jsonb_build_array(
               extract(epoch FROM p_at)) END)::text, 'UTF8')), 'hex')
$$;


-- Of the roots of a plan, those that are worth sending at once: of each queue as many as
-- its limit allows. The others are sent as these end.
CREATE FUNCTION choose_roots(p_outline plan_outline, p_queue text) RETURNS int[]
LANGUAGE plpgsql AS $$
BEGIN
    IF cardinality(p_outline.roots) <= least_messages() THEN
        RETURN p_outline.roots;
    END IF;
    RETURN ARRAY(
        WITH ranked AS (
            SELECT "position", queue, row_number() OVER (
                       PARTITION BY queue ORDER BY priority DESC, "position") AS rank
              FROM (SELECT s."position", s.priority, coalesce(
                        s.queue, p_outline.queues ->> s.action, p_queue) AS queue
                      FROM plan_steps s
                     WHERE s.plan_id = p_outline.id AND s.section = 'steps'
                       AND cardinality(s.needs) = 0) r
        ), limits AS MATERIALIZED (
            SELECT queue, publish_limit(queue) AS most
              FROM (SELECT DISTINCT queue FROM ranked) q
        )
        SELECT "position" FROM ranked JOIN limits USING (queue)
         WHERE rank <= most ORDER BY queue, rank);
END $$;


-- Insert executions of one plan with their steps, first events and history;
-- p_parameters, p_digests and p_keys (of a plan with concurrency) go with p_executions,
-- in order. The steps at p_sent are marked as sent. Executions that exist are left as they are; returns the others.
--
-- New rows need no lock: nobody else can know of them before the commit. The number of
-- the next event is known beforehand, so that no row is written twice.
--
-- The queue of a step is the one that it states, or that its action has, or p_queue.
CREATE FUNCTION insert_executions(
    p_executions uuid[], p_parameters jsonb[], p_digests text[], p_keys text[],
    p_outline plan_outline, p_priority int, p_tags text[], p_queue text, p_sent int[]
) RETURNS uuid[]
LANGUAGE plpgsql AS $$
DECLARE
    begun uuid[];
    now timestamptz := plans_now();
    -- the needs of a step that is ready at once; none is where an admission has to come
    least int := CASE WHEN p_outline.holds THEN -1 ELSE 0 END;
BEGIN
    WITH new AS (
        INSERT INTO executions (id, plan_id, status, next_seq, open_steps, total_steps,
                                priority, tags, digest, parameters, queue, created_at,
                                deadline, concurrency_key, admitted_at, starts_at,
                                is_delayed)
        SELECT n.id, p_outline.id, 'pending', last_first_seq(p_outline) + 1,
               p_outline.total_steps, p_outline.total_steps, p_priority, p_tags, n.digest,
               n.parameters, p_queue, now,
               coalesce(p_outline.starts_at, now)
                   + make_interval(secs => p_outline.deadline_seconds), n.key,
               CASE WHEN n.key IS NOT NULL AND NOT p_outline.holds THEN now END,
               p_outline.starts_at, p_outline.starts_at IS NOT NULL
          FROM unnest(p_executions, p_parameters, p_digests, p_keys)
               AS n(id, parameters, digest, key)
        ON CONFLICT (id) DO NOTHING
        RETURNING id
    )
    SELECT array_agg(id) INTO begun FROM new;
    IF begun IS NULL THEN
        RETURN '{}';
    END IF;
    INSERT INTO execution_steps (execution_id, "position", name, action, queue,
        priority, needs, successors, fallback, stands_in_for, pending_deps,
        deadline_seconds, status, ready_at, deadline, published_at, publishes)
    SELECT b.id, s."position", s.name, s.action,
           coalesce(s.queue, p_outline.queues ->> s.action, p_queue),
           p_priority + s.priority, s.needs, s.successors, s.fallback, s.stands_in_for,
           -- one more than there are: nothing but the admission counts it down
           greatest(cardinality(s.needs), p_outline.holds::int), s.deadline_seconds,
           CASE WHEN cardinality(s.needs) = least THEN 'ready' ELSE 'pending' END,
           CASE WHEN cardinality(s.needs) = least THEN now END,
           CASE WHEN cardinality(s.needs) = least
                THEN now + make_interval(secs => s.deadline_seconds) END,
           CASE WHEN s."position" = ANY (p_sent) THEN now END,
           CASE WHEN s."position" = ANY (p_sent) THEN 1 ELSE 0 END
      FROM unnest(begun) AS b(id) CROSS JOIN plan_steps s
     WHERE s.plan_id = p_outline.id AND s.section = 'steps';
    INSERT INTO execution_events (execution_id, seq, type, "position", data, at)
    SELECT b.id, e.seq, e.type, e."position", e.data, now
      FROM unnest(begun) AS b(id) CROSS JOIN (
          SELECT 1, 'execution.state_changed', NULL, '{"from": null, "to": "pending"}'::jsonb
          UNION ALL
          SELECT root.n + 1, 'step.ready', root."position", '{}'
            FROM unnest(p_outline.roots) WITH ORDINALITY AS root("position", n)
      ) AS e(seq, type, "position", data);
    INSERT INTO execution_states (execution_id, seq, to_status, reason, at)
    SELECT b.id, 1, 'pending', 'submitted', now FROM unnest(begun) AS b(id);
    IF p_outline.starts_at IS NOT NULL THEN
        PERFORM tell_delayed(begun);
    ELSIF p_outline.holds THEN
        PERFORM tell_held(begun);
    END IF;
    RETURN begun;
END $$;


-- The number of the last event that a submit writes.
CREATE FUNCTION last_first_seq(p_outline plan_outline) RETURNS int
LANGUAGE sql IMMUTABLE AS $$
    SELECT 1 + cardinality(p_outline.roots) + p_outline.holds::int
$$;


-- Begin an execution: its key, its row, its steps and their first events, at once.
--
-- Unless p_sends, nothing is marked as sent, and the reconcilers are told as soon as
-- the caller's transaction commits: nobody can send from inside it.
--
-- outcome: created; existing (the same key or id with the same body: the id that was
-- given first); conflict (the same key or id with another body); faulty (its concurrency
-- has no key, as `detail` says); refused (`holders` have its key, and its plan rejects);
-- unplanned (there is no such plan: the database is an older one than the caller knew).
--
-- With a p_at that is to come it begins only then, and has no key before.
--
-- `held_key` is the key that the execution waits for: admit_next is to be called then.
--
-- `sent` are the positions that the caller has to send. A call that is made again answers
-- them again: nobody knows whether the one before it got to send. `queues` says where, as
-- in the outline.
CREATE FUNCTION submit_execution(
    p_execution uuid, p_plan uuid, p_parameters jsonb, p_key text,
    p_priority int, p_tags text[], p_queue text, p_sends bool,
    p_at timestamptz DEFAULT NULL,
    OUT outcome text, OUT execution_id uuid, OUT last_seq bigint, OUT sent int[],
    OUT queues jsonb, OUT detail text, OUT holders text[], OUT held_key text
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    outline plan_outline := read_outline(p_plan, p_at);
    body text := body_digest(outline.digest, p_parameters, p_priority, p_tags, p_at);
    earlier record;
    concurrency_key text;
BEGIN
    PERFORM begin_write();
    IF outline.id IS NULL THEN
        outcome := 'unplanned';
        RETURN;
    END IF;
    sent := '{}';
    queues := outline.queues;
    execution_id := p_execution;
    IF outline.on_conflict IS NOT NULL THEN
        SELECT r.key, r.fault INTO concurrency_key, detail
          FROM render_key(outline.name, outline.key_parts, p_parameters) AS r;
        IF detail IS NOT NULL THEN
            outcome := 'faulty';
            RETURN;
        ELSIF outline.starts_at IS NOT NULL THEN
            -- what is wrong with it is told now; whose it is, when the time has come
            concurrency_key := NULL;
        ELSIF outline.holds THEN
            held_key := concurrency_key;
        END IF;
    END IF;
    IF p_key IS NOT NULL THEN
        INSERT INTO submissions (key, execution_id, digest, created_at)
        VALUES (p_key, p_execution, body, plans_now())
        ON CONFLICT (key) DO NOTHING;
        IF NOT FOUND THEN
            -- a statement of its own: the one above could not see the row that won
            SELECT s.execution_id AS id, s.digest INTO earlier
              FROM submissions s WHERE s.key = p_key;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'the execution of key % is being deleted', p_key
                    USING ERRCODE = 'serialization_failure', HINT = 'Submit again.';
            ELSIF earlier.digest <> body OR earlier.id <> p_execution THEN
                outcome := CASE WHEN earlier.digest = body THEN 'existing'
                                ELSE 'conflict' END;
                execution_id := earlier.id;
                RETURN;
            END IF;
        END IF;
    END IF;

    IF outline.on_conflict = 'reject' AND outline.starts_at IS NULL THEN
        holders := find_holders(
            concurrency_key, p_execution, outline.key_limit);
        IF cardinality(holders) > 0 THEN
            outcome := 'refused';
            DELETE FROM submissions s WHERE s.key = p_key AND s.execution_id = p_execution;
            RETURN;
        END IF;
    END IF;
    IF p_sends THEN
        sent := choose_roots(outline, p_queue);
    END IF;
    IF insert_executions(ARRAY[p_execution], ARRAY[p_parameters], ARRAY[body],
                         ARRAY[concurrency_key], outline, p_priority, p_tags, p_queue,
                         sent) <> '{}' THEN
        outcome := 'created';
        last_seq := last_first_seq(outline);
        IF NOT p_sends THEN
            PERFORM tell_reconcilers();
        END IF;
        RETURN;
    END IF;
    SELECT CASE WHEN e.digest = body THEN 'existing' ELSE 'conflict' END
      INTO outcome FROM executions e WHERE e.id = p_execution;
    IF outcome = 'conflict' THEN
        -- written above, for an execution that this call does not begin
        DELETE FROM submissions s WHERE s.key = p_key AND s.execution_id = p_execution;
    END IF;
    sent := CASE WHEN p_sends AND outcome = 'existing' THEN first_sent(p_execution)
                 ELSE '{}' END;
END $$;


-- The steps of an execution that were sent by its submit, and by nobody since, and that
-- are not claimed yet.
CREATE FUNCTION first_sent(p_execution uuid) RETURNS int[]
LANGUAGE sql VOLATILE AS $$
    SELECT coalesce(array_agg(s."position" ORDER BY s."position"), '{}')
      FROM executions e
      JOIN execution_steps s ON s.execution_id = e.id
     WHERE e.id = p_execution AND e.status = 'pending' AND e.epoch = 1
       AND s.status = 'ready' AND s.published_at IS NOT NULL AND s.publishes = 1
$$;


-- The same for many at once: executions of one plan, their parameters (a JSON array)
-- and their keys, if any, in order. All of them begin, or none.
--
-- outcome: done (`ids` are those of the executions, in order: what was given, or what a
-- key began before); conflict (nothing is kept; the key at place `refused`, from 0,
-- belongs to execution `owner`, which has another body); faulty (nothing is kept; the one
-- at place `refused` has no key for its concurrency, as `detail` says); unplanned (there is
-- no such plan).
--
-- `held_keys` are those that executions wait for: admit_next is to be called for each.
--
-- `sent` are the positions that the caller has to send of each execution that has the id
-- that was given, also when the call is made again.
CREATE FUNCTION submit_executions(
    p_executions text[], p_plan uuid, p_parameters jsonb, p_keys text[],
    p_priority int, p_tags text[], p_queue text, p_at timestamptz DEFAULT NULL,
    OUT outcome text, OUT ids text[], OUT sent int[], OUT queues jsonb,
    OUT refused int, OUT owner uuid, OUT detail text, OUT held_keys text[]
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    outline plan_outline := read_outline(p_plan, p_at);
    drawn uuid[] := p_executions;
    begun uuid[] := p_executions;
    parameters jsonb[];
    bodies text[];
    keys text[];
BEGIN
    PERFORM begin_write();
    IF outline.id IS NULL THEN
        outcome := 'unplanned';
        RETURN;
    ELSIF outline.on_conflict = 'reject' THEN
        RAISE EXCEPTION 'executions that may be rejected are submitted one by one';
    END IF;
    SELECT array_agg(value ORDER BY n),
           array_agg(body_digest(outline.digest, value, p_priority, p_tags, p_at)
                     ORDER BY n)
      INTO parameters, bodies
      FROM jsonb_array_elements(p_parameters) WITH ORDINALITY AS given(value, n);
    IF outline.on_conflict IS NOT NULL THEN
        SELECT array_agg(r.key ORDER BY n), min(n) FILTER (WHERE r.key IS NULL) - 1,
               (array_agg(r.fault ORDER BY n) FILTER (WHERE r.key IS NULL))[1],
               array_agg(DISTINCT r.key)
          INTO keys, refused, detail, held_keys
          FROM unnest(parameters) WITH ORDINALITY AS given(value, n)
          CROSS JOIN LATERAL render_key(outline.name, outline.key_parts, value) AS r;
        IF detail IS NOT NULL THEN
            outcome := 'faulty';
            RETURN;
        ELSIF outline.starts_at IS NOT NULL THEN
            keys := NULL; held_keys := NULL;
        END IF;
    END IF;
    IF p_keys IS NOT NULL THEN
        SELECT c.begun, c.refused, c.owner INTO begun, refused, owner
          FROM claim_keys(p_keys, drawn, bodies) AS c;
        IF refused IS NOT NULL THEN
            outcome := 'conflict';
            RETURN;
        END IF;
    END IF;
    sent := choose_roots(outline, p_queue);
    queues := outline.queues;
    PERFORM insert_executions(
        array_agg(n.id), array_agg(n.parameters), array_agg(n.body), array_agg(n.key),
        outline, p_priority, p_tags, p_queue, sent)
       FROM unnest(drawn, parameters, bodies, begun, keys)
            AS n(id, parameters, body, begun, key)
      WHERE n.id = n.begun;
    outcome := 'done';
    ids := begun;
END $$;


-- Enter the keys of new executions; `begun` are the executions that they stand for now.
-- Or keep none of them: `refused` is the place of the first whose execution, `owner`, has
-- another body.
CREATE FUNCTION claim_keys(
    p_keys text[], p_executions uuid[], p_bodies text[],
    OUT begun uuid[], OUT refused int, OUT owner uuid
)
LANGUAGE plpgsql AS $$
DECLARE
    is_whole bool;
BEGIN
    INSERT INTO submissions (key, execution_id, digest, created_at)
    SELECT n.key, n.id, n.body, plans_now()
      FROM unnest(p_keys, p_executions, p_bodies) WITH ORDINALITY AS n(key, id, body, place)
     -- two calls with the same keys wait for each other, and must not do so crosswise
     ORDER BY n.key, n.place
    ON CONFLICT (key) DO NOTHING;
    -- a statement of its own: the one above could not see the rows that won
    SELECT array_agg(s.execution_id ORDER BY n.place), bool_and(s.key IS NOT NULL),
           min(n.place) FILTER (WHERE s.digest <> n.body) - 1
      INTO begun, is_whole, refused
      FROM unnest(p_keys, p_bodies) WITH ORDINALITY AS n(key, body, place)
      LEFT JOIN submissions s ON s.key = n.key;
    IF NOT is_whole THEN
        RAISE EXCEPTION 'the execution of a key is being deleted'
            USING ERRCODE = 'serialization_failure', HINT = 'Submit again.';
    ELSIF refused IS NOT NULL THEN
        owner := begun[refused + 1];
        DELETE FROM submissions
         WHERE key = ANY (p_keys) AND execution_id = ANY (p_executions);
    END IF;
END $$;


-- What expressions can read of an execution itself. The moment that it is for is that of
-- its schedule, else when it was to begin.
CREATE FUNCTION describe_self(e executions) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_build_object(
        'id', e.id, 'created_at', e.created_at, 'tags', e.tags,
        'scheduled_at', coalesce(e.scheduled_at, e.starts_at, e.created_at))
$$;
