-- The way in for those who have no Python: other languages, triggers, psql.

-- Name a stored plan as the one that its name stands for from now on. Steps that name
-- no queue, and whose action has none, go to p_queue. Where the version of that name is
-- published with another body, nothing changes, and taken_by is the digest of that.
CREATE FUNCTION publish_plan(
    p_plan uuid, p_queue text, OUT moment timestamptz, OUT taken_by text
)
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    p plans;
BEGIN
    PERFORM begin_write();
    SELECT * INTO p FROM plans WHERE id = p_plan;
    -- whoever publishes under this name at the same time waits here, and then sees us
    PERFORM pg_advisory_xact_lock(hashtextextended(
        format('celery-plans publish %s %s', current_schema(), p.name), 0));
    SELECT digest INTO taken_by FROM plans
     WHERE name = p.name AND version = p.version AND published_at IS NOT NULL
       AND id <> p.id;
    IF taken_by IS NULL THEN
        UPDATE plans SET published_at = plans_now(), default_queue = p_queue
         WHERE id = p.id RETURNING published_at INTO moment;
    END IF;
END $$;


-- The published plan that NAME or NAME@VERSION stands for. Without a version, that is
-- the one that was published last. Names hold no @.
CREATE FUNCTION published_plan(p_name text) RETURNS plans
LANGUAGE sql VOLATILE SET search_path FROM CURRENT AS $$
    SELECT * FROM plans
     WHERE name = split_part(p_name, '@', 1) AND published_at IS NOT NULL
       AND (strpos(p_name, '@') = 0
            OR version = substr(p_name, strpos(p_name, '@') + 1))
     ORDER BY published_at DESC, id DESC LIMIT 1
$$;


-- Begin an execution of a published plan (NAME, or NAME@VERSION), in the caller's
-- transaction: it is there if,
-- and as soon as, that commits. Returns its id; the same key with the same plan,
-- parameters, tags, priority and moment returns the id that was given first. With an `at`
-- that is to come, it begins then.
--
-- SELECT celery_plans.submit('nightly-etl', '{"day": "2026-11-21"}', 'etl-2026-11-21');
-- SELECT celery_plans.submit('nightly-etl', at => now() + interval '2 hours');
CREATE FUNCTION submit(
    plan text, parameters jsonb DEFAULT '{}', key text DEFAULT NULL,
    tags text[] DEFAULT '{}', priority int DEFAULT 0, at timestamptz DEFAULT NULL
) RETURNS uuid
LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
DECLARE
    p plans := published_plan(plan);
    submitted record;
BEGIN
    PERFORM begin_write();
    IF p.id IS NULL THEN
        RAISE EXCEPTION 'no plan % is published', quote_literal(plan)
            USING ERRCODE = 'no_data_found', HINT = 'Publish it: plans publish FILE';
    ELSIF at IN ('infinity', '-infinity') THEN
        RAISE EXCEPTION 'an execution begins at a moment, not at %', at
            USING ERRCODE = 'check_violation';
    ELSIF priority IS NULL OR priority NOT BETWEEN 0 AND 9 THEN
        RAISE EXCEPTION 'the priority must be from 0 to 9, and is %',
            coalesce(priority::text, 'null') USING ERRCODE = 'check_violation';
    END IF;
    SELECT * INTO submitted FROM submit_execution(
        draw_execution_id(), p.id,
        bind_parameters(coalesce(p.definition -> 'parameters', '{}'), parameters),
        key, priority,
        ARRAY(SELECT jsonb_array_elements_text(coalesce(p.definition -> 'tags', '[]')))
            || coalesce(tags, '{}'),
        p.default_queue, false, at);
    IF submitted.outcome = 'faulty' THEN
        RAISE EXCEPTION '%', submitted.detail USING ERRCODE = 'invalid_parameter_value';
    ELSIF submitted.outcome = 'refused' THEN
        RAISE EXCEPTION '%', describe_refusal(p.name, submitted.holders)
            USING ERRCODE = 'object_in_use';
    ELSIF submitted.outcome = 'conflict' THEN
        RAISE EXCEPTION 'the key % belongs to execution %, which has another body',
            quote_literal(key), submitted.execution_id USING ERRCODE = 'unique_violation';
    END IF;
    RETURN submitted.execution_id;
END $$;


-- A new UUIDv7 (RFC 9562, 5.7): 48 bits of milliseconds, the rest random.
CREATE FUNCTION draw_execution_id() RETURNS uuid
LANGUAGE sql VOLATILE AS $$
    SELECT encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid()) PLACING
                substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint)
                          FROM 3)
                FROM 1 FOR 6),
            -- the version, 0100 as it was drawn, becomes 0111
            52, 1), 53, 1), 'hex')::uuid
$$;


-- The value of every declared parameter, as Python binds them, or an error that lists
-- what does not fit. Declarations that only Python can judge are refused.
CREATE FUNCTION bind_parameters(p_declared jsonb, p_given jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
BEGIN
    IF jsonb_typeof(p_given) IS DISTINCT FROM 'object' THEN
        RAISE EXCEPTION 'the parameters must be a JSON object'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN bind_values(
        p_declared, p_given, 'parameters', 'the plan has no such parameter');
END $$;


-- The same of any object: p_place is where it stands, p_unknown what is wrong with a value
-- that is not declared.
CREATE FUNCTION bind_values(
    p_declared jsonb, p_given jsonb, p_place text, p_unknown text
) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    faults text[];
BEGIN
    SELECT array_agg(format('%s.%s: %s', p_place, name, fault) ORDER BY name) INTO faults
      FROM (SELECT g.name, p_unknown AS fault
              FROM jsonb_object_keys(p_given) AS g(name) WHERE NOT p_declared ? g.name
            UNION ALL
            SELECT d.key, parameter_fault(d.value, p_given -> d.key)
              FROM jsonb_each(p_declared) d) AS found(name, fault)
     WHERE fault IS NOT NULL;
    IF faults IS NOT NULL THEN
        RAISE EXCEPTION '%', array_to_string(faults, E'\n')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN (SELECT coalesce(jsonb_object_agg(d.key, coalesce(
                nullif(p_given -> d.key, 'null'), d.value -> 'default', 'null')), '{}')
              FROM jsonb_each(p_declared) d);
END $$;


-- What is wrong with the value of one parameter; NULL if nothing is.
CREATE FUNCTION parameter_fault(p_declared jsonb, p_value jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    kind text := p_declared ->> 'type';
    given text := jsonb_typeof(p_value);
    weight numeric;
BEGIN
    IF p_value IS NULL OR (given = 'null' AND NOT p_declared ? 'default'
                           AND coalesce(p_declared ->> 'required', '') <> 'true') THEN
        RETURN CASE WHEN p_declared ->> 'required' = 'true'
                    THEN 'is required, and was not given' END;
    ELSIF kind IN ('duration', 'datetime') OR p_declared ?| '{pattern,items}' THEN
        RETURN 'has a declaration that only Python can check; submit from Python,'
            ' or leave it out';
    ELSIF given <> (CASE kind WHEN 'integer' THEN 'number' ELSE kind END)
          OR (kind = 'integer' AND p_value::text !~ '^-?[0-9]+$') THEN
        RETURN format('must be of type %s, and is %s', kind, left(p_value::text, 80));
    ELSIF octet_length(p_value::text) > 262144 THEN
        RETURN 'takes more than 256 kB';
    ELSIF kind = 'integer' AND abs((p_value #>> '{}')::numeric) > 9007199254740992 THEN
        RETURN 'is beyond 2^53, and not every reader can hold it';
    ELSIF given = 'number' AND abs((p_value #>> '{}')::numeric) > 1.7976931348623157e308 THEN
        RETURN 'is beyond what a number can hold';
    ELSIF p_declared ? 'enum' AND NOT EXISTS (
            SELECT FROM jsonb_array_elements(p_declared -> 'enum') c WHERE c = p_value) THEN
        RETURN format('must be one of %s, and is %s', p_declared ->> 'enum',
                      left(p_value::text, 80));
    END IF;
    weight := CASE kind WHEN 'string' THEN length(p_value #>> '{}')
                        WHEN 'array' THEN jsonb_array_length(p_value)
                        WHEN 'object' THEN NULL WHEN 'boolean' THEN NULL
                        ELSE (p_value #>> '{}')::numeric END;
    RETURN CASE
        WHEN weight < (p_declared ->> 'min')::numeric THEN format(
            'must be at least %s, and is %s', p_declared ->> 'min', weight)
        WHEN weight > (p_declared ->> 'max')::numeric THEN format(
            'must be at most %s, and is %s', p_declared ->> 'max', weight) END;
END $$;
