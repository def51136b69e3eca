# The command-line tool against a server: what it stores is what it was given, what it
# refuses it names, and what fails leaves nothing behind.
use strict;
use warnings;

use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cli = $ENV{WRVQ_CLI} or die "WRVQ_CLI does not say where the command-line tool is\n";
my $levels = 'flat:32,flat:8,product:4';

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
# The same rows in the same order, however many tests run beside us.
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;

# Runs the tool; returns exit status, standard output and standard error.
sub wrvq
{
	my (@arguments) = @_;

	local @ENV{qw(PGHOST PGPORT)} = ($node->host, $node->port);
	local $ENV{PGDATABASE} = $ENV{PGDATABASE} // 'postgres';
	IPC::Run::run([ $cli, @arguments ], '<', \undef, '>', \my $out, '2>', \my $err);
	return ($? >> 8, $out, $err);
}

# The tool succeeds; returns its standard output.
sub wrvq_ok
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($promise, @arguments) = @_;
	my ($status, $out, $err) = wrvq(@arguments);

	is($status, 0, $promise) or diag($err);
	return $out;
}

# The tool fails with this exit status, says this and no more than a line of advice beside.
sub wrvq_fails
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($promise, $expected_status, $expected, @arguments) = @_;
	my ($status, $out, $err) = wrvq(@arguments);
	# progress comes first
	my ($message) = $err =~ /^(wrvq: .*)\z/ms;

	is($status, $expected_status, "$promise: exit status");
	like($message // $err, $expected, "$promise: message");
	is($out, '', "$promise: no result");
	cmp_ok(($message // '') =~ tr/\n//, '<=', 2, "$promise: a line, and perhaps a hint") if $status == 1;
	return;
}

sub sql
{
	my ($query) = @_;

	return $node->safe_psql('postgres', $query);
}

# What identifies a codebook.
sub sha256
{
	my ($name) = @_;

	return sql("SELECT encode(sha256, 'hex') FROM wrvq.wrvq_codebook WHERE name = '$name'");
}

my @train_items = ('train', '--table', 'items', '--column', 'embedding', '--levels', $levels);

# --- without the extension ---

wrvq_fails('without the extension', 1, qr/^wrvq: extension "wrvq" is not installed in database "postgres"\nhint: CREATE EXTENSION wrvq;$/, 'list');
wrvq_fails('training without the extension', 1, qr/^wrvq: extension "wrvq" is not installed/, @train_items, '--name', 'a');

# --- some vectors, the extension in a schema that nothing else names ---

sql(q(
	CREATE SCHEMA "odd Schema";
	CREATE EXTENSION wrvq SCHEMA "odd Schema";
	CREATE FUNCTION test_vector(n bigint) RETURNS real[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
		SELECT array_agg((
				pg_catalog.hashint8extended(n % 40, j) % 1000000 / 1e6
				+ 0.3 * (pg_catalog.hashint8extended(n, j + 1000) % 1000000 / 1e6))::real ORDER BY j)
		FROM pg_catalog.generate_series(1, 27) AS j
	$$;
	CREATE TABLE items (id bigint PRIMARY KEY, embedding real[], name text);
	INSERT INTO items SELECT n, test_vector(n), 'item ' || n FROM generate_series(1, 3000) AS n;
	INSERT INTO items VALUES (0, NULL, 'without a vector');));

# --- train, list, show ---

my ($status, $out, $err) = wrvq(@train_items, '--name', 'first', '--sample', '1000', '--seed', '7');
is($status, 0, 'a table is trained on') or diag($err);
like($out, qr/^level +kind +codewords +weight +bits +transform +loss\n +0 +flat +32 +one .*\n +1 +flat +8 +projection .*\n +2 +product +7 × 16 +projection/m,
	'the loss is shown level by level');
like($err, qr/^reading 1000 of 3000 vectors: \d+ %\n/m, 'progress of reading');
like($err, qr/^training level 1 of 3: \d+ %\n/m, 'progress of training');
unlike($err, qr/[\r\e]/, 'progress is plain lines off a terminal');

is( sql(q(
	SELECT version, dimensions, metric, cardinality(loss), properties->>'method', properties->>'levels',
		properties->>'sample', properties->>'seed', properties->>'source'
	FROM wrvq.wrvq_codebook)),
	"1|27|l2|3|linear|$levels|1000|7|table items, column embedding",
	'the catalog says what it is');
is( sql(q(
	SELECT level, kind, weight, weight_bits, codeword_count, piece_count, piece_dimensions, octet_length(codewords),
		transform_block_dimensions, octet_length(transform), weights IS NULL
	FROM wrvq.wrvq_codebook_level ORDER BY level)),
	join("\n",
		'0|flat|one|16|32|0|0|1728|0||t',
		'1|flat|projection|16|8|0|0|432|0||t',
		'2|product|projection|16|16|7|4|896|27|1458|t'),
	'the levels are stored as halves');
is( sql(q(
	SELECT c.sha256 = sha256(
		convert_to(format(E'wrvq-codebook-1\n%s\n%s\n%s\n', dimensions, metric, properties->>'scale'), 'UTF8')
		|| (SELECT string_agg(convert_to(concat_ws(' ', kind, codeword_count, piece_count, piece_dimensions, weight, weight_bits) || E'\n', 'UTF8')
				|| codewords || coalesce(transform, '') || coalesce(weights, ''), '' ORDER BY level)
			FROM wrvq.wrvq_codebook_level l WHERE l.name = c.name))
	FROM wrvq.wrvq_codebook c)),
	't', 'its SHA-256 is that of its contents');

wrvq_ok('the same again', @train_items, '--name', 'again', '--sample', '1000', '--seed', '7', '--threads', '1');
is(sha256('again'), sha256('first'), 'the same sample and seed give the same codebook, on one thread too');
wrvq_ok('another seed', @train_items, '--name', 'other', '--sample', '1000', '--seed', '8');
isnt(sha256('other'), sha256('first'), 'another seed gives another codebook');
my $trained = JSON::PP::decode_json(
	wrvq_ok('training prints JSON', @train_items, '--name', 'cosine', '--metric', 'cosine', '--weight', 'norm', '--json'));
is($trained->{sha256}, sha256('cosine'), 'JSON of training');
is($trained->{levels}[1]{weight}, 'norm', 'the weight rule asked for');

my $listed = JSON::PP::decode_json(wrvq_ok('list as JSON', 'list', '--json'));
is(join(' ', map { $_->{name} } @$listed), 'again cosine first other', 'list knows all codebooks');
like(wrvq_ok('list', 'list'), qr/^first +27 +l2 +\Q$levels\E +[\d.]+ +0 +20/m, 'list as a table');
my $shown = JSON::PP::decode_json(wrvq_ok('show as JSON', 'show', 'first', '--json'));
is($shown->{sha256}, sha256('first'), 'show says the SHA-256');
is($shown->{origin}{sample}, 1000, 'show says the sample');
is(scalar @{ $shown->{levels} }, 3, 'show says the levels');
like(wrvq_ok('show', 'show', 'first'), qr/^source +table items, column embedding\nindexes +none\n/m, 'show as text');

# --- connection options ---

is( (wrvq('list', '-h', $node->host, '-p', $node->port, '-d', 'postgres', '-U', $ENV{USER} // getpwuid($<)))[0],
	0, 'options as in psql');
is((wrvq('list', '-d', 'postgresql:///postgres?application_name=x'))[0], 0, 'a URI');
is((wrvq('list', '-d', 'dbname=postgres connect_timeout=10'))[0], 0, 'a conninfo string');
wrvq_fails('an unknown database', 1, qr/^wrvq: .*database "nowhere" does not exist$/, 'list', '-d', 'nowhere');
wrvq_fails('no server', 1, qr/^wrvq: connection to server .* failed/, 'list', '-h', '/nowhere');

# --- export, load ---

my $folder = PostgreSQL::Test::Utils::tempdir;
my $file = "$folder/first.safetensors";
wrvq_ok('export', 'export', 'first', '--output', $file);
wrvq_ok('load', 'load', $file, '--name', 'copy');
is(sha256('copy'), sha256('first'), 'a codebook survives export and load');
wrvq_ok('export the copy', 'export', 'copy', '--output', "$folder/copy.safetensors");
ok(slurp_file($file) eq slurp_file("$folder/copy.safetensors"), 'its file is the same to the byte');
my $in_file = JSON::PP::decode_json(wrvq_ok('show a file', 'show', $file, '--json'));
is($in_file->{sha256}, sha256('first'), 'show reads files');
wrvq_ok('train into a file', @train_items, '--output', "$folder/direct.safetensors", '--sample', '1000', '--seed', '7');
ok(slurp_file($file) eq slurp_file("$folder/direct.safetensors"), 'training writes the same file');

SKIP:
{
	skip 'python3 with numpy and safetensors is not here', 1
	  unless IPC::Run::run([ 'python3', '-c', 'import numpy, safetensors' ], '2>', \my $ignored);
	my $script = q(
import json, sys
import numpy
from safetensors import safe_open
with safe_open(sys.argv[1], "numpy") as f:
    m = f.metadata()
    print(m["format"], m["dimensions"], m["metric"], float(m["scale"]) > 0, [l["kind"] for l in json.loads(m["levels"])])
    print({k: (str(f.get_tensor(k).dtype), f.get_tensor(k).shape) for k in sorted(f.keys())})
    t = f.get_tensor("level.2.transform").astype("f8")
    print(abs(t @ t.T - numpy.eye(27)).max() < 0.01)
);
	IPC::Run::run([ 'python3', '-c', $script, $file ], '>', \my $read, '2>', \my $trouble);
	is($read, <<'TEXT', 'any numpy user can open it') or diag($trouble);
wrvq-codebook-1 27 l2 True ['flat', 'flat', 'product']
{'level.0.codewords': ('float16', (32, 27)), 'level.1.codewords': ('float16', (8, 27)), 'level.2.codewords': ('float16', (7, 16, 4)), 'level.2.transform': ('float16', (27, 27))}
True
TEXT
}

# --- every kind of table ---

sql(q(
	CREATE DOMAIN vector27 AS real[] CHECK (cardinality(VALUE) = 27);
	CREATE SCHEMA shop;
	CREATE TABLE shop."My ""Items""" (id bigint, "the Vector" vector27);
	INSERT INTO shop."My ""Items""" SELECT id, embedding FROM items WHERE id > 0;
	CREATE VIEW seen AS SELECT id, embedding FROM items;
	CREATE MATERIALIZED VIEW kept AS SELECT id, embedding FROM items;
	CREATE TABLE parts (id bigint, embedding real[]) PARTITION BY RANGE (id);
	CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (1000);
	CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (1000) TO (100000);
	INSERT INTO parts SELECT id, embedding FROM items;));
foreach my $case (
	[ 'shop."My ""Items"""', 'the Vector' ], [ 'seen', 'embedding' ],
	[ 'KEPT', 'embedding' ], [ 'public.parts', 'embedding' ])
{
	my ($table, $column) = @$case;
	my @train = ('train', '--table', $table, '--column', $column, '--levels', $levels, '--json');
	foreach my $sample (500, 100000)
	{
		my ($one, $two) = map {
			JSON::PP::decode_json(wrvq_ok("train on $sample of $table", @train, '--sample', $sample, '--output', "$folder/$_"))
		} ('one', 'two');
		is($one->{origin}{sample}, $sample > 3000 ? 3000 : $sample, "$table: as many as wanted, or all");
		is($one->{sha256}, $two->{sha256}, "$table: the sample is repeatable");
	}
}

# --- what is refused ---

my $before = sql('SELECT count(*) FROM wrvq.wrvq_codebook');

wrvq_fails('a name that is taken', 1, qr/^wrvq: codebook "first" already exists\nhint: .*wrvq drop first/, @train_items, '--name', 'first');
wrvq_fails('loading under a name that is taken', 1, qr/^wrvq: codebook "first" already exists/, 'load', $file, '--name', 'first');
wrvq_fails('an unknown codebook', 1, qr/^wrvq: codebook "nothing" does not exist$/m, @$_)
  foreach ([ 'show', 'nothing' ], [ 'drop', 'nothing' ], [ 'export', 'nothing', '--output', "$folder/nothing" ]);

sql(q(
	CREATE TABLE empty (embedding real[]);
	CREATE TABLE null_element (embedding real[]);
	INSERT INTO null_element VALUES (ARRAY[1, 2, 3]), (ARRAY[1, NULL, 3]);
	CREATE TABLE matrix (embedding real[]);
	INSERT INTO matrix VALUES (ARRAY[1, 2, 3]), (ARRAY[[1, 2, 3], [4, 5, 6]]);
	CREATE TABLE mixed (embedding real[]);
	INSERT INTO mixed VALUES (ARRAY[1, 2, 3]), (ARRAY[1, 2]);
	CREATE TABLE not_a_number (embedding real[]);
	INSERT INTO not_a_number VALUES (ARRAY[1, 2, 3]), (ARRAY[1, 2, 'NaN'::real]);
	CREATE TABLE blank (embedding real[]);
	INSERT INTO blank VALUES ('{}');));
foreach my $case (
	[ 'nowhere', qr/^wrvq: table "nowhere" does not exist\nhint: / ],
	[ 'no name at all', qr/^wrvq: table "no name at all" does not exist/ ],
	[ 'items; DROP TABLE items', qr/^wrvq: table "items; DROP TABLE items" does not exist/ ],
	[ 'items_pkey', qr/^wrvq: "items_pkey" is an index, not a table or a view/ ],
	[ 'empty', qr/^wrvq: table empty has no rows with a vector in column "embedding"/ ],
	[ 'null_element', qr/^wrvq: row \(0,2\) of null_element: column "embedding" has NULL as element 2; expected a number\n/ ],
	[ 'matrix', qr/^wrvq: row \(0,2\) of matrix: column "embedding" is an array of 2 axes; expected one\n/ ],
	[ 'mixed', qr/^wrvq: row \(0,2\) of mixed: column "embedding" has 2 dimensions; expected 3 as in other rows\n/ ],
	[ 'not_a_number', qr/^wrvq: row \(0,2\) of not_a_number: column "embedding" has NaN or infinity as element 3; expected a finite number\n/ ],
	[ 'blank', qr/^wrvq: .* of blank: column "embedding" is an empty array; expected a vector\n/ ])
{
	my ($table, $message) = @$case;
	wrvq_fails("table $table", 1, $message, 'train', '--table', $table, '--column', 'embedding', '--name', 'refused');
}
wrvq_fails('an unknown column', 1, qr/^wrvq: table items has no column "vector"\nhint: Columns that hold vectors: embedding\.$/,
	'train', '--table', 'items', '--column', 'vector', '--name', 'refused');
wrvq_fails('a column of another type', 1, qr/^wrvq: column "name" of table items is of type text; expected real\[\], vector or halfvec$/,
	'train', '--table', 'items', '--column', 'name', '--name', 'refused');
wrvq_fails('a column with SQL in it', 1, qr/^wrvq: table items has no column /,
	'train', '--table', 'items', '--column', 'embedding" FROM items; DROP TABLE items; --', '--name', 'refused');
wrvq_fails('a folder that is not there', 1, qr/^wrvq: \/nowhere\/f: cannot be written: there is no directory \/nowhere$/, @train_items, '--output', '/nowhere/f');

# files that are no codebooks
my $bytes = slurp_file($file);
my %files = (
	empty => '', text => "no codebook at all\n", half => substr($bytes, 0, length($bytes) / 2),
	header => substr($bytes, 0, 100), lying => "\xff\xff\xff\xff\xff\xff\xff\x7f" . substr($bytes, 8),
	padded => "$bytes\0");
foreach my $name (sort keys %files)
{
	open my $handle, '>:raw', "$folder/$name" or die "$folder/$name: $!";
	print $handle $files{$name};
	close $handle;
	wrvq_fails("a bad file: $name", 1, qr/^wrvq: \Q$folder\E\/$name: \w/, 'load', "$folder/$name", '--name', 'refused');
}
wrvq_fails('no file', 1, qr/^wrvq: \/nowhere: cannot be read: no such file$/, 'load', '/nowhere', '--name', 'refused');

wrvq_fails('bad usage', 2, qr/^wrvq: .*\nUsage: wrvq/s, @$_)
  foreach ([ 'train' ], [ 'load', 'x' ], [ 'list', '-p', 'x' ], [ @train_items, '--name', 'x', '--levels', 'flat' ], [ 'nonsense' ]);

{
	local $ENV{PGOPTIONS} = '-c default_transaction_read_only=on';
	wrvq_fails('a read-only database', 1, qr/^wrvq: the database is read-only$/m, @train_items, '--name', 'refused');
}
sql(q(
	CREATE ROLE reader LOGIN;
	GRANT USAGE ON SCHEMA "odd Schema" TO reader;
	GRANT SELECT ON items TO reader;));
wrvq_fails('who may not write', 1, qr/^wrvq: permission denied to store a codebook$/m, @train_items, '--name', 'refused', '-U', 'reader');
like(wrvq_ok('all may read', 'list', '-U', 'reader'), qr/^first /m, 'codebooks are readable by all');

is(sql('SELECT count(*) FROM wrvq.wrvq_codebook'), $before, 'what is refused leaves nothing behind');
is(sql('SELECT count(*) FROM items'), '3001', 'and the table is as it was');

# --- the server goes away ---

# Rows that take their time once they are read, not yet while they are counted.
sql(q(
	CREATE FUNCTION slowly(vector real[]) RETURNS real[] LANGUAGE plpgsql AS $$
	BEGIN
		IF current_query() LIKE 'COPY%' THEN
			PERFORM pg_sleep(0.02);
		END IF;
		RETURN vector;
	END $$;
	CREATE VIEW slow AS SELECT id, slowly(embedding) AS embedding FROM items;));
{
	local @ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, 'postgres');
	my $run = IPC::Run::start([ $cli, 'train', '--table', 'slow', '--column', 'embedding', '--name', 'lost' ],
		'<', \undef, '>', \my $result, '2>', \my $trouble);
	$node->poll_query_until('postgres',
		q(SELECT EXISTS (SELECT FROM pg_stat_activity WHERE query LIKE 'COPY%' AND wait_event = 'PgSleep')))
	  or die 'the sample is not being read';
	sql(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%'));
	$run->finish;
	is($run->result(0), 1, 'a lost connection: exit status');
	like( $trouble,
		qr/^wrvq: the connection to the server was lost: terminating connection due to administrator command\nhint: Nothing was changed/m,
		'a lost connection: message');
	is($result, '', 'a lost connection: no result');
	is(sha256('lost'), '', 'a lost connection leaves nothing behind');
}

# --- drop ---

sql(q(
	CREATE INDEX items_first ON items USING wrvq (embedding) WITH (codebook = 'first');
	CREATE INDEX items_other ON items USING wrvq (embedding) WITH (codebook = 'other');));
like(wrvq_ok('show names indexes', 'show', 'first'), qr/^indexes +public.items_first$/m, 'show names the indexes of a codebook');
wrvq_fails('a codebook in use', 1, qr/^wrvq: codebook "first" is needed by index public\.items_first\nhint: .*--force/, 'drop', 'first');
isnt(sha256('first'), '', 'it is still there');
wrvq_ok('drop --force', 'drop', 'first', '--force');
is(sha256('first'), '', 'unless forced');
wrvq_ok('drop', 'drop', 'again');
is(sql(q(SELECT count(*) FROM wrvq.wrvq_codebook_level WHERE name IN ('first', 'again'))), '0', 'its levels go with it');
wrvq_fails('dropping twice', 1, qr/^wrvq: codebook "again" does not exist$/m, 'drop', 'again');

$node->stop;
done_testing();
