# Sourced by the scripts beside it and by the demo: where things are, and who may run a server.
#
#   top           the repository
#   bindir        the server's programs;  major: its version
#   server_user   a server refuses to run as root, so root runs it as postgres
#   work          where servers keep their files: build/, or a folder in
#                 /var/tmp when the postgres user cannot enter the clone (under /root, say)

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
PG_CONFIG=${PG_CONFIG:-pg_config}
bindir=$("$PG_CONFIG" --bindir)
major=$("$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')

# What the caller's shell says about some server must not lead us to it.
unset PGHOST PGHOSTADDR PGPORT PGUSER PGPASSWORD PGDATABASE PGSERVICE PGOPTIONS PGDATA

if [ "$(id -u)" = 0 ]; then
  server_user=postgres
else
  server_user=$(id -un)
fi

# as_server_user COMMAND...: from a folder that this user can enter, with absolute paths
as_server_user() {
  if [ "$(id -u)" = 0 ]; then
    (cd "$work" && exec runuser -u "$server_user" -- env HOME="$work" "$@")
  else
    (cd "$work" && exec "$@")
  fi
}

short_hash() { printf '%s' "$1" | cksum | cut -d ' ' -f 1; }

mkdir -p "$top/build"
work=$top/build
if [ "$(id -u)" = 0 ] && ! runuser -u "$server_user" -- test -x "$work"; then
  shared=/var/tmp
  work=$shared/wrvq-$(short_hash "$top")
  mkdir -p "$work"
  # others may write there too: take the folder only if it is ours
  [ -O "$work" ] && [ ! -L "$work" ] || { echo "$work belongs to somebody else" >&2; exit 1; }
  chmod 755 "$work"
fi
