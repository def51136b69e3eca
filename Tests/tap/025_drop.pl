# `wrvq drop` removes no codebook that something needs: it asks the catalogs, then looks into every column that may hold codes.
use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cli = $ENV{WRVQ_CLI} or die "WRVQ_CLI does not say where the command-line tool is\n";
my $folder = PostgreSQL::Test::Utils::tempdir;

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
@ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, 'postgres');

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Runs the tool; returns exit status, standard output and standard error.
sub wrvq
{
	my (@arguments) = @_;

	IPC::Run::run([ $cli, @arguments ], '<', \undef, '>', \my $out, '2>', \my $err);
	return ($? >> 8, $out, $err);
}

# The codebook is kept; returns what for.
sub needed_by
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($what) = @_;
	my ($status, $out, $trouble) = wrvq('drop', 'mini');

	is($status, 1, "$what: refused") or diag($out);
	like($trouble, qr/^hint: .*--force/m, "$what: a way out");
	is(sql("SELECT count(*) FROM wrvq.wrvq_codebook WHERE name = 'mini'"), '1', "$what: still there");
	# whether the schema is named depends on the server's view of the search path
	return (($trouble =~ /^wrvq: codebook "mini" is needed by (.*)$/m)[0] // $trouble) =~ s/public\.//gr;
}

sub dropped
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($promise, $name, @options) = @_;
	my ($status, $out, $err) = wrvq('drop', $name, @options);

	is($status, 0, "$promise: dropped") or diag($err);
	is($out, qq(codebook "$name" dropped\n), "$promise: said so");
	is(sql("SELECT count(*) FROM wrvq.wrvq_codebook WHERE name = '$name'"), '0', "$promise: gone");
	return $err;
}

sql(q(
	CREATE EXTENSION wrvq;
	CREATE TABLE item (id int, embedding real[]);
	INSERT INTO item SELECT i, ARRAY[sin(i), cos(i), sin(7 * i)] FROM generate_series(1, 400) AS i;));
my %file = map { $_ => "$folder/$_.safetensors" } qw(mini other);
foreach my $seed (keys %file)
{
	system_or_bail($cli, 'train', '--table', 'item', '--column', 'embedding', '--levels', 'flat:4,product:2',
		'--seed', $seed eq 'mini' ? 1 : 2, '--output', $file{$seed});
}
sub load { system_or_bail($cli, 'load', $file{ $_[0] }, '--name', $_[1] // $_[0]); return; }
load('mini');
load('other');

# --- nothing needs it ---

sql('CREATE TABLE small (id int, code wrvq_code)');
dropped('an empty column', 'mini');
load('mini');
sql(q(INSERT INTO small SELECT id, wrvq_encode('other', embedding) FROM item));
my $err = dropped('codes of another codebook', 'mini');
like($err, qr/^searching column code of table (public\.)?small, 1 of 1: 0 %$/m, 'progress is told');
load('mini');

# --- codes need it, wherever they are ---

sql(q(
	CREATE DOMAIN code_domain AS wrvq_code;
	CREATE TYPE code_row AS (label text, code wrvq_code);
	CREATE DOMAIN row_domain AS code_row;));
foreach my $case (
	[ 'code', 'wrvq_code', 'one' ], [ 'a domain', 'code_domain', 'one' ], [ 'an array', 'wrvq_code[]', 'ARRAY[one]' ],
	[ 'an array of a domain', 'code_domain[]', 'ARRAY[NULL, one]::code_domain[]' ], [ 'a row', 'code_row', q(ROW('quoted " and ,', one)::code_row) ],
	[ 'rows in an array', 'code_row[]', q(ARRAY[ROW('"', one)::code_row]) ], [ 'a domain of rows', 'row_domain', q(ROW('', one)::code_row::row_domain) ])
{
	my ($what, $type, $value) = @$case;

	# the last of many rows
	sql(qq(CREATE TABLE holder (id int, "the Value" $type);
		INSERT INTO holder SELECT id, NULL FROM generate_series(1, 10000) AS id;
		INSERT INTO holder SELECT 0, $value FROM (SELECT wrvq_encode('mini', '{1,2,3}') AS one) AS codes));
	is(needed_by($what), 'column the Value of table holder', "$what: named");
	sql('DROP TABLE holder');
}

sql(q(
	CREATE TABLE parts (id int, code wrvq_code) PARTITION BY RANGE (id);
	CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
	CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20) PARTITION BY RANGE (id);
	CREATE TABLE parts_2_1 PARTITION OF parts_2 FOR VALUES FROM (10) TO (20);
	INSERT INTO parts VALUES (11, wrvq_encode('mini', '{1,2,3}'));));
is(needed_by('a partition'), 'column code of table parts_2_1', 'the partition is named');
sql('DROP TABLE parts');
sql(q(
	CREATE TABLE source (code wrvq_code);
	INSERT INTO source VALUES (wrvq_encode('mini', '{1,2,3}'));
	CREATE MATERIALIZED VIEW kept AS SELECT code FROM source;
	DELETE FROM source;
	CREATE VIEW seen AS SELECT code FROM source;));
is(needed_by('a materialized view'), 'column code of materialized view kept', 'the materialized view is named');
sql('DROP TABLE source CASCADE');
sql(q(CREATE TABLE gone (code wrvq_code, id int); INSERT INTO gone VALUES (wrvq_encode('mini', '{1,2,3}')); ALTER TABLE gone DROP COLUMN code));
dropped('a dropped column', 'mini');
load('mini');

# --- a second name will do ---

sql(q(INSERT INTO small VALUES (0, wrvq_encode('mini', '{1,2,3}'))));
load('mini', 'copy');
dropped('another name for the same contents', 'mini');
is(sql('SELECT wrvq_decode(code) IS NOT NULL FROM small WHERE id = 0'), 't', 'the code can still be read');
is((wrvq('drop', 'copy'))[0], 1, 'the last name is kept');
load('mini');
dropped('the copy', 'copy');
sql('DELETE FROM small WHERE id = 0');

# --- the catalogs know ---

foreach my $case (
	[ 'an index', q(CREATE INDEX by_mini ON item USING wrvq (embedding) WITH (codebook = 'mini')), 'DROP INDEX by_mini', qr/index by_mini$/ ],
	[ 'a generated column', q(ALTER TABLE item ADD code wrvq_code GENERATED ALWAYS AS (wrvq_encode('mini', embedding)) STORED), 'ALTER TABLE item DROP code', qr/column code of table item/ ],
	[ 'a generated column of double precision', q(CREATE TABLE wide (v double precision[], code wrvq_code GENERATED ALWAYS AS (wrvq_encode('mini', v)) STORED)), 'DROP TABLE wide', qr/column code of table wide/ ],
	[ 'a default', q(CREATE TABLE filled (code wrvq_code DEFAULT wrvq_encode('mini', '{1,2,3}'))), 'DROP TABLE filled', qr/column code of table filled/ ],
	[ 'an expression of an index', q(CREATE INDEX coded ON item USING wrvq ((wrvq_encode('mini', embedding)))), 'DROP INDEX coded', qr/index coded/ ],
	[ 'a constraint', q(ALTER TABLE item ADD CONSTRAINT codable CHECK (wrvq_encode('mini', embedding) IS NOT NULL)), 'ALTER TABLE item DROP CONSTRAINT codable', qr/constraint codable on table item/ ],
	[ 'a view', q(CREATE VIEW coded AS SELECT wrvq_encode('mini', embedding) AS code FROM item), 'DROP VIEW coded', qr/view coded/ ])
{
	my ($what, $create, $drop, $object) = @$case;

	sql($create);
	like(needed_by($what), $object, "$what: named");
	is((wrvq('drop', 'mini'))[2] =~ /searching/, '', "$what: no row is read");
	sql($drop);
}

# what names another one does not need this one
sql(q(CREATE TABLE other_named (v double precision[], r real[], code wrvq_code GENERATED ALWAYS AS (wrvq_encode('other', v)) STORED,
	code2 wrvq_code GENERATED ALWAYS AS (wrvq_encode('other', r)) STORED)));
dropped('named by nothing', 'mini');
load('mini');
sql('DROP TABLE other_named');

# --- what cannot be read ---

sql(q(
	CREATE ROLE keeper LOGIN;
	GRANT SELECT, DELETE ON wrvq.wrvq_codebook, wrvq.wrvq_codebook_level TO keeper;
	GRANT SELECT ON small TO keeper;
	CREATE TABLE secret (code wrvq_code);
	CREATE TABLE veiled (id int, code wrvq_code);
	ALTER TABLE veiled ENABLE ROW LEVEL SECURITY;
	GRANT SELECT ON veiled TO keeper;
	CREATE POLICY none ON veiled USING (false);));
my $found = (wrvq('drop', 'mini', '-U', 'keeper'))[2] =~ s/public\.//gr;
like($found, qr/column code of table secret \(unless proved otherwise: permission denied for table secret\)/, 'a table without the right to read it counts');
like($found, qr/column code of table veiled \(unless proved otherwise: query would be affected by row-level security policy/, 'a table whose rows may be hidden counts');
sql('DROP TABLE secret, veiled');
dropped('who may read all', 'mini', '-U', 'keeper');
load('mini');
{
	my ($status, $out, $trouble) = wrvq('drop', 'mini', '-U', 'nobody');
	is($status, 1, 'nobody');
	sql('CREATE ROLE reader LOGIN');
	($status, $out, $trouble) = wrvq('drop', 'mini', '-U', 'reader', '--force');
	is($status, 1, 'who may not remove codebooks');
	like($trouble, qr/^wrvq: permission denied to remove a codebook$/m, 'is told before anything is searched');
}

# --- by force ---

sql(q(
	INSERT INTO small VALUES (0, wrvq_encode('mini', '{1,2,3}'));
	CREATE INDEX by_mini ON item USING wrvq (embedding) WITH (codebook = 'mini');));
$err = dropped('by force', 'mini', '--force');
unlike($err, qr/searching/, 'no row is read by force');
is(sql('SELECT count(*) FROM (SELECT FROM item ORDER BY embedding <-> ARRAY[1, 0, 0]::real[] LIMIT 10) AS nearest'), '10', 'the index works on');
load('mini');
is(sql('SELECT wrvq_decode(code) IS NOT NULL FROM small WHERE id = 0'), 't', 'codes can be read again');
is((wrvq('drop', 'nothing'))[0], 1, 'what does not exist');

$node->stop;
done_testing();
