-- Keyed executions: under one key, a plan runs as many at once as it says, and no more.
--
-- The others wait for their key. They are pending (or paused), not admitted, and each of
-- their steps without needs waits for one step more than there is: whoever sends, claims
-- or sweeps finds nothing ready. Whether the next one may begin is decided under the lock
-- of the key, and told to nobody before the commit, so that two who ask at the same time
-- cannot both find the last room. Who ends an execution need not have that lock: room that
-- is not seen yet only delays. A transaction admits one execution, for it locks its row.

-- The text of a key: that of the plan, with the values of parameters in it, behind the
-- name of the plan, which holds no colon. p_parts are texts, and paths of parameters as
-- arrays. Or why there is none.
CREATE FUNCTION render_key(
    p_name text, p_parts jsonb, p_parameters jsonb, OUT key text, OUT fault text
)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    written text := '';
    part jsonb;
    given jsonb;
BEGIN
    FOR part IN SELECT p.value FROM jsonb_array_elements(p_parts)
                    WITH ORDINALITY AS p(value, n) ORDER BY p.n
    LOOP
        given := part;
        IF jsonb_typeof(part) = 'array' THEN
            given := p_parameters #> ARRAY(SELECT jsonb_array_elements_text(part));
        END IF;
        IF coalesce(jsonb_typeof(given), '') NOT IN ('string', 'number', 'boolean') THEN
            fault := format(
                'concurrency.key: parameters.%s is %s, and a key is made of strings,'
                ' numbers and booleans',
                (SELECT string_agg(name, '.') FROM jsonb_array_elements_text(part) name),
                CASE jsonb_typeof(given) WHEN 'object' THEN 'a mapping'
                WHEN 'array' THEN 'a list' WHEN 'null' THEN 'null' ELSE 'not there' END);
            RETURN;
        END IF;
        written := written || (given #>> '{}');
    END LOOP;
    IF length(written) > 256 THEN
        fault := format('concurrency.key: has %s characters; 256 are allowed',
                        length(written));
        RETURN;
    END IF;
    key := p_name || ':' || written;
END $$;


-- The part of it that people are shown.
CREATE FUNCTION shown_key(p_key text) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT substr(p_key, strpos(p_key, ':') + 1)
$$;


-- Decide alone, until the transaction ends, who may begin under a key.
CREATE FUNCTION lock_key(p_key text) RETURNS void
LANGUAGE sql VOLATILE AS $$
    SELECT pg_advisory_xact_lock(
        hashtextextended(format('celery-plans %s %s', current_schema(), p_key), 0))
$$;


-- Whether nothing of an execution may begin yet, for it waits for its key.
CREATE FUNCTION waits_for_key(e executions) RETURNS bool
LANGUAGE sql IMMUTABLE AS $$
    SELECT e.concurrency_key IS NOT NULL AND e.admitted_at IS NULL
$$;


CREATE FUNCTION draft_held(e executions) RETURNS event_draft
LANGUAGE sql IMMUTABLE AS $$
    SELECT ROW('execution.held', NULL, jsonb_build_object(
        'key', shown_key(e.concurrency_key)))::event_draft
$$;


-- Let an execution wait for a key that it has not asked for before. The caller holds its
-- lock.
CREATE FUNCTION hold_execution(e executions, p_key text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    e.concurrency_key := p_key;
    UPDATE executions
       SET concurrency_key = p_key,
           next_seq = write_events(e.id, e.next_seq, ARRAY[draft_held(e)])
     WHERE id = e.id;
    PERFORM tell_reconcilers();
END $$;


-- Tell of new executions that they wait for their key. The number of that event was
-- known when they were inserted.
CREATE FUNCTION tell_held(p_executions uuid[]) RETURNS void
LANGUAGE sql VOLATILE AS $$
    INSERT INTO execution_events (execution_id, seq, type, data, at)
    SELECT e.id, 2, d.type, d.data, plans_now()
      FROM executions e CROSS JOIN LATERAL draft_held(e) AS d
     WHERE e.id = ANY (p_executions)
$$;


-- Who has a key, for a plan that rejects: nobody, if there is room for p_execution or it
-- was submitted before. The key is locked from here to the end of the transaction.
CREATE FUNCTION find_holders(p_key text, p_execution uuid, p_limit int) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    holders text[];
BEGIN
    PERFORM lock_key(p_key);
    IF EXISTS (SELECT FROM executions WHERE id = p_execution) THEN
        RETURN '{}';
    END IF;
    holders := ARRAY(SELECT l.id::text FROM live_under(p_key) AS l LIMIT p_limit);
    RETURN CASE WHEN cardinality(holders) < p_limit THEN '{}' ELSE holders END;
END $$;


CREATE FUNCTION describe_refusal(p_plan text, p_holders text[]) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT format('plan %s has `on_conflict: reject`, and its key belongs to execution %s',
                  p_plan, array_to_string(p_holders[:5], ', '))
$$;


-- All executions under a key that have not ended, and since when each wants to run: one
-- that is to begin later does so from then on. In two parts, each by its own index.
CREATE FUNCTION live_under(p_key text)
RETURNS TABLE (id uuid, status text, asked_at timestamptz)
LANGUAGE sql VOLATILE AS $$
    SELECT e.id, e.status, coalesce(e.starts_at, e.created_at) FROM executions e
     WHERE e.concurrency_key = p_key AND e.admitted_at IS NOT NULL AND e.ended_at IS NULL
    UNION ALL
    SELECT e.id, e.status, coalesce(e.starts_at, e.created_at) FROM executions e
     WHERE e.concurrency_key = p_key AND e.admitted_at IS NULL AND e.ended_at IS NULL
$$;


-- Who is to begin next under a key: by priority, then by submit. Who is paused lets
-- others go first. Their order is that of an index; see first_unsent.
CREATE FUNCTION next_held(p_key text) RETURNS uuid
LANGUAGE plpgsql SET enable_sort = off AS $$
BEGIN
    RETURN (SELECT id FROM executions
             WHERE concurrency_key = p_key AND admitted_at IS NULL AND ended_at IS NULL
               AND status = 'pending'
             ORDER BY concurrency_key, priority DESC, coalesce(starts_at, created_at), id
             LIMIT 1);
END $$;


-- How a key stands: who is to begin next, how many more may run, and which executions
-- newer ones replace. The plan of the next one says what holds.
CREATE FUNCTION judge_key(
    p_key text, OUT next uuid, OUT room int, OUT superseded text[]
)
LANGUAGE plpgsql AS $$
DECLARE
    rule record;
BEGIN
    next := next_held(p_key); room := 0; superseded := '{}';
    IF next IS NULL THEN
        RETURN;
    END IF;
    SELECT p.concurrency_limit AS most, p.on_conflict INTO rule
      FROM executions e JOIN plans p ON p.id = e.plan_id WHERE e.id = next;
    IF rule.on_conflict = 'cancel_older' THEN
        superseded := ARRAY(
            SELECT l.id::text FROM live_under(p_key) AS l WHERE l.status <> 'ending'
             ORDER BY l.asked_at DESC, l.id DESC OFFSET rule.most);
    END IF;
    room := rule.most - (SELECT count(*) FROM (
        SELECT FROM executions
         WHERE concurrency_key = p_key AND admitted_at IS NOT NULL AND ended_at IS NULL
         LIMIT rule.most) AS admitted);
END $$;


-- Let the next execution under a key begin, if there is room.
--
-- If newer ones replace others, nothing begins before those are ended: `superseded` are
-- to be given to supersede_execution, and then this is to be called again. `is_more` says
-- that another call may find more to do. `windows` are to be sent.
CREATE FUNCTION admit_next(
    p_key text,
    OUT execution_id uuid, OUT epoch int, OUT last_seq bigint, OUT windows jsonb,
    OUT superseded text[], OUT is_more bool
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    state record;
    e executions;
BEGIN
    PERFORM begin_write();
    -- a caller's transaction that submits may hold the key for long
    PERFORM set_config('lock_timeout', '1s', true);
    PERFORM lock_key(p_key);
    SELECT * INTO state FROM judge_key(p_key);
    windows := '[]'; superseded := state.superseded; is_more := superseded <> '{}';
    IF is_more OR state.room <= 0 THEN
        RETURN;
    END IF;
    SELECT * INTO e FROM executions WHERE id = state.next FOR NO KEY UPDATE;
    IF e.status <> 'pending' OR NOT waits_for_key(e) THEN
        -- paused or cancelled at this moment: the next one may begin
        is_more := true;
        RETURN;
    END IF;
    execution_id := e.id; epoch := e.epoch; is_more := state.room > 1;
    last_seq := admit_execution(e) - 1;
    windows := publish_ready(e.id);
END $$;


-- Give an execution its key, and make its first steps ready. The caller holds its lock.
-- Returns the number of the next event.
CREATE FUNCTION admit_execution(e executions) RETURNS bigint
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE executions SET admitted_at = plans_now() WHERE id = e.id;
    PERFORM release_roots(e, ARRAY[ROW('execution.admitted', NULL,
        jsonb_build_object('key', shown_key(e.concurrency_key)))::event_draft]);
    IF e.started_at IS NOT NULL THEN
        -- after a retry, steps may wait for what is to go on within them
        PERFORM relay_down(e.id);
    END IF;
    RETURN (SELECT next_seq FROM executions WHERE id = e.id);
END $$;


-- Those of the needs of a step that are not settled, by name; NULL if all are.
CREATE FUNCTION find_open_needs(p_execution uuid, p_needs int[]) RETURNS text
LANGUAGE sql VOLATILE AS $$
    SELECT string_agg(n.name, ', ' ORDER BY n."position")
      FROM unnest(p_needs) AS need
     CROSS JOIN LATERAL (
         SELECT t.name, t."position" FROM execution_steps t
          WHERE t.execution_id = p_execution AND t."position" = need
            AND t.status NOT IN ('completed', 'skipped') OFFSET 0) AS n
$$;


-- Whether a pending step of an execution waits for nothing but its key: one without needs
-- or, after a retry, with needs that are settled; of items, one that has a place.
CREATE FUNCTION is_held_back(e executions, s execution_steps) RETURNS bool
LANGUAGE sql VOLATILE AS $$
    SELECT CASE
        WHEN e.started_at IS NULL THEN cardinality(s.needs) = 0
        WHEN s.item_of IS NOT NULL THEN EXISTS (
            SELECT FROM execution_steps x
             WHERE x.execution_id = s.execution_id AND x."position" = s.item_of
               AND x.status = 'waiting' AND s."position" >= x.first_item
               AND s."position" < coalesce(x.next_item, x.first_item + x.item_count))
        ELSE s.stands_in_for IS NULL AND find_open_needs(e.id, s.needs) IS NULL END
$$;


-- Begin to end an execution that a newer one with its key replaces, if that is still so.
CREATE FUNCTION supersede_execution(
    p_execution uuid, OUT landed bool, OUT last_seq bigint, OUT open_steps int
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    e executions;
BEGIN
    PERFORM begin_write();
    PERFORM set_config('lock_timeout', '1s', true);
    SELECT * INTO e FROM executions WHERE id = p_execution FOR NO KEY UPDATE;
    landed := coalesce((SELECT p_execution::text = ANY (j.superseded)
                          FROM judge_key(e.concurrency_key) AS j), false);
    IF landed THEN
        landed := begin_ending(p_execution, 'cancel', 'concurrency', format(
            'a newer execution has the key %s', shown_key(e.concurrency_key)));
    END IF;
    SELECT x.next_seq - 1, x.open_steps INTO last_seq, open_steps
      FROM executions x WHERE x.id = p_execution;
END $$;


-- The first key after p_key that somebody waits for.
CREATE FUNCTION next_awaited(p_key text) RETURNS text
LANGUAGE plpgsql SET enable_sort = off AS $$
BEGIN
    RETURN (SELECT concurrency_key FROM executions
             WHERE concurrency_key > p_key AND admitted_at IS NULL AND ended_at IS NULL
             ORDER BY concurrency_key, priority DESC, coalesce(starts_at, created_at), id
             LIMIT 1);
END $$;


-- Keys under which an execution can begin, or is replaced. Two or three looks at indexes
-- for each key that somebody waits for, however many do.
CREATE FUNCTION due_keys(p_most int) RETURNS SETOF text
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    WITH RECURSIVE awaited AS (
        SELECT next_awaited('') AS key
        UNION ALL
        SELECT next_awaited(a.key) FROM awaited a WHERE a.key IS NOT NULL
    )
    SELECT a.key
      FROM awaited a CROSS JOIN LATERAL judge_key(a.key) AS j
     WHERE a.key IS NOT NULL AND (j.room > 0 OR j.superseded <> '{}')
     LIMIT p_most
$$;
