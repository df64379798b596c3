-- What steps use: counted while it is guarded, paused, and tried again with a few.
--
-- While a dependency is not free there is a hold of it, which its steps meet like any other
-- (see 22_holds); a step with a pass goes by it. The locks are taken in one order: an
-- execution, its dependency, that of the holds, its passes. Who starts a step shares that of
-- the holds, and so must not wait for a dependency: what went well is counted without its
-- row, what failed locks it first.

-- Of what a step uses, that of which somebody wants to know how the attempt ends: what is
-- guarded, or tried. NULL for none.
CREATE FUNCTION describe_guards(p_uses text[]) RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    SELECT jsonb_agg(jsonb_build_array(d.name, d.failing_on, d.not_failing_on)
                     ORDER BY d.name)
      FROM dependencies d
     WHERE d.name = ANY (p_uses) AND (d.pause_at IS NOT NULL OR d.state <> 'free')
$$;


-- Note how an attempt ended that was the caller's: it failed of these dependencies, or did
-- well with them. The caller holds the lock of the execution, has checked the token, and
-- has not begun the next attempt; if it failed, it has not shared the lock of the holds.
CREATE FUNCTION note_attempt(
    p_execution uuid, p_position int, p_names text[], p_has_failed bool
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    d dependencies;
    began timestamptz;
BEGIN
    IF p_has_failed THEN
        -- one failure at a time: of two that did not see each other, none would be
        -- the one that is too many
        PERFORM FROM dependencies WHERE name = ANY (p_names) ORDER BY name
            FOR NO KEY UPDATE;
    ELSE
        -- before the passes: this transaction may begin another step, and who has this
        -- lock alone takes passes away
        PERFORM share_holds();
    END IF;
    SELECT s.claimed_at INTO began FROM execution_steps s
     WHERE s.execution_id = p_execution AND s."position" = p_position;
    FOR d IN SELECT * FROM dependencies WHERE name = ANY (p_names) ORDER BY name LOOP
        -- what began before it was paused says nothing of how it is now
        CONTINUE WHEN began < d.counted_from;
        IF d.state <> 'free' THEN
            PERFORM judge_pass(d.name, p_execution, p_position, p_has_failed);
        ELSIF d.pause_at IS NOT NULL THEN
            PERFORM count_outcome(d, p_has_failed);
        END IF;
    END LOOP;
END $$;


-- Note what the attempt of a step came to that was let through; the reconcilers decide.
CREATE FUNCTION judge_pass(
    p_name text, p_execution uuid, p_position int, p_has_failed bool
) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    mattered bool;
BEGIN
    UPDATE dependency_passes SET has_failed = p_has_failed
     WHERE name = p_name AND execution_id = p_execution AND "position" = p_position
       -- a failure is not made good by the next attempt of the same step
       AND has_failed IS NOT true
    RETURNING is_canary OR p_has_failed INTO mattered;
    IF mattered THEN
        IF p_has_failed THEN
            UPDATE dependencies SET look_at = plans_now() WHERE name = p_name;
        END IF;
        PERFORM tell_reconcilers();
    END IF;
END $$;


-- Count an attempt that used a guarded dependency, and pause it if too many have failed. A
-- row for each, which nobody else writes: a counter would make all of them wait for each
-- other. One in 64 clears away what is looked at no more.
CREATE FUNCTION count_outcome(d dependencies, p_has_failed bool) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    seen record;
BEGIN
    INSERT INTO dependency_outcomes (name, has_failed, at)
    VALUES (d.name, p_has_failed, plans_now());
    IF random() < 1.0 / 64 THEN
        PERFORM clear_outcomes(d);
    END IF;
    IF NOT p_has_failed THEN
        RETURN;
    END IF;
    SELECT count(*)::int AS attempts, count(*) FILTER (WHERE o.has_failed)::int AS failures
      INTO seen
      FROM (SELECT x.has_failed, x.at FROM dependency_outcomes x
             WHERE x.name = d.name ORDER BY x.id DESC LIMIT d.of_last) AS o
     WHERE d.window_seconds IS NULL
        OR o.at > plans_now() - make_interval(secs => d.window_seconds);
    IF seen.attempts >= d.of_last AND seen.failures >= d.pause_at * seen.attempts THEN
        PERFORM pause_by_rate(d.name, format(
            '%s of the last %s attempts failed', seen.failures, seen.attempts));
    END IF;
END $$;


CREATE FUNCTION clear_outcomes(d dependencies) RETURNS void
LANGUAGE sql VOLATILE AS $$
    DELETE FROM dependency_outcomes o
     WHERE o.name = d.name AND o.id = ANY (ARRAY(
        SELECT x.id FROM dependency_outcomes x
         WHERE x.name = d.name AND x.id <= (
               SELECT y.id FROM dependency_outcomes y WHERE y.name = d.name
                ORDER BY y.id DESC OFFSET d.of_last LIMIT 1)
           FOR UPDATE SKIP LOCKED))
$$;


-- Pause a dependency because of what was seen of it. The caller holds its lock; who claims
-- a step at this moment may still start it.
CREATE FUNCTION pause_by_rate(p_name text, p_reason text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dependencies
       SET state = 'paused', since = plans_now(), by = 'plans', reason = p_reason,
           is_paused_by_rate = true, pauses = pauses + 1, round = 0,
           look_at = plans_now(), act_id = NULL
     WHERE name = p_name;
    INSERT INTO holds (kind, name, id, by, reason, created_at)
    VALUES ('dependency', p_name, gen_random_uuid(), 'plans', p_reason, plans_now())
    ON CONFLICT (kind, name) DO UPDATE SET by = excluded.by, reason = excluded.reason;
    DELETE FROM dependency_outcomes WHERE name = p_name;
    DELETE FROM dependency_passes WHERE name = p_name;
    PERFORM tell_reconcilers();
END $$;


-- Note that the process of a step vanished, or its time was over: that its own worker will
-- not tell. A loss says something of a canary only: others have their own reasons.
CREATE FUNCTION note_taken(e executions, s execution_steps, p_cause text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    used text[] := uses_of(e, s."position");
    blamed text[];
BEGIN
    IF cardinality(used) = 0 THEN
        RETURN;
    END IF;
    blamed := ARRAY(
        SELECT d.name FROM dependencies d
         WHERE d.name = ANY (used)
           AND CASE p_cause
               WHEN 'lost' THEN EXISTS (
                   SELECT FROM dependency_passes x
                    WHERE x.name = d.name AND x.execution_id = e.id
                      AND x."position" = s."position" AND x.is_canary)
               ELSE 'E002' <> ALL (d.not_failing_on)
                    AND (d.failing_on = '{}' OR 'E002' = ANY (d.failing_on)) END);
    IF cardinality(blamed) > 0 THEN
        PERFORM note_attempt(e.id, s."position", blamed, true);
    END IF;
END $$;


-- The hold of a dependency that a step would meet with its next attempt; nothing but NULLs
-- if there is none. Other holds are for steps that begin.
CREATE FUNCTION find_dependency_hold(e executions, p_position int) RETURNS holds
LANGUAGE plpgsql AS $$
DECLARE
    h holds;
BEGIN
    IF EXISTS (SELECT FROM holds x WHERE x.kind = 'dependency') THEN
        SELECT x.* INTO h FROM holds x
         WHERE x.kind = 'dependency' AND x.name = ANY (uses_of(e, p_position))
           AND NOT has_pass(e.id, p_position, x.name)
         ORDER BY x.created_at, x.name LIMIT 1;
    END IF;
    RETURN h;
END $$;


-- Let a step that was running wait for a dependency, before its next attempt. The caller
-- holds the lock and has archived the attempt. Returns the number of the last event.
CREATE FUNCTION park_running(p_execution uuid, p_position int, h holds, p_error jsonb)
RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    s execution_steps;
    seq bigint;
BEGIN
    UPDATE execution_steps
       SET status = 'waiting', waits_for = write_hold(h.kind, h.name),
           parked_at = plans_now(), lease_token = NULL, worker_id = NULL, delivery = NULL,
           claimed_at = NULL, attempt_deadline = NULL, published_at = NULL
     WHERE execution_id = p_execution AND "position" = p_position
    RETURNING * INTO s;
    SELECT next_seq INTO seq FROM executions WHERE id = p_execution;
    seq := write_events(p_execution, seq, ARRAY[ROW('step.waiting', p_position,
        jsonb_strip_nulls(jsonb_build_object(
            'attempt', s.attempt, 'error', p_error, 'waits_for', s.waits_for,
            'by', h."by", 'reason', h.reason)))::event_draft]);
    UPDATE executions SET next_seq = seq WHERE id = p_execution;
    RETURN seq - 1;
END $$;


-- Pause a dependency, whatever it is: no step that uses it starts once this has returned.
-- p_id is drawn by the caller: the same call again answers the same. landed: it was not
-- paused by a person already.
CREATE FUNCTION pause_dependency(
    p_id uuid, p_name text, p_by text, p_reason text,
    OUT landed bool, OUT hold jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    d dependencies;
    found record;
BEGIN
    PERFORM begin_write();
    INSERT INTO dependencies (name) VALUES (p_name) ON CONFLICT DO NOTHING;
    SELECT * INTO d FROM dependencies x WHERE x.name = p_name FOR NO KEY UPDATE;
    found := set_hold(p_id, 'dependency', p_name, p_by, p_reason);
    landed := found.landed OR coalesce(d.act_id = p_id, false);
    IF NOT landed AND (d.state <> 'paused' OR d.is_paused_by_rate) THEN
        -- what would go on by itself is paused until somebody resumes it
        UPDATE holds h SET by = p_by, reason = p_reason
         WHERE h.kind = 'dependency' AND h.name = p_name;
        landed := true;
    END IF;
    IF landed AND d.act_id IS DISTINCT FROM p_id
       AND EXISTS (SELECT FROM holds h WHERE h.kind = 'dependency' AND h.name = p_name) THEN
        UPDATE dependencies x
           SET state = 'paused', since = plans_now(), by = p_by, reason = p_reason,
               is_paused_by_rate = false, look_at = NULL, round = 0, act_id = p_id
         WHERE x.name = p_name;
        DELETE FROM dependency_passes x WHERE x.name = p_name;
    END IF;
    hold := (SELECT jsonb_build_array(h.by, h.reason, h.created_at)
               FROM holds h WHERE h.kind = 'dependency' AND h.name = p_name);
END $$;


-- Resume a dependency: with one step first, where any waits, or p_at_once with all. The same
-- call again answers the same. `state` is where it stands then; landed: this call has moved
-- it.
CREATE FUNCTION resume_dependency(
    p_id uuid, p_name text, p_by text, p_reason text, p_at_once bool,
    OUT landed bool, OUT state text, OUT parked int
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    d dependencies;
BEGIN
    PERFORM begin_write();
    SELECT * INTO d FROM dependencies x WHERE x.name = p_name FOR NO KEY UPDATE;
    parked := count_parked(p_name);
    state := coalesce(d.state, 'free');
    landed := coalesce(d.act_id = p_id, false);
    IF landed OR state = 'free' THEN
        RETURN;
    ELSIF p_at_once OR state = 'paused' AND parked = 0 THEN
        PERFORM free_dependency(p_name, p_id, p_by, p_reason);
        state := 'free'; landed := true;
    ELSIF state = 'paused' THEN
        UPDATE dependencies x
           SET state = 'canary', since = plans_now(), by = p_by, reason = p_reason,
               look_at = plans_now(), round = 0, counted_from = plans_now(),
               act_id = p_id
         WHERE x.name = p_name;
        PERFORM tell_reconcilers();
        state := 'canary'; landed := true;
    END IF;
END $$;


-- Let everything go on that uses a dependency. The caller holds its lock.
CREATE FUNCTION free_dependency(p_name text, p_id uuid, p_by text, p_reason text)
RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dependencies x
       SET state = 'free', since = plans_now(), by = p_by, reason = p_reason,
           is_paused_by_rate = false, look_at = NULL, round = 0, pauses = 0,
           counted_from = plans_now(), act_id = p_id
     WHERE x.name = p_name;
    PERFORM end_hold(p_id, 'dependency', p_name, p_by, p_reason);
    -- after the lock of the holds: who starts a step has it, and judges its pass
    DELETE FROM dependency_passes x WHERE x.name = p_name;
END $$;


CREATE FUNCTION count_parked(p_name text) RETURNS int
LANGUAGE sql VOLATILE AS $$
    SELECT count(*)::int FROM execution_steps s
     WHERE s.parked_at IS NOT NULL AND s.waits_for = write_hold('dependency', p_name)
$$;


-- Whether a dependency that is to be looked at can be moved on.
CREATE FUNCTION has_to_try(d dependencies) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT d.state <> 'canary'
        OR EXISTS (SELECT FROM dependency_passes x WHERE x.name = d.name)
        OR next_parked(write_hold('dependency', d.name),
                       '00000000-0000-0000-0000-000000000000') IS NOT NULL
$$;


-- When a dependency is paused by itself, and how it is tried.
CREATE FUNCTION describe_guard(d dependencies) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object(
        'pause_at', d.pause_at, 'of_last', d.of_last, 'window_seconds', d.window_seconds,
        'cooldown_seconds', d.cooldown_seconds,
        'most_cooldown_seconds', d.most_cooldown_seconds,
        'canary_seconds', d.canary_seconds, 'ramp_seconds', d.ramp_seconds,
        'on', d.failing_on, 'not_on', d.not_failing_on)
$$;


-- Guard a dependency, or guard it otherwise: p_guard is as `describe_guard` writes it.
CREATE FUNCTION guard_dependency(p_name text, p_guard jsonb, p_by text, p_reason text)
RETURNS void
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    INSERT INTO dependencies (name) VALUES (p_name) ON CONFLICT DO NOTHING;
    UPDATE dependencies x
       SET pause_at = g.pause_at, of_last = g.of_last, window_seconds = g.window_seconds,
           cooldown_seconds = g.cooldown_seconds,
           most_cooldown_seconds = g.most_cooldown_seconds,
           canary_seconds = g.canary_seconds, ramp_seconds = g.ramp_seconds,
           failing_on = ARRAY(SELECT jsonb_array_elements_text(p_guard -> 'on')),
           not_failing_on = ARRAY(SELECT jsonb_array_elements_text(p_guard -> 'not_on')),
           guarded_by = p_by, guard_reason = p_reason, guarded_at = plans_now()
      FROM jsonb_to_record(p_guard) AS g(
           pause_at float, of_last int, window_seconds float, cooldown_seconds float,
           most_cooldown_seconds float, canary_seconds float, ramp_seconds float)
     WHERE x.name = p_name;
END $$;


-- Guard a dependency no more; say whether it was. What is paused stays so.
CREATE FUNCTION unguard_dependency(p_name text, p_by text, p_reason text) RETURNS bool
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    was_guarded bool;
BEGIN
    PERFORM begin_write();
    PERFORM FROM dependencies x WHERE x.name = p_name FOR NO KEY UPDATE;
    UPDATE dependencies x
       SET pause_at = NULL, guarded_by = p_by, guard_reason = p_reason,
           guarded_at = plans_now()
     WHERE x.name = p_name AND x.pause_at IS NOT NULL;
    was_guarded := FOUND;
    DELETE FROM dependency_outcomes x WHERE x.name = p_name;
    RETURN was_guarded;
END $$;


-- Every dependency that was paused or guarded once, with what waits for it and, where it is
-- guarded, what was seen of its last attempts; those first that are not free.
CREATE FUNCTION list_dependencies() RETURNS SETOF jsonb
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT jsonb_build_object(
        'name', d.name, 'state', d.state, 'since', d.since, 'by', d.by,
        'reason', d.reason, 'look_at', d.look_at, 'pauses', d.pauses, 'guard',
        describe_guard(d), 'guarded_by', d.guarded_by, 'guard_reason', d.guard_reason,
        'guarded_at', d.guarded_at, 'parked_steps', count_parked(d.name),
        'passed_steps', (SELECT count(*) FROM dependency_passes x WHERE x.name = d.name),
        'attempts', o.attempts, 'failures', o.failures)
      FROM dependencies d
     CROSS JOIN LATERAL (
        SELECT count(*)::int AS attempts,
               count(*) FILTER (WHERE x.has_failed)::int AS failures
          FROM (SELECT y.has_failed FROM dependency_outcomes y WHERE y.name = d.name
                 ORDER BY y.id DESC LIMIT d.of_last) AS x) AS o
     ORDER BY d.state = 'free', d.name
$$;
