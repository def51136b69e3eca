# Rights come before locks: who may not ask something of a relation holds nobody up, and a right that is gone by the time a lock is
# there does not count.  Attacks by search path, temporary objects and row-level security are in regress, 10_rights.sql.
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
));
$node->start;
create_schema($node);
$node->safe_psql(
	'postgres', q(
	CREATE ROLE stranger;
	CREATE ROLE reader;
	CREATE ROLE owner;
	GRANT USAGE, CREATE ON SCHEMA public TO owner;
	CREATE TABLE item (id bigint PRIMARY KEY, embedding real[]);
	ALTER TABLE item OWNER TO owner;
	INSERT INTO item SELECT n, test_vector(n) FROM generate_series(1, 2000) AS n;
	CREATE INDEX item_index ON item USING wrvq (embedding);
	GRANT SELECT ON item TO reader;
	CREATE TABLE parted (id int, embedding real[]) PARTITION BY LIST (id);
	CREATE INDEX parted_index ON parted USING wrvq (embedding);));

my %call = (
	wrvq_index_info => 'wrvq_index_info(%s)',
	wrvq_recall => 'wrvq_recall(%s, 5, 10)',
	wrvq_recall_statistics => 'wrvq_recall_statistics(%s, 5, 10)',
	wrvq_check => 'wrvq_check(%s)',
	wrvq_calibrate => 'wrvq_calibrate(%s)');

# What a role gets that will not wait for any lock: an SQLSTATE, or nothing if it may.
sub answer
{
	my ($role, $call) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "SET ROLE $role; SET lock_timeout = '1ms'; SELECT $call", extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);

	return $err =~ /([0-9A-Z]{5})\s*$/ ? $1 : $err;
}

# --- strangers, while somebody vacuums or alters what they ask about ---
my %locked = (
	item => { q('item_index') => '42501', q('item') => '42809', q('item_pkey') => '42809' },
	parted => { q('parted_index') => '42809', q('parted') => '42809' },
	pg_class => { q('pg_class') => '42809', q('pg_class_oid_index') => '42809' });

foreach my $table (sort keys %locked)
{
	# (everyone reads pg_class all the time)
	my $mode = $table eq 'pg_class' ? 'SHARE UPDATE EXCLUSIVE' : 'ACCESS EXCLUSIVE';
	my $holder = hold($node, "LOCK TABLE $table IN $mode MODE");

	foreach my $relation (sort keys %{ $locked{$table} })
	{
		foreach my $function (sort keys %call)
		{
			is(answer('stranger', sprintf($call{$function}, $relation)), $locked{$table}{$relation}, "$function($relation): a stranger waits for no lock");
		}
	}
	is(answer('reader', sprintf($call{$_}, q('item_index'))), '42501', "$_(): nor does a reader who may not maintain the index")
	  foreach $table eq 'item' ? qw(wrvq_check wrvq_calibrate) : ();
	release($node, $holder);
}

# --- who may read or maintain the index when the statement begins, and not when the lock is there ---
# after($change, $role, $call): what the role gets if the change is committed while it waits
sub after
{
	my ($change, $role, $call) = @_;
	my $gate = hold($node, 'SELECT pg_advisory_lock(1)');
	my $changer = start_psql($node, [ 'BEGIN', 'LOCK TABLE item', $change, 'SELECT pg_advisory_xact_lock(1)', 'COMMIT' ]);
	my ($out, $err) = ('', '');

	$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)) or die "nobody changes anything\n";
	my $asker = IPC::Run::start(
		[ 'psql', '-XAtq', '-v', 'VERBOSITY=sqlstate', '-d', $node->connstr('postgres'), '-c', "SET ROLE $role", '-c', "SELECT $call" ],
		'<', \undef, '>', \$out, '2>', \$err);
	$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_locks WHERE relation = 'item'::regclass AND NOT granted)) or die "nobody waits: $err\n";
	release($node, $gate);
	$_->finish foreach $changer, $asker;
	return $err =~ /([0-9A-Z]{5})\s*$/ ? $1 : "$out$err";
}

foreach my $function (qw(wrvq_index_info wrvq_recall wrvq_recall_statistics))
{
	is(after('REVOKE SELECT ON item FROM reader', 'reader', sprintf($call{$function}, q('item_index'))), '42501', "$function(): the right is revoked meanwhile");
	$node->safe_psql('postgres', 'GRANT SELECT ON item TO reader');
	is(after('ALTER TABLE item ENABLE ROW LEVEL SECURITY', 'reader', sprintf($call{$function}, q('item_index'))), '42501', "$function(): rows are hidden meanwhile");
	$node->safe_psql('postgres', 'ALTER TABLE item DISABLE ROW LEVEL SECURITY');
}
foreach my $function (qw(wrvq_check wrvq_calibrate))
{
	is(after('ALTER TABLE item OWNER TO postgres', 'owner', sprintf($call{$function}, q('item_index'))), '42501', "$function(): the table changes hands meanwhile");
	$node->safe_psql('postgres', 'ALTER TABLE item OWNER TO owner');
}
foreach my $function (sort keys %call)
{
	is(after('DROP INDEX item_index', 'owner', sprintf($call{$function}, q('item_index'))), '42P01', "$function(): the index is dropped meanwhile");
	$node->safe_psql('postgres', 'CREATE INDEX item_index ON item USING wrvq (embedding)');
}
my $oid = $node->safe_psql('postgres', q(SELECT 'item_index'::regclass::oid));
$node->safe_psql('postgres', 'DROP INDEX item_index');
is(answer('stranger', sprintf($call{$_}, "$oid\::regclass")), '42P01', "$_(): the index was dropped before") foreach sort keys %call;

# --- the workers of a build are the owner, too ---
$node->safe_psql('postgres', q(
	CREATE FUNCTION as_whom(v real[]) RETURNS real[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
	BEGIN
		IF current_user <> 'owner' THEN
			RAISE EXCEPTION 'runs as %', current_user;
		END IF;
		RETURN v;
	END $$));
my ($built, $out, $err) = $node->psql('postgres', q(
	SET client_min_messages = debug1; SET min_parallel_table_scan_size = 0; SET max_parallel_maintenance_workers = 2;
	CREATE INDEX as_whom_index ON item USING wrvq (as_whom(embedding))));
is($built, 0, 'a superuser has an index built by the owner') or diag($err);
like($err, qr/[12] of [12] parallel workers started/, 'with workers');
my ($failed, undef, $why) = $node->psql('postgres', q(SELECT as_whom('{1}')));
like($why, qr/runs as/, 'whose function would have told of others');
$node->safe_psql('postgres', 'DROP INDEX as_whom_index');

# --- a long measurement shows how far it is, and ends when it is told to ---
$node->safe_psql('postgres', q(
	CREATE FUNCTION held(v real[]) RETURNS real[] LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM pg_advisory_xact_lock_shared(2); RETURN v; END';
	CREATE INDEX item_index ON item USING wrvq (held(embedding))));
my $gate = hold($node, 'SELECT pg_advisory_lock(2)');
my $measurement = start_psql($node, q(SELECT wrvq_recall_statistics('item_index', 10, 1000)));
my $progress = q(SELECT phase FROM pg_stat_progress_create_index WHERE index_relid = 'item_index'::regclass);
$node->poll_query_until('postgres', $progress, 'building index: sampling rows') or die "no progress is shown\n";
pass('a measurement is seen in pg_stat_progress_create_index');
$node->safe_psql('postgres', q(SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index));
$measurement->finish;
is($node->safe_psql('postgres', $progress), '', 'and is gone once it is cancelled');
release($node, $gate);

$node->stop;
done_testing();
