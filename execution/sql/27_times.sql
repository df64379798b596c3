-- The times of schedules, which Python works out, are held to what can be: who fires one is
-- a worker, and is not to begin executions as it likes.

-- How far apart the times of a schedule are at least.
CREATE FUNCTION pace_of(s schedules) RETURNS interval
LANGUAGE sql IMMUTABLE AS $$
    SELECT make_interval(secs => coalesce(s.every_seconds, 60))
$$;


-- Of the times that somebody has worked out for a schedule, those that it can have by now:
-- none before its next time, as many as fit in between, and one alone unless it makes up
-- for all.
CREATE FUNCTION possible_times(s schedules, p_due timestamptz[]) RETURNS SETOF timestamptz
LANGUAGE sql VOLATILE AS $$
    SELECT DISTINCT due FROM unnest(p_due) due
     WHERE due BETWEEN s.next_at AND least(plans_now(), s.end_at)
     ORDER BY due
     LIMIT CASE s.catch_up WHEN 'all'
           THEN 1 + ceil(extract(epoch FROM plans_now() - s.next_at)
                         / extract(epoch FROM pace_of(s))) ELSE 1 END
$$;


-- The next time of a schedule that has just had so many: the one that somebody has worked
-- out, unless that is so early that it would have more of them than there can be. NULL:
-- there is none any more.
CREATE FUNCTION least_next(s schedules, p_had int, p_next timestamptz)
RETURNS timestamptz
LANGUAGE sql VOLATILE AS $$
    SELECT CASE WHEN p_next IS NOT NULL THEN greatest(
        -- a length in seconds is rounded here, and was rounded there
        p_next, s.next_at + greatest(1, p_had) * (pace_of(s) - interval '1 ms')) END
$$;
