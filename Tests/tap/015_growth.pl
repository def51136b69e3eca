# An index whose rows are all replaced, time and again, stays as small and as good as a fresh one; and one whose rows
# have become others says so.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use List::Util qw(min);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

my $rows = 20000;
my $cycles = 10;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf(
	'postgresql.conf', q(
autovacuum = off
fsync = off
max_wal_size = 2GB
));
$node->start;
create_schema($node);

# recall($index): share of the true ten nearest rows that a search finds, for 500 vectors that are no rows.
sub recall
{
	my ($index) = @_;
	my $other = $index eq 'item_index' ? 'fresh_index' : 'item_index';
	my $search = '(SELECT array_agg(id) FROM (SELECT id FROM item ORDER BY embedding <-> v LIMIT 10) AS found)';

	# the other index out of the way, for this session only
	return $node->safe_psql(
		'postgres', qq(
		BEGIN;
		CREATE TEMP TABLE query ON COMMIT DROP AS SELECT n, test_vector(n + 90000000) AS v FROM generate_series(1, 500) AS n;
		SET LOCAL enable_indexscan = off;
		CREATE TEMP TABLE truth ON COMMIT DROP AS SELECT n, $search AS ids FROM query;
		SET LOCAL enable_indexscan = on;
		SET LOCAL enable_seqscan = off;
		UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass('$other');
		SELECT avg((SELECT count(*) FROM unnest(ids) AS id WHERE id = ANY (f)))::float8 / 10
			FROM (SELECT ids, $search AS f FROM query JOIN truth USING (n)) AS pair;
		ROLLBACK));
}

sub value { return $node->safe_psql('postgres', "SELECT $_[0]") }

# the second one with lists long enough that the codebook does not know the first rows by heart
foreach my $options ('spill = 1', 'spill = 2, lists = 100')
{
	$node->safe_psql('postgres', $_) foreach (
		'DROP TABLE IF EXISTS item', "CREATE TABLE item AS SELECT n AS id, test_vector(n) AS embedding FROM generate_series(1, $rows) AS n",
		"CREATE INDEX item_index ON item USING wrvq (embedding) WITH ($options)");
	foreach my $cycle (1 .. $cycles)
	{
		$node->safe_psql('postgres', "UPDATE item SET embedding = test_vector(id + $cycle * 1000000)");
		$node->safe_psql('postgres', 'VACUUM item');
	}
	# the replaced index is compared with one made of the same rows
	$node->safe_psql('postgres', "CREATE INDEX fresh_index ON item USING wrvq (embedding) WITH ($options)");
	my $growth = value("pg_relation_size('item_index')::float8 / pg_relation_size('fresh_index')");
	my ($old, $fresh) = map { recall("${_}_index") } ('item', 'fresh');
	note("$options: $growth times the size, recall $old and $fresh");
	cmp_ok($growth, '<=', 1.3, "$options: after $cycles replacements of every row it is hardly larger");
	# as much as it is to find, or as one that finds less: what a fresh one finds beyond the target is its sample's luck
	cmp_ok($old, '>=', min($fresh, 0.95) - 0.01, "$options: and finds as much");
	is(value("(wrvq_index_info('item_index')->>'dead')::int < 0.3 * $rows"), 't', "$options: few entries are dead");
	is(value("coalesce(wrvq_index_info('item_index')->>'advice', 'none')"), 'none', "$options: there is nothing to do about it");
	$node->safe_psql('postgres', 'DROP INDEX fresh_index');
	index_agrees($node, 'item', "$options: it agrees with its table");
}

# --- rows that are deleted: the index gives their room back to the file system, in the end ---
my $before = value("pg_relation_size('item_index')");
$node->safe_psql('postgres', $_) foreach ('DELETE FROM item WHERE id % 10 > 0', 'VACUUM item');
cmp_ok(value("pg_relation_size('item_index')::float8 / $before"), '<', 0.4, 'a tenth of the rows takes less than half of the room');
index_agrees($node, 'item', 'it agrees with its table');
# not while somebody has it open
my $reader = hold($node, 'SET enable_seqscan = off', 'SELECT id FROM item ORDER BY embedding <-> test_vector(1) LIMIT 1');
$before = value("pg_relation_size('item_index')");
$node->safe_psql('postgres', $_) foreach ("INSERT INTO item SELECT n, test_vector(n) FROM generate_series(100001, 120000) AS n",
	'DELETE FROM item WHERE id > 100000', 'VACUUM item');
cmp_ok(value("pg_relation_size('item_index')"), '>', 2 * $before, 'VACUUM does not wait for a reader to give room back');
release($node, $reader);
$node->safe_psql('postgres', 'VACUUM item');
cmp_ok(value("pg_relation_size('item_index')"), '<', 1.5 * $before, 'and does it another time');
$node->safe_psql('postgres', "INSERT INTO item SELECT n, test_vector(n) FROM generate_series(200001, 220000) AS n");

# --- drift ---

# vectors of other directions than any before
$node->safe_psql(
	'postgres', qq(
	INSERT INTO item SELECT n, (SELECT array_agg((CASE WHEN (j + n) % 2 = 0 THEN -1 ELSE 1 END * v)::real ORDER BY j)
			FROM unnest(test_vector(n)) WITH ORDINALITY AS e (v, j))
		FROM generate_series(9000001, 9000001 + $rows) AS n));
cmp_ok(value("(wrvq_index_info('item_index')->>'recent_loss')::float8 / (wrvq_index_info('item_index')->>'loss')::float8"),
	'>', 1.25, 'the loss of recent rows is far above that at build');
like(value("wrvq_index_info('item_index')->>'advice'"), qr/^REINDEX: recent rows are unlike/, 'which the index says');
$node->safe_psql('postgres', 'REINDEX INDEX item_index');
is(value("coalesce(wrvq_index_info('item_index')->>'advice', 'none')"), 'none', 'until REINDEX');

$node->stop;
done_testing();
