"""Two thousand executions of ten steps, most of them over: a database in use."""

from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a class with a small name

from tests.rows import committed

WORKER = "00000000-0000-4000-8000-000000000001"
TOKEN = "00000000-0000-4000-8000-000000000002"  # noqa: S105  # no secret
# 1..1900 are over; of the others, every fifth is pending, paused, ending, or runs with
# a step that is claimed, or with one that is ready; of the ready ones some were never
# sent, some wait, and what runs or waits of every twentieth is beyond its deadline; the
# pending ones wait for four keys, and some of them for their time
LOAD = """
INSERT INTO plans (id, name, digest, definition, result_reads, concurrency_key,
                   concurrency_limit, on_conflict)
SELECT md5('plan' || p)::uuid, 'plan ' || p, 'digest ' || p, '{}', '{9}', '["k"]', 2,
       CASE WHEN p = 0 THEN 'cancel_older' ELSE 'queue' END
  FROM generate_series(0, 19) p;

INSERT INTO plan_steps (plan_id, "position", name, action, queue, priority, needs,
    successors, reads, survives_skips, on_failure, timeout_seconds, max_attempts,
    max_lost, inputs)
SELECT p.id, s, 's' || s, 'test.nothing', NULL, 0,
       CASE WHEN s > 0 THEN ARRAY[s - 1] ELSE '{}' END,
       CASE WHEN s < 9 THEN ARRAY[s + 1] ELSE '{}' END,
       '{}'::int[], true, 'abort', NULL, 3, 3, '{}'::jsonb
  FROM plans p CROSS JOIN generate_series(0, 9) s;

INSERT INTO workers (id, hostname, pid, pool, slots, queues, actions, pulse,
                     sampled_at, started_at, beat_at, ended_at, end_reason)
SELECT CASE w WHEN 1 THEN %(worker)s ELSE md5('worker' || w)::uuid END,
       'h', w, 'none', 4, '{q}', '{test.nothing}', 0, now(), now(), now(),
       CASE WHEN w > 4 THEN now() END, CASE WHEN w > 4 THEN 'stopped' END
  FROM generate_series(1, 40) w;

CREATE TEMPORARY TABLE kinds AS
SELECT i, md5('execution' || i)::uuid AS id,
       CASE WHEN i <= 1900 THEN 'completed'
            ELSE ('{pending,paused,ending,running,running}'::text[])[i %% 5 + 1]
       END AS status,
       CASE WHEN i <= 1900 THEN 10 WHEN i %% 5 = 0 THEN 0 ELSE 4 END AS done,
       i %% 5 = 3 AS is_claimed
  FROM generate_series(1, 2000) i;

INSERT INTO executions (id, plan_id, status, reason, open_steps, total_steps, tags,
                        digest, parameters, created_at, ended_at, next_seq, paused_at,
                        deadline, concurrency_key, starts_at, is_delayed)
SELECT id, md5('plan' || i %% 20)::uuid, status,
       CASE WHEN status IN ('completed', 'ending') THEN 'result' END,
       CASE WHEN status IN ('completed', 'ending') THEN 0 ELSE 10 - done END, 10,
       ARRAY['tag ' || i %% 100], '', '{}', now() - make_interval(mins => 2000 - i),
       CASE WHEN status = 'completed' THEN now() END, 6,
       CASE WHEN status = 'paused' THEN now() END,
       CASE WHEN i %% 20 < 5 THEN now() END,
       CASE WHEN status = 'pending' THEN 'plan ' || i %% 20 || ':k' END,
       CASE WHEN status = 'pending' AND i %% 20 = 15 THEN now() END,
       status = 'pending' AND i %% 20 = 15
  FROM kinds;

INSERT INTO execution_steps (execution_id, "position", name, action, queue, priority,
    needs, successors, pending_deps, status, attempt, ready_at, published_at, ended_at,
    lease_token, worker_id, delivery, claimed_at, attempt_deadline, wake_at, deadline)
SELECT k.id, s, 's' || s, 'test.nothing', 'q', 0, p.needs, p.successors,
       (c.status = 'pending')::int, c.status, (c.status = 'running')::int,
       CASE WHEN c.status = 'ready' THEN now() END,
       CASE WHEN c.status = 'ready' AND k.i %% 2 = 0
            THEN now() - interval '1 minute' END,
       CASE WHEN c.status = 'completed' THEN now() END,
       CASE WHEN c.status = 'running' THEN %(token)s::uuid END,
       CASE WHEN c.status = 'running' THEN %(worker)s::uuid END,
       CASE WHEN c.status = 'running' THEN 'd' END,
       CASE WHEN c.status = 'running' THEN now() END,
       CASE WHEN c.status = 'running' THEN now() END,
       CASE WHEN c.status = 'waiting' THEN now() END,
       CASE WHEN k.i %% 20 < 5 THEN now() END
  FROM kinds k
  JOIN plan_steps p ON p.plan_id = md5('plan' || k.i %% 20)::uuid
  CROSS JOIN LATERAL (SELECT p."position" AS s) AS place
  CROSS JOIN LATERAL (SELECT CASE
      WHEN s < k.done OR k.status = 'ending' THEN 'completed'
      WHEN s > k.done THEN 'pending'
      WHEN k.is_claimed THEN 'running'
      WHEN k.i %% 3 = 0 THEN 'waiting' ELSE 'ready' END AS status) AS c;

INSERT INTO execution_events (execution_id, seq, type, data, at)
SELECT id, seq, 'step.ready', '{}', now() FROM kinds, generate_series(1, 5) seq;

INSERT INTO execution_logs (execution_id, "position", attempt, number, level, source,
                            message, at)
SELECT execution_id, "position", 1, 1, 'info', 'stdout', 'told', now()
  FROM execution_steps;

INSERT INTO execution_metrics (execution_id, "position", attempt, name, value, at)
SELECT execution_id, "position", 1, 'rows', 1, now() FROM execution_steps;

INSERT INTO cached_results (digest, action, result, execution_id, step, created_at,
                            expires_at)
SELECT 'd' || i, 'test.nothing', '1', id, 's1', now(),
       now() + make_interval(mins => i - 1900)
  FROM kinds;

-- all of them were chosen twice; of the second time some are left
INSERT INTO batches (id, act, filter, status, total, next_position, next_at, counts,
                     most_failures, created_at, ended_at)
SELECT md5('batch' || n)::uuid, 'pause', '{}', CASE n WHEN 1 THEN 'completed'
       ELSE 'running' END, 2000, 1900, now(), CASE n WHEN 1 THEN '{}'::jsonb END,
       CASE n WHEN 2 THEN 500 END, now(), CASE n WHEN 1 THEN now() END
  FROM generate_series(1, 2) n;

INSERT INTO batch_items (batch_id, "position", execution_id, status, at)
SELECT md5('batch' || n)::uuid, i - 1, id, k.item,
       CASE WHEN k.item <> 'pending' THEN now() END
  FROM generate_series(1, 2) n
 CROSS JOIN LATERAL (SELECT *, CASE WHEN n = 2 AND i > 1900 THEN 'pending'
                                    WHEN i %% 50 = 0 THEN 'refused' ELSE 'done' END
                               AS item FROM kinds) AS k;

INSERT INTO execution_states (execution_id, seq, to_status, at)
SELECT id, 1, 'pending', now() FROM kinds;
"""


def load_crowd(url: str, schema: str) -> None:
    """Fill an empty schema, and let the planner know of it."""
    with committed(url, schema) as cursor:
        cursor.execute(LOAD, {"worker": WORKER, "token": TOKEN})
    with committed(url, schema) as cursor:
        cursor.execute("ANALYZE")


def find_execution(cursor: Cursor, status: str, step_status: str | None = None) -> str:
    """Return an execution in that state, with a step in that one if it is given."""
    cursor.execute(
        "SELECT e.id::text FROM executions e"
        "  JOIN execution_steps s ON s.execution_id = e.id"
        " WHERE e.status = %s AND s.status = coalesce(%s, s.status)"
        " ORDER BY e.id LIMIT 1",
        (status, step_status),
    )
    return str(cursor.fetchall()[0][0])
