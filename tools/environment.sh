# Sourced by the scripts that start servers: what paths.sh says, and of the server
#
#   PG_CONFIG   of our own copy of the server that the caller's PG_CONFIG leads to (see private-server)
#   bindir      its programs, which come first on the PATH;  major: its version

source "$(dirname "${BASH_SOURCE[0]}")/paths.sh"

PG_CONFIG=$("$top/tools/private-server") || exit 1
export PG_CONFIG
bindir=$("$PG_CONFIG" --bindir)
major=$("$PG_CONFIG" --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
PATH=$bindir:$PATH

# run_make TARGET...: for that server, even if the caller's command line named another one
run_make() { make -s PG_CONFIG="$PG_CONFIG" "$@"; }
