#!/bin/sh
# Prepares the database of a new server: the roles of roles.sql, and logins for them.
#
# Lies in /docker-entrypoint-initdb.d of PostgreSQL's image, and roles.sql somewhere else
# (PLANS_ROLES_SQL), for the image would run that a second time. For each password among
# the secrets (PLANS_PASSWORDS names their folder) it makes a login:
#
#     worker_password       plans_worker_a, a member of plans_worker
#     worker_password_b     plans_worker_b, a second one, while the first is replaced
#
# and so for migrator, producer and reader, and for operator, which is a member of
# plans_worker and plans_producer, for who operates also mends. A file that is there and
# empty takes the login's password away, so that nobody enters with it. No password becomes
# an argument of a program, or a line of the server's log. It may be run again: passwords
# are then those of the files, and what is there stays.
set -eu

roles_sql=${PLANS_ROLES_SQL:-/etc/celery-plans/roles.sql}
passwords=${PLANS_PASSWORDS:-/run/secrets}
schema=${PLANS_SCHEMA:-celery_plans}

ask() {
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --set "schema=$schema" \
        --username "${POSTGRES_USER:-postgres}" --dbname "${POSTGRES_DB:-postgres}" "$@"
}

# make_login LOGIN FILE ROLE…
make_login() {
    login=$1 file=$2
    shift 2
    [ -e "$file" ] || return 0
    if [ ! -s "$file" ]; then
        ask --set "login=$login" <<'SQL'
SELECT format('ALTER ROLE %I PASSWORD NULL', rolname)
  FROM pg_roles WHERE rolname = :'login'
\gexec
SQL
        return 0
    fi
    # psql reads the file by itself, and the server notes down what it makes of it
    PLANS_PASSWORD_FILE=$file ask --set "login=$login" <<'SQL'
\set password `cat "$PLANS_PASSWORD_FILE"`
SET log_statement = 'none';
SET log_min_duration_statement = -1;
SET log_min_error_statement = 'panic';
SET password_encryption = 'scram-sha-256';
SELECT format('CREATE ROLE %I LOGIN', :'login')
 WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'login')
\gexec
ALTER ROLE :"login" PASSWORD :'password';
SQL
    for role in "$@"; do
        echo 'GRANT :"role" TO :"login"' | ask --set "role=$role" --set "login=$login"
    done
}

# make_logins NAME ROLE…: the two that take turns
make_logins() {
    name=$1
    shift
    make_login "plans_${name}_a" "$passwords/${name}_password" "$@"
    make_login "plans_${name}_b" "$passwords/${name}_password_b" "$@"
}

ask --file "$roles_sql"

# The server is for plans alone: nobody else enters it, nor the logins another database of
# it, or make anything in this one. Locks and large objects, which PostgreSQL leaves to
# everybody, are for the functions of plans, which run as plans_migrator.
ask <<'SQL'
SET search_path = pg_catalog, pg_temp;
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', datname)
  FROM pg_database
 WHERE datname IN (current_database(), 'postgres', 'template1')
   AND EXISTS (SELECT FROM aclexplode(coalesce(datacl, acldefault('d', datdba)))
                WHERE grantee = 0)
\gexec
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', oid::regprocedure),
       format('GRANT EXECUTE ON FUNCTION %s TO plans_migrator', oid::regprocedure)
  FROM pg_proc
 WHERE pronamespace = 'pg_catalog'::regnamespace
   AND (proname ~ '^pg_(try_)?advisory_'
        OR proname IN ('lo_creat', 'lo_create', 'lo_from_bytea'))
\gexec
SQL

for name in migrator worker producer reader; do
    make_logins "$name" "plans_$name"
done
make_logins operator plans_worker plans_producer
