-- What is paused beside single executions: all of a plan, of a tag, of a queue.
--
-- A hold is one row, however much it stops, and covers what is submitted later as well.
-- It is met where steps start: who would start one takes a lock that any number share,
-- and reads the holds in a later statement. Who sets a hold takes that lock alone: those
-- who looked before have committed by then, and all others see it. A step that meets a hold
-- is parked: it waits, holds nothing, and counts nothing; its time stands still. Once the
-- hold is gone, those who resumed it, and the reconcilers, make the step ready again.

-- Share the lock of the holds until the transaction ends; always true. The caller holds
-- the lock of an execution, and takes that of no other one. An expression and not a
-- query, so that a step that starts pays for no executor.
CREATE FUNCTION share_holds() RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT pg_advisory_xact_lock_shared(1886152040, 'holds'::regclass::oid::int)
           IS NOT NULL
$$;


-- Take the lock of the holds alone, when nobody is about to start a step. Those who are
-- wait behind it, so a stranger who never lets go of it must not stop them for long.
CREATE FUNCTION lock_holds() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('lock_timeout', '5s', true);
    PERFORM pg_advisory_xact_lock(1886152040, 'holds'::regclass::oid::int);
END $$;


-- What a hold would have to be of to cover a step. Plans and tags are those of its
-- execution and of those that this one lies within; of an end, and of a rollback, they
-- hold nothing: these come after a cancel, too. A queue holds whatever runs in it.
CREATE FUNCTION hold_names(e executions, p_position int, p_queue text, p_section text)
RETURNS TABLE (kind text, name text)
LANGUAGE sql VOLATILE AS $$
    WITH RECURSIVE lineage AS (
        SELECT e.plan_id, e.tags, e.parent_id, e.parent_position
         WHERE p_section = 'steps'
        UNION ALL
        SELECT x.plan_id, x.tags, x.parent_id, x.parent_position
          FROM lineage l
          JOIN executions x ON x.id = l.parent_id
          JOIN execution_steps s ON s.execution_id = l.parent_id
                                AND s."position" = l.parent_position
                                AND s.section = 'steps'
    )
    SELECT 'queue', p_queue
    UNION ALL
    SELECT 'plan', p.name FROM lineage l JOIN plans p ON p.id = l.plan_id
    UNION ALL
    SELECT 'tag', tag FROM lineage l CROSS JOIN unnest(l.tags) AS tag
    UNION ALL
    SELECT 'dependency', used FROM unnest(uses_of(e, p_position)) AS used
     WHERE NOT has_pass(e.id, p_position, used)
$$;


-- The hold that a step meets, the oldest of several; nothing but NULLs if there is none.
CREATE FUNCTION find_hold(e executions, p_position int, p_queue text, p_section text)
RETURNS holds
LANGUAGE plpgsql AS $$
DECLARE
    h holds;
BEGIN
    SELECT x.* INTO h
      FROM hold_names(e, p_position, p_queue, p_section) AS n
      JOIN holds x ON x.kind = n.kind AND x.name = n.name
     ORDER BY x.created_at, x.kind, x.name
     LIMIT 1;
    RETURN h;
END $$;


-- Whether a step meets a hold. Asked only where there are any.
CREATE FUNCTION meets_hold(
    e executions, p_position int, p_queue text, p_section text
) RETURNS bool
LANGUAGE plpgsql AS $$
BEGIN
    RETURN (find_hold(e, p_position, p_queue, p_section)).kind IS NOT NULL;
END $$;


-- How a step says which hold it waits for.
CREATE FUNCTION write_hold(p_kind text, p_name text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT p_kind || ':' || p_name
$$;


-- Whether what a parked step waits for is still held.
CREATE FUNCTION is_on_hold(p_waits_for text) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT EXISTS (
        SELECT FROM holds h
         WHERE h.kind = split_part(p_waits_for, ':', 1)
           AND h.name = substr(p_waits_for, strpos(p_waits_for, ':') + 1))
$$;


-- Hold all of a plan, a tag or a queue, unless it is held. p_id is drawn by the caller: the
-- same call again answers the same, also after a resume. Else the answer is the hold that
-- there is.
CREATE FUNCTION set_hold(
    p_id uuid, p_kind text, p_name text, p_by text, p_reason text,
    OUT landed bool, OUT hold jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    PERFORM lock_holds();
    SELECT true, to_jsonb(p) INTO landed, hold FROM past_holds p WHERE p.id = p_id;
    IF landed THEN
        RETURN;
    END IF;
    INSERT INTO holds (kind, name, id, by, reason, created_at)
    VALUES (p_kind, p_name, p_id, p_by, p_reason, plans_now())
    ON CONFLICT DO NOTHING;
    SELECT h.id = p_id, to_jsonb(h) INTO landed, hold
      FROM holds h WHERE h.kind = p_kind AND h.name = p_name;
END $$;


-- End a hold. What it has parked goes on by and by; the reconcilers are told. p_id is drawn
-- by the caller: the same call again answers the same. Without a hold, nothing was
-- held.
CREATE FUNCTION end_hold(
    p_id uuid, p_kind text, p_name text, p_by text, p_reason text,
    OUT landed bool, OUT hold jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM begin_write();
    PERFORM lock_holds();
    WITH ended AS (
        DELETE FROM holds h WHERE h.kind = p_kind AND h.name = p_name RETURNING h.*
    )
    INSERT INTO past_holds (kind, name, id, by, reason, created_at,
                            resume_id, resumed_by, resume_reason, resumed_at)
    SELECT e.kind, e.name, e.id, e.by, e.reason, e.created_at,
           p_id, p_by, p_reason, plans_now()
      FROM ended e;
    SELECT true, to_jsonb(p) INTO landed, hold
      FROM past_holds p
     WHERE p.kind = p_kind AND p.name = p_name AND p.resume_id = p_id;
    landed := coalesce(landed, false);
    IF landed THEN
        PERFORM tell_reconcilers();
    END IF;
END $$;


-- Park a ready step that has met a hold, and what waits unsent beside it for the same one:
-- it would be sent only to be parked. The caller holds the lock. Returns the number of the
-- last event.
CREATE FUNCTION park_held(e executions, p_position int, h holds) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    drafts event_draft[];
BEGIN
    WITH parked AS (
        UPDATE execution_steps n
           SET status = 'waiting', waits_for = write_hold(h.kind, h.name),
               parked_at = plans_now(), published_at = NULL
         WHERE n.execution_id = e.id AND n.status = 'ready'
           AND (n."position" = p_position
                OR n.published_at IS NULL AND CASE h.kind
                   WHEN 'queue' THEN n.queue = h.name
                   WHEN 'dependency' THEN false ELSE n.section = 'steps' END)
        RETURNING n."position", n.attempt
    )
    SELECT array_agg(ROW('step.waiting', p."position", jsonb_strip_nulls(
               jsonb_build_object(
                   'attempt', p.attempt, 'waits_for', write_hold(h.kind, h.name),
                   'by', h."by", 'reason', h.reason)))::event_draft ORDER BY p."position")
      INTO drafts FROM parked p;
    e.next_seq := write_events(e.id, e.next_seq, drafts);
    UPDATE executions SET next_seq = e.next_seq WHERE id = e.id;
    RETURN e.next_seq - 1;
END $$;


-- Make those parked steps of an execution ready that are held no more, and send them if it
-- is not paused; unless somebody has locked it. One that meets another hold is parked anew.
CREATE FUNCTION unpark_steps(
    p_execution uuid, OUT woken int, OUT epoch int, OUT last_seq bigint, OUT windows jsonb
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
    freed int[];
    drafts event_draft[];
BEGIN
    PERFORM begin_write();
    woken := 0; windows := '[]';
    SELECT * INTO e FROM executions WHERE id = p_execution
       FOR NO KEY UPDATE SKIP LOCKED;
    SELECT array_agg(s."position" ORDER BY s."position"),
           array_agg(draft_unparked(s) ORDER BY s."position")
      INTO freed, drafts
      FROM execution_steps s
     WHERE s.execution_id = e.id AND s.parked_at IS NOT NULL
       AND (NOT is_on_hold(s.waits_for) OR is_let_through(s));
    IF freed IS NULL THEN
        RETURN;
    END IF;
    UPDATE execution_steps s
       SET status = 'ready', ready_at = plans_now(), waits_for = NULL, parked_at = NULL,
           -- what a pause of the execution took beside it is given back by its resume
           deadline = s.deadline + (coalesce(e.paused_at, plans_now()) - s.parked_at)
     WHERE s.execution_id = e.id AND s."position" = ANY (freed);
    PERFORM extend_parents(e.id, freed);
    woken := cardinality(freed); epoch := e.epoch;
    last_seq := write_events(e.id, e.next_seq, drafts) - 1;
    UPDATE executions SET next_seq = last_seq + 1 WHERE id = e.id;
    IF e.status IN ('pending', 'running', 'ending') THEN
        windows := publish_ready(e.id);
    END IF;
END $$;


-- What the timeline says of a step that goes on: who has resumed what it waited for.
CREATE FUNCTION draft_unparked(s execution_steps) RETURNS event_draft
LANGUAGE sql VOLATILE AS $$
    SELECT ROW('step.ready', s."position", jsonb_strip_nulls(jsonb_build_object(
               'resumed', s.waits_for, 'by', p.resumed_by, 'reason', p.resume_reason
               )))::event_draft
      FROM (VALUES (1)) AS always
      LEFT JOIN LATERAL (
          SELECT * FROM past_holds h
           WHERE h.kind = split_part(s.waits_for, ':', 1)
             AND h.name = substr(s.waits_for, strpos(s.waits_for, ':') + 1)
           ORDER BY h.resumed_at DESC LIMIT 1) AS p ON true
$$;


-- Give the time that these steps were parked to the steps that they are items of, and so
-- to the other items: all of them have one deadline.
CREATE FUNCTION extend_parents(p_execution uuid, p_positions int[]) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    parent record;
BEGIN
    FOR parent IN
        SELECT s.item_of, max(s.deadline) AS deadline FROM execution_steps s
         WHERE s.execution_id = p_execution AND s."position" = ANY (p_positions)
           AND s.item_of IS NOT NULL AND s.deadline IS NOT NULL
         GROUP BY s.item_of
    LOOP
        UPDATE execution_steps s
           SET deadline = greatest(s.deadline, parent.deadline)
         WHERE s.execution_id = p_execution AND s.ended_at IS NULL
           AND (s."position" = parent.item_of OR s.item_of = parent.item_of);
    END LOOP;
END $$;


-- The first name after p_name that parked steps wait for. Its order is that of an index;
-- see first_unsent.
CREATE FUNCTION next_parking(p_name text) RETURNS text
LANGUAGE plpgsql SET enable_sort = off AS $$
BEGIN
    RETURN (SELECT s.waits_for FROM execution_steps s
             WHERE s.parked_at IS NOT NULL AND s.waits_for > p_name
             ORDER BY s.waits_for, s.execution_id
             LIMIT 1);
END $$;


-- The first execution after p_execution with a step that is parked for p_name.
CREATE FUNCTION next_parked(p_name text, p_execution uuid) RETURNS uuid
LANGUAGE plpgsql SET enable_sort = off AS $$
BEGIN
    RETURN (SELECT s.execution_id FROM execution_steps s
             WHERE s.parked_at IS NOT NULL AND s.waits_for = p_name
               AND s.execution_id > p_execution
             ORDER BY s.waits_for, s.execution_id
             LIMIT 1);
END $$;


-- Executions with parked steps that are held no more. One look at an index for each name
-- that is waited for, and one for each execution that is found.
CREATE FUNCTION resumable_executions(p_most int) RETURNS SETOF uuid
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    WITH RECURSIVE parkings AS (
        SELECT next_parking('') AS name
        UNION ALL
        SELECT next_parking(p.name) FROM parkings p WHERE p.name IS NOT NULL
    ), free AS (
        SELECT p.name FROM parkings p WHERE p.name IS NOT NULL AND NOT is_on_hold(p.name)
    ), found AS (
        SELECT f.name, next_parked(f.name, '00000000-0000-0000-0000-000000000000') AS id
          FROM free f
        UNION ALL
        SELECT f.name, next_parked(f.name, f.id) FROM found f WHERE f.id IS NOT NULL
    )
    -- a limit of its own: what sorts out who was found twice would look for all of them
    (SELECT id FROM found WHERE id IS NOT NULL LIMIT p_most)
    UNION
    SELECT passing FROM passing_executions() AS passing
    LIMIT p_most
$$;


-- The steps that run of what p_kind and p_name stand for, up to p_most, the oldest first.
CREATE FUNCTION running_under(p_kind text, p_name text, p_most int)
RETURNS TABLE (execution_id uuid, step text, hostname text, claimed_at timestamptz)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT s.execution_id, s.name, w.hostname, s.claimed_at
      FROM execution_steps s
      -- OFFSET 0 keeps each look-up one of its own: joined, the planner may read all
      -- executions
     CROSS JOIN LATERAL (
         SELECT x AS row FROM executions x WHERE x.id = s.execution_id OFFSET 0) AS e
      LEFT JOIN workers w ON w.id = s.worker_id
     WHERE s.status = 'running' AND EXISTS (
           SELECT FROM hold_names(e.row, s."position", s.queue, s.section) AS n
            WHERE n.kind = p_kind AND n.name = p_name)
     ORDER BY s.claimed_at, s.execution_id, s."position"
     LIMIT p_most
$$;


-- The holds that keep executions from going on: those of their plans and tags, and of the
-- queues that their ready and parked steps are to run in.
CREATE FUNCTION holds_of(p_executions uuid[])
RETURNS TABLE (
    execution_id uuid, kind text, name text, by text, reason text, created_at timestamptz
)
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT e.id, h.kind, h.name, h.by, h.reason, h.created_at
      FROM executions e CROSS JOIN holds h
     WHERE e.id = ANY (p_executions) AND e.ended_at IS NULL
       AND (EXISTS (SELECT FROM execution_steps s
                     WHERE s.execution_id = e.id AND s.parked_at IS NOT NULL
                       AND s.waits_for = write_hold(h.kind, h.name))
            OR h.kind = 'queue' AND EXISTS (
                SELECT FROM execution_steps s
                 WHERE s.execution_id = e.id AND s.status = 'ready' AND s.queue = h.name)
            OR e.status <> 'ending' AND EXISTS (
                SELECT FROM hold_names(e, NULL, NULL, 'steps') AS n
                 WHERE n.kind = h.kind AND n.name = h.name))
     ORDER BY e.id, h.created_at, h.kind, h.name
$$;
