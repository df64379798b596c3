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
         -- OFFSET 0 keeps each look-up one of its own: joined, the planner may read all
         -- the rows of the execution
         CROSS JOIN LATERAL (
             SELECT * FROM execution_steps t
              WHERE t.execution_id = p_execution AND t."position" = run.successors[1]
             OFFSET 0
         ) AS s
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
        lane := next_unsent_queue(p_execution, lane);
        EXIT WHEN lane IS NULL;
        chosen := chosen || first_unsent(p_execution, lane, room_in(p_execution, lane));
    END LOOP;
    RETURN publish_steps(p_execution, chosen);
END $$;


-- The same for the next step of one queue: a lane ended, a lane begins.
CREATE FUNCTION publish_next(p_execution uuid, p_queue text) RETURNS jsonb
LANGUAGE plpgsql AS $$
BEGIN
    RETURN publish_steps(p_execution, first_unsent(p_execution, p_queue, 1));
END $$;


-- How many more messages of an execution a queue is given, beside those under way.
CREATE FUNCTION room_in(p_execution uuid, p_queue text) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
    most int := publish_limit(p_queue);
BEGIN
    RETURN most - (SELECT count(*) FROM (
        SELECT FROM execution_steps
         WHERE execution_id = p_execution AND queue = p_queue
           AND status = 'ready' AND published_at IS NOT NULL
         LIMIT most) AS under_way);
END $$;


-- The first ready steps of an execution that wait to be sent to a queue. Their order is
-- that of an index. Where the table has grown since it was analysed, the planner would
-- rather sort, and read what waits in all the executions of the queue.
CREATE FUNCTION first_unsent(p_execution uuid, p_queue text, p_most int) RETURNS int[]
LANGUAGE plpgsql SET enable_sort = off AS $$
BEGIN
    RETURN ARRAY(
        SELECT "position" FROM execution_steps
         WHERE execution_id = p_execution AND queue = p_queue
           AND status = 'ready' AND published_at IS NULL
         ORDER BY priority DESC, "position"
         LIMIT p_most);
END $$;


-- The first queue after p_queue for which something of an execution waits.
CREATE FUNCTION next_unsent_queue(p_execution uuid, p_queue text) RETURNS text
LANGUAGE plpgsql SET enable_sort = off AS $$
BEGIN
    RETURN (SELECT queue FROM execution_steps
             WHERE execution_id = p_execution AND queue > p_queue
               AND status = 'ready' AND published_at IS NULL
             -- the whole order of the index, so that no other one serves
             ORDER BY queue, priority DESC, "position"
             LIMIT 1);
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
       -- said so that no index of what is ready seems to serve: it would read all of it
       AND CASE status WHEN 'ready' THEN true END;
    RETURN (
        SELECT coalesce(jsonb_agg(
                   -- what several wait for, or nobody, is a window of its own: most of a
                   -- fan-out
                   CASE WHEN cardinality(s.successors) = 1
                        THEN chain_window(p_execution, s."position")
                        ELSE jsonb_build_array(jsonb_build_array(
                            s."position", s.name, s.queue, s.action, s.priority,
                            s.publishes)) END ORDER BY chosen.n), '[]')
          FROM unnest(p_positions) WITH ORDINALITY AS chosen(p, n)
          -- OFFSET 0 keeps each look-up one of its own: joined, the planner may read all
          -- the rows of the execution
          CROSS JOIN LATERAL (
              SELECT * FROM execution_steps t
               WHERE t.execution_id = p_execution AND t."position" = chosen.p OFFSET 0
          ) AS s);
END $$;
