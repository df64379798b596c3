-- The roles of celery-plans: one for each kind of program, none of which can log in.
--
--   psql -v ON_ERROR_STOP=1 -d shop -f roles.sql
--   psql -v ON_ERROR_STOP=1 -d shop -v schema=my_plans -f roles.sql
--
-- Run it as a superuser in the database that holds the plans, or is to hold them; again
-- whenever you like. Then log in as a member of plans_migrator for `plans db upgrade`: it
-- makes the tables and functions, and grants the others what they need, each time.
--
-- A schema that is there already goes over to plans_migrator with all that is in it.

\set ON_ERROR_STOP on
\if :{?schema}
\else
    \set schema celery_plans
\endif

-- nobody's operators but PostgreSQL's own, whatever was made in a schema on the path
SET search_path = pg_catalog, pg_temp;

BEGIN;

SELECT format('CREATE ROLE %I NOLOGIN', name)
  FROM unnest(ARRAY['plans_migrator', 'plans_worker', 'plans_producer', 'plans_reader'])
       AS name
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name)
\gexec

SELECT format('GRANT CONNECT ON DATABASE %I TO plans_migrator, plans_worker,'
              ' plans_producer, plans_reader', current_database())
\gexec

-- the schema alone: the migrator needs no right to make others
CREATE SCHEMA IF NOT EXISTS :"schema" AUTHORIZATION plans_migrator;
ALTER SCHEMA :"schema" OWNER TO plans_migrator;

SELECT format('ALTER %s %s OWNER TO plans_migrator',
              CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, c.oid::regclass)
  FROM pg_class c
 WHERE c.relnamespace = :'schema'::regnamespace AND c.relkind IN ('r', 'p', 'v')
   AND c.relowner <> 'plans_migrator'::regrole
UNION ALL
SELECT format('ALTER ROUTINE %s OWNER TO plans_migrator', p.oid::regprocedure)
  FROM pg_proc p
 WHERE p.pronamespace = :'schema'::regnamespace
   AND p.proowner <> 'plans_migrator'::regrole
   AND obj_description(p.oid, 'pg_proc') = 'celery-plans'
UNION ALL
SELECT format('ALTER TYPE %s OWNER TO plans_migrator', t.oid::regtype)
  FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid
 WHERE t.typnamespace = :'schema'::regnamespace AND c.relkind = 'c'
   AND t.typowner <> 'plans_migrator'::regrole
\gexec

COMMIT;
