-- Schedules: what begins executions by the clock.
--
-- When a schedule is due is computed in Python, and entered here by a compare-and-set on
-- its next time and its revision: of many who find it due, one lands. That enters the time
-- as a queued run; another transaction decides what becomes of it and begins its
-- execution, both under the lock of the schedule's row. Whoever dies in between leaves a
-- queued run, which the next look finds. A transaction that has this lock takes that of no
-- execution: what it begins is a new row.

-- Schedules whose time has come.
CREATE FUNCTION due_schedules(p_most int)
RETURNS TABLE (
    name text, revision int, next_at timestamptz, cron text, every_seconds float,
    time_zone text, start_at timestamptz, end_at timestamptz, catch_up text,
    catch_up_seconds float, seen_at timestamptz
)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT s.name, s.revision, s.next_at, s.cron, s.every_seconds, s.time_zone,
           s.start_at, s.end_at, s.catch_up, s.catch_up_seconds, plans_now()
      FROM schedules s
     WHERE s.next_at <= plans_now() AND s.paused_at IS NULL
     ORDER BY s.next_at
     LIMIT p_most
$$;


-- Schedules with queued runs that somebody can see to. Those of a paused one wait, but for
-- what a person asks for.
CREATE FUNCTION queued_schedules(p_most int) RETURNS SETOF text
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT DISTINCT r.schedule FROM schedule_runs r JOIN schedules s ON s.name = r.schedule
     WHERE r.outcome = 'queued' AND (s.paused_at IS NULL OR r.trigger = 'person')
       AND (s.overlap IN ('allow', 'skip')
            OR NOT EXISTS (SELECT FROM executions e
                            WHERE e.schedule = s.name AND e.ended_at IS NULL)
            OR (s.overlap = 'cancel_older' AND EXISTS (
                    SELECT FROM executions e
                     WHERE e.schedule = s.name AND e.ended_at IS NULL
                       AND e.status <> 'ending')))
     LIMIT p_most
$$;


-- Enter the times of a schedule that have come, as queued runs, if it still stands as it
-- was read: then p_next is its next time. The first of the times that are given up stands
-- for all of them, and p_missed says so. What it cannot have is left out. Says whether it
-- landed; a repeated call does not, and need not.
CREATE FUNCTION fire_schedule(
    p_name text, p_revision int, p_next_at timestamptz, p_due timestamptz[],
    p_missed text, p_next timestamptz, OUT landed bool
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    s schedules;
    entered timestamptz[];
BEGIN
    PERFORM begin_write();
    SELECT * INTO s FROM schedules WHERE name = p_name FOR NO KEY UPDATE;
    landed := coalesce(s.revision = p_revision AND s.next_at = p_next_at
                       AND s.next_at <= plans_now() AND s.paused_at IS NULL, false);
    IF NOT landed THEN
        RETURN;
    END IF;
    entered := ARRAY(SELECT possible_times(s, p_due));
    INSERT INTO schedule_runs (id, schedule, scheduled_at, trigger, outcome, detail, at)
    SELECT gen_random_uuid(), p_name, d.at, 'timer', d.outcome, d.detail, plans_now()
      FROM (SELECT p_next_at AS at, 'missed' AS outcome, p_missed AS detail
             WHERE p_missed IS NOT NULL
            UNION ALL
            SELECT due, 'queued', NULL FROM unnest(entered) due) AS d
    ON CONFLICT (schedule, scheduled_at) WHERE trigger = 'timer' DO NOTHING;
    UPDATE schedules SET next_at = least_next(s, cardinality(entered), p_next)
     WHERE name = p_name;
    PERFORM drop_old_runs(p_name);
END $$;


-- Of what has become of the times of a schedule, the last thousand are kept.
CREATE FUNCTION drop_old_runs(p_name text) RETURNS void
LANGUAGE sql VOLATILE AS $$
    DELETE FROM schedule_runs
     WHERE schedule = p_name AND outcome <> 'queued' AND scheduled_at < (
        SELECT scheduled_at FROM schedule_runs WHERE schedule = p_name
         ORDER BY scheduled_at DESC OFFSET 1000 LIMIT 1)
$$;


-- The queued run of a schedule that is to be seen to next, with what its plan declares
-- now: the parameters are bound by the caller. No row: there is none.
CREATE FUNCTION next_run(p_name text)
RETURNS TABLE (
    run_id uuid, plan text, plan_id uuid, declarations jsonb, parameters jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    RETURN QUERY
    SELECT r.id, s.plan, p.id, p.definition -> 'parameters', s.parameters
      FROM schedules s JOIN schedule_runs r ON r.schedule = s.name
      LEFT JOIN LATERAL published_plan(s.plan) AS p ON true
     WHERE s.name = p_name AND r.outcome = 'queued'
       AND (s.paused_at IS NULL OR r.trigger = 'person')
     ORDER BY r.scheduled_at, r.id
     LIMIT 1;
END $$;


-- Decide what becomes of a queued run: begin it, give it up, or let it wait.
--
-- outcome: started (`held_key` is the key that the execution waits for, if any), skipped,
-- failed (p_fault, or what the plan refuses, in `detail`), waits (`older` are to be given
-- to supersede_run), over (it was seen to, or its plan is not p_plan: next_run says).
CREATE FUNCTION begin_run(
    p_run uuid, p_plan uuid, p_parameters jsonb, p_fault text,
    OUT outcome text, OUT detail text, OUT execution_id uuid, OUT held_key text,
    OUT older text[]
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    s schedules;
    run schedule_runs;
    live text[];
    submitted record;
BEGIN
    PERFORM begin_write();
    -- a caller's transaction that submits may hold a key of the plan for long
    PERFORM set_config('lock_timeout', '1s', true);
    older := '{}';
    SELECT x.* INTO s FROM schedules x JOIN schedule_runs r ON r.schedule = x.name
     WHERE r.id = p_run FOR NO KEY UPDATE OF x;
    SELECT * INTO run FROM schedule_runs r WHERE r.id = p_run AND r.outcome = 'queued';
    IF run.id IS NULL OR (s.paused_at IS NOT NULL AND run.trigger = 'timer')
       OR p_plan IS DISTINCT FROM (published_plan(s.plan)).id THEN
        outcome := 'over';
        RETURN;
    END IF;
    live := ARRAY(SELECT e.id::text FROM executions e
                   WHERE e.schedule = s.name AND e.ended_at IS NULL ORDER BY e.id);
    SELECT j.outcome, j.detail INTO outcome, detail FROM judge_run(s, run, live) AS j;
    IF outcome = 'waits' AND s.overlap = 'cancel_older' THEN
        older := live;
    ELSIF outcome IS NULL AND p_fault IS NOT NULL THEN
        outcome := 'failed'; detail := p_fault;
    ELSIF outcome IS NULL THEN
        SELECT * INTO submitted FROM submit_run(s, run, p_plan, p_parameters);
        outcome := submitted.outcome; detail := submitted.detail;
        execution_id := submitted.execution_id; held_key := submitted.held_key;
    END IF;
    IF outcome <> 'waits' THEN
        UPDATE schedule_runs r
           SET outcome = begin_run.outcome, detail = begin_run.detail,
               execution_id = begin_run.execution_id, at = plans_now()
         WHERE r.id = p_run;
    END IF;
END $$;


-- What the executions of a schedule that still run mean for a run: it is skipped, or it
-- waits; NULL: it may begin.
CREATE FUNCTION judge_run(
    s schedules, run schedule_runs, p_live text[], OUT outcome text, OUT detail text
)
LANGUAGE plpgsql AS $$
DECLARE
    newer timestamptz;
BEGIN
    IF s.overlap = 'cancel_older' THEN
        SELECT max(r.scheduled_at) INTO newer FROM schedule_runs r
         WHERE r.schedule = s.name AND r.outcome = 'queued'
           AND (r.scheduled_at, r.id) > (run.scheduled_at, run.id)
           AND (s.paused_at IS NULL OR r.trigger = 'person');
    END IF;
    IF newer IS NOT NULL THEN
        outcome := 'skipped';
        detail := format('the time %s replaces it', to_jsonb(newer) #>> '{}');
    ELSIF p_live = '{}' OR s.overlap = 'allow' THEN
        RETURN;
    ELSIF s.overlap = 'skip' THEN
        outcome := 'skipped'; detail := format('execution %s still runs', p_live[1]);
    ELSE
        outcome := 'waits';
    END IF;
END $$;


-- Begin the execution of a run. The caller holds the lock of the schedule.
CREATE FUNCTION submit_run(
    s schedules, run schedule_runs, p_plan uuid, p_parameters jsonb,
    OUT outcome text, OUT detail text, OUT execution_id uuid, OUT held_key text
)
LANGUAGE plpgsql AS $$
DECLARE
    p plans;
    submitted record;
BEGIN
    SELECT * INTO p FROM plans WHERE id = p_plan;
    SELECT * INTO submitted FROM submit_execution(
        draw_execution_id(), p_plan, p_parameters, NULL, s.priority,
        ARRAY(SELECT jsonb_array_elements_text(coalesce(p.definition -> 'tags', '[]')))
            || s.tags,
        p.default_queue, false);
    IF submitted.outcome = 'created' THEN
        outcome := 'started'; held_key := submitted.held_key;
        execution_id := submitted.execution_id;
        UPDATE executions e SET schedule = s.name, scheduled_at = run.scheduled_at
         WHERE e.id = submitted.execution_id;
    ELSIF submitted.outcome = 'refused' THEN
        outcome := 'skipped'; detail := describe_refusal(p.name, submitted.holders);
    ELSE
        outcome := 'failed'; detail := submitted.detail;
    END IF;
END $$;


-- Begin to end an execution of a schedule that a later run replaces, if one still waits.
CREATE FUNCTION supersede_run(
    p_execution uuid, OUT landed bool, OUT last_seq bigint, OUT open_steps int
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
BEGIN
    PERFORM begin_write();
    PERFORM set_config('lock_timeout', '1s', true);
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    landed := EXISTS (
        SELECT FROM schedules s JOIN schedule_runs r ON r.schedule = s.name
         WHERE s.name = e.schedule AND s.overlap = 'cancel_older'
           AND r.outcome = 'queued' AND r.scheduled_at >= e.scheduled_at
           AND (s.paused_at IS NULL OR r.trigger = 'person'));
    IF landed THEN
        landed := begin_ending(p_execution, 'cancel', 'schedule', format(
            'a later time of schedule %s has come', e.schedule));
    END IF;
    SELECT x.next_seq - 1, x.open_steps INTO last_seq, open_steps
      FROM executions x WHERE x.id = p_execution;
END $$;


-- What people do to schedules. Each is kept with who did it, and why.

-- Store a schedule, given as its columns. False: there is another of that name; a
-- repeated call is answered as the first one.
CREATE FUNCTION create_schedule(
    p_schedule jsonb, p_by text, p_reason text, OUT landed bool
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    INSERT INTO schedules (
        name, plan, parameters, tags, priority, cron, every_seconds, time_zone, catch_up,
        catch_up_seconds, overlap, start_at, end_at, next_at, created_at)
    SELECT g.name, g.plan, g.parameters, g.tags, g.priority, g.cron, g.every_seconds,
           g.time_zone, g.catch_up, g.catch_up_seconds, g.overlap, g.start_at, g.end_at,
           g.next_at, plans_now()
      FROM jsonb_populate_record(NULL::schedules, p_schedule) AS g
    ON CONFLICT (name) DO NOTHING;
    landed := FOUND;
    IF landed THEN
        PERFORM note_schedule(p_schedule ->> 'name', 'create', p_by, p_reason);
    ELSE
        -- a statement of its own: the one above could not see the row that won
        landed := EXISTS (
            SELECT FROM schedules s
             WHERE s.name = p_schedule ->> 'name' AND s.revision = 1
               AND to_jsonb(s) @> (SELECT to_jsonb(g) - '{paused_at,created_at,revision}'::text[]
                      FROM jsonb_populate_record(NULL::schedules, p_schedule) AS g));
    END IF;
END $$;


CREATE FUNCTION note_schedule(p_name text, p_act text, p_by text, p_reason text)
RETURNS void
LANGUAGE sql VOLATILE AS $$
    INSERT INTO schedule_changes (schedule, act, by, reason, at)
    VALUES (p_name, p_act, p_by, p_reason, plans_now())
$$;


-- Change a schedule that stands as it was read: p_schedule are its columns. Says whether
-- it landed, and at which revision it stands, NULL if there is none.
CREATE FUNCTION update_schedule(
    p_name text, p_revision int, p_schedule jsonb, p_by text, p_reason text,
    OUT landed bool, OUT revision int
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    s schedules;
BEGIN
    PERFORM begin_write();
    SELECT * INTO s FROM schedules WHERE name = p_name FOR NO KEY UPDATE;
    landed := coalesce(s.revision = p_revision, false);
    revision := s.revision;
    IF landed THEN
        s := jsonb_populate_record(s, p_schedule);
        revision := p_revision + 1;
        UPDATE schedules x
           SET plan = s.plan, parameters = s.parameters, tags = s.tags,
               priority = s.priority, cron = s.cron, every_seconds = s.every_seconds,
               time_zone = s.time_zone, catch_up = s.catch_up,
               catch_up_seconds = s.catch_up_seconds, overlap = s.overlap,
               start_at = s.start_at, end_at = s.end_at, next_at = s.next_at,
               revision = p_revision + 1
         WHERE x.name = p_name;
        PERFORM note_schedule(p_name, 'update', p_by, p_reason);
    END IF;
END $$;


-- Pause a schedule, or let it go on. It is what was asked for in any case: `landed` says
-- whether it was not before. NULL: there is none.
CREATE FUNCTION pause_schedule(
    p_name text, p_pauses bool, p_by text, p_reason text, OUT landed bool
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    s schedules;
BEGIN
    PERFORM begin_write();
    SELECT * INTO s FROM schedules WHERE name = p_name FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    landed := p_pauses = (s.paused_at IS NULL);
    IF landed THEN
        UPDATE schedules x
           SET paused_at = CASE WHEN p_pauses THEN plans_now() END, revision = x.revision + 1
         WHERE x.name = p_name;
        PERFORM note_schedule(
            p_name, CASE WHEN p_pauses THEN 'pause' ELSE 'resume' END, p_by, p_reason);
        PERFORM tell_reconcilers();
    END IF;
END $$;


-- Enter a run that a person asks for, once for each p_run; false: there is no such
-- schedule.
CREATE FUNCTION ask_run(
    p_name text, p_run uuid, p_by text, p_reason text, OUT landed bool
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    PERFORM FROM schedules WHERE name = p_name FOR NO KEY UPDATE;
    landed := FOUND;
    IF landed THEN
        INSERT INTO schedule_runs (id, schedule, scheduled_at, trigger, outcome, by,
                                   reason, at)
        VALUES (p_run, p_name, plans_now(), 'person', 'queued', p_by, p_reason,
                plans_now())
        ON CONFLICT (id) DO NOTHING;
        PERFORM tell_reconcilers();
    END IF;
END $$;


-- Forget a schedule with its runs; what it has begun goes on. Who did it is kept.
CREATE FUNCTION delete_schedule(p_name text, p_by text, p_reason text, OUT landed bool)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    PERFORM FROM schedules WHERE name = p_name FOR UPDATE;
    DELETE FROM schedules WHERE name = p_name;
    landed := FOUND;
    IF landed THEN
        PERFORM note_schedule(p_name, 'delete', p_by, p_reason);
    END IF;
END $$;
