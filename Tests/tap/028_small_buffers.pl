# A server with as few shared buffers as it starts with: sessions that search, insert, vacuum and build side by side find room
# for their pages, since none of them pins more than it needs.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf(
	'postgresql.conf', q(
autovacuum = off
fsync = off
min_parallel_table_scan_size = 0
));
$node->start;
create_schema($node);
$node->safe_psql('postgres', $_) foreach (
	'CREATE SEQUENCE ids START 10001',
	'CREATE TABLE item AS SELECT n AS id, test_vector(n) AS embedding FROM generate_series(1, 4000) AS n',
	'CREATE INDEX item_index ON item USING wrvq (embedding)',
	'CREATE TABLE late (id bigint, embedding real[])',
	'CREATE INDEX late_index ON late USING wrvq (embedding)',
	'CREATE TABLE query AS SELECT n, test_vector(n + 1000000) AS v FROM generate_series(1, 50) AS n',
	# a filter makes a scan go on, through many pages of index and table
	q(CREATE FUNCTION search(n bigint) RETURNS bigint LANGUAGE sql SET enable_seqscan = off AS
		'SELECT sum(id) FROM (SELECT id FROM item WHERE id % 7 = 0 ORDER BY embedding <-> test_vector(n) LIMIT 50) AS found'));

# the server's own CREATE TABLE AS fails with so few
$node->append_conf('postgresql.conf', 'shared_buffers = 128kB');
$node->restart;

my $search = '\set n random(1, 1000000)' . "\nSELECT search(:n + 1000000);";
my $insert = q(INSERT INTO item SELECT n, test_vector(n) FROM nextval('ids') AS n;);
my $late = q(INSERT INTO late SELECT n, test_vector(n) FROM nextval('ids') AS n;);

# together($promise, $clients, name => [weight, script], ...): they all go on for so many transactions.
sub together
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($promise, $clients, @scripts) = @_;
	my $run = start_pgbench($node, [ '-c', $clients, '-j', 2, '-t', 150 ], @scripts);

	$run->{handle}->finish;
	is($run->{handle}->result(0), 0, $promise);
	unlike($run->{err}, qr/ERROR|aborted/, "$promise: nobody lacks a buffer");
	return;
}

together('three sessions search', 3, search => [ 1, $search ]);
together('four search and insert', 4, search => [ 3, $search ], insert => [ 1, $insert ], late => [ 1, $late ]);
my $vacuum = start_pgbench($node, [ '-c', 1, '-t', 10 ], vacuum => [ 1, 'DELETE FROM item WHERE id % 11 = floor(random() * 11);' . "\nVACUUM item;" ]);
together('three search and insert beside VACUUM', 3, search => [ 2, $search ], insert => [ 1, $insert ]);
$vacuum->{handle}->finish;
unlike($vacuum->{err}, qr/ERROR|aborted/, 'VACUUM: it does not lack one either');
my $build = start_pgbench($node, [ '-c', 1, '-t', 3 ], build => [ 1, "REINDEX INDEX late_index;" ]);
together('three search beside a build', 3, search => [ 1, $search ]);
$build->{handle}->finish;
unlike($build->{err}, qr/ERROR|aborted/, 'a build: it does not lack one either');
index_agrees($node, $_, "$_: the index agrees with its table") foreach ('item', 'late');

# where there are enough buffers, pages are pinned ahead as before: the same answers
my @few = split /\n/, $node->safe_psql('postgres', 'SELECT n, search(n + 2000000) FROM query ORDER BY n');
$node->append_conf('postgresql.conf', 'shared_buffers = 16MB');
$node->restart;
is_deeply([ split /\n/, $node->safe_psql('postgres', 'SELECT n, search(n + 2000000) FROM query ORDER BY n') ],
	\@few, 'searches find the same with few buffers and many');

unlike(slurp_file($node->logfile), qr/no unpinned buffers|terminated by signal|TRAP:/, 'nobody lacked a buffer, and no process died');
$node->stop;
done_testing();
