#!/bin/sh
# Starts Redis or Valkey with the users of users.acl:
#
#     start.sh redis-server --port 6379 --dir /data …
#
# A user's password is a file among the secrets, redis_worker_password for plans_worker; a
# second one, redis_worker_password_b, is as good, while the first is being replaced. The
# server gets their hashes alone, in a file, and no password is an argument of anything.
#
#     PLANS_PASSWORDS    folder of the passwords        /run/secrets
#     PLANS_QUEUES       names of the queues            plans
#     PLANS_USERS_ACL    the template                   users.acl beside this file
#     PLANS_ACL          what is made of it             /tmp/users.acl
#
# With no command it only writes that file. A running server then reads it:
#
#     start.sh reload -p 6379      by `redis-cli`, as the user plans_health
set -eu

passwords=${PLANS_PASSWORDS:-/run/secrets}
template=${PLANS_USERS_ACL:-$(dirname "$0")/users.acl}
made=${PLANS_ACL:-/tmp/users.acl}

# name_queues BEFORE: the keys of each queue; a queue has four, one for each priority
name_queues() {
    set -f
    for queue in ${PLANS_QUEUES:-plans}; do
        printf '%s~%s %s~%s??[369] ' "$1" "$queue" "$1" "$queue"
    done
    set +f
}

# name_bindings: the keys of the exchanges that are called like the queues
name_bindings() {
    set -f
    for queue in ${PLANS_QUEUES:-plans}; do
        printf '~_kombu.binding.%s ~_kombu.binding_permanent.%s ' "$queue" "$queue"
    done
    set +f
}

# write_access USER: on with each of its passwords, or off. One that cannot be read, or is
# empty, ends all: its hash would let in whoever gives no password.
write_access() {
    hashes=
    for file in "$passwords/redis_$1_password" "$passwords/redis_$1_password_b"; do
        [ -s "$file" ] || continue
        # without the line's end, as a shell reads it
        password=$(cat "$file") || return 1
        if [ -z "$password" ]; then
            echo "start.sh: there is no password in $file" >&2
            return 1
        fi
        # `printf` is a part of the shell: this is no argument of a process
        hash=$(printf %s "$password" | sha256sum | cut -d ' ' -f 1)
        hashes="$hashes #$hash"
    done
    if [ -n "$hashes" ]; then printf 'on%s' "$hashes"; else printf off; fi
}

umask 077
# on lines of their own: within the arguments of a command nobody would see them fail
worker=$(write_access worker)
producer=$(write_access producer)
operator=$(write_access operator)
reader=$(write_access reader)
flower=$(write_access flower)
health=$(write_access health)
sed -e '/^#/d' -e '/^$/d' -e ':more' -e '/\\$/{' -e N -e 's/\\\n *//' -e 't more' -e '}' \
    -e "s/{worker}/$worker/" \
    -e "s/{producer}/$producer/" \
    -e "s/{operator}/$operator/" \
    -e "s/{reader}/$reader/" \
    -e "s/{flower}/$flower/" \
    -e "s/{health}/$health/" \
    -e "s/{queues}/$(name_queues '')/" \
    -e "s/{counted}/$(name_queues '%R')/" \
    -e "s/{bindings}/$(name_bindings)/" \
    "$template" >"$made.new"
mv "$made.new" "$made"

case ${1:-} in
"") ;;
reload)
    shift
    REDISCLI_AUTH=$(cat "$passwords/redis_health_password")
    export REDISCLI_AUTH
    exec redis-cli -e -h 127.0.0.1 "$@" --user plans_health ACL LOAD
    ;;
*) exec "$@" --aclfile "$made" ;;
esac
