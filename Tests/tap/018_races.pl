# Moments that chance seldom finds, made to order: one process is stopped where it is, while another goes on.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

my $module = test_module('wrvq_hold');

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf(
	'postgresql.conf', q(
autovacuum = off
fsync = off
));
$node->start;
create_schema($node);

# One list: the pages at the end of the index are its tail, and what VACUUM writes anew comes behind them.  (6,001 rows end
# in a block with room.)
$node->safe_psql(
	'postgres', qq(
	CREATE FUNCTION hold_page_until(regclass, int, text) RETURNS void LANGUAGE c AS '$module';
	CREATE TABLE item (id bigint PRIMARY KEY, embedding real[]);
	INSERT INTO item SELECT n, test_vector(n) FROM generate_series(1, 6001) AS n;
	CREATE INDEX item_index ON item USING wrvq (embedding) WITH (lists = 1);
	DELETE FROM item WHERE id % 2 = 0;));

sub blocks { return $node->safe_psql('postgres', q(SELECT pg_relation_size('item_index') / 8192)) }

# The row nearest to the one that is inserted, by the index.
sub nearest
{
	return $node->safe_psql('postgres', q(SET enable_seqscan = off; SET wrvq.rerank = 100000;
		SELECT id FROM item ORDER BY embedding <-> test_vector(1000000) LIMIT 1));
}

# The process that runs a statement like this; waits for it, and for what it waits for if that is said.
sub process_of
{
	my ($statement, $event) = @_;
	my $condition = "query LIKE '$statement%'" . ($event ? " AND wait_event = '$event'" : '');

	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE $condition") or die "nobody is at: $statement\n";
	return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE $condition");
}

# --- an insert that has read where a list's tail is, and comes there when VACUUM has given the list another one and has copied
# the old one's entries, but has not freed it yet ---
my $blocks = blocks();
my $release = $node->basedir . '/release';
my $holder = start_psql($node, "SELECT hold_page_until('item_index', " . ($blocks - 1) . ", '$release')");
process_of('SELECT hold_page', 'Extension');
my $insert = start_psql($node, q(INSERT INTO item VALUES (1000000, test_vector(1000000))));
my $inserter = process_of('INSERT INTO item', 'BufferContent');
kill 'STOP', $inserter;
append_to_file($release, '');
$holder->finish;
# it sleeps for 400 ms behind every page, so that it can be stopped between two of some seven that it writes
my $vacuum = start_psql($node, [ 'SET vacuum_cost_delay = 100', 'SET vacuum_cost_limit = 1', 'VACUUM item' ]);
my $vacuumer = process_of('VACUUM item');
# by the second new page the old entries are copied and being written
$node->poll_query_until('postgres', qq(SELECT pg_relation_size('item_index') / 8192 >= $blocks + 2)) or die "VACUUM rewrites nothing\n";
kill 'STOP', $vacuumer;
kill 'CONT', $inserter;
$insert->finish;
is($node->safe_psql('postgres', 'SELECT count(*) FROM item WHERE id = 1000000'), 1, 'an insert in the middle of VACUUM ends');
is(nearest(), 1000000, 'what it inserted is found while VACUUM stands still');
kill 'CONT', $vacuumer;
$vacuum->finish;
is(nearest(), 1000000, 'and when VACUUM has freed what it copied');
index_agrees($node, 'item', 'the index agrees with the table');

unlike(slurp_file($node->logfile), qr/terminated by signal|TRAP:/, 'no process died');
$node->stop;
done_testing();
