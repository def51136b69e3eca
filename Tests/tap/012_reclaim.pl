# What a crash, a cancelled VACUUM or a training cut short leaves behind takes space and changes no answer; the next VACUUM
# takes it back.
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
wal_consistency_checking = 'generic'
));
$node->start;
create_schema($node);

# unused($table): what wrvq_check() says of slots and pages that nothing leads to.
sub unused
{
	my ($table) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "SELECT wrvq_check('${table}_index')");

	return ($1, $2) if $err =~ /sound, but has (\d+) unused slots, (\d+) unused pages/;
	is($err, '', 'wrvq_check() knows nothing else');
	return (0, 0);
}

my $vacuumer;

# half_vacuum($table): starts a VACUUM that rewrites a long list, slowly, and returns once it has written some of it, with the
# process stopped there.
sub half_vacuum
{
	my ($table) = @_;
	my $blocks = $node->safe_psql('postgres', "SELECT pg_relation_size('${table}_index')");
	my $session = start_psql($node, [ 'SET vacuum_cost_delay = 100', 'SET vacuum_cost_limit = 1', "VACUUM $table" ]);
	my $is_there = "FROM pg_stat_activity WHERE query = 'VACUUM $table'";

	$node->poll_query_until('postgres', "SELECT count(*) = 1 $is_there") or die "nobody vacuums\n";
	$vacuumer = $node->safe_psql('postgres', "SELECT pid $is_there");
	# a page and more of some seven that it writes; behind each it sleeps for 400 ms
	$node->poll_query_until('postgres', "SELECT pg_relation_size('${table}_index') > $blocks + 8192")
	  or die "VACUUM writes nothing\n";
	kill 'STOP', $vacuumer;
	# the log up to here reaches the disk with a commit
	$node->safe_psql('postgres', 'CREATE TABLE flushed (); DROP TABLE flushed');
	return $session;
}

# make_table($name): one list, half of whose rows are dead, so that VACUUM rewrites it.
sub make_table
{
	my ($name) = @_;

	$node->safe_psql('postgres', $_) foreach (
		"CREATE TABLE $name AS SELECT n AS id, test_vector(n) AS embedding FROM generate_series(1, 6000) AS n",
		"CREATE INDEX ${name}_index ON $name USING wrvq (embedding) WITH (lists = 1)", "DELETE FROM $name WHERE id % 2 = 0");
	return;
}

# --- a crash between the new slots and the switch ---
make_table('item');
crash_and_recover($node, half_vacuum('item'));
my ($slots) = unused('item');
cmp_ok($slots, '>', 0, "a crash left $slots slots that nothing leads to");
index_agrees($node, 'item', 'they change no answer');
$node->safe_psql('postgres', 'VACUUM item');
is((unused('item'))[0], 0, 'VACUUM gave them back');
index_agrees($node, 'item', 'and changed no answer');

# --- a VACUUM that was cancelled in between; inserts meanwhile are nothing that the next one may take for left behind ---
make_table('other');
my $session = half_vacuum('other');
$node->safe_psql('postgres', "SELECT pg_cancel_backend($vacuumer)");
kill 'CONT', $vacuumer;
$session->finish;
($slots) = unused('other');
cmp_ok($slots, '>', 0, "a cancelled VACUUM left $slots slots");
my @writers =
  map { start_psql($node, "INSERT INTO other SELECT n, test_vector(n + 20000) FROM generate_series($_, 6000, 2) AS n") } (1, 2);
$node->safe_psql('postgres', 'VACUUM other') foreach 1 .. 4;
$_->finish foreach @writers;
index_agrees($node, 'other', 'vacuumed while others insert');
$node->safe_psql('postgres', 'VACUUM other');
is((unused('other'))[0], 0, 'nothing is left behind');

# --- pages: one that was never written, one of a codebook that was never used ---
my $file = $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('item_index')");
$node->stop;
my $image = slurp_file($file);
my ($codebook) = grep { unpack('S', substr($image, 8192 * $_ + 8184, 2)) == 2 } 1 .. length($image) / 8192 - 1;
append_to_file($file, "\0" x 8192 . substr($image, 8192 * $codebook, 8192) . "\0" x 8192);
$node->start;
is((unused('item'))[1], 3, 'three pages that nothing leads to');
# they lie at the end, where VACUUM would give them back to the file system
$node->safe_psql('postgres', 'ALTER TABLE item SET (vacuum_truncate = off)');
$node->safe_psql('postgres', 'VACUUM item');
is(join(' ', unused('item')), '0 0', 'VACUUM made pages for entries of them');
my $size = $node->safe_psql('postgres', "SELECT pg_relation_size('item_index')");
$node->safe_psql('postgres', 'INSERT INTO item SELECT n, test_vector(n + 900000) FROM generate_series(1, 100) AS n');
is($node->safe_psql('postgres', "SELECT pg_relation_size('item_index')"), $size, 'which the next rows use');
index_agrees($node, 'item', 'as good as others');

unlike(slurp_file($node->logfile), qr/inconsistent page found|TRAP:/, 'no replayed page differs from the original');
$node->stop;
done_testing();
