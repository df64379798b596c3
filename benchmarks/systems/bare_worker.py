"""One connection of the floor: runs the steps of the ids that it is told, line by line.

    python -m benchmarks.systems.bare_worker DSN

Answers each line with the times at which the executions on it ended.
"""

import json
import sys
import time

import psycopg2

STEP = """
WITH done AS (
    UPDATE step SET status = 'completed', ended_at = clock_timestamp()
     WHERE execution_id = %(id)s AND position = %(position)s AND status = 'ready'
    RETURNING execution_id, position
), told AS (
    INSERT INTO event (execution_id, seq, type, at)
    SELECT execution_id, position, 'step.completed', clock_timestamp() FROM done
)
INSERT INTO checkpoint (execution_id, position, data)
SELECT execution_id, position, '{"result": null}'::jsonb FROM done
"""


def main() -> None:
    """Run what standard input asks for until it ends."""
    connection = psycopg2.connect(sys.argv[1])
    connection.autocommit = True
    with connection.cursor() as cursor:
        for line in sys.stdin:
            order = json.loads(line)
            ends = {}
            for execution_id in order["ids"]:
                for position in range(order["steps"]):
                    cursor.execute(STEP, {"id": execution_id, "position": position})
                    if cursor.rowcount != 1:
                        raise SystemExit("a step was not there")
                ends[execution_id] = time.time()
            sys.stdout.write(json.dumps(ends) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
