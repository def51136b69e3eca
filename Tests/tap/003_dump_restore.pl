# Codebooks and indexes survive pg_dump and pg_restore in every format.
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
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE source');
create_schema($node, 'source');

# Two codebooks by the command-line tool; one index for each, one in another schema, one that trained itself, one empty.
$node->safe_psql(
	'source', q(
	CREATE TABLE article (id bigint PRIMARY KEY, embedding real[]);
	INSERT INTO article SELECT n, test_vector(n) FROM generate_series(1, 3000) AS n;
	CREATE SCHEMA other;
	CREATE TABLE other.article (id bigint PRIMARY KEY, embedding real[]);
	INSERT INTO other.article SELECT n, test_vector(n) FROM generate_series(5001, 7000) AS n;
	CREATE TABLE alone (id bigint PRIMARY KEY, embedding real[]);
	INSERT INTO alone SELECT n, test_vector(n) FROM generate_series(1, 1000) AS n;
	CREATE TABLE bare (id bigint PRIMARY KEY, embedding real[]);));
use_cli($node, 'source', 'train', '--table', 'article', '--column', 'embedding', '--name', 'euclid', '--levels', 'flat:24,product:4', '--seed', '1');
use_cli($node, 'source', 'train', '--table', 'article', '--column', 'embedding', '--name', 'angle', '--metric', 'cosine', '--levels', 'flat:16,flat:8,product:4',
	'--seed', '2');
$node->safe_psql(
	'source', q(
	CREATE INDEX article_embedding_idx ON article USING wrvq (embedding) WITH (codebook = 'euclid');
	CREATE INDEX ON other.article USING wrvq (embedding real_cosine_ops) WITH (codebook = 'angle');
	CREATE INDEX ON alone USING wrvq (embedding) WITH (lists = 12);
	CREATE INDEX ON bare USING wrvq (embedding) WITH (codebook = 'euclid');));

my $codebooks = q(
	SELECT name, version, dimensions, metric, sha256, loss, properties FROM wrvq.wrvq_codebook ORDER BY name;
	SELECT name, level, kind, md5(codewords), md5(transform) FROM wrvq.wrvq_codebook_level ORDER BY name, level;);
my $definitions = q(SELECT indexdef FROM pg_indexes WHERE indexdef LIKE '%USING wrvq%' ORDER BY schemaname, tablename);
my $expected_codebooks = $node->safe_psql('source', $codebooks);
my $expected_definitions = $node->safe_psql('source', $definitions);
like($expected_codebooks, qr/^angle\|.*^euclid\|/ms, 'the command-line tool stored two codebooks');

# everything_is_there($database, $how)
sub everything_is_there
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($database, $how) = @_;

	is($node->safe_psql($database, $codebooks), $expected_codebooks, "$how: the codebooks are the same");
	is($node->safe_psql($database, $definitions), $expected_definitions, "$how: the indexes are the same");
	is(rows_in($node, 'article', $database), 3000, "$how: the rows are there");
	index_agrees($node, 'article', "$how: the index on article", database => $database);
	index_agrees($node, 'other.article', "$how: the index in another schema", database => $database, operator => '<=>');
	index_agrees($node, 'alone', "$how: the index that trained itself", database => $database);
	$node->safe_psql($database, 'INSERT INTO bare SELECT n, test_vector(n) FROM generate_series(1, 300) AS n');
	index_agrees($node, 'bare', "$how: the empty index takes rows", database => $database);
	return;
}

everything_is_there('source', 'before');
$node->safe_psql('source', 'TRUNCATE bare');

my $area = PostgreSQL::Test::Utils::tempdir();
my @dump = ('pg_dump', '-d', $node->connstr('source'));

# restore($database, @command): into a new database
sub restore
{
	my ($database, @command) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	command_ok([ @command, '-d', $node->connstr($database) ], "$database: restored");
	return;
}

command_ok([ @dump, '-Fc', '-f', "$area/custom" ], 'dumped in the custom format');
restore('custom', 'pg_restore', '--exit-on-error', "$area/custom");
everything_is_there('custom', 'pg_restore');
restore('parallel', 'pg_restore', '--exit-on-error', '-j', '2', "$area/custom");
everything_is_there('parallel', 'pg_restore -j 2');

command_ok([ @dump, '-Fd', '-j', '2', '-f', "$area/directory" ], 'dumped in the directory format, in parallel');
restore('directory', 'pg_restore', '--exit-on-error', '-j', '2', "$area/directory");
everything_is_there('directory', 'pg_dump -Fd -j 2');

command_ok([ @dump, '-Fp', '-f', "$area/plain" ], 'dumped as SQL');
restore('plain', 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$area/plain");
everything_is_there('plain', 'plain SQL');

# The schema first: there the indexes meet empty tables and unknown codebooks, which is worth a warning, no more.
restore('two_steps', 'pg_restore', '--exit-on-error', '--schema-only', "$area/custom");
command_ok([ 'pg_restore', '--exit-on-error', '--data-only', '-d', $node->connstr('two_steps'), "$area/custom" ],
	'two_steps: data restored into existing tables and indexes');
index_agrees($node, 'article', 'schema, then data: the index misses no row', database => 'two_steps');
$node->safe_psql('two_steps', 'REINDEX TABLE article; REINDEX TABLE other.article; REINDEX TABLE alone; REINDEX TABLE bare');
everything_is_there('two_steps', 'schema, then data, then REINDEX');

$node->stop;
done_testing();
