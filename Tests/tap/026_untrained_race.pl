# A scan that has read the metapage of an untrained index comes to its pending pages when a VACUUM has trained it and moved
# the rows into lists.
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
$node->safe_psql('postgres', "CREATE FUNCTION hold_page_until(regclass, int, text) RETURNS void LANGUAGE c AS '$module'");

# The process that runs a statement like this, once it waits for this.
sub process_of
{
	my ($statement, $event) = @_;

	$node->poll_query_until('postgres',
		"SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '$statement%' AND wait_event = '$event'")
	  or die "nobody waits for $event at: $statement\n";
	return $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE query LIKE '$statement%'");
}

# The queries, each on an index of its own: in order, in a sphere, and both.
my %queries = (
	ordered => 'SELECT id FROM %s ORDER BY embedding <-> test_vector(7) LIMIT 5',
	sphere => 'SELECT count(*) FROM %s WHERE embedding <<->> wrvq_sphere(test_vector(7), 1)',
	ordered_sphere => 'SELECT id FROM %s WHERE embedding <<->> wrvq_sphere(test_vector(7), 1) ORDER BY embedding <-> test_vector(7)');

foreach my $name (sort keys %queries)
{
	my $table = "item_$name";
	my $query = sprintf $queries{$name}, $table;
	my $out = '';

	# block 1 is the first pending page
	$node->safe_psql(
		'postgres', qq(
		CREATE TABLE $table (id bigint PRIMARY KEY, embedding real[]);
		CREATE INDEX ${table}_index ON $table USING wrvq (embedding);
		INSERT INTO $table SELECT n, test_vector(n) FROM generate_series(1, 1500) AS n;));
	my $expected = $node->safe_psql('postgres', "SET enable_indexscan = off; SET enable_bitmapscan = off; $query");
	my $release = PostgreSQL::Test::Utils::tempdir . "/$name";
	my $holder = start_psql($node, [ "SELECT hold_page_until('${table}_index', 1, '$release')" ]);
	process_of("SELECT hold_page_until(''${table}_", 'Extension');
	my $scan = IPC::Run::start(
		[ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', 'SET enable_seqscan = off', '-c', $query ],
		'<', \undef, '>', \$out, '2>', \my $err);
	my $scanner = process_of((split /test_vector/, $query)[0], 'BufferContent');
	kill 'STOP', $scanner;
	append_to_file($release, '');
	$holder->finish;
	$node->safe_psql('postgres', "VACUUM $table");
	is($node->safe_psql('postgres', "SELECT wrvq_index_info('${table}_index')->>'tail' || ' of ' || (wrvq_index_info('${table}_index')->>'live')"),
		'1500 of 1500', "$name: the rows were moved into lists meanwhile");
	kill 'CONT', $scanner;
	$scan->finish;
	chomp $out;
	is($out, $expected, "$name: a scan from before finds them there");
}

unlike(slurp_file($node->logfile), qr/terminated by signal|TRAP:/, 'no process died');
$node->stop;
done_testing();
