# A build keeps within maintenance_work_mem, or within what a single list of such vectors takes; it makes do with less
# where nobody asked for more, and refuses what somebody did ask for.
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
jit = off
shared_buffers = 4MB
max_wal_size = 2GB
max_parallel_maintenance_workers = 0
));
$node->start;
create_schema($node);
$node->safe_psql(
	'postgres', q(
	CREATE TABLE one AS SELECT 1 AS id, (SELECT array_agg((j % 7)::real) FROM generate_series(1, 1000) AS j) AS embedding;
	CREATE TABLE wide AS SELECT n AS id, (SELECT array_agg((hashint8extended(n, j) % 1000 / 1000.0)::real ORDER BY j)
		FROM generate_series(1, 1536) AS j) AS embedding FROM generate_series(1, 1500) AS n;
	CREATE TABLE item AS SELECT n AS id, test_vector(n) AS embedding FROM generate_series(1, 20000) AS n;
	-- kilobytes that this process has had for itself at the most, since the last reset, but for shared buffers
	CREATE FUNCTION peak() RETURNS bigint LANGUAGE sql AS $$
		SELECT substring(s FROM 'VmHWM:\s+(\d+)')::bigint - substring(s FROM 'RssShmem:\s+(\d+)')::bigint
		FROM pg_read_file('/proc/self/status') AS s $$;));

# build($table, $memory, $options): [kilobytes that the build takes at its peak, lists, pages, what the server said]
sub build
{
	my ($table, $memory, $options) = @_;
	my ($out, $err);

	$node->psql(
		'postgres', qq(
		-- what the session itself takes, and the code it runs
		CREATE INDEX warm ON item USING wrvq (embedding) WITH (lists = 4);
		DROP INDEX warm;
		SET maintenance_work_mem = '$memory';
		SELECT peak();
		CREATE INDEX built ON $table USING wrvq (embedding) $options;
		SELECT peak();
		SELECT wrvq_index_info('built')->'lists', pg_relation_size('built') / 8192, wrvq_check('built') IS NOT NULL;
		DROP INDEX built;), stdout => \$out, stderr => \$err);
	my ($before, $after, $found) = split /\n/, $out;
	my ($lists, $pages) = split /\|/, $found // '';
	return { peak => ($after // $before) - $before, lists => $lists, pages => $pages, said => $err };
}

# --- the process of the issue: one row, 32,768 lists ---
my $one = build('one', '1MB', 'WITH (lists = 32768)');
note("one row: $one->{peak} kB, $one->{pages} pages");
cmp_ok($one->{peak}, '<', 32 * 1024, 'one row and 32,768 lists do not take 359 MB');
cmp_ok($one->{pages}, '<', 400, 'nor 71 MB on disk');
is($one->{lists}, 1, 'a list for each row');
like($one->{said}, qr/NOTICE: +lists of index "built" reduced to 1 of 32768: there are no more rows/, 'and says so');

# --- more lists than memory ---
my $many = build('item', '1MB', 'WITH (lists = 20000)');
like($many->{said},
	qr/ERROR: +memory required for 20000 lists is \d+ MB, maintenance_work_mem is 1 MB.*DETAIL: .*27 dimensions.*HINT: /s,
	'lists that do not fit are refused');
is( $node->safe_psql('postgres', q(
	DO $$ BEGIN
		SET LOCAL maintenance_work_mem = '1MB';
		CREATE INDEX ON item USING wrvq (embedding) WITH (lists = 20000);
	EXCEPTION WHEN program_limit_exceeded THEN RAISE NOTICE 'refused'; END $$;
	SELECT count(*) FROM pg_index WHERE indrelid = 'item'::regclass;)),
	0,
	'with SQLSTATE 54000');
$many = build('item', '64MB', 'WITH (lists = 20000)');
cmp_ok($many->{lists}, '>=', 18000, 'with more memory they are made');
cmp_ok($many->{peak}, '<', 64 * 1024, 'within it');

# --- nobody asked for anything: it works, with less ---
# What a single list takes, and no sample could be smaller: a transform of 1,536 dimensions in blocks of 512, as floats
# for the trainer, and a quarter as much for its image and scratch; 256 rows; and batches of 128 rows, seven times over.
my $least_of_wide = 1536 * 512 * 4 * 3 / 1024 + (256 + 7 * 128) * 1536 * 4 / 1024 + 8 * 1024;
my $wide = build('wide', '1MB', '');
note("1,500 x 1,536 at 1 MB: $wide->{peak} kB, $wide->{lists} lists; the bound is $least_of_wide kB");
cmp_ok($wide->{peak}, '<', $least_of_wide, 'wide vectors: what one list takes, and little more');
unlike($wide->{said}, qr/ERROR/, 'are no error');
like($wide->{said}, qr/NOTICE: +lists of index "built" reduced to \d+ of 155, to keep within maintenance_work_mem/,
	'what was left out is said');
my $roomy = build('wide', '64MB', '');
is($roomy->{lists}, 155, 'with more memory nothing is left out');
cmp_ok($roomy->{peak}, '<', 64 * 1024, 'within it');
my $small = build('item', '1MB', '');
note("20,000 x 27 at 1 MB: $small->{peak} kB");
cmp_ok($small->{peak}, '<', 8 * 1024, 'narrow vectors likewise');

# --- rows that wait train within it, too, and are never refused ---
my ($said, $error);
$node->safe_psql(
	'postgres', q(
	CREATE TABLE late (LIKE item) WITH (autovacuum_enabled = off);
	CREATE INDEX late_index ON late USING wrvq (embedding) WITH (lists = 20000);
	INSERT INTO late SELECT * FROM item LIMIT 9000;));
$node->psql('postgres', q(SET maintenance_work_mem = '1MB'; VACUUM late; SELECT wrvq_index_info('late_index')->'lists' > '100'),
	stdout => \$said, stderr => \$error);
is($said, 't', 'VACUUM trains with as many lists as fit');
unlike($error, qr/ERROR/, 'without an error');

index_agrees($node, 'late', 'all rows are found');
$node->stop;
done_testing();
