# Whatever stops a statement in the middle (a cancelled or terminated session, a timeout, a full disk) leaves an index that is
# sound; and nobody who cancels has to wait.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use TestWRVQ;

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

# --- statement_timeout ---

my $build = 'CREATE INDEX wide_index ON wide USING wrvq (embedding); DROP INDEX wide_index';
stopped_midway($node, 'a build', $build, settings => 'SET max_parallel_maintenance_workers = 0;');
stopped_midway($node, 'a build with workers', $build, settings => 'SET max_parallel_maintenance_workers = 2;');
is($node->safe_psql('postgres', "SELECT to_regclass('wide_index') IS NULL"), 't', 'no half-built index is left');
stopped_midway($node, 'searches', $search, settings => 'SET enable_seqscan = off;');
stopped_midway($node, 'searches of everything', $search,
	settings => 'SET enable_seqscan = off; SET wrvq.probes = 100000; SET wrvq.rerank = 1000000; SET wrvq.max_scan_tuples = 0;');
stopped_midway($node, 'inserts', $insert);
stopped_midway(
	$node, 'VACUUM',
	'VACUUM item',
	before => 'VACUUM item',
	work => sub {
		my ($size) = @_;
		$node->safe_psql('postgres', $_) foreach (
			"INSERT INTO item SELECT id, test_vector(id + 2000000) FROM (SELECT nextval('ids') AS id FROM generate_series(1, 3000 * $size)) AS s",
			"DELETE FROM item WHERE id % 3 = 0");
	});
index_agrees($node, 'item', 'after all these timeouts');

# rows that an index trains itself from on the way, in the middle of a VACUUM
stopped_midway(
	$node,
	'VACUUM that trains',
	'VACUUM late',
	work => sub {
		my ($size) = @_;
		$node->safe_psql('postgres', $_) foreach (
			'DROP TABLE IF EXISTS late', 'CREATE TABLE late (LIKE wide)', 'CREATE INDEX late_index ON late USING wrvq (embedding)',
			"INSERT INTO late SELECT * FROM wide");
	});
# the last timeout may have come before the training did
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

# The lock that training holds is there for some tenths of a second.  Whoever has it is stopped: another round if it has gone
# on meanwhile.
my $is_held = q(SELECT count(*) > 0 FROM pg_locks WHERE locktype = 'page' AND relation = 'late_index'::regclass AND granted);
my ($trainer, $trainer_pid);
foreach my $round (1 .. 100)
{
	$node->safe_psql('postgres', 'TRUNCATE late');
	$trainer = start_psql($node, [ "SET application_name = 'trainer'", 'INSERT INTO late SELECT * FROM wide UNION ALL SELECT * FROM wide' ]);
	$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'trainer' AND query LIKE 'INSERT%'))
	  or die "nobody inserts\n";
	$trainer_pid = $node->safe_psql('postgres', q(SELECT pid FROM pg_stat_activity WHERE application_name = 'trainer'));
	# the server itself looks for the lock, until the INSERT is over
	$node->safe_psql(
		'postgres', qq(
		DO \$\$ BEGIN
			WHILE NOT ($is_held) AND EXISTS (SELECT FROM pg_stat_activity WHERE pid = $trainer_pid AND state = 'active') LOOP
				PERFORM pg_sleep(0.001), pg_stat_clear_snapshot();
			END LOOP;
		END \$\$)) if $trainer_pid ne '';
	kill 'STOP', $trainer_pid if $trainer_pid ne '';
	last if $node->safe_psql('postgres', $is_held) eq 't';
	kill 'CONT', $trainer_pid if $trainer_pid ne '';
	$trainer->finish;
}
my ($gave_up, $ignored, $reason) = $node->psql('postgres', "SET lock_timeout = 10;\nVACUUM late;");
kill 'CONT', $trainer_pid;
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
