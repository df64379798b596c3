-- What is sent: the windows of links that become Celery chains.

-- The links of one chain: a ready step, and the run of successors that wait for
-- nothing but the step before them. Each link is
-- [position, name, queue, action, priority, number of its publication].
--
-- The head was counted as published already; the others will be when they are ready.
CREATE FUNCTION chain_window(p_execution uuid, p_position int, p_length int DEFAULT NULL)
RETURNS jsonb
LANGUAGE sql VOLATILE AS $$
    WITH RECURSIVE run AS (
        SELECT s."position", s.name, s.queue, s.action, s.priority, s.publishes,
               s.successors, 1 AS link
          FROM execution_steps s
         WHERE s.execution_id = p_execution AND s."position" = p_position
        UNION ALL
        SELECT s."position", s.name, s.queue, s.action, s.priority, s.publishes + 1,
               s.successors, run.link + 1
          FROM run
          JOIN execution_steps s
            ON s.execution_id = p_execution AND s."position" = run.successors[1]
         WHERE cardinality(run.successors) = 1 AND s.pending_deps = 1
           AND s.status = 'pending' AND run.link < coalesce(p_length, window_links())
    )
    SELECT jsonb_agg(
               jsonb_build_array("position", name, queue, action, priority, publishes)
               ORDER BY link)
      FROM run
$$;


-- The fewest messages of one execution that a queue is given at once.
CREATE FUNCTION least_messages() RETURNS int
LANGUAGE sql IMMUTABLE AS $$ SELECT 16 $$;


-- How many messages of one execution are worth sending to a queue at once: twice
-- the slots that serve it, for what is sent waits in PostgreSQL as well as in the
-- broker. Slots are counted whether they are free or not: a beat is seconds old, and
-- a slot that was busy then would leave a fan-out with a single lane.
CREATE FUNCTION publish_limit(p_queue text) RETURNS int
LANGUAGE sql VOLATILE AS $$
    SELECT greatest(least_messages(), 2 * coalesce(sum(slots), 0))::int
      FROM workers
     WHERE ended_at IS NULL AND p_queue = ANY (queues)
$$;


-- Mark ready steps of the execution that were never sent as published, and return their
-- windows: of each queue as many as its limit leaves room for, so that a fan-out over
-- several queues keeps all of them busy. The caller holds the execution's lock.
--
-- It reads one row for each queue and those that it sends, however many wait.
CREATE FUNCTION publish_ready(p_execution uuid) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    -- every name of a queue comes after it
    lane text := '';
    chosen int[] := '{}';
BEGIN
    LOOP
        -- the next queue that something waits for: one look at an index
        SELECT s.queue INTO lane FROM execution_steps s
         WHERE s.execution_id = p_execution AND s.status = 'ready'
           AND s.published_at IS NULL AND s.queue > lane
         ORDER BY s.queue
         LIMIT 1;
        EXIT WHEN NOT FOUND;
        chosen := chosen || choose_unsent(p_execution, lane);
    END LOOP;
    RETURN publish_steps(p_execution, chosen);
END $$;


-- The ready steps of an execution that are to be sent to a queue next: as many as its
-- limit leaves room for beside those that are under way.
CREATE FUNCTION choose_unsent(p_execution uuid, p_queue text) RETURNS int[]
LANGUAGE plpgsql AS $$
DECLARE
    most int := publish_limit(p_queue);
    room int;
BEGIN
    SELECT most - count(*) INTO room
      FROM (SELECT FROM execution_steps
             WHERE execution_id = p_execution AND queue = p_queue
               AND status = 'ready' AND published_at IS NOT NULL
             LIMIT most) AS under_way;
    RETURN ARRAY(
        SELECT "position" FROM execution_steps
         WHERE execution_id = p_execution AND queue = p_queue
           AND status = 'ready' AND published_at IS NULL
         ORDER BY priority DESC, "position"
         LIMIT room);
END $$;


-- The same for the next step of one queue: a lane ended, a lane begins.
CREATE FUNCTION publish_next(p_execution uuid, p_queue text) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    chosen int;
BEGIN
    SELECT "position" INTO chosen FROM execution_steps
     WHERE execution_id = p_execution AND status = 'ready' AND published_at IS NULL
       AND queue = p_queue
     ORDER BY priority DESC, "position"
     LIMIT 1;
    RETURN publish_steps(p_execution, CASE WHEN FOUND THEN ARRAY[chosen] END);
END $$;


-- Mark these ready steps as published and return their windows. The marks are
-- written before anything is sent, in the transaction that made the steps ready: a
-- crash in between looks like a lost message, and is repaired like one.
CREATE FUNCTION publish_steps(p_execution uuid, p_positions int[]) RETURNS jsonb
LANGUAGE plpgsql AS $$
BEGIN
    IF p_positions IS NULL OR p_positions = '{}' THEN
        RETURN '[]';
    END IF;
    UPDATE execution_steps
       SET published_at = plans_now(), publishes = publishes + 1
     WHERE execution_id = p_execution AND "position" = ANY (p_positions)
       AND status = 'ready';
    -- what several wait for, or nobody, is a window of its own: most of a fan-out
    RETURN (SELECT coalesce(jsonb_agg(
                       CASE WHEN cardinality(s.successors) = 1
                            THEN chain_window(p_execution, s."position")
                            ELSE jsonb_build_array(jsonb_build_array(
                                s."position", s.name, s.queue, s.action, s.priority,
                                s.publishes)) END ORDER BY chosen.n), '[]')
              FROM unnest(p_positions) WITH ORDINALITY AS chosen(p, n)
              JOIN execution_steps s
                ON s.execution_id = p_execution AND s."position" = chosen.p);
END $$;
