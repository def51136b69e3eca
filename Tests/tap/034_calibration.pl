# An index that its rows trained measures itself: what a search then visits, who measures, and what an interruption leaves.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', "autovacuum = off\n");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION wrvq');
$node->safe_psql(
	'postgres', q{
	SELECT setseed(0.34);
	CREATE TABLE source AS SELECT i AS id, (SELECT array_agg((random() + c)::real) FROM generate_series(1, 16) j, (SELECT i % 40 / 10.0 AS c) s)
		AS embedding FROM generate_series(1, 10500) i;
	CREATE TABLE item (id int, embedding real[]);
	CREATE INDEX item_l2 ON item USING wrvq (embedding);
	INSERT INTO item SELECT * FROM source});

# The lists that a search visits, and how many there are.
sub lists_visited
{
	my ($result, $stdout, $stderr) = $node->psql(
		'postgres', q{
		SET client_min_messages = debug1; SET enable_seqscan = off;
		SELECT id FROM item ORDER BY embedding <-> (SELECT embedding FROM source WHERE id = 77) LIMIT 10});
	is($result, 0, 'a search works');
	return $stderr =~ /wrvq scan of "item_l2": \d+ rounds, (\d+) of (\d+) lists/ ? ($1, $2) : ();
}

sub measured
{
	return $node->safe_psql('postgres', q{SELECT wrvq_index_info('item_l2')->'calibration'});
}

my ($visited, $lists) = lists_visited();
cmp_ok($visited, '<', $lists / 2, 'an index that its rows trained has measured that it need not visit all lists');
$node->safe_psql('postgres', q{SELECT wrvq_calibrate('item_l2')});
($visited, $lists) = lists_visited();
cmp_ok($visited, '<', $lists / 2, 'nor does it once wrvq_calibrate() has measured anew');

# VACUUM keeps a curve that fits, writes nothing for it, and measures anew what has shrunk.
my $curve = measured();
$node->safe_psql('postgres', 'VACUUM item');
is(measured(), $curve, 'VACUUM leaves a curve alone that fits');
$node->safe_psql('postgres', 'DELETE FROM item WHERE id % 10 <> 0; VACUUM item');
isnt(measured(), $curve, 'VACUUM measures anew when nine tenths were deleted');
my $recall = $node->safe_psql('postgres', q{SELECT wrvq_recall('item_l2', 10, 500)});
cmp_ok($recall, '>', 0.93, "recall is what the target asks for: $recall");
$node->safe_psql('postgres', q{SELECT wrvq_check('item_l2')});

# The curve is in WAL: it is there after a crash.
$curve = measured();
# VACUUM has no transaction number whose commit would flush its WAL: the next one that has does
$node->safe_psql('postgres', 'CREATE TABLE flushed ()');
$node->stop('immediate');
$node->start;
is(measured(), $curve, 'the curve survives a crash');

done_testing();
