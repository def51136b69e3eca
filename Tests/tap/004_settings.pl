# What settings choose, what the planner makes of it, and what happens when an index is damaged,
# emptied by a crash or not finished.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use List::Util qw(sum);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

my $rows = 5000;
my $queries = 60;
my $index_only = 'SET enable_seqscan = off;';
my $exact = 'SET wrvq.probes = 100000; SET wrvq.rerank = 1000000; SET wrvq.max_scan_tuples = 0;';

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
create_schema($node);
$node->safe_psql(
	'postgres', qq(
	CREATE TABLE item (id bigint, embedding real[]);
	INSERT INTO item SELECT n, test_vector(n) FROM generate_series(1, $rows) AS n;
	CREATE INDEX item_embedding ON item USING wrvq (embedding);
	ANALYZE item;));

# nearest_to($n, $limit, $table): the statement that finds the rows nearest to test_vector($n).
sub nearest_to
{
	my ($n, $limit, $table) = @_;

	$table //= 'item';
	return "SELECT id FROM $table ORDER BY embedding <-> test_vector($n) LIMIT $limit;";
}

# plan_of($sql): its plan, costs left out.
sub plan_of
{
	my ($sql, $settings) = @_;

	return $node->safe_psql('postgres', ($settings // '') . " EXPLAIN (COSTS OFF) $sql");
}

# failure_of($sql): what psql says of the statement's error, SQLSTATE included; empty if there was none.
sub failure_of
{
	my ($sql) = @_;
	my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");

	return $status == 0 ? '' : $err;
}

# --- wrvq.target_recall ---

my @queries = map { 1_000_000 + $_ } 1 .. $queries;

# search($settings): for every query the ids of its 10 nearest rows; how many lists and entries were
# visited, on average, of how many lists, in how many rounds at most.
sub search
{
	my ($settings) = @_;
	my $statements = join "\n", map { "\\echo query $_\n" . nearest_to($_, 10) } @queries;
	my ($status, $out, $err) =
	  $node->psql('postgres', "$settings\nSET client_min_messages = debug1;\n$statements");
	die "the searches failed: $err" if $status != 0;

	my (%found, $query);
	foreach (split /\n/, $out)
	{
		if (/^query (\d+)$/) { $query = $1 }
		else { push @{ $found{$query} }, $_ }
	}
	my %result = (found => \%found, lists => 0, entries => 0, scans => 0, of => 0, rounds => 0);
	while ($err =~ /wrvq scan of "\w+": (\d+) rounds, (\d+) of (\d+) lists, (\d+) entries/g)
	{
		$result{rounds} = $1 if $1 > $result{rounds};
		$result{lists} += $2;
		$result{of} = $3;
		$result{entries} += $4;
		$result{scans}++;
	}
	$result{$_} /= $result{scans} || 1 foreach qw(lists entries);
	return \%result;
}

my $true = search('SET enable_indexscan = off;');
is($true->{scans}, 0, 'the yardstick does without the index');

# Share of the true nearest rows that were found.
sub recall
{
	my ($result) = @_;
	my $hits = 0;

	foreach my $query (@queries)
	{
		my %is_true = map { $_ => 1 } @{ $true->{found}{$query} };
		$hits += grep { $is_true{$_} } @{ $result->{found}{$query} };
	}
	return $hits / (10 * @queries);
}

my @targets = (0.5, 0.8, 0.95, 0.99);
my @results = map { search("$index_only SET wrvq.target_recall = $_;") } @targets;
foreach my $i (0 .. $#targets)
{
	note(sprintf 'target %s: recall %.4f, %.1f of %d lists, %.1f entries',
		$targets[$i], recall($results[$i]), @{ $results[$i] }{qw(lists of entries)});
	is($results[$i]{scans}, $queries, "target $targets[$i]: every search says what it visited");
	is($results[$i]{rounds}, 1, "target $targets[$i]: a limit of 10 takes one round");
	is(sum(map { scalar @$_ } values %{ $results[$i]{found} }), 10 * $queries, "target $targets[$i]: results are full");
	next if $i == 0;
	my $step = "from target $targets[$i - 1] to $targets[$i]";
	cmp_ok(recall($results[$i]), '>=', recall($results[ $i - 1 ]), "recall does not fall $step");
	cmp_ok($results[$i]{lists}, '>=', $results[ $i - 1 ]{lists}, "no fewer lists are visited $step");
	cmp_ok($results[$i]{entries}, '>=', $results[ $i - 1 ]{entries}, "no fewer entries are visited $step");
}
foreach my $what (qw(lists entries))
{
	cmp_ok($results[0]{$what}, '<', $results[2]{$what}, "a low target saves $what");
	cmp_ok($results[2]{$what}, '<', $results[3]{$what}, "a high target costs $what");
}
cmp_ok($results[2]{lists}, '<', $results[2]{of} / 2, 'a target of .95 leaves most of the lists out');

my $default = search($index_only);
cmp_ok(recall($default), '>=', 0.95, 'recall at the default');
is_deeply($default, $results[2], 'the default is a target of .95');

# --- wrvq.probes ---

my $few = search("$index_only SET wrvq.target_recall = 0.99; SET wrvq.probes = 3;");
is($few->{lists}, 3, 'wrvq.probes wins over a high target');
cmp_ok(recall($few), '<', recall($results[3]), 'and three lists find less');
foreach my $probes (100_000, 2_147_483_647)
{
	my $all = search("$index_only SET wrvq.target_recall = 0.5; SET wrvq.probes = $probes;");
	is($all->{lists}, $all->{of}, "wrvq.probes = $probes: wins over a low target and means all lists");
	is($all->{entries}, $rows, "wrvq.probes = $probes: whole lists are visited, each once");
	cmp_ok(recall($all), '>=', recall($results[0]), "wrvq.probes = $probes: finds no less");
}
is_deeply(search("$index_only SET wrvq.probes = 3; SET wrvq.probes = 0;"),
	$default, 'wrvq.probes = 0 goes by the target');
is_deeply(search("$index_only $exact")->{found}, $true->{found}, 'all lists and all rows are exact');

# --- plans ---

foreach my $limit (1, 10, 20)
{
	like(plan_of(nearest_to(1, $limit)), qr/Index Scan using item_embedding/, "LIMIT $limit goes by the index");
}
foreach my $limit ($rows, 1_000_000)
{
	unlike(plan_of(nearest_to(1, $limit)), qr/item_embedding/, "LIMIT $limit does not");
}
unlike(plan_of('SELECT id FROM item ORDER BY embedding <-> test_vector(1)'),
	qr/item_embedding/, 'without a LIMIT the table is sorted');
foreach my $statement (
	'SELECT id FROM item LIMIT 10',
	'SELECT count(*) FROM item WHERE embedding IS NOT NULL',
	'SELECT id FROM item WHERE embedding <-> test_vector(1) < 0.5',
	'SELECT id FROM item ORDER BY embedding <-> test_vector(1) DESC LIMIT 10',
	'SELECT id FROM item ORDER BY embedding <#> test_vector(1) LIMIT 10',
	'SELECT id FROM item ORDER BY embedding LIMIT 10')
{
	unlike(plan_of($statement, $index_only), qr/item_embedding/, "not an index for: $statement");
}

# --- partitions: a trained index, one whose rows wait, an empty one ---

$node->safe_psql(
	'postgres', q(
	CREATE TABLE part (kind int, id bigint, embedding real[]) PARTITION BY LIST (kind);
	CREATE TABLE part_large PARTITION OF part FOR VALUES IN (1);
	CREATE TABLE part_other PARTITION OF part FOR VALUES IN (2);
	CREATE TABLE part_small PARTITION OF part FOR VALUES IN (3);
	CREATE TABLE part_empty PARTITION OF part FOR VALUES IN (4);
	INSERT INTO part SELECT CASE WHEN n % 20 = 0 THEN 3 WHEN n % 3 = 0 THEN 2 ELSE 1 END, n, test_vector(n)
		FROM generate_series(1, 6000) AS n;
	CREATE INDEX part_embedding ON part USING wrvq (embedding);
	ANALYZE part;));
my $plan = plan_of(nearest_to(1_000_000, 50, 'part'), $index_only);
like($plan, qr/Merge Append/, 'partitions are merged');
is(() = $plan =~ /Index Scan using part_\w+_embedding_idx/g, 4, 'each one goes by its index');

my $merged = join '', map { nearest_to($_, 50, 'part') } @queries[ 0 .. 9 ];
is( $node->safe_psql('postgres', "$index_only $exact $merged"),
	$node->safe_psql('postgres', "SET enable_indexscan = off; $merged"),
	'merged partitions are in exact order');
foreach my $query (@queries[ 0 .. 4 ])
{
	is( $node->safe_psql(
			'postgres', qq(
			$index_only
			SELECT count(*), count(*) FILTER (WHERE d < previous), count(DISTINCT id) FROM (
				SELECT id, d, lag(d) OVER (ROWS UNBOUNDED PRECEDING) AS previous FROM (
					SELECT id, embedding <-> test_vector($query) AS d FROM part
					ORDER BY embedding <-> test_vector($query) LIMIT 400) AS found) AS pairs)),
		'400|0|400',
		"merged partitions are in order at the default settings, query $query");
}

# --- an unlogged index after a crash ---

$node->safe_psql(
	'postgres', q(
	CREATE UNLOGGED TABLE brief (id bigint, embedding real[]);
	INSERT INTO brief SELECT n, test_vector(n) FROM generate_series(1, 2000) AS n;
	CREATE INDEX brief_embedding ON brief USING wrvq (embedding);));
index_agrees($node, 'brief', 'an unlogged index that trained itself');
$node->stop('immediate');
$node->start;
is(rows_in($node, 'brief'), 0, 'an unlogged table is empty after a crash');
is($node->safe_psql('postgres', $index_only . nearest_to(1, 10, 'brief')), '', 'its index finds nothing');
is($node->safe_psql('postgres', q(SELECT pg_relation_size('brief_embedding') / 8192)), 1, 'and is a metapage');
$node->safe_psql('postgres', 'INSERT INTO brief SELECT n, test_vector(n) FROM generate_series(3001, 3400) AS n');
index_agrees($node, 'brief', 'it takes rows again');
$node->safe_psql('postgres', $_)
  foreach ('INSERT INTO brief SELECT n, test_vector(n) FROM generate_series(4001, 5500) AS n', 'VACUUM brief');
index_agrees($node, 'brief', 'and trains itself again');
index_agrees($node, 'item', 'the logged index is what it was');

# --- damage ---

# Kinds of pages, by the field at the end of each (WrvqPageKind).
my %kinds = (metapage => 1, codebook => 2, directory => 3, posting => 4, pending => 5);

# A table for each kind of damage: what is done to which page, and the error that tells of it.
# {page} in a message is that page's number.
my @damages = (
	{
		name => 'magic', kind => 'metapage', write => [ 24, "\x00\x01\x02\x03" ],
		error => 'XX002: index "magic_embedding" is corrupted: block 0: it has no wrvq metadata',
		blocks_inserts => 1
	},
	{
		name => 'version', kind => 'metapage', write => [ 28, pack('L', 77) ],
		error => '55000: index "version_embedding" has format version 77, this is wrvq \S+ for version 2',
		blocks_inserts => 1
	},
	{
		name => 'metric', kind => 'metapage', write => [ 36, pack('L', 9) ],
		error => 'XX002: index "metric_embedding" is corrupted: block 0: ',
		blocks_inserts => 1
	},
	{
		name => 'zeroed_meta', kind => 'metapage', write => [ 0, "\0" x 8192 ],
		error => 'XX002: index "zeroed_meta_embedding" is corrupted: block 0: the page is empty',
		blocks_inserts => 1
	},
	{
		name => 'zeroed_posting', kind => 'posting', write => [ 0, "\0" x 8192 ],
		error => 'XX002: index "zeroed_posting_embedding" is corrupted: block {page}: the page is empty'
	},
	{
		name => 'foreign_slots', kind => 'posting', write => [ 24, "\xff" x 8000 ],
		error => 'XX002: index "foreign_slots_embedding" is corrupted: block {page}: a list leads to'
	},
	{
		name => 'other_kind', kind => 'directory', write => [ 8184, pack('S', 2) ],
		error => 'XX002: index "other_kind_embedding" is corrupted: block {page}: the page is of another kind'
	},
	{
		name => 'stranger', kind => 'directory', write => [ 8190, pack('S', 0xFF80) ],
		error => 'XX002: index "stranger_embedding" is corrupted: block {page}: the page is not one of a wrvq index'
	},
	{
		name => 'bit', kind => 'codebook', write => [ 4000, "\xa5\x5a" ],
		error => 'XX002: index "bit_embedding" is corrupted: block {page}: the codebook.s checksum does not match',
		blocks_inserts => 1
	});

sub index_file
{
	my ($index) = @_;

	return $node->data_dir . '/' . $node->safe_psql('postgres', "SELECT pg_relation_filepath('$index')");
}

# damage($file, $kind, $offset, $bytes): overwrites bytes of the first page of this kind; returns its number.
sub damage
{
	my ($file, $kind, $offset, $bytes) = @_;
	my $page;

	open my $handle, '+<:raw', $file or die "$file: $!";
	for (my $block = 0; read($handle, $page, 8192) == 8192; $block++)
	{
		my ($page_kind, $id) = unpack '@8184 S x4 S', $page;
		next unless $id == 0xFF97 && $page_kind == $kinds{$kind};
		seek $handle, 8192 * $block + $offset, 0 or die "$file: $!";
		print $handle $bytes;
		close $handle or die "$file: $!";
		return $block;
	}
	die "$file has no $kind page";
}

foreach my $damage (@damages)
{
	my $table = $damage->{name};
	$node->safe_psql(
		'postgres', qq(
		CREATE TABLE $table AS SELECT id, embedding FROM item WHERE id <= 1500;
		CREATE INDEX ${table}_embedding ON $table USING wrvq (embedding) WITH (lists = 20)));
	$damage->{file} = index_file("${table}_embedding");
}
$node->stop;
foreach my $damage (@damages)
{
	my $page = damage($damage->{file}, $damage->{kind}, @{ $damage->{write} });
	$damage->{error} =~ s/\{page\}/$page/;
}
$node->start;
my $started = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my $backend = $node->background_psql('postgres');
foreach my $damage (@damages)
{
	my $table = $damage->{name};
	my $error = qr/ERROR: +$damage->{error}/;
	my $search = "$index_only $exact\n" . nearest_to(1, 10, $table);
	like(failure_of($search), $error, "$table: the error of a search");
	# nothing of an attempt is left in caches, locks or pins
	my $attempt = "$index_only $exact DO \$\$ BEGIN PERFORM id FROM $table ORDER BY embedding <-> test_vector(1) LIMIT 1; "
	  . "EXCEPTION WHEN OTHERS THEN NULL; END \$\$;\n";
	like(failure_of($attempt x 3 . $search), $error, "$table: and again in the same session");
	like(failure_of("INSERT INTO $table VALUES (0, test_vector(0))"), $error, "$table: the error of an insert")
	  if $damage->{blocks_inserts};
	is(rows_in($node, $table), 1500, "$table: the table is as it was");
	# vacuum may find the damage or not, but neither dies of it nor makes an index that lacks rows of it
	my $vacuum = failure_of("DELETE FROM $table WHERE id % 3 = 0; VACUUM $table");
	ok($vacuum eq '' || $vacuum =~ /ERROR: +(XX002|55000): index "${table}_embedding"/, "$table: vacuum")
	  or diag($vacuum);
	like(failure_of($search), $error, "$table: still an error");
	$node->safe_psql('postgres', "REINDEX TABLE $table");
	index_agrees($node, $table, "$table: REINDEX repairs it");
}
is($backend->query_safe('SELECT 1'), 1, 'a session that was there before is still there');
$backend->quit;
is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $started, 'the server did not restart');
unlike(slurp_file($node->logfile), qr/was terminated by signal|server process .* exited with exit code|TRAP:/,
	'no process of the server died');

# --- a build that takes too long ---

# Around 60 centres again, but faster to compute than test_vector.
$node->safe_psql(
	'postgres', q(
	CREATE TABLE wide (id bigint, embedding real[]);
	INSERT INTO wide SELECT n, (SELECT array_agg((
			hashint8extended(n % 60, j) % 1000000 / 1e6 + hashint8extended(n, j) % 1000000 / 3e6)::real)
		FROM generate_series(1, 64) AS j)
		FROM generate_series(1, 20000) AS n;));
# So many lists that a build that could not be stopped would go on for seconds.
my $create = 'CREATE INDEX wide_embedding ON wide USING wrvq (embedding) WITH (lists = 30000)';
stopped_midway($node, 'a build of many lists', "$create; DROP INDEX wide_embedding");
is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_class WHERE relname LIKE 'wide_%')), 0, 'no index is left');
$node->safe_psql('postgres', $create);
my $itself = 'SELECT id FROM wide ORDER BY embedding <-> (SELECT embedding FROM wide WHERE id = 77) LIMIT 1';
like(plan_of($itself, $index_only), qr/Index Scan using wide_embedding/, 'the next build is whole');
is($node->safe_psql('postgres', "$index_only $itself"), 77, 'and finds rows');

# --- workers of a build: vectors out of line count as the table's pages do ---
$node->safe_psql(
	'postgres', q(
	CREATE TABLE long (id bigint, embedding real[]);
	INSERT INTO long SELECT n, ARRAY(SELECT random()::real FROM generate_series(1, 1000) WHERE n > 0) FROM generate_series(1, 1200) AS n;));

# What psql tells of the workers of a build.
sub workers_of
{
	my ($settings) = @_;
	my ($status, $out, $err) =
	  $node->psql('postgres', "SET client_min_messages = debug1; $settings CREATE INDEX long_embedding ON long USING wrvq (embedding);");

	is($status, 0, "a build with: $settings");
	$node->safe_psql('postgres', 'DROP INDEX long_embedding');
	return $err =~ /wrvq build of "long_embedding": (\d of \d) parallel workers started/ ? $1 : 'none';
}
cmp_ok($node->safe_psql('postgres', q(SELECT pg_relation_size('long'))), '<', 2**20, 'little of the table is in line');
is(workers_of(q(SET min_parallel_table_scan_size = '1MB'; SET maintenance_work_mem = '128MB';)), '2 of 2', 'its build has workers');
is(workers_of(''), 'none', 'none if all of it is less than a scan by workers wants');
is(workers_of(q(SET min_parallel_table_scan_size = '1MB'; SET max_parallel_maintenance_workers = 0;)), 'none', 'none if none are permitted');

$node->stop;
done_testing();
