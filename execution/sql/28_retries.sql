-- How an execution that has ended goes on: which of its steps begin anew or wait again, and
-- how they are made to. Nothing here asks whether it may, or locks.

-- The steps of an ended execution that do not stay as they are, and what becomes of each:
--
--   anew    it begins anew, and so do those that stand in for it
--   again   a loop goes on with its next iteration
--   parts   it waits for its items, or its last iteration, again
--   part    such an item: it begins anew
--   child   the execution within it goes on, and it waits for that again
--
-- Steps at p_renewed have new inputs: they do not go on with what was begun with others.
CREATE FUNCTION choose_retried(p_execution uuid, p_renewed int[])
RETURNS TABLE ("position" int, role text, child_id uuid, child_epoch int)
LANGUAGE sql VOLATILE AS $$
    WITH RECURSIVE stopped AS MATERIALIZED (
        SELECT s."position", s.first_item, s.item_count, c.id AS child_id,
               c.epoch AS child_epoch, s.status = 'failed' AS has_failed,
               CASE WHEN s.iterations IS NOT NULL AND i.status <> 'completed' THEN 'parts'
                    WHEN s.iterations IS NOT NULL AND s.status <> 'failed' THEN 'again'
                    WHEN s.item_count > 0 AND s.iterations IS NULL THEN 'parts'
                    WHEN c.id IS NOT NULL THEN 'child'
                    ELSE 'anew' END AS role
          FROM execution_steps s
          LEFT JOIN execution_steps i ON i.execution_id = s.execution_id
                                     AND i."position" = s.first_item
          LEFT JOIN LATERAL find_unfinished(s.execution_id, s."position", s.ready_at) AS c
                 ON s.action = 'plans.run_plan' AND s."position" <> ALL (p_renewed)
         WHERE s.execution_id = p_execution AND s.section = 'steps' AND s.item_of IS NULL
           -- what stands in for a step goes with that, and has no need of its own
           AND s.stands_in_for IS NULL AND s.status IN ('failed', 'timed_out', 'cancelled')
    ), families(p) AS (
        SELECT "position" FROM stopped
        UNION
        SELECT f.fallback
          FROM families JOIN execution_steps f ON f.execution_id = p_execution
                                              AND f."position" = families.p
         WHERE f.fallback IS NOT NULL
    )
    SELECT families.p, coalesce(t.role, 'anew'), t.child_id, t.child_epoch
      FROM families LEFT JOIN stopped t ON t."position" = families.p
    UNION ALL
    SELECT i."position", CASE WHEN c.id IS NULL THEN 'part' ELSE 'child' END, c.id, c.epoch
      FROM stopped t
      JOIN execution_steps i ON i.execution_id = p_execution
                            AND i."position" >= t.first_item
                            AND i."position" < t.first_item + t.item_count
      LEFT JOIN LATERAL find_unfinished(i.execution_id, i."position", i.ready_at) AS c
             ON i.action = 'plans.run_plan' AND i."position" <> ALL (p_renewed)
     WHERE t.role = 'parts'
       AND (i.status IN ('failed', 'timed_out', 'cancelled')
            -- more were skipped than are tolerated
            OR i.status = 'skipped' AND t.has_failed)
$$;


-- Let an ended execution go on: what has failed or was cancelled begins anew, what has
-- completed or was skipped stays. What came after its steps is set aside, to come again at
-- the next end. What was done is archived; numbers of attempts, idempotency keys and what
-- steps have saved stay, the counts of failures and of losses begin anew. The caller holds
-- the lock, and writes the drafts. Returns the execution as it is now.
CREATE FUNCTION reopen_execution(
    e executions, p_inputs jsonb, p_act uuid, p_by text, p_reason text,
    OUT begun executions, OUT drafts event_draft[]
)
LANGUAGE plpgsql AS $$
DECLARE
    renewed int[] := ARRAY(SELECT k::int FROM jsonb_object_keys(p_inputs) AS k);
    parts jsonb;
    fresh int[];
    again int[];
    late int[] := ARRAY(SELECT t."position" FROM execution_steps t
                         WHERE t.execution_id = e.id AND t.section <> 'steps'
                           AND t.status <> 'skipped');
    unused int[];
    names jsonb;
    items record;
    freed record;
BEGIN
    -- all that is decided is decided before anything moves
    SELECT coalesce(jsonb_agg(jsonb_build_array(c."position", c.role, c.child_id,
                                                c.child_epoch) ORDER BY c."position")
                    FILTER (WHERE c.role IN ('parts', 'child')), '[]'),
           coalesce(array_agg(c."position") FILTER (WHERE c.role = 'anew'), '{}'),
           coalesce(array_agg(c."position") FILTER (WHERE c.role IN ('again', 'part')), '{}'),
           jsonb_agg(n.name ORDER BY c."position")
      INTO parts, fresh, again, names
      FROM choose_retried(e.id, renewed) AS c
      JOIN execution_steps n ON n.execution_id = e.id AND n."position" = c."position";
    -- they were cancelled while what they stand in for succeeded
    unused := ARRAY(SELECT t."position" FROM execution_steps t
                     WHERE t.execution_id = e.id AND t.stands_in_for IS NOT NULL
                       AND t.status = 'cancelled' AND t."position" <> ALL (fresh));
    PERFORM write_state(e.id, e.next_seq, e.status, 'pending', p_by, p_reason);
    -- what was sent before the end and came after it is still to be taken
    UPDATE execution_signals g SET seq = NULL WHERE g.execution_id = e.id AND g.seq = 0;
    begun := renew_execution(e);
    PERFORM archive_members(e.id, fresh || again || late || ARRAY(
        SELECT (p ->> 0)::int FROM jsonb_array_elements(parts) AS p));
    SELECT * INTO items FROM disown_items(e.id, fresh);
    PERFORM forget_parts(e.id, fresh);
    PERFORM renew_steps(e.id, fresh || again, p_inputs);
    drafts := ARRAY[ROW('execution.retried', NULL, jsonb_strip_nulls(jsonb_build_object(
        'act', p_act, 'by', p_by, 'reason', p_reason, 'from', e.status,
        'steps', names || coalesce((
            SELECT jsonb_agg(l.name ORDER BY l."position") FROM execution_steps l
             WHERE l.execution_id = e.id AND l."position" = ANY (late || unused)), '[]'),
        'renamed', nullif(items.names, '[]'),
        'inputs', name_inputs(e.id, p_inputs))))::event_draft];
    drafts := drafts || set_aside(e.id, late, 'retried') || set_aside(e.id, unused, 'unused')
        || rejoin_steps(begun, parts);
    SELECT * INTO freed FROM free_steps(e.id);
    drafts := drafts || freed.drafts;
END $$;


-- The row of an execution that has ended, as one that waits to go on. A deadline counts
-- from now; a key has to be given to it once more, unless the caller has seen to that.
CREATE FUNCTION renew_execution(e executions) RETURNS executions
LANGUAGE plpgsql AS $$
DECLARE
    now timestamptz := plans_now();
    p plans;
BEGIN
    SELECT * INTO p FROM plans WHERE id = e.plan_id;
    UPDATE executions x
       SET status = 'pending', reason = NULL, section = 'steps', epoch = x.epoch + 1,
           result = NULL, error = NULL, ended_at = NULL, paused_at = NULL,
           paused_with_parent = false, told_at = NULL, grace_seconds = NULL,
           retried_at = now,
           admitted_at = CASE WHEN x.concurrency_key IS NOT NULL AND x.parent_id IS NULL
                                   AND p.on_conflict = 'reject' THEN now END,
           deadline = now + make_interval(secs => p.deadline_seconds)
     WHERE x.id = e.id
    RETURNING * INTO e;
    IF e.parent_id IS NOT NULL THEN
        UPDATE executions x SET deadline = renew_child_deadline(e) WHERE x.id = e.id
        RETURNING * INTO e;
    END IF;
    RETURN e;
END $$;


-- Let these steps have no items or iterations any more.
CREATE FUNCTION forget_parts(p_execution uuid, p_members int[]) RETURNS void
LANGUAGE sql VOLATILE AS $$
    UPDATE execution_steps t
       SET first_item = NULL, item_count = NULL, next_item = NULL, skips_left = NULL,
           iterations = NULL
     WHERE t.execution_id = p_execution AND t."position" = ANY (p_members)
$$;


-- Let these steps wait as after a submit, but with their inputs, if they were made, and
-- with what they have saved: who has new inputs goes on with nothing of the old ones. A
-- sleep or a wait that was cut begins anew.
CREATE FUNCTION renew_steps(p_execution uuid, p_members int[], p_inputs jsonb) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM execution_checkpoints c
     WHERE c.execution_id = p_execution AND c."position" = ANY (p_members)
       AND p_inputs ? c."position"::text;
    UPDATE execution_steps t
       SET status = 'pending', reason = NULL, failures = 0, losses = 0, restores = 0,
           lease_token = NULL, worker_id = NULL, delivery = NULL,
           claimed_by_ride = false, claimed_at = NULL, claimed_beat = NULL,
           attempt_deadline = NULL, ready_at = NULL, published_at = NULL, wake_at = NULL,
           deadline = NULL, ended_at = NULL, result = NULL, error = NULL,
           cached_from = NULL, child_id = NULL, waits_for = NULL, parked_at = NULL,
           progress = NULL, progress_message = NULL, chunks = NULL, records = NULL,
           input = CASE WHEN p_inputs ? t."position"::text
                        THEN p_inputs -> t."position"::text -> 'input'
                        WHEN t.action NOT IN ('plans.sleep', 'plans.wait_for')
                        THEN t.input END
     WHERE t.execution_id = p_execution AND t."position" = ANY (p_members);
    -- a statement of its own: it sees which of them are settled no more
    UPDATE execution_steps t SET pending_deps = count_open_needs(p_execution, t.needs)
     WHERE t.execution_id = p_execution AND t."position" = ANY (p_members);
END $$;


CREATE FUNCTION count_open_needs(p_execution uuid, p_needs int[]) RETURNS int
LANGUAGE sql VOLATILE AS $$
    SELECT count(*)::int FROM unnest(p_needs) AS need
     CROSS JOIN LATERAL (
         SELECT FROM execution_steps n
          WHERE n.execution_id = p_execution AND n."position" = need
            AND n.status NOT IN ('completed', 'skipped') OFFSET 0) AS open
$$;


-- What is new in the inputs of steps, by name: what it is may be a secret.
CREATE FUNCTION name_inputs(p_execution uuid, p_inputs jsonb) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_object_agg(s.name, i.value -> 'changed')
      FROM jsonb_each(p_inputs) AS i
      JOIN execution_steps s ON s.execution_id = p_execution AND s."position" = i.key::int
$$;


-- Let steps be skipped for p_reason: those of the last end, until the next one asks for
-- them, and those that nobody has a use for.
CREATE FUNCTION set_aside(p_execution uuid, p_members int[], p_reason text)
RETURNS event_draft[]
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM reset_steps(p_execution, p_members);
    UPDATE execution_steps t
       SET status = 'skipped', reason = p_reason, pending_deps = 0, ended_at = plans_now()
     WHERE t.execution_id = p_execution AND t."position" = ANY (p_members);
    RETURN ARRAY(SELECT ROW('step.skipped', m, jsonb_build_object('reason', p_reason)
                            )::event_draft
                   FROM unnest(p_members) AS m);
END $$;


-- Let steps wait again for what they had begun: p_parts are [position, role, child_id,
-- child_epoch]. Those that wait for nothing after all are completed by it.
CREATE FUNCTION rejoin_steps(e executions, p_parts jsonb) RETURNS event_draft[]
LANGUAGE plpgsql AS $$
DECLARE
    drafts event_draft[] := '{}';
    joined int[] := '{}';
    part record;
    count int;
    follow record;
BEGIN
    FOR part IN SELECT (p ->> 0)::int AS at, p ->> 1 AS role, (p ->> 2)::uuid AS child,
                       (p ->> 3)::int AS epoch
                  FROM jsonb_array_elements(p_parts) AS p ORDER BY p ->> 1
    LOOP
        UPDATE execution_steps t
           SET status = 'waiting', reason = NULL, ended_at = NULL, error = NULL,
               result = NULL, failures = 0, losses = 0, restores = 0, lease_token = NULL,
               worker_id = NULL, delivery = NULL, claimed_at = NULL,
               attempt_deadline = NULL, published_at = NULL,
               -- the one within is of this time of the step
               ready_at = CASE WHEN part.child IS NULL THEN plans_now() ELSE t.ready_at END,
               deadline = plans_now() + make_interval(secs => t.deadline_seconds),
               child_id = part.child, child_epoch = part.epoch + 1,
               -- to wait for it once more is an attempt of its own
               attempt = t.attempt + (part.child IS NOT NULL)::int,
               -- what it waits for is counted next
               pending_deps = CASE WHEN part.child IS NULL THEN 1 ELSE 0 END
         WHERE t.execution_id = e.id AND t."position" = part.at;
        IF part.child IS NOT NULL THEN
            drafts := drafts || ROW('step.waiting', part.at, jsonb_build_object(
                'child', part.child))::event_draft;
            CONTINUE;
        END IF;
        count := rejoin_parts(e, part.at);
        IF count = 0 THEN
            joined := joined || part.at;
        END IF;
        drafts := drafts || ROW('step.waiting', part.at, jsonb_build_object(
            'items', count))::event_draft;
    END LOOP;
    IF joined <> '{}' THEN
        UPDATE execution_steps t
           SET status = 'completed', pending_deps = 0, ended_at = plans_now()
         WHERE t.execution_id = e.id AND t."position" = ANY (joined);
        -- what waits for them is counted by its edges
        UPDATE execution_steps t SET pending_deps = count_open_needs(e.id, t.needs)
         WHERE t.execution_id = e.id AND t.status = 'pending' AND t.item_of IS NULL
           AND t.needs && joined;
        drafts := drafts || ARRAY(
            SELECT ROW('step.completed', j, '{}')::event_draft FROM unnest(joined) AS j);
    END IF;
    -- those within learn that they are waited for
    PERFORM relay_down(e.id);
    RETURN drafts;
END $$;


-- Count what a step has to wait for of its items, or of its iterations: as many as may run
-- at a time are ready at first. Returns how many there are.
CREATE FUNCTION rejoin_parts(e executions, p_position int) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    x execution_steps;
    p plan_steps;
    waiting int;
    skipped int;
    begun int[];
    at_once int;
BEGIN
    SELECT * INTO x FROM execution_steps t
     WHERE t.execution_id = e.id AND t."position" = p_position;
    SELECT * INTO p FROM plan_steps t
     WHERE t.plan_id = e.plan_id AND t."position" = p_position;
    SELECT coalesce(array_agg(i."position" ORDER BY i."position")
                    FILTER (WHERE i.status = 'pending'), '{}'),
           count(*) FILTER (WHERE i.status = 'waiting'),
           count(*) FILTER (WHERE i.status = 'skipped' AND i.reason = 'failed')
      INTO begun, waiting, skipped
      FROM execution_steps i
     WHERE i.execution_id = e.id AND i."position" >= x.first_item
       AND i."position" < x.first_item + x.item_count;
    at_once := greatest(least(cardinality(begun), p.max_parallel) - waiting, 0);
    UPDATE execution_steps i
       SET pending_deps = CASE WHEN i."position" = ANY (begun[:at_once]) THEN 0 ELSE 1 END,
           deadline = x.deadline
     WHERE i.execution_id = e.id AND i."position" = ANY (begun);
    UPDATE execution_steps t
       SET pending_deps = greatest(cardinality(begun) + waiting, 1),
           next_item = begun[at_once + 1],
           skips_left = CASE WHEN coalesce(p.tolerate, p.tolerate_percent) IS NOT NULL
               THEN greatest(0, coalesce(
                   p.tolerate, floor(x.item_count * p.tolerate_percent / 100)::int)
                   - skipped) END
     WHERE t.execution_id = e.id AND t."position" = p_position;
    RETURN cardinality(begun) + waiting;
END $$;


-- Let everything begin that waits for nothing any more; a step whose needs were all skipped
-- meanwhile is skipped, as it would have been.
CREATE FUNCTION free_steps(p_execution uuid, OUT drafts event_draft[])
LANGUAGE plpgsql AS $$
DECLARE
    ready int[];
    unwanted int[];
    follow record;
BEGIN
    WITH freed AS (
        UPDATE execution_steps t
           SET status = w.status, reason = CASE w.status WHEN 'skipped' THEN 'needs' END,
               ready_at = CASE w.status WHEN 'ready' THEN plans_now() END,
               ended_at = CASE w.status WHEN 'skipped' THEN plans_now() END,
               deadline = CASE WHEN t.item_of IS NULL AND w.status = 'ready'
                   THEN plans_now() + make_interval(secs => t.deadline_seconds)
                   ELSE t.deadline END
          FROM (SELECT s."position", CASE WHEN s.needs = '{}' OR is_wanted(s)
                                     THEN 'ready' ELSE 'skipped' END AS status
                  FROM execution_steps s
                 WHERE s.execution_id = p_execution AND s.status = 'pending'
                   AND s.pending_deps = 0 AND s.stands_in_for IS NULL) AS w
         WHERE t.execution_id = p_execution AND t."position" = w."position"
        RETURNING t."position", t.status
    )
    SELECT coalesce(array_agg("position" ORDER BY "position")
                    FILTER (WHERE status = 'ready'), '{}'),
           coalesce(array_agg("position" ORDER BY "position")
                    FILTER (WHERE status = 'skipped'), '{}')
      INTO ready, unwanted FROM freed;
    SELECT * INTO follow FROM release_after_skip(p_execution, unwanted);
    drafts := ARRAY(SELECT ROW('step.skipped', u, '{"reason": "needs"}')::event_draft
                      FROM unnest(unwanted) AS u)
        || follow.drafts
        || ARRAY(SELECT ROW('step.ready', r, '{}')::event_draft FROM unnest(ready) AS r);
END $$;
