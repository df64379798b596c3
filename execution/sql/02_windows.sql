-- What is sent: the windows of links that become Celery chains.

-- The links of one chain: a ready step, and the run of successors that wait for
-- nothing but the step before them. Each link is
-- [position, name, queue, action, priority, number of its publication].
--
-- The head was counted as published already; the others will be when they are ready.
CREATE FUNCTION chain_window(p_execution uuid, p_position int, p_length int DEFAULT 16)
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
           AND s.status = 'pending' AND run.link < p_length
    )
    SELECT jsonb_agg(
               jsonb_build_array("position", name, queue, action, priority, publishes)
               ORDER BY link)
      FROM run
$$;


-- How many messages of one execution are worth sending to a queue at once: twice
-- the slots that serve it, for what is sent waits in PostgreSQL as well as in the
-- broker. Slots are counted whether they are free or not: a beat is seconds old, and
-- a slot that was busy then would leave a fan-out with a single lane.
CREATE FUNCTION publish_limit(p_queue text) RETURNS int
LANGUAGE sql VOLATILE AS $$
    SELECT greatest(16, 2 * coalesce(sum(slots), 0))::int
      FROM workers
     WHERE ended_at IS NULL AND p_queue = ANY (queues)
$$;


-- Mark ready steps of the execution that were never sent as published, and return their
-- windows: of each queue as many as its limit leaves room for, so that a fan-out over
-- several queues keeps all of them busy. The caller holds the execution's lock.
CREATE FUNCTION publish_ready(p_execution uuid) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    chosen int[];
BEGIN
    WITH ready AS (
        SELECT "position", queue, published_at,
               row_number() OVER (PARTITION BY queue, published_at IS NULL
                                  ORDER BY priority DESC, "position") AS rank,
               count(published_at) OVER (PARTITION BY queue) AS under_way
          FROM execution_steps
         WHERE execution_id = p_execution AND status = 'ready'
    ), limits AS (
        SELECT queue, publish_limit(queue) AS most FROM (SELECT DISTINCT queue FROM ready) q
    )
    SELECT array_agg("position" ORDER BY "position") INTO chosen
      FROM ready JOIN limits USING (queue)
     WHERE published_at IS NULL AND rank + under_way <= most;
    RETURN publish_steps(p_execution, chosen);
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
    IF p_positions IS NULL THEN
        RETURN '[]';
    END IF;
    UPDATE execution_steps
       SET published_at = plans_now(), publishes = publishes + 1
     WHERE execution_id = p_execution AND "position" = ANY (p_positions)
       AND status = 'ready';
    RETURN (SELECT coalesce(jsonb_agg(chain_window(p_execution, p) ORDER BY n), '[]')
              FROM unnest(p_positions) WITH ORDINALITY AS chosen(p, n));
END $$;
