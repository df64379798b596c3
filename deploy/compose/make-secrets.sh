#!/bin/sh
# Makes the files that docker-compose.yml hands to its services as secrets:
#
#     deploy/compose/make-secrets.sh [FOLDER]        ./secrets by default
#
# A password that is there is kept, so it may be run again after an upgrade that needs
# another one; what has a password in it, such as URLs, is made of them each time. Servers
# whose volumes are there keep the passwords that they had: docs/howto/deploying.md. Containers run under accounts of their own, which must be able to read the
# files: these are open, and the folder, which nobody but its owner may enter, is not.
set -eu
folder=${1:-${SECRETS_FOLDER:-./secrets}}
umask 022
mkdir -p "$folder"
chmod 700 "$folder"
cd "$folder"

# Letters and digits alone, which need no quoting in a URL nor in SQL.
draw() {
    LC_ALL=C tr -dc 'A-Za-z0-9' </dev/urandom | head -c 40
}

# keep NAME: writes what it reads into the file NAME, unless that is there.
keep() {
    if [ -e "$1" ]; then cat >/dev/null; else make "$1"; fi
}

# make NAME: writes what it reads into the file NAME, as a whole.
make() {
    cat >".$1"
    mv ".$1" "$1"
}

for name in postgres migrator worker producer \
    redis_worker redis_producer redis_flower redis_health rabbitmq flower; do
    draw | keep "${name}_password"
done

for role in migrator worker producer; do
    make "${role}_database_url" <<END
postgresql://plans_${role}_a:$(cat "${role}_password")@postgres:5432/plans
END
done

for user in worker producer flower; do
    make "${user}_redis_url" <<END
redis://plans_$user:$(cat "redis_${user}_password")@redis:6379/0
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
