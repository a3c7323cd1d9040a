#!/bin/bash
# The part of the official image's contract that is needed here: an empty PGDATA gets a database with the password
# POSTGRES_PASSWORD, and then the scripts of /docker-entrypoint-initdb.d; the server is not run as root.
set -eu
export PGDATA=${PGDATA:-/var/lib/postgresql/data}
[ $# -gt 0 ] || set -- postgres
[ "$1" = postgres ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA"
    chown -R postgres "$PGDATA"
    chmod 700 "$PGDATA"
    exec setpriv --reuid=postgres --regid=postgres --clear-groups "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -z "${POSTGRES_PASSWORD:-}" ]; then
        echo 'POSTGRES_PASSWORD is needed to make a database' >&2
        exit 1
    fi
    # shellcheck disable=SC2086 # these are several arguments
    initdb -D "$PGDATA" -U postgres --auth-local=trust --auth-host=scram-sha-256 --pwfile=<(echo "$POSTGRES_PASSWORD") \
        ${POSTGRES_INITDB_ARGS:-}
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start
    for script in /docker-entrypoint-initdb.d/*.sh; do
        # shellcheck disable=SC1090
        [ ! -e "$script" ] || . "$script"
    done
    pg_ctl -D "$PGDATA" -m fast -w stop
fi
# As the sample configuration of the official image does.
exec "$@" -c listen_addresses='*'
