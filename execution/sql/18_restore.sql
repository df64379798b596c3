-- Back to before a step, when one that comes after it has failed for good.

-- Begin anew at p_target, for s has failed of p_error: that step and all that comes after
-- it wait or are ready as at first. What they did is archived, what they saved is dropped;
-- their numbers of attempts go on, and so do their idempotency keys. The caller holds the
-- lock and has archived the attempt of s. Returns the windows to send.
CREATE FUNCTION restore_steps(
    e executions, s execution_steps, p_target int, p_times int, p_error jsonb
) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    members int[] := steps_from(e.id, p_target);
    drafts event_draft[];
    reset record;
    items record;
    freed record;
BEGIN
    -- before it forgets them: what runs within is told that nobody waits any more
    PERFORM relay_down(e.id);
    UPDATE execution_steps t SET restores = t.restores + 1
     WHERE t.execution_id = e.id AND t."position" = s."position";
    PERFORM archive_members(e.id, members);
    SELECT * INTO items FROM disown_items(e.id, members);
    SELECT * INTO reset FROM reset_steps(e.id, members);
    SELECT * INTO freed FROM free_target(e.id, p_target);
    -- what was sent so far is of another epoch: what still waits is sent anew
    UPDATE execution_steps t SET published_at = NULL
     WHERE t.execution_id = e.id AND t.status = 'ready';
    UPDATE executions x SET epoch = x.epoch + 1 WHERE x.id = e.id;
    e.open_steps := (SELECT count(*) FROM execution_steps t
                      WHERE t.execution_id = e.id AND t.ended_at IS NULL);
    drafts := ARRAY[
        ROW('recovery.initiated', s."position", jsonb_build_object(
            'attempt', s.attempt, 'error', p_error, 'restore', freed.name,
            'time', s.restores + 1, 'times', p_times))::event_draft];
    drafts := drafts || items.drafts || ROW('checkpoint.restored', p_target,
        jsonb_build_object('steps', reset.names, 'renamed', items.names))::event_draft;
    e := write_execution(e, drafts || freed.drafts);
    IF e.status = 'paused' THEN
        RETURN '[]';
    END IF;
    RETURN publish_ready(e.id);
END $$;


-- A step, all that comes after it, and the fallbacks of these.
CREATE FUNCTION steps_from(p_execution uuid, p_target int) RETURNS int[]
LANGUAGE sql VOLATILE AS $$
    WITH RECURSIVE found(p) AS (
        SELECT p_target
        UNION
        SELECT follower
          FROM found
         CROSS JOIN LATERAL (
             SELECT array_remove(t.successors || t.fallback, NULL) AS followers
               FROM execution_steps t
              WHERE t.execution_id = p_execution AND t."position" = found.p OFFSET 0
         ) AS t
         CROSS JOIN unnest(t.followers) AS follower
    )
    SELECT array_agg(p ORDER BY p) FROM found
$$;


-- Keep the last attempt of each of these steps: a restore will have it gone. Those that did
-- not end well are kept already.
CREATE FUNCTION archive_members(p_execution uuid, p_members int[]) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO step_attempts (execution_id, "position", attempt, outcome, lease_token,
                               worker_id, claimed_at, ended_at, error)
    SELECT t.execution_id, t."position", t.attempt, o.outcome, t.lease_token, t.worker_id,
           t.claimed_at, coalesce(t.ended_at, plans_now()),
           CASE o.outcome WHEN 'cancelled' THEN jsonb_build_object(
               'code', 'E004', 'message', format(
                   'attempt %s of step %s was cut: the execution went back to before it',
                   t.attempt, t.name),
               'step', t.name, 'timestamp', plans_now(), 'recoverable', true,
               'context', '{}'::jsonb) END
      FROM execution_steps t
     CROSS JOIN LATERAL (
         SELECT CASE WHEN t.ended_at IS NULL THEN 'cancelled' ELSE 'restored' END
         ) AS o(outcome)
     WHERE t.execution_id = p_execution AND t."position" = ANY (p_members)
       AND t.attempt > 0
    ON CONFLICT (execution_id, "position", attempt) DO NOTHING
$$;


-- Let the items of these steps be those of an earlier time: none of them runs or begins
-- any more, and their names are free for others. `names` are their new ones.
CREATE FUNCTION disown_items(
    p_execution uuid, p_members int[], OUT names jsonb, OUT drafts event_draft[]
)
LANGUAGE plpgsql AS $$
DECLARE
    -- no name of an earlier time comes again, also after a retry, which counts anew
    number int := (SELECT greatest(sum(t.restores), 1 + max(
                              CASE WHEN t.name LIKE '%~%'
                              THEN split_part(t.name, '~', 2)::int END))
                     FROM execution_steps t WHERE t.execution_id = p_execution);
    -- those of earlier times have other names by now
    items int[] := ARRAY(
        SELECT i."position" FROM execution_steps i
         WHERE i.execution_id = p_execution AND i.item_of = ANY (p_members)
           AND i.name NOT LIKE '%~%');
BEGIN
    PERFORM archive_members(p_execution, ARRAY(
        SELECT t."position" FROM execution_steps t
         WHERE t.execution_id = p_execution AND t."position" = ANY (items)
           AND t.status = 'running'));
    WITH old AS MATERIALIZED (
        SELECT t."position", t.ended_at IS NULL AS is_open FROM execution_steps t
         WHERE t.execution_id = p_execution AND t."position" = ANY (items)
    ), renamed AS (
        UPDATE execution_steps t
           SET name = format('%s~%s', t.name, number),
               status = CASE WHEN old.is_open THEN 'cancelled' ELSE t.status END,
               ended_at = coalesce(t.ended_at, plans_now()), wake_at = NULL,
               attempt_deadline = NULL, child_id = NULL, waits_for = NULL,
               parked_at = NULL,
               lease_token = CASE WHEN NOT old.is_open THEN t.lease_token END
          FROM old
         WHERE t.execution_id = p_execution AND t."position" = old."position"
        RETURNING t."position", t.name, old.is_open
    )
    SELECT coalesce(jsonb_agg(r.name ORDER BY r."position"), '[]'),
           coalesce(array_agg(ROW('step.cancelled', r."position", '{}')::event_draft
                              ORDER BY r."position") FILTER (WHERE r.is_open), '{}')
      INTO names, drafts FROM renamed r;
END $$;


-- Let these steps stand as after a submit, but for what counts over all of their times.
-- `names` are those of which something has happened.
CREATE FUNCTION reset_steps(p_execution uuid, p_members int[], OUT names jsonb)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT coalesce(jsonb_agg(t.name ORDER BY t."position"), '[]') INTO names
      FROM execution_steps t
     WHERE t.execution_id = p_execution AND t."position" = ANY (p_members)
       AND t.status <> 'pending';
    DELETE FROM execution_checkpoints c
     WHERE c.execution_id = p_execution AND c."position" = ANY (p_members);
    UPDATE execution_steps t
       SET status = 'pending', reason = NULL, failures = 0, losses = 0,
           lease_token = NULL, worker_id = NULL, delivery = NULL,
           claimed_by_ride = false, claimed_at = NULL, claimed_beat = NULL,
           attempt_deadline = NULL, ready_at = NULL, published_at = NULL, wake_at = NULL,
           deadline = NULL, ended_at = NULL, input = NULL, result = NULL, error = NULL,
           cached_from = NULL, child_id = NULL,
           progress = NULL, progress_message = NULL, chunks = NULL, records = NULL,
           first_item = NULL, item_count = NULL, next_item = NULL, skips_left = NULL,
           iterations = NULL, waits_for = NULL, parked_at = NULL
     WHERE t.execution_id = p_execution AND t."position" = ANY (p_members);
    -- a statement of its own: it sees which of them are settled no more
    UPDATE execution_steps t
       SET pending_deps = (
               SELECT count(*) FROM unnest(t.needs) AS need
                CROSS JOIN LATERAL (
                    SELECT FROM execution_steps n
                     WHERE n.execution_id = p_execution AND n."position" = need
                       AND n.status NOT IN ('completed', 'skipped') OFFSET 0) AS open)
     WHERE t.execution_id = p_execution AND t."position" = ANY (p_members);
END $$;


-- Let the step begin that an execution has gone back to: its needs are settled. Where all
-- of them were skipped it is skipped once more, and others begin.
CREATE FUNCTION free_target(
    p_execution uuid, p_target int, OUT name text, OUT drafts event_draft[]
)
LANGUAGE plpgsql AS $$
DECLARE
    t execution_steps;
    follow record;
BEGIN
    SELECT * INTO t FROM execution_steps x
     WHERE x.execution_id = p_execution AND x."position" = p_target;
    name := t.name;
    IF t.needs = '{}' OR t.stands_in_for IS NOT NULL OR is_wanted(t) THEN
        UPDATE execution_steps x
           SET status = 'ready', pending_deps = 0, ready_at = plans_now(),
               deadline = plans_now() + make_interval(secs => x.deadline_seconds)
         WHERE x.execution_id = p_execution AND x."position" = p_target;
        drafts := ARRAY[ROW('step.ready', p_target, '{}')::event_draft];
        RETURN;
    END IF;
    UPDATE execution_steps x
       SET status = 'skipped', reason = 'needs', ended_at = plans_now()
     WHERE x.execution_id = p_execution AND x."position" = p_target;
    SELECT * INTO follow FROM release_after_skip(p_execution, ARRAY[p_target]);
    drafts := ROW('step.skipped', p_target, '{"reason": "needs"}')::event_draft
        || follow.drafts;
END $$;


-- What follows when the strategy whose step is s has decided that the execution goes back to
-- before p_step, or the one that it is asked about: a restore to `target`; or, if that step
-- does not wait for p_step, an abort for `fault`.
CREATE FUNCTION follow_strategy(
    s execution_steps, p_step text,
    OUT policy text, OUT target int, OUT times int, OUT fault jsonb
)
LANGUAGE plpgsql AS $$
BEGIN
    SELECT t."position" INTO target FROM execution_steps t
     WHERE t.execution_id = s.execution_id AND t.section = 'steps' AND t.item_of IS NULL
       AND CASE WHEN p_step IS NULL THEN t."position" = s.stands_in_for
                ELSE t.name = p_step END
       AND s.stands_in_for = ANY (steps_from(s.execution_id, t."position"));
    policy := CASE WHEN target IS NULL THEN 'abort' ELSE 'restore' END;
    times := most_recoveries();
    IF target IS NULL THEN
        fault := jsonb_build_object(
            'code', 'E003', 'message', format(
                '%s decided to go back to %s, which is not among the steps that come'
                ' before', s.name, p_step),
            'step', s.name, 'timestamp', plans_now(), 'recoverable', false,
            'context', '{}'::jsonb);
    END IF;
END $$;
