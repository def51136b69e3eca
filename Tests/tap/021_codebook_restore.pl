# Triggers that keep codebooks do not stand in the way of any kind of restore.
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
$node->safe_psql(
	'source', q(
	CREATE TABLE article (id bigint PRIMARY KEY, embedding real[]);
	INSERT INTO article SELECT n, test_vector(n) FROM generate_series(1, 1000) AS n;));
use_cli($node, 'source', 'train', '--table', 'article', '--column', 'embedding', '--name', 'shared', '--levels', 'flat:24,product:4', '--seed', '1');
# an index, a column of codes and a default that need it
$node->safe_psql(
	'source', q(
	CREATE INDEX ON article USING wrvq (embedding) WITH (codebook = 'shared');
	CREATE TABLE small (id bigint, code wrvq_code);
	INSERT INTO small SELECT id, wrvq_encode('shared', embedding) FROM article;
	CREATE TABLE by_default (id int, code wrvq_code DEFAULT wrvq_encode('shared', test_vector(1)));));
my ($status, $out, $error) = $node->psql('source', 'DELETE FROM wrvq.wrvq_codebook');
like($error, qr/codebook "shared" cannot be removed.*index public\.article_embedding_idx/s, 'it is needed');

my $area = PostgreSQL::Test::Utils::tempdir();
my $contents = q(SELECT name, sha256, properties FROM wrvq.wrvq_codebook; SELECT name, level, md5(codewords), md5(transform) FROM wrvq.wrvq_codebook_level ORDER BY 1, 2;
	SELECT sum(hashtext(wrvq_decode(code)::text)) FROM small);
my $expected = $node->safe_psql('source', $contents);
command_ok([ 'pg_dump', '-Fc', '-f', "$area/dump", '-d', $node->connstr('source') ], 'dumped');

# restore($database, $how, @options): the dump, and what is there then
sub restore
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($database, $how, @options) = @_;

	command_ok([ 'pg_restore', '--exit-on-error', @options, '-d', $node->connstr($database), "$area/dump" ], "$how: restored");
	return;
}

sub everything_is_there
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($database, $how) = @_;

	is($node->safe_psql($database, $contents), $expected, "$how: codebooks and codes are the same");
	index_agrees($node, 'article', "$how: the index", database => $database);
	return;
}

$node->safe_psql('postgres', "CREATE DATABASE $_") foreach qw(plain parallel two_steps disabled);
restore('plain', 'as it is');
everything_is_there('plain', 'as it is');
# over itself
restore('plain', '--clean', '--clean', '--if-exists');
everything_is_there('plain', '--clean');
restore('parallel', '-j 3', '-j', '3');
everything_is_there('parallel', '-j 3');
restore('parallel', '--clean -j 3', '--clean', '--if-exists', '-j', '3');
everything_is_there('parallel', '--clean -j 3');
foreach my $way ([ 'two_steps' ], [ 'disabled', '--disable-triggers' ])
{
	my ($database, @options) = @$way;

	restore($database, "$database: schema", '--schema-only');
	restore($database, "$database: data", '--data-only', @options);
	$node->safe_psql($database, 'REINDEX TABLE article');
	everything_is_there($database, "$database");
}
# what pg_restore leaves after --disable-triggers refuses still
($status, $out, $error) = $node->psql('disabled', 'DELETE FROM wrvq.wrvq_codebook');
like($error, qr/codebook "shared" cannot be removed/, '--disable-triggers: the triggers are back');

# DROP EXTENSION asks about what depends on it, not about codebooks
($status, $out, $error) = $node->psql('plain', 'DROP EXTENSION wrvq');
like($error, qr/other objects depend on it/, 'DROP EXTENSION names objects that depend on it');
$node->safe_psql('plain', 'DROP EXTENSION wrvq CASCADE');
is($node->safe_psql('plain', q(SELECT count(*) FROM pg_namespace WHERE nspname = 'wrvq')), '0', 'with CASCADE it goes, and its schema with it');

$node->stop;
done_testing();
