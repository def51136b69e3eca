# VACUUM of an index without dead rows only reads: it waits for no reader and writes no WAL.
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
# nobody but us writes WAL
$node->append_conf(
	'postgresql.conf', q(
autovacuum = off
fsync = off
wal_level = minimal
max_wal_senders = 0
checkpoint_timeout = 1h
));
$node->start;
create_schema($node);
$node->safe_psql('postgres', "CREATE FUNCTION read_page(regclass, int, text) RETURNS void LANGUAGE c AS '$module'");

my %indexes = (
	built => 'lists = 40',
	spilled => 'lists = 20, spill = 2',
	trained => 'lists = 20',
	waiting => 'lists = 20');
foreach my $table (sort keys %indexes)
{
	my $create = "CREATE INDEX ${table}_index ON $table USING wrvq (embedding) WITH ($indexes{$table})";
	my $fill = "INSERT INTO $table SELECT n, test_vector(n) FROM generate_series(1, " . ($table eq 'waiting' ? 900 : 5000) . ') AS n';
	my $is_late = $table eq 'trained' || $table eq 'waiting';

	$node->safe_psql('postgres', $_) foreach ("CREATE TABLE $table (id bigint, embedding real[])",
		$is_late ? ($create, $fill) : ($fill, $create), "DELETE FROM $table WHERE id % 9 = 0", "VACUUM $table", "VACUUM $table");
}

# Of each kind of page one: the kind is in the opaque part at the end.
sub pages_by_kind
{
	my ($table) = @_;
	my $file = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('${table}_index')");

	$node->safe_psql('postgres', 'CHECKPOINT');
	my $image = slurp_file($file);
	my %pages = map { (unpack('S', substr($image, 8192 * $_ + 8184, 2)) => $_) } reverse 0 .. length($image) / 8192 - 1;
	return %pages;
}

sub wal { return $node->safe_psql('postgres', 'SELECT pg_current_wal_insert_lsn()') }

# vacuum_beside_reader($table, $block): what VACUUM waits for while somebody reads this page; '' if it comes to its end.
sub vacuum_beside_reader
{
	my ($table, $block) = @_;
	my $file = $node->data_dir . "/read_$table$block";
	my $reader = start_psql($node, "SELECT read_page('${table}_index', $block, '$file')");

	$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'SELECT read_page%' AND state = 'active'))
	  or die "nobody reads\n";
	my $vacuum = start_psql($node, [ q(SET application_name = 'vacuum'), "VACUUM $table" ]);
	my $waits = q(FROM pg_stat_activity WHERE application_name = 'vacuum' AND wait_event = 'BufferContent');
	my $event = '';
	while ($vacuum->pumpable)
	{
		$vacuum->pump_nb;
		$event = $node->safe_psql('postgres', "SELECT wait_event $waits");
		last if $event ne '';
	}
	append_to_file($file, '');
	$_->finish foreach ($vacuum, $reader);
	return $event;
}

foreach my $table (sort keys %indexes)
{
	my %pages = pages_by_kind($table);

	is(vacuum_beside_reader($table, $pages{$_}), '', "$table: VACUUM waits for no reader of a page of kind $_") foreach sort keys %pages;
	my $before = wal();
	$node->safe_psql('postgres', "VACUUM $table");
	is(wal(), $before, "$table: VACUUM writes nothing where there is nothing to do");
	index_agrees($node, $table, "$table: the index agrees with its table");
}

# and what is dead it finds all the same, also where rows came between the two looks at a page
foreach my $table (sort keys %indexes)
{
	my $writer = start_psql($node, "INSERT INTO $table SELECT n, test_vector(n) FROM generate_series(100001, 103000) AS n");

	$node->safe_psql('postgres', $_) foreach ("DELETE FROM $table WHERE id < 100000 AND id % 2 = 0", "VACUUM $table");
	$writer->finish;
	$node->safe_psql('postgres', "VACUUM $table");
	index_agrees($node, $table, "$table: vacuumed while rows came");
	$node->safe_psql('postgres', $_) foreach ("DELETE FROM $table", "VACUUM $table");
	is($node->safe_psql('postgres', "SELECT i->>'entries' || ' ' || (i->>'pending') FROM wrvq_index_info('${table}_index') AS i"),
		'0 0', "$table: no row, no entry");
}

$node->stop;
done_testing();
