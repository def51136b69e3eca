# Sourced by environment.sh and by the scripts that need no server: where things are, and who may run a server.
#
#   top           the repository
#   server_user   a server refuses to run as root, so root runs it as postgres, or as nobody where there is no postgres
#   work          where servers keep their files: build/, or a folder in
#                 /var/tmp when that user cannot enter the clone (under /root, say)

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

# runuser is there, which a plain `su` leaves out
PATH=$PATH:/usr/sbin:/sbin

# What the caller's shell says about some server must not lead us to it.
unset PGHOST PGHOSTADDR PGPORT PGUSER PGPASSWORD PGDATABASE PGSERVICE PGOPTIONS PGDATA

if [ "$(id -u)" != 0 ]; then
  server_user=$(id -un)
elif id -u postgres >/dev/null 2>&1; then
  server_user=postgres
else
  server_user=nobody
fi

# as_server_user COMMAND...: from a folder that this user can enter, with absolute paths
as_server_user() {
  if [ "$(id -u)" = 0 ]; then
    (cd "$work" && exec runuser -u "$server_user" -- env HOME="$work" "$@")
  else
    (cd "$work" && exec "$@")
  fi
}

# A server with this file in its folder of shared files is ours alone: a copy, or one that tools/servers brought.
private_mark=wrvq-private-copy

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

# libpq's headers, where tools/dependencies had to bring them
if [ -e "$top/build/libpq/libpq.pc" ]; then
  export PKG_CONFIG_PATH=$top/build/libpq${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}
fi
