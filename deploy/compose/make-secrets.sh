#!/bin/sh
# Makes the files that docker-compose.yml hands to its services as secrets:
#
#     deploy/compose/make-secrets.sh [FOLDER]        ./secrets by default
#
# A password that is there is kept, so it may be run again after an upgrade that needs
# another one; what has a password in it, such as URLs, is made of them each time.
#
# Each program has room for two passwords, worker_password and worker_password_b, which
# both hold while one takes the place of the other: docs/howto/deploying.md.
#
#     make-secrets.sh --renew [FOLDER]       draws the second ones; the URLs name them
#     make-secrets.sh --retire [FOLDER]      empties the files that no URL names
#
# What is there is written in place: a container has a file, and not the folder. Containers
# run under accounts of their own, which must be able to read the files: these are open, and
# the folder, which nobody but its owner may enter, is not.
set -eu
task=make
case ${1:-} in
--renew | --retire)
    task=${1#--}
    shift
    ;;
esac
folder=${1:-${SECRETS_FOLDER:-./secrets}}
umask 022
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"

renewed="migrator worker producer operator"
renewed="$renewed redis_worker redis_producer redis_operator redis_flower"

# Letters and digits alone, which need no quoting in a URL nor in SQL.
draw() {
    LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | head -c 40
}

# make NAME: writes what it reads into the file NAME, unless it says that already.
make() {
    text=$(cat)
    if [ ! -e "$1" ]; then
        printf '%s\n' "$text" >".$1"
        mv ".$1" "$1"
    elif [ "$(cat "$1")" != "$text" ]; then
        printf '%s\n' "$text" >"$1"
    fi
}

# keep NAME: draws a password into the file NAME, unless that is there.
keep() {
    [ -e "$1" ] || draw | make "$1"
}

# empty NAME: nothing is in the file; it is there.
empty() {
    : >"$1"
}

# Which of the two the URLs name: `a` is in worker_password, `b` in worker_password_b.
turn=$(cat turn 2>/dev/null || echo a)
case $turn in
a) now='' other=_b next=b ;;
*) now=_b other='' next=a ;;
esac

for name in postgres redis_health rabbitmq flower; do
    keep "${name}_password"
done
for name in $renewed; do
    keep "${name}_password$now"
    [ -e "${name}_password$other" ] || empty "${name}_password$other"
done

case $task in
renew)
    for name in $renewed; do
        if [ -s "${name}_password$other" ]; then
            echo "make-secrets.sh: two passwords hold; --retire takes the old one away" >&2
            exit 1
        fi
    done
    for name in $renewed; do
        draw | make "${name}_password$other"
    done
    now=$other turn=$next
    echo "$turn" | make turn
    ;;
retire)
    for name in $renewed; do
        empty "${name}_password$other"
    done
    ;;
esac

for role in migrator worker producer operator; do
    make "${role}_database_url" <<END
postgresql://plans_${role}_$turn:$(cat "${role}_password$now")@postgres:5432/plans
END
done

for user in worker producer operator flower; do
    make "${user}_redis_url" <<END
redis://plans_$user:$(cat "redis_${user}_password$now")@redis:6379/0
END
done

make flower_logins <<END
operator:$(cat flower_password)
END

make rabbitmq_url <<END
amqp://plans:$(cat rabbitmq_password)@rabbitmq:5672//
END

make rabbitmq.conf <<END
default_user = plans
default_pass = $(cat rabbitmq_password)
END
