-- How a paused dependency is tried again: what there is to decide on, and its decision done.

-- Dependencies to decide on. One that is tried waits for a step to be tried with.
CREATE FUNCTION due_dependencies(p_most int) RETURNS SETOF text
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT d.name FROM dependencies d
     WHERE d.look_at <= plans_now() AND has_to_try(d)
     ORDER BY d.look_at LIMIT p_most
$$;


-- The parked steps of a dependency that can be let through, the longest waiting first.
CREATE FUNCTION passable_steps(p_name text, p_most int)
RETURNS TABLE (execution_id uuid, "position" int)
LANGUAGE sql VOLATILE AS $$
    SELECT s.execution_id, s."position" FROM execution_steps s
      JOIN executions e ON e.id = s.execution_id
                       AND e.status IN ('pending', 'running', 'ending')
     WHERE s.parked_at IS NOT NULL AND s.waits_for = write_hold('dependency', p_name)
       AND NOT EXISTS (
           SELECT FROM dependency_passes d
            WHERE d.execution_id = s.execution_id AND d."position" = s."position"
              AND d.name = p_name)
     ORDER BY s.parked_at, s.execution_id, s."position"
     LIMIT p_most
$$;


-- How a dependency stands, and what was seen of it since it is tried: all that is decided
-- from. NULL: there is no such dependency.
CREATE FUNCTION read_trial(p_name text) RETURNS jsonb
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT jsonb_build_object(
        'name', d.name, 'state', d.state, 'since', d.since, 'now', plans_now(),
        'is_paused_by_rate', d.is_paused_by_rate, 'pauses', d.pauses, 'round', d.round,
        'look_at', d.look_at, 'reason', d.reason, 'guard', describe_guard(d),
        'parked', (SELECT count(*) FROM passable_steps(d.name, 2000)),
        'canary', (
            SELECT jsonb_build_object(
                'status', s.status, 'has_failed', x.has_failed, 'given_at', x.given_at,
                'began_at', s.claimed_at, 'is_paused', e.status = 'paused',
                'is_parked', coalesce(s.waits_for = write_hold('dependency', d.name), false))
              FROM dependency_passes x
              JOIN execution_steps s ON s.execution_id = x.execution_id
                                    AND s."position" = x."position"
              JOIN executions e ON e.id = x.execution_id
             WHERE x.name = d.name AND x.is_canary))
        || (SELECT jsonb_build_object(
                'failed', count(*) FILTER (WHERE x.has_failed),
                'well', count(*) FILTER (WHERE NOT x.has_failed),
                'open_passes', count(*) FILTER (
                    WHERE x.has_failed IS NULL AND e.status <> 'paused'
                      AND (s.status IN ('ready', 'running')
                           OR s.waits_for = write_hold('dependency', d.name))))
              FROM dependency_passes x
              JOIN execution_steps s ON s.execution_id = x.execution_id
                                    AND s."position" = x."position"
              JOIN executions e ON e.id = x.execution_id
             WHERE x.name = d.name)
      FROM dependencies d WHERE d.name = p_name
$$;


-- Do what was decided on a dependency as it was seen, unless it has changed since. p_since,
-- p_round and p_seen_look_at say how it was seen; p_id is drawn by the caller.
--
-- landed; `executions` are those of which steps are let through.
CREATE FUNCTION move_dependency(
    p_id uuid, p_name text, p_from text, p_since timestamptz, p_round int,
    p_seen_look_at timestamptz, p_to text, p_look_at timestamptz, p_give int,
    p_withdraws bool, p_reason text,
    OUT landed bool, OUT executions text[]
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    d dependencies;
BEGIN
    PERFORM begin_write();
    executions := '{}';
    SELECT * INTO d FROM dependencies x WHERE x.name = p_name FOR NO KEY UPDATE;
    landed := coalesce((d.state, d.since, d.round) = (p_from, p_since, p_round), false)
        AND d.look_at IS NOT DISTINCT FROM p_seen_look_at;
    IF landed AND p_withdraws THEN
        landed := withdraw_canary(p_name);
    END IF;
    IF NOT landed THEN
        RETURN;
    ELSIF p_to = 'paused' AND p_from <> 'paused' THEN
        PERFORM pause_by_rate(p_name, p_reason);
        RETURN;
    ELSIF p_to = 'free' THEN
        PERFORM free_dependency(p_name, p_id, d."by", coalesce(
            CASE WHEN d."by" <> 'plans' THEN d.reason END, p_reason));
        RETURN;
    END IF;
    UPDATE dependencies x
       SET state = p_to, look_at = p_look_at,
           by = CASE WHEN p_from = 'paused' AND p_to = 'canary' THEN 'plans' ELSE x.by END,
           reason = CASE WHEN p_from = 'paused' AND p_to = 'canary' THEN p_reason
                    ELSE x.reason END,
           since = CASE WHEN p_to = p_from THEN x.since ELSE plans_now() END,
           counted_from = CASE WHEN p_from = 'paused' AND p_to = 'canary'
                          THEN plans_now() ELSE x.counted_from END,
           round = CASE WHEN p_to <> p_from THEN 0
                   ELSE x.round + (p_to = 'ramp' AND p_give > 0)::int END
     WHERE x.name = p_name;
    WITH given AS (
        INSERT INTO dependency_passes (name, execution_id, "position", given_at, is_canary)
        SELECT p_name, s.execution_id, s."position", plans_now(), p_to = 'canary'
          FROM passable_steps(p_name, p_give) AS s
        ON CONFLICT DO NOTHING
        RETURNING execution_id
    )
    SELECT coalesce(array_agg(DISTINCT g.execution_id::text), '{}') INTO executions
      FROM given g;
END $$;


-- Take the pass of a canary back that has not begun; say whether it had not.
CREATE FUNCTION withdraw_canary(p_name text) RETURNS bool
LANGUAGE plpgsql AS $$
BEGIN
    -- who is about to start it has committed then
    PERFORM lock_holds();
    IF EXISTS (
        SELECT FROM dependency_passes x
          JOIN execution_steps s ON s.execution_id = x.execution_id
                                AND s."position" = x."position" AND s.status = 'running'
         WHERE x.name = p_name AND x.is_canary) THEN
        RETURN false;
    END IF;
    DELETE FROM dependency_passes x WHERE x.name = p_name AND x.is_canary;
    RETURN true;
END $$;
