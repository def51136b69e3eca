# A superuser runs the command-line tool in a database of somebody who means ill: whatever operators, functions, types
# and casts lie in wait, and whatever the tables run when they are read, nothing of it runs with the superuser's rights.
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
$node->safe_psql('postgres', 'CREATE ROLE mallory LOGIN');
$node->safe_psql('postgres', 'CREATE DATABASE hostile OWNER mallory');
$node->safe_psql('hostile', 'CREATE SCHEMA ext; CREATE EXTENSION wrvq SCHEMA ext; GRANT USAGE ON SCHEMA ext TO PUBLIC');

sub as_mallory { return $node->safe_psql('hostile', $_[0], extra_params => [ '-U', 'mallory' ]); }

# --- traps ---

# They tell the server's log whose rights they got.
as_mallory(q(
	CREATE SCHEMA m;
	GRANT USAGE ON SCHEMA m, public TO PUBLIC;
	CREATE FUNCTION m.trap(name pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql IMMUTABLE AS $$
	BEGIN
		IF (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) current_user) THEN
			RAISE LOG 'TRAP: % runs as a superuser', name;
		END IF;
		RETURN true;
	END $$;
	-- tries to get the rights back, and to leave something that runs later
	CREATE FUNCTION m.escape(name pg_catalog.text) RETURNS pg_catalog.bool LANGUAGE plpgsql VOLATILE AS $$
	DECLARE
		attempt pg_catalog.text;
	BEGIN
		PERFORM m.trap(name);
		FOREACH attempt IN ARRAY ARRAY['RESET ROLE', 'SET ROLE NONE', 'RESET SESSION AUTHORIZATION', 'SET SESSION AUTHORIZATION DEFAULT',
			'SET TRANSACTION READ WRITE', 'CREATE TEMPORARY TABLE late (i int)',
			$cursor$DECLARE late CURSOR WITH HOLD FOR SELECT m.trap('a cursor')$cursor$,
			$function$CREATE FUNCTION pg_temp.wrvq_sample(float8, float8) RETURNS text LANGUAGE sql AS 'SELECT m.trap(''a function'')::text'$function$,
			$table$CREATE TABLE m.late (i int)$table$]
		LOOP
			BEGIN
				EXECUTE attempt;
				PERFORM m.trap(attempt);
			EXCEPTION WHEN OTHERS THEN NULL;
			END;
		END LOOP;
		PERFORM pg_catalog.set_config('search_path', 'm, public, pg_catalog', false);
		RETURN true;
	END $$;));

# What looks like pg_catalog's, before it.
{
	my @types = qw(text name oid regtype regclass regproc "char" int2 int4 int8 float4 float8 numeric jsonb bool bytea text[] float4[] float8[]);
	my $sql = '';
	my $trap = sub {
		my ($signature, $result, $value, $language) = @_;
		return "CREATE FUNCTION public.$signature RETURNS $result LANGUAGE plpgsql AS \$\$ BEGIN PERFORM m.trap('$signature'); RETURN $value; END \$\$;\n";
	};
	foreach my $type (@types)
	{
		my $qualified = $type eq 'char' ? 'pg_catalog."char"' : "pg_catalog.$type";
		my $name = $type =~ s/\W/_/gr;
		my %others = map { $_ => 1 } ($qualified, 'pg_catalog.text', 'pg_catalog.int4', 'pg_catalog.regtype');
		foreach my $other (sort keys %others)
		{
			my $other_name = $other =~ s/\W/_/gr;
			$sql .= $trap->("same_${name}_$other_name(l $qualified, r $other)", 'pg_catalog.bool', 'true');
			$sql .= "CREATE OPERATOR public.$_ (LEFTARG = $qualified, RIGHTARG = $other, FUNCTION = public.same_${name}_$other_name);\n"
			  foreach ('=', '<>', '<', '>');
		}
	}
	foreach my $pair ([ 'text', 'text' ], [ 'text', 'name' ], [ 'jsonb', 'text' ], [ 'text', 'regclass' ], [ 'text', 'tid' ])
	{
		my ($left, $right) = @$pair;
		$sql .= $trap->("both_${left}_$right(l pg_catalog.$left, r pg_catalog.$right)", 'pg_catalog.text', "''");
		$sql .= "CREATE OPERATOR public.$_ (LEFTARG = pg_catalog.$left, RIGHTARG = pg_catalog.$right, FUNCTION = public.both_${left}_$right);\n"
		  foreach ('||', '->>');
	}
	$sql .= $trap->("$_(a pg_catalog.text)", 'pg_catalog.text', "''")
	  foreach qw(to_regclass quote_ident current_setting format concat pg_get_indexdef);
	$sql .= $trap->("$_(a pg_catalog.oid)", 'pg_catalog.text', "''") foreach qw(to_regclass format_type pg_get_userbyid pg_get_expr);
	$sql .= $trap->("$_()", 'pg_catalog.float8', '0') foreach qw(random count now current_database);
	$sql .= $trap->('format(a pg_catalog.text, VARIADIC b pg_catalog.text[])', 'pg_catalog.text', "''");
	$sql .= $trap->('encode(a pg_catalog.bytea, b pg_catalog.text)', 'pg_catalog.text', "''");
	$sql .= $trap->('decode(a pg_catalog.text, b pg_catalog.text)', 'pg_catalog.bytea', "''");
	$sql .= $trap->('to_char(a pg_catalog.timestamp, b pg_catalog.text)', 'pg_catalog.text', "''");
	$sql .= $trap->('timezone(a pg_catalog.text, b pg_catalog.timestamptz)', 'pg_catalog.timestamp', 'NULL');
	$sql .= $trap->('array_to_string(a pg_catalog.float8[], b pg_catalog.text)', 'pg_catalog.text', "''");
	$sql .= $trap->('has_table_privilege(a pg_catalog.regclass, b pg_catalog.text)', 'pg_catalog.bool', 'true');
	$sql .= $trap->('bernoulli(a pg_catalog.float4)', 'pg_catalog.float4', '1');
	# types of the names in casts
	$sql .= "CREATE DOMAIN public.$_ AS pg_catalog.$_ CHECK (m.trap('type $_'));\n"
	  foreach qw(text name oid regclass regtype int4 int8 float8 numeric bytea);
	# tables of catalogs' and our names
	$sql .= "CREATE VIEW public.$_ AS SELECT m.trap('view $_') AS name;\n" foreach qw(pg_class pg_extension pg_roles wrvq_codebook wrvq_codebook_level);
	as_mallory($sql);
}
# a cast of her own type to what is read, and one from it
as_mallory(q(
	CREATE TYPE m.pair AS (a pg_catalog.float4, b pg_catalog.float4);
	CREATE FUNCTION m.to_array(p m.pair) RETURNS pg_catalog.float4[] LANGUAGE plpgsql AS $$
	BEGIN PERFORM m.trap('a cast'); RETURN ARRAY[p.a, p.b]; END $$;
	CREATE CAST (m.pair AS pg_catalog.float4[]) WITH FUNCTION m.to_array(m.pair) AS IMPLICIT;
	CREATE TABLE m.pairs (embedding m.pair);
	INSERT INTO m.pairs VALUES ((1, 2)::m.pair);));

# Tables that run code when they are read: while planning, by row security, by domains, by views.
as_mallory(q(
	CREATE DOMAIN m.vector AS pg_catalog.float4[] CHECK (m.trap('a domain'));
	CREATE TABLE m.item (id pg_catalog.int4, embedding pg_catalog.float4[], domain m.vector);
	INSERT INTO m.item SELECT i, ARRAY[pg_catalog.sin(i), pg_catalog.cos(i), pg_catalog.sin(7 OPERATOR(pg_catalog.*) i)]::pg_catalog.float4[],
		ARRAY[pg_catalog.sin(i), pg_catalog.cos(i)]::pg_catalog.float4[]::m.vector FROM pg_catalog.generate_series(1, 1000) AS i;
	CREATE INDEX ON m.item (id) WHERE m.trap('a predicate');
	CREATE INDEX ON m.item (m.trap('an expression'));
	ALTER TABLE m.item ENABLE ROW LEVEL SECURITY;
	ALTER TABLE m.item FORCE ROW LEVEL SECURITY;
	CREATE POLICY p ON m.item USING (m.escape('a policy'));
	CREATE VIEW m.seen AS SELECT id, embedding FROM m.item WHERE m.escape('a view') AND id OPERATOR(pg_catalog.<>) 0;
	CREATE MATERIALIZED VIEW m.kept AS SELECT * FROM m.item;
	CREATE INDEX ON m.kept (id) WHERE m.trap('a predicate of a materialized view');
	CREATE TABLE m.parts (id pg_catalog.int4, embedding pg_catalog.float4[]) PARTITION BY RANGE (id);
	CREATE TABLE m.part_1 PARTITION OF m.parts FOR VALUES FROM (0) TO (500);
	CREATE TABLE m.part_2 PARTITION OF m.parts FOR VALUES FROM (500) TO (100000);
	INSERT INTO m.parts SELECT id, embedding FROM m.item;
	CREATE INDEX ON m.parts (id) WHERE m.trap('a predicate of a partition');));
# in a superuser's own table only names can deceive
$node->safe_psql('hostile', q(CREATE TABLE public.own AS SELECT id, embedding FROM m.item ORDER BY id));
as_mallory(q(ALTER DATABASE hostile SET search_path = public, m, pg_catalog));

my $seen = 0;

# What has run with a superuser's rights since the last call.
sub trapped
{
	my $log = substr slurp_file($node->logfile), $seen;

	$seen += length $log;
	return join "\n", $log =~ /TRAP: (.*)/g;
}

# --- the traps are set ---

trapped();
$node->psql('hostile', $_)
  foreach (q(SELECT name FROM pg_class), q(SELECT 'a'::pg_catalog.text = 'a'::pg_catalog.text),
	q(SELECT 1 WHERE 'real[]'::pg_catalog.regtype = 'real[]'::pg_catalog.regtype),
	q(SELECT pg_catalog.count(*) FROM m.item WHERE embedding IS NOT NULL), q(SELECT pg_catalog.count(*) FROM m.seen), q(SELECT 'x'::text));
my $works = trapped();
like($works, qr/\Q$_\E/, "a superuser who looks for himself is trapped: $_")
  foreach ('view pg_class', 'same_text_', 'same_regtype_', 'a predicate', 'a view', 'type text');

$node->safe_psql('hostile', 'DROP TABLE IF EXISTS m.late');
trapped();

# --- the tool ---

# Runs it as the superuser; it succeeds or fails as expected, and nothing runs with his rights.
sub wrvq
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($expected, @arguments) = @_;

	local @ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, 'hostile');
	IPC::Run::run([ $cli, @arguments ], '<', \undef, '>', \my $out, '2>', \my $err);
	my $what = join ' ', @arguments;
	$what =~ s/\Q$folder\E/.../g;
	is($? >> 8, $expected, "$what: exit status") or diag($err);
	is(trapped(), '', "$what: nothing runs with a superuser's rights");
	return ($out, $err);
}

my $levels = 'flat:8,product:1';
my @train = ('train', '--levels', $levels, '--column', 'embedding');
wrvq(0, 'list');
wrvq(0, @train, '--table', 'own', '--name', 'own');
foreach my $table ('item', 'm.item', 'seen', 'kept', 'parts')
{
	foreach my $sample (200, 5000)
	{
		my ($out) = wrvq(0, @train, '--table', $table, '--sample', $sample, '--output', "$folder/$table.$sample", '--json');
		like($out, $sample == 200 ? qr/"sample" : 200,/ : qr/"sample" : 1000,/, 'the rows are read all the same');
		wrvq(0, @train, '--table', $table, '--sample', $sample, '--output', "$folder/again");
		ok(slurp_file("$folder/$table.$sample") eq slurp_file("$folder/again"), 'and the sample is repeatable') if $table ne 'seen';
	}
}
wrvq(0, 'train', '--levels', $levels, '--table', 'item', '--column', 'domain', '--name', 'domain');
wrvq(1, @train, '--table', 'pairs', '--name', 'pairs');
wrvq(1, @train, '--table', 'nowhere', '--name', 'nowhere');
wrvq(1, 'train', '--levels', $levels, '--table', 'item', '--column', 'nowhere', '--name', 'nowhere');
wrvq(0, 'list');
wrvq(0, 'list', '--json');
wrvq(0, 'show', 'own');
wrvq(0, 'show', 'own', '--json');
wrvq(0, 'export', 'own', '--output', "$folder/own.safetensors");
wrvq(0, 'load', "$folder/own.safetensors", '--name', 'loaded');
wrvq(1, 'load', "$folder/own.safetensors", '--name', 'loaded');
wrvq(1, @train, '--table', 'own', '--name', 'loaded');
{
	open my $file, '>:raw', "$folder/in.fvecs" or die "in.fvecs: $!";
	print $file pack('l< f<3', 3, sin($_), cos($_), sin(7 * $_)) foreach 1 .. 100;
	close $file or die "in.fvecs: $!";
}
wrvq(0, 'encode', '--codebook', 'own', '--input', "$folder/in.fvecs", '--output', "$folder/codes.safetensors");
wrvq(0, 'decode', '--codebook', 'own', '--input', "$folder/codes.safetensors", '--output', "$folder/out.npy");
wrvq(0, 'evaluate', '--codebook', 'own', '--table', 'item', '--column', 'embedding', '--baseline', 'none');
wrvq(0, 'evaluate', '--levels', $levels, '--table', 'seen', '--column', 'embedding', '--baseline', 'none');
as_mallory(q(CREATE INDEX item_embedding ON m.item USING wrvq (embedding) WITH (codebook = 'own')));
wrvq(0, 'show', 'own');
wrvq(1, 'drop', 'own');
# another name for the same contents
wrvq(0, 'drop', 'loaded');
wrvq(1, 'drop', 'loaded');
# without the index the columns are searched, hers, too
as_mallory(q(
	DROP INDEX m.item_embedding;
	CREATE DOMAIN m.code AS ext.wrvq_code CHECK (m.trap('a domain of codes'));
	CREATE TYPE m.row AS (code m.code);
	CREATE FUNCTION m.row_text(r m.row) RETURNS pg_catalog.text LANGUAGE plpgsql AS $$ BEGIN PERFORM m.trap('a cast to text'); RETURN ''; END $$;
	CREATE CAST (m.row AS pg_catalog.text) WITH FUNCTION m.row_text(m.row) AS IMPLICIT;
	CREATE TABLE m.codes (id pg_catalog.int4, code m.row);
	CREATE INDEX ON m.codes (id) WHERE m.trap('a predicate of codes');
	ALTER TABLE m.codes ENABLE ROW LEVEL SECURITY;
	CREATE POLICY p ON m.codes USING (m.escape('a policy of codes'));));
$node->safe_psql('hostile', q(INSERT INTO m.codes SELECT id, ROW(ext.wrvq_encode('own', embedding))::m.row FROM public.own));
trapped();
like((wrvq(1, 'drop', 'own'))[1], qr/^wrvq: codebook "own" is needed by column code of table m\.codes$/m, 'and found');
wrvq(0, 'drop', 'own', '--force');

is(as_mallory(q(SELECT pg_catalog.to_regclass('m.late') IS NULL)), 't', 'nothing is left behind');

$node->stop;
done_testing();
