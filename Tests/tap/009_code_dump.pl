# Vectors stored as codes: the same codes as the command-line tool makes, and the same after dump and restore.
use strict;
use warnings;

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use TestWRVQ;

my $node = PostgreSQL::Test::Cluster->new('node');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE source');
create_schema($node, 'source');
$node->safe_psql(
	'source', q(
	CREATE TABLE article (id bigint PRIMARY KEY, embedding real[]);
	INSERT INTO article SELECT n, test_vector(n) FROM generate_series(1, 2000) AS n;));

my $area = PostgreSQL::Test::Utils::tempdir();
my $rows = 300;

# Some rows as a .npy file of single precision.
sub write_vectors
{
	my ($path) = @_;
	my @lines = split /\n/, $node->safe_psql('source', "SELECT array_to_string(embedding, ' ') FROM article WHERE id <= $rows ORDER BY id");
	my $header = sprintf q({'descr': '<f4', 'fortran_order': False, 'shape': (%d, 27), }), scalar @lines;

	$header .= ' ' x (117 - length $header) . "\n";
	open(my $file, '>:raw', $path) or die "$path: $!\n";
	print $file "\x93NUMPY\x01\x00", pack('v', length $header), $header, map { pack 'f<*', split / / } @lines;
	close $file or die "$path: $!\n";
	return;
}

# read_vectors($path): the rows of a .npy file of single precision.
sub read_vectors
{
	my $bytes = slurp_binary(shift);
	my @values = unpack 'f<*', substr $bytes, 10 + unpack('v', substr $bytes, 8, 2);

	return map { [ splice @values, 0, 27 ] } 1 .. @values / 27;
}

sub slurp_binary
{
	my ($path) = @_;

	open(my $file, '<:raw', $path) or die "$path: $!\n";
	local $/ = undef;
	return scalar <$file>;
}

# read_codes($path): the codes of an encoded file, by level, one row after another.
sub read_codes
{
	my $bytes = slurp_binary(shift);
	my $length = unpack 'Q<', $bytes;
	my $header = JSON::PP::decode_json(substr $bytes, 8, $length);
	my @codes;

	for (my $level = 0; my $tensor = $header->{"codes.$level"}; $level++)
	{
		my ($from, $to) = @{ $tensor->{data_offsets} };
		push @codes, [ unpack $tensor->{dtype} eq 'U16' ? 'v*' : 'C*', substr $bytes, 8 + $length + $from, $to - $from ];
	}
	return @codes;
}

# The codes that a value holds by wrvq_codes.h, in the order of the levels; 'byte', 'word' or a number of pieces each.
sub codes_of_value
{
	my ($text, @levels) = @_;
	my ($digits) = $text =~ /^1:[0-9a-f]{14}:[0-9a-f]{8}([0-9a-f]+)$/ or die "no value: $text\n";
	my @bytes = unpack 'C*', pack 'H*', $digits;
	my @codes;

	foreach my $level (@levels)
	{
		if ($level eq 'byte') { push @codes, [ shift @bytes ]; }
		elsif ($level eq 'word') { push @codes, [ unpack 'v', pack 'C2', splice @bytes, 0, 2 ]; }
		else
		{
			my @pieces = map { ($_ & 15, $_ >> 4) } splice @bytes, 0, ($level + 1) / 2;
			push @codes, [ @pieces[ 0 .. $level - 1 ] ];
		}
	}
	return @codes;
}

# --- the same codes as the command-line tool's ---

write_vectors("$area/vectors.npy");

# agrees_with_cli($name, \@levels, @training): values of SQL are the codes and the vectors of `wrvq encode` and `wrvq decode`.
sub agrees_with_cli
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, $levels, @training) = @_;
	my $values = "SELECT wrvq_encode('$name', embedding) AS code FROM article WHERE id <= $rows ORDER BY id";

	use_cli($node, 'source', 'train', '--table', 'article', '--column', 'embedding', '--name', $name, '--seed', '1', @training);
	use_cli($node, 'source', 'encode', '--codebook', $name, '--input', "$area/vectors.npy", '--output', "$area/$name.safetensors");
	use_cli($node, 'source', 'decode', '--codebook', $name, '--input', "$area/$name.safetensors", '--output', "$area/$name.npy");

	my @expected = read_codes("$area/$name.safetensors");
	my @texts = split /\n/, $node->safe_psql('source', $values);
	my $same = 0;
	foreach my $row (0 .. $#texts)
	{
		my @codes = codes_of_value($texts[$row], @$levels);
		my $equal = 1;
		foreach my $level (0 .. $#codes)
		{
			my $count = @{ $codes[$level] };
			my @theirs = @{ $expected[$level] }[ $row * $count .. ($row + 1) * $count - 1 ];
			$equal &&= "@{ $codes[$level] }" eq "@theirs";
		}
		$same += $equal;
	}
	# rounding decides between codewords that are equally near
	cmp_ok($same, '>=', 0.98 * $rows, "$name: the codes are the tool's") or diag("$same of $rows are");

	my @decoded = read_vectors("$area/$name.npy");
	my @lines = split /\n/, $node->safe_psql('source', "SELECT array_to_string(wrvq_decode(code), ' ') FROM ($values) s");
	my $close = 0;
	foreach my $row (0 .. $#lines)
	{
		my @vector = split / /, $lines[$row];
		$close += 0 == grep { abs($vector[$_] - $decoded[$row][$_]) > 1e-3 } 0 .. 26;
	}
	is(scalar @lines, $rows, "$name: all rows are decoded");
	cmp_ok($close, '>=', 0.98 * $rows, "$name: the vectors are the tool's") or diag("$close of $rows are");
	return;
}

agrees_with_cli('mini', [ 'byte', 'byte', 7 ], '--levels', 'flat:32,flat:8,product:4');
agrees_with_cli('angle', [ 'byte', 5 ], '--metric', 'cosine', '--levels', 'flat:16,product:6', '--weight-bits', '4');
agrees_with_cli('flat', [ 'word', ('byte') x 3 ], '--metric', 'ip', '--levels', 'flat:300,flat:64,flat:64,flat:64', '--weight-bits', '3');
agrees_with_cli('length', [ ('byte') x 4 ], '--levels', 'flat:64,flat:64,flat:64,flat:64', '--weight', 'norm', '--weight-bits', '8');
agrees_with_cli('coarse', [ 'byte', 7 ], '--levels', 'flat:24,product:4', '--weight', 'norm', '--weight-bits', '2');

# --- dump and restore ---

$node->safe_psql(
	'source', q(
	CREATE FUNCTION encode_embedding() RETURNS trigger LANGUAGE plpgsql SET search_path = public AS $$
	BEGIN
		NEW.code := wrvq_encode('mini', NEW.embedding);
		RETURN NEW;
	END $$;
	CREATE TABLE "a triggered" (id bigint PRIMARY KEY, embedding real[], code wrvq_code);
	CREATE TRIGGER encode_embedding BEFORE INSERT OR UPDATE ON "a triggered" FOR EACH ROW EXECUTE FUNCTION encode_embedding();
	INSERT INTO "a triggered" SELECT * FROM article;
	-- no vectors anywhere; a codebook whose weights tell all rows apart, so that no two distances are equal
	CREATE TABLE codes_only AS SELECT id, wrvq_encode('mini', embedding) AS embedding FROM article;
	CREATE INDEX ON codes_only USING wrvq (embedding);));
index_agrees($node, 'codes_only', 'the index on codes', database => 'source');

my $contents = q(
	SELECT md5(string_agg(code::text, ',' ORDER BY id)), sum(code <-> test_vector(5)) FROM "a triggered";
	SELECT md5(string_agg(embedding::text, ',' ORDER BY id)), sum(embedding <-> test_vector(5)) FROM codes_only;);
my $expected = $node->safe_psql('source', $contents);

# restored($database, @command): a new database has what the source has.
sub restored
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($database, @command) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $database");
	command_ok([ @command, '-d', $node->connstr($database) ], "$database: restored");
	is($node->safe_psql($database, $contents), $expected, "$database: the codes and their distances are the same");
	index_agrees($node, 'codes_only', "$database: the index on codes", database => $database);
	$node->safe_psql($database, 'INSERT INTO "a triggered" SELECT -1, test_vector(1)');
	is( $node->safe_psql($database, 'SELECT count(DISTINCT code::text) FROM "a triggered" WHERE id IN (1, -1)'),
		1, "$database: the trigger goes on");
	return;
}

my @dump = ('pg_dump', '-d', $node->connstr('source'));
command_ok([ @dump, '-Fc', '-f', "$area/custom" ], 'dumped in the custom format');
restored('custom', 'pg_restore', '--exit-on-error', "$area/custom");
command_ok([ @dump, '-Fp', '-f', "$area/plain" ], 'dumped as SQL');
restored('plain', 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$area/plain");

# the binary form, out and in
$node->safe_psql('source', "COPY codes_only TO '$area/codes.bin' (FORMAT binary)");
$node->safe_psql('source', "CREATE TABLE again (LIKE codes_only); COPY again FROM '$area/codes.bin' (FORMAT binary)");
is( $node->safe_psql('source', q(SELECT count(*) FROM again a JOIN codes_only c ON a.id = c.id AND a.embedding::text = c.embedding::text)),
	2000, 'the binary form survives');

# --- a generated column is computed anew while the codebooks are not there yet ---

$node->safe_psql(
	'source', q(
	CREATE TABLE "a generated" (id bigint PRIMARY KEY, embedding real[],
		code wrvq_code GENERATED ALWAYS AS (wrvq_encode('mini', embedding)) STORED);
	INSERT INTO "a generated" (id, embedding) SELECT * FROM article;));
command_ok([ @dump, '-Fc', '-f', "$area/generated" ], 'a generated column is dumped');
$node->safe_psql('postgres', 'CREATE DATABASE two_steps');
my @restore = ('pg_restore', '-d', $node->connstr('two_steps'));
IPC::Run::run([ @restore, "$area/generated" ], '<', \undef, '>', \my $out, '2>', \my $err);
like($err, qr/ERROR:  codebook "mini" does not exist\nHINT: .*"pg_restore --data-only --table"/, 'the error says how to go on');
is(() = $err =~ /ERROR:/g, 1, 'it is the only one');
is(rows_in($node, '"a generated"', 'two_steps'), 0, 'its table is empty');
command_ok([ @restore, '--exit-on-error', '--data-only', '--table', 'a generated', "$area/generated" ], 'and that is the way');
is( $node->safe_psql('two_steps', 'SELECT md5(string_agg(code::text, $$,$$ ORDER BY id)) FROM "a generated"'),
	$node->safe_psql('source', 'SELECT md5(string_agg(code::text, $$,$$ ORDER BY id)) FROM "a generated"'),
	'the codes are the same');
is($node->safe_psql('two_steps', $contents), $expected, 'and so is all the rest');

$node->stop;
done_testing();
