# Whatever stops a statement in the middle (a cancelled or terminated session, a timeout, a full disk) leaves an index that is
# sound; and nobody who cancels has to wait.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use List::Util qw(max);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep time);
use TestWRVQ;

# what a cancelled statement may take to end, in ms; measured: at most 29, on a busy machine
my $patience = 1000;

my $node = PostgreSQL::Test::Cluster->new('node');
# small files of WAL: some sessions are limited in the size of their files
$node->init(extra => ['--wal-segsize=1']);
$node->append_conf(
	'postgresql.conf', q(
autovacuum = off
min_parallel_table_scan_size = 0
jit = off
max_wal_size = 1GB
));
$node->start;
create_schema($node);
$node->safe_psql(
	'postgres', q(
	SELECT setseed(0.5);
	-- as text embeddings have: many dimensions, so that every phase of a build takes its time
	CREATE TABLE wide AS SELECT n AS id, (SELECT array_agg((random() + n * 0 + j * 0)::real) FROM generate_series(1, 768) AS j) AS embedding
		FROM generate_series(1, 6000) AS n;
	CREATE SEQUENCE ids START 100001;
	CREATE TABLE item AS SELECT n AS id, test_vector(n) AS embedding FROM generate_series(1, 10000) AS n;
	CREATE INDEX item_index ON item USING wrvq (embedding) WITH (spill = 2);
	CREATE TABLE queries AS SELECT test_vector(n + 1000000) AS v FROM generate_series(1, 1000) AS n;));

my $insert = 'INSERT INTO item SELECT id, test_vector(id + 2000000) FROM (SELECT nextval(\'ids\') AS id FROM generate_series(1, 5000)) AS s';
my $search = 'SELECT (SELECT id FROM item ORDER BY embedding <-> v LIMIT 1) FROM queries';
my $churn = 'DELETE FROM item WHERE id % 7 = ';

# overrun($settings, $timeout, $statement): by how many ms it outlives its timeout; undef if it ended before.
sub overrun
{
	my ($settings, $timeout, $statement) = @_;
	my ($status, $out, $err) = $node->psql('postgres',
		"$settings SET statement_timeout = $timeout;\n\\o /dev/null\n\\timing on\n$statement;", on_error_stop => 0);

	die "unexpected: $err" if $err ne '' && $err !~ /canceling statement due to statement timeout/;
	return if $err eq '';
	my ($time) = $out =~ /Time: ([\d.]+) ms/ or die "no time in: $out";
	return $time - $timeout;
}

# timeouts($promise, $settings, $step, $statement): ever longer timeouts, until the statement is done; the longest overrun.
sub timeouts
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($promise, $settings, $step, $statement) = @_;
	my @overruns;

	for (my $timeout = 1; @overruns < 25; $timeout += 1 + $step)
	{
		my $overrun = overrun($settings, $timeout, $statement);
		last if !defined $overrun;
		push @overruns, $overrun;
	}
	my $longest = max(@overruns) // 0;
	note(sprintf '%s: stopped at %d moments, at most %.0f ms late', $promise, scalar @overruns, $longest);
	cmp_ok(scalar @overruns, '>', 3, "$promise: it was stopped");
	cmp_ok($longest, '<', $patience, "$promise: promptly");
	return;
}

# --- statement_timeout ---

my $build = 'CREATE INDEX wide_index ON wide USING wrvq (embedding); DROP INDEX wide_index';
timeouts('a build', 'SET max_parallel_maintenance_workers = 0;', 80, $build);
timeouts('a build with workers', 'SET max_parallel_maintenance_workers = 2;', 120, $build);
is($node->safe_psql('postgres', "SELECT to_regclass('wide_index') IS NULL"), 't', 'no half-built index is left');
timeouts('searches', 'SET enable_seqscan = off;', 5, $search);
timeouts('searches of everything', 'SET enable_seqscan = off; SET wrvq.probes = 100000; SET wrvq.rerank = 1000000; SET wrvq.max_scan_tuples = 0;', 20, $search);
timeouts('inserts', '', 20, $insert);
$node->safe_psql('postgres', "${churn}1");
timeouts('VACUUM', '', 2, 'VACUUM item');
index_agrees($node, 'item', 'after all these timeouts');

# rows that an index trains itself from on the way, in the middle of an INSERT and of a VACUUM
$node->safe_psql('postgres', $_)
  foreach ('CREATE TABLE late (LIKE wide)', 'CREATE INDEX late_index ON late USING wrvq (embedding)', 'INSERT INTO late SELECT * FROM wide');
timeouts('VACUUM that trains', '', 80, 'VACUUM late');
# on a slow machine none of the timeouts was long enough
$node->safe_psql('postgres', 'VACUUM late');
is($node->safe_psql('postgres', q(SELECT wrvq_index_info('late_index')->>'trained')), 'true', 'it trained in the end');
$node->safe_psql('postgres', q(SELECT wrvq_check('late_index')));

# --- pg_cancel_backend() and pg_terminate_backend(), each at moments of their own ---

# stop_midway($function, $statement): after 10, 20, … ms.
sub stop_midway
{
	my ($function, $statement) = @_;

	foreach my $moment (1 .. 5)
	{
		my $session = start_psql($node, [ "SET application_name = 'victim'", $statement ]);
		usleep(25_000 * $moment);
		$node->safe_psql('postgres', "SELECT $function(pid) FROM pg_stat_activity WHERE application_name = 'victim' AND state = 'active'");
		$session->finish;
	}
	return;
}

foreach my $function ('pg_cancel_backend', 'pg_terminate_backend')
{
	$node->safe_psql('postgres', $churn . ($function eq 'pg_cancel_backend' ? 2 : 3));
	stop_midway($function, $_) foreach ($insert, $search, 'VACUUM item', 'CREATE INDEX wide_index ON wide USING wrvq (embedding)');
	$node->safe_psql('postgres', 'DROP INDEX IF EXISTS wide_index');
	index_agrees($node, 'item', "after $function()");
}

# --- lock_timeout: a VACUUM waits for an INSERT that trains the index, and gives up ---

$node->safe_psql('postgres', 'TRUNCATE late');
my $trainer = start_psql($node,
	[ "SET application_name = 'trainer'", 'INSERT INTO late SELECT wide.* FROM wide, generate_series(1, 2) LIMIT 10000' ]);
# the lock that training holds is there for some tenths of a second: the server itself looks for it
my ($gave_up, $ignored, $reason) = $node->psql(
	'postgres', q(
	DO $$ BEGIN
		FOR i IN 1 .. 20000 LOOP
			EXIT WHEN EXISTS (SELECT FROM pg_locks WHERE locktype = 'page' AND relation = 'late_index'::regclass AND granted);
			PERFORM pg_sleep(0.001);
		END LOOP;
	END $$;
	SET lock_timeout = 10;
	VACUUM late;));
$trainer->finish;
like($reason, qr/canceling statement due to lock timeout/, 'lock_timeout ends a VACUUM that waits for training');
$node->safe_psql('postgres', q(SELECT wrvq_check('late_index')));
is($node->safe_psql('postgres', q(SELECT wrvq_index_info('late_index')->>'trained')), 'true', 'the training went on');
my $holder = hold($node, 'LOCK TABLE item IN ACCESS EXCLUSIVE MODE');
my ($status, $out, $err) = $node->psql('postgres', "SET lock_timeout = 50;\n$insert;");
like($err, qr/canceling statement due to lock timeout/, 'lock_timeout ends an INSERT that waits for the table');
release($node, $holder);
index_agrees($node, 'item', 'after lock timeouts');

# --- no room on the disk ---

# A small file system, if the runner could mount one; else a limit to the size of the session's files.
my $small_disk = $ENV{WRVQ_SMALL_DISK} // '';
my $limit = '';
if ($small_disk ne '')
{
	$node->safe_psql('postgres', "CREATE TABLESPACE small LOCATION '$small_disk'");
}
else
{
	note('no small file system here: limiting the size of files instead');
	$limit = "SELECT pg_backend_pid() AS pid \\gset\n\\set ignored `prlimit --pid :pid --fsize=1100000`\nSET max_parallel_maintenance_workers = 0;\n";
}
my $tablespace = $small_disk ne '' ? 'TABLESPACE small' : '';

# until_full($promise, $statement): runs it with too little room; it fails and says so.
sub until_full
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($promise, $statement) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "$limit$statement");

	like($err, qr/could not (extend|write).*(No space left on device|File too large|wrote only \d+ of \d+ bytes)/s, $promise);
	return;
}

until_full('a build without room', "CREATE INDEX wide_index ON wide USING wrvq (embedding) $tablespace");
is($node->safe_psql('postgres', "SELECT to_regclass('wide_index') IS NULL"), 't', 'no half-built index is left');
# the table has room for rows, the index has not
$node->safe_psql('postgres', $_) foreach (
	'CREATE TABLE tight AS SELECT n AS id, test_vector(n) AS embedding FROM generate_series(1, 40000) AS n',
	'DELETE FROM tight WHERE id > 8000', 'ALTER TABLE tight SET (vacuum_truncate = off)', 'VACUUM tight',
	"CREATE INDEX tight_index ON tight USING wrvq (embedding) WITH (lists = 60, spill = 2) $tablespace",
	"CREATE TABLE filler $tablespace AS SELECT repeat('filler', 300) FROM generate_series(1, 100)");
until_full('inserts without room', 'INSERT INTO tight SELECT n, test_vector(n) FROM generate_series(100001, 130000) AS n');
index_agrees($node, 'tight', 'after inserts without room');
$node->safe_psql('postgres', 'DELETE FROM tight WHERE id % 3 > 0');
$node->psql('postgres', "${limit}VACUUM tight");
index_agrees($node, 'tight', 'after VACUUM without room');
# VACUUM needs some room to give more back
$node->safe_psql('postgres', $_)
  foreach ('DROP TABLE filler', 'VACUUM tight', 'INSERT INTO tight SELECT n, test_vector(n) FROM generate_series(200001, 202000) AS n');
index_agrees($node, 'tight', 'vacuumed and inserted once more');

unlike(slurp_file($node->logfile), qr/terminated by signal|TRAP:|PANIC/, 'no process died');
$node->stop;
done_testing();
