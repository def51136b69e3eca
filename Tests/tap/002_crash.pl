# A crash at any moment leaves an index that agrees with its table.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use TestWRVQ;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
# Recovery compares every page it has replayed with what it was.
$node->append_conf(
	'postgresql.conf', q(
autovacuum = off
wal_consistency_checking = 'generic'
));
$node->start;
create_schema($node);
$node->safe_psql(
	'postgres', q(
	CREATE SEQUENCE ids;
	CREATE TABLE item (id bigint PRIMARY KEY DEFAULT nextval('ids'), embedding real[]);
	INSERT INTO item (embedding) SELECT test_vector(n) FROM generate_series(1, 3000) AS n;
	CREATE INDEX item_embedding_idx ON item USING wrvq (embedding) WITH (lists = 20);));

# --- right after the build ---
$node->stop('immediate');
$node->start;
index_agrees($node, 'item', 'after the build');

# --- kill -9 while three sessions write and one of them vacuums ---

# No two vectors alike: rows at the same distance may come in any order.
my $insert_three = q(INSERT INTO item SELECT id, test_vector(id + 2000000) FROM (SELECT nextval('ids') AS id FROM generate_series(1, 3)) AS three);
# What each session commits, small transaction by small transaction, until the server is gone.
my $insert = qq(DO \$\$ BEGIN LOOP
	$insert_three;
	COMMIT;
END LOOP; END \$\$);
my $change = q(DO $$ BEGIN LOOP
	UPDATE item SET embedding = test_vector(nextval('ids') + 2000000) WHERE id % 97 = floor(random() * 97);
	COMMIT;
	DELETE FROM item WHERE id % 211 = floor(random() * 211);
	COMMIT;
END LOOP; END $$);

foreach my $round (1 .. 4)
{
	my $before = $node->safe_psql('postgres', 'SELECT last_value FROM ids');
	my @sessions = (start_psql($node, $insert), start_psql($node, $change));
	# later and later, vacuums on the way
	usleep(300_000 * $round);
	$node->safe_psql('postgres', 'VACUUM item') if $round > 1;
	$node->poll_query_until('postgres', "SELECT max(id) > $before FROM item") or die "nobody inserts\n";
	usleep(200_000);
	push @sessions, start_psql($node, 'VACUUM item');
	usleep(5_000 * $round);
	crash_and_recover($node, @sessions);
	cmp_ok($node->safe_psql('postgres', 'SELECT max(id) FROM item'), '>', $before, "round $round: rows were committed before the crash");
	index_agrees($node, 'item', "round $round: after kill -9 while writing");
	# its duties go on
	$node->safe_psql('postgres', $_) foreach ('VACUUM item', $insert_three);
	index_agrees($node, 'item', "round $round: vacuumed and inserted afterwards");
}

# --- in the middle of a build ---
my $build = start_psql($node, 'CREATE INDEX interrupted ON item USING wrvq (embedding real_cosine_ops)');
usleep(150_000);
crash_and_recover($node, $build);
index_agrees($node, 'item', 'after kill -9 during the build of another index');
$node->safe_psql('postgres', $_) foreach ('DROP INDEX IF EXISTS interrupted',
	'CREATE INDEX interrupted ON item USING wrvq (embedding real_cosine_ops)');
index_agrees($node, 'item', 'the interrupted build, repeated', operator => '<=>');

# --- an unlogged table is empty after a crash, and so is its index ---
$node->safe_psql(
	'postgres', q(
	CREATE UNLOGGED TABLE scratch (id bigint, embedding real[]);
	INSERT INTO scratch SELECT n, test_vector(n) FROM generate_series(1, 500) AS n;
	CREATE INDEX ON scratch USING wrvq (embedding);));
index_agrees($node, 'scratch', 'an unlogged index');
$node->stop('immediate');
$node->start;
is(rows_in($node, 'scratch'), 0, 'an unlogged table is empty after a crash');
index_agrees($node, 'scratch', 'an unlogged index is empty after a crash');
$node->safe_psql('postgres', 'INSERT INTO scratch SELECT n, test_vector(n) FROM generate_series(1, 300) AS n');
index_agrees($node, 'scratch', 'an unlogged index fills again');

unlike(slurp_file($node->logfile), qr/inconsistent page found/, 'no replayed page differs from the original');
$node->stop;
done_testing();
