# Rows of other sessions that a snapshot does not see, nearer to a query than those that it does: not committed, deleted for
# everybody else, or come later; on a standby, too.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

my $node = PostgreSQL::Test::Cluster->new('primary');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "autovacuum = off\nfsync = off\n");
$node->start;
create_schema($node);

# 20 queries.  Around each there are 250 rows that are in the way.
$node->safe_psql(
	'postgres', q(
	CREATE FUNCTION near_vector(n bigint, m bigint) RETURNS real[] LANGUAGE sql IMMUTABLE AS $$
		SELECT array_agg((x + 1e-3 * (hashint8extended(m, i) % 1000 / 1e3))::real ORDER BY i)
		FROM unnest(test_vector(n)) WITH ORDINALITY AS element (x, i)
	$$;
	CREATE TABLE item (id bigint PRIMARY KEY, embedding real[]);
	INSERT INTO item SELECT n, test_vector(n) FROM generate_series(1, 6000) AS n;
	CREATE INDEX item_index ON item USING wrvq (embedding);));
my $in_the_way = q(SELECT 1000 * n + m, near_vector(n, m) FROM generate_series(1000001, 1000020) AS n, generate_series(1, 250) AS m);

# Of the ten rows nearest to each query, the share that the index finds; in one statement, for one snapshot.
sub share_found
{
	my ($server, $before) = @_;
	my $rows = sub {
		my ($settings, $aside) = @_;
		return $server->safe_psql('postgres', "$settings " . ($before // '') . q(
			SELECT n || ':' || id FROM (SELECT n, test_vector(n) AS v FROM generate_series(1000001, 1000020) AS n OFFSET 0) AS query,
			LATERAL (SELECT id FROM item ORDER BY embedding <-> v LIMIT 10) AS nearest));
	};
	my %true = map { $_ => 1 } split /\n/, $rows->('SET enable_indexscan = off; SET enable_bitmapscan = off;');
	my @found = grep { $true{$_} } split /\n/, $rows->('SET enable_seqscan = off; SET enable_sort = off;');

	note(@found . ' of ' . keys %true);
	return @found / keys %true;
}

cmp_ok(share_found($node), '>', 0.9, 'rows are found');
my $holder = hold($node, "INSERT INTO item $in_the_way");
cmp_ok(share_found($node), '>', 0.9, 'they are beyond rows that are not committed');
release($node, $holder);
cmp_ok(share_found($node), '>', 0.9, 'and beyond those of a transaction that was rolled back');

# what one session deletes the others still see, until it commits; then nobody does
$node->safe_psql('postgres', "INSERT INTO item $in_the_way");
$holder = hold($node, 'DELETE FROM item WHERE id > 1000000');
cmp_ok(share_found($node), '>', 0.9, 'rows are found that another session deletes');
release($node, $holder);
$node->backup('backup');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'backup', has_streaming => 1);
$standby->start;
$node->safe_psql('postgres', 'DELETE FROM item WHERE id > 1000000');
cmp_ok(share_found($node), '>', 0.9, 'those behind are found once it has committed');
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
cmp_ok(share_found($standby), '>', 0.9, 'on a standby, too');

# wrvq_recall() searches with a snapshot as everybody does
$node->safe_psql('postgres', q(
	UPDATE item SET embedding = embedding WHERE id <= 6000;
	UPDATE item SET embedding = embedding WHERE id <= 6000;
	UPDATE item SET embedding = embedding WHERE id <= 6000;));
cmp_ok($node->safe_psql('postgres', q(SELECT wrvq_recall('item_index', 10, 50))), '>', 0.9, 'rows are found beyond their old versions');
index_agrees($node, 'item', 'the index agrees with the table');

$standby->stop;
$node->stop;
done_testing();
