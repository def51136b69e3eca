
=pod

=head1 NAME

TestWRVQ - what the TAP tests of the extension share

=head1 DESCRIPTION

The yardstick of all of them: with every list probed and every entry reranked
the index must return exactly what a sequential scan returns.

=cut

package TestWRVQ;

use strict;
use warnings;

use Exporter 'import';
use IPC::Run ();
use List::Util qw(max min);
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes ();

our @EXPORT = qw(stopped_midway create_schema index_agrees rows_in use_cli start_psql start_pgbench test_module hold release crash_and_recover);

# Dimensions of the test vectors: small, for speed, and no multiple of any vector register.
my $dimensions = 27;

# Every setting that bounds a search, opened all the way.
my $exact = 'SET wrvq.probes = 100000; SET wrvq.rerank = 1000000; SET wrvq.max_scan_tuples = 0;';

# create_schema($node, $database): the extension, and test_vector(n), the n-th of an endless row of vectors, around
# 40 centres, the same on every machine and no two alike.
sub create_schema
{
	my ($node, $database) = @_;

	$node->safe_psql(
		$database // 'postgres', qq(
		CREATE EXTENSION wrvq;
		CREATE FUNCTION test_vector(n bigint) RETURNS real[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS \$\$
			SELECT array_agg((
					pg_catalog.hashint8extended(n % 40, j) % 1000000 / 1e6
					+ 0.3 * (pg_catalog.hashint8extended(n, j + 1000) % 1000000 / 1e6))::real ORDER BY j)
			FROM pg_catalog.generate_series(1, $dimensions) AS j
		\$\$;));
	return;
}

# For each of 20 queries the nearest 30 rows of the table.  (OFFSET 0 keeps the planner from computing a query's vector
# anew for every row.)
sub nearest
{
	my ($node, $database, $table, $operator, $settings) = @_;

	return $node->safe_psql(
		$database, qq(
		$exact $settings
		SELECT n, ARRAY(SELECT id FROM $table ORDER BY embedding $operator v LIMIT 30)
		FROM (SELECT n, test_vector(n) AS v FROM generate_series(1000000, 1000019) AS n OFFSET 0) AS query
		ORDER BY n));
}

# index_agrees($node, $table, $promise, database => ..., operator => ...):
# one test: the index is sound, is used, and finds what a sequential scan finds.
sub index_agrees
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($node, $table, $promise, %options) = @_;
	my $database = $options{database} // 'postgres';
	my $operator = $options{operator} // '<->';
	my $by_index = 'SET enable_seqscan = off;';
	my $by_scan = 'SET enable_indexscan = off; SET enable_bitmapscan = off;';

	# wrvq_check() raises an error at the first broken invariant
	$node->safe_psql(
		$database, qq(
		SELECT wrvq_check(indexrelid::regclass)
		FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
		WHERE indrelid = '$table'::regclass AND amname = 'wrvq'));
	my $plan = $node->safe_psql($database,
		"$by_index EXPLAIN (COSTS OFF) SELECT id FROM $table ORDER BY embedding $operator test_vector(1) LIMIT 30");
	if ($plan !~ /Index Scan/)
	{
		fail($promise);
		diag("the index is not used:\n$plan");
		return;
	}
	is( nearest($node, $database, $table, $operator, $by_index),
		nearest($node, $database, $table, $operator, $by_scan),
		$promise);
	return;
}

# Number of rows, by a sequential scan.
sub rows_in
{
	my ($node, $table, $database) = @_;

	return $node->safe_psql($database // 'postgres', "SELECT count(*) FROM $table");
}

# use_cli($node, $database, @arguments): runs the command-line tool against the node; dies if it fails.
sub use_cli
{
	my ($node, $database, @arguments) = @_;
	my $cli = $ENV{WRVQ_CLI} or die "WRVQ_CLI does not say where the command-line tool is\n";

	local @ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, $database);
	system_or_bail($cli, @arguments);
	return;
}

# test_module($name): where a library of Tests/modules is, for CREATE FUNCTION ... AS.
sub test_module
{
	my ($name) = @_;
	my $folder = $ENV{WRVQ_TEST_MODULES} or die "WRVQ_TEST_MODULES does not say where the test modules are\n";

	return "$folder/$name";
}

# start_psql($node, $sql): runs it, or a list of statements one by one, in the background; returns IPC::Run's handle.
sub start_psql
{
	my ($node, $sql) = @_;
	my @commands = map { ('-c', $_) } ref $sql ? @$sql : $sql;

	return IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), @commands ],
		'<', \undef, '>', \my $out, '2>', \my $err);
}

# start_pgbench($node, [options], name => [weight, script], ...): starts it; returns its handle, and what it says on out and err.
sub start_pgbench
{
	my ($node, $options, %scripts) = @_;
	my %run = (out => '', err => '');
	my @files;

	foreach my $name (sort keys %scripts)
	{
		my ($weight, $script) = @{ $scripts{$name} };
		my $file = PostgreSQL::Test::Utils::tempdir . "/$name.sql";

		append_to_file($file, "$script\n");
		push @files, '-f', "$file\@$weight";
	}
	$run{handle} = IPC::Run::start([ 'pgbench', '-n', @$options, @files, $node->connstr('postgres') ],
		'<', \undef, '>', \$run{out}, '2>', \$run{err});
	return \%run;
}

# time_of($node, $settings, $timeout, $statement): what the server takes for it, in ms, and whether the timeout stopped it.
sub time_of
{
	my ($node, $settings, $timeout, $statement) = @_;
	my ($status, $out, $err) = $node->psql('postgres',
		"SET client_min_messages = warning; SET statement_timeout = 0; $settings SET statement_timeout = $timeout;\n\\o /dev/null\n\\timing on\n$statement;", on_error_stop => 0);

	die "unexpected: $err" if $err ne '' && $err !~ /canceling statement due to statement timeout/;
	my ($time) = $out =~ /Time: ([\d.]+) ms/ or die "no time in: $out";
	return ($time, $err ne '');
}

# What the server takes for a fixed amount of work just now, in ms: tens on the machine this was written on, more on a slower
# or a busy one.  What has to be prompt is measured by it.
sub yardstick
{
	my ($node) = @_;

	return (time_of($node, 'SET max_parallel_workers_per_gather = 0;', 0, 'SELECT sum(hashint8extended(n, 1)) FROM generate_series(1, 300000) AS n'))[0];
}

# stopped_midway($node, $promise, $statement, settings => ..., before => ..., work => sub { ... }): statement_timeout stops the statement at
# many moments of its course, and it ends promptly.
#
# work->($size) makes it something to do, $size times as much as at least; before its first run, and whenever it has come to its
# end.  How long a statement takes is the machine's affair: there is made more to do until it takes long enough, and the
# timeouts are shares of what it took.
sub stopped_midway
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($node, $promise, $statement, %options) = @_;
	my $settings = $options{settings} // '';
	my $work = $options{work} // sub { };
	# so that timeouts of 1 to 16 ms stop it even if the machine is four times as fast from now on
	my $enough = 64;
	my ($size, $time) = (1, 0);

	# what others have left to do is not what it takes
	$node->safe_psql('postgres', $options{before}) if $options{before};
	while (1)
	{
		# the least of three: what somebody else took of the machine meanwhile is not what it takes either
		$time = min(map { $work->($size); (time_of($node, $settings, 0, $statement))[0] } 1 .. 3);
		last if $time >= $enough || !$options{work};
		$size *= 2;
	}
	$work->($size);

	my @late;
	my $yardstick = yardstick($node);
	# a half, a quarter, … of its time, and moments in between and behind
	my %timeouts = map { (int($time * $_) || 1) => 1 } (0.9, 0.75, 0.6, 0.35, map { 0.5**$_ } 1 .. 10);
	foreach my $timeout (sort { $a <=> $b } keys %timeouts)
	{
		my ($taken, $stopped) = time_of($node, $settings, $timeout, $statement);

		push @late, $taken - $timeout if $stopped;
		$work->($size) if !$stopped;
	}
	$yardstick = max($yardstick, yardstick($node));
	my $longest = max(@late) // 0;
	note(sprintf '%s, which takes %.0f ms: stopped at %d moments of %d, at most %.0f ms late, where the yardstick is %.0f ms',
		$promise, $time, scalar @late, scalar keys %timeouts, $longest, $yardstick);
	cmp_ok(scalar @late, '>', 3, "$promise: it was stopped");
	# measured: at most a half of it, and on a busy machine seldom more than it
	cmp_ok($longest, '<', 20 * $yardstick, "$promise: promptly");
	return;
}

# hold($node, @statements): runs them in a transaction that stays open, and returns it once they are done.
sub hold
{
	my ($node, @statements) = @_;
	my $session = start_psql($node, [ q(SET application_name = 'holder'), 'BEGIN', @statements, 'SELECT pg_sleep(3600)' ]);

	$node->poll_query_until('postgres', q(SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'holder' AND wait_event = 'PgSleep'))
	  or die "a transaction does not come to its end\n";
	return $session;
}

# release($node, $session): ends what hold() has returned.
sub release
{
	my ($node, $session) = @_;

	$node->safe_psql('postgres', q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'holder'));
	$session->finish;
	return;
}

# crash_and_recover($node, @sessions): kill -9 for every process of the server at once, then start it again.
sub crash_and_recover
{
	my ($node, @sessions) = @_;
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;

	$node->kill9;
	# Without the postmaster a busy backend would go on until it next waits for something, or for ever for a lock of a
	# killed one.  All processes of a server, whenever they started, work in its data directory.
	foreach (1 .. 5)
	{
		kill 'KILL', grep { (readlink("/proc/$_/cwd") // '') eq $node->data_dir } map { m{(\d+)} } glob '/proc/[0-9]*';
		Time::HiRes::usleep(50_000);
	}
	$_->finish foreach @sessions;
	# a killed process is there until init has reaped it, and a parallel worker that started
	# meanwhile until it notices that it is alone
	foreach (1 .. 150)
	{
		return if kill(0, $postmaster) == 0 && $node->start(fail_ok => 1);
		Time::HiRes::usleep(200_000);
	}
	die "the server does not start again\n";
}

1;
