# What the command-line tool writes arrives whole, or the tool says that it did not; nothing is destroyed on the way.
# And what it trains is of use, or the tool says that it is not.
use strict;
use warnings;

use IPC::Run ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $cli = $ENV{WRVQ_CLI} or die "WRVQ_CLI does not say where the command-line tool is\n";
my $folder = PostgreSQL::Test::Utils::tempdir;
my $levels = 'flat:4,product:2';

my $node = PostgreSQL::Test::Cluster->new('main');
$node->init;
$node->append_conf('postgresql.conf', 'autovacuum = off');
$node->start;
@ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, 'postgres');
$node->safe_psql(
	'postgres', q(
	CREATE EXTENSION wrvq;
	CREATE TABLE item (id int, v1 real[], v2 real[], v3 real[]);
	INSERT INTO item SELECT i, ARRAY[sin(i)], ARRAY[sin(i), cos(i)], ARRAY[sin(i), cos(i), sin(7 * i)] FROM generate_series(1, 400) AS i;
	CREATE VIEW ten AS SELECT * FROM item WHERE id <= 10;
	CREATE VIEW hundred AS SELECT * FROM item WHERE id <= 100;));

# vectors of three dimensions in a file
my $vectors = "$folder/in.fvecs";
{
	open my $file, '>:raw', $vectors or die "$vectors: $!";
	print $file pack('l< f<3', 3, sin($_), cos($_), sin(7 * $_)) foreach 1 .. 400;
	close $file or die "$vectors: $!";
}

# Runs the tool with this handle for standard output, none if undefined; returns exit status and standard error.
sub wrvq_to
{
	my ($stdout, @arguments) = @_;
	my $trouble = "$folder/stderr";
	my $child = fork // die "fork: $!";

	if ($child == 0)
	{
		open STDERR, '>', $trouble or die "$trouble: $!";
		defined $stdout ? open(STDOUT, '>&', $stdout) : close(STDOUT) or die "stdout: $!";
		$SIG{PIPE} = 'DEFAULT';
		exec $cli, @arguments or die "$cli: $!";
	}
	waitpid $child, 0;
	my $status = $? & 127 ? "signal " . ($? & 127) : $? >> 8;
	return ($status, slurp_file($trouble));
}

# Runs the tool; returns exit status, standard output and standard error.
sub wrvq
{
	my (@arguments) = @_;

	IPC::Run::run([ $cli, @arguments ], '<', \undef, '>', \my $out, '2>', \my $err);
	return ($? >> 8, $out, $err);
}

sub wrvq_ok
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($promise, @arguments) = @_;
	my ($status, $out, $err) = wrvq(@arguments);

	is($status, 0, $promise) or diag($err);
	return ($out, $err);
}

my $book = "$folder/book.safetensors";
my $codes = "$folder/codes.safetensors";
my @train = ('train', '--input', $vectors, '--levels', $levels, '--seed', '3');
wrvq_ok('a codebook', @train, '--output', $book);
wrvq_ok('in the database', 'load', $book, '--name', 'kept');
wrvq_ok('codes', 'encode', '--codebook', 'kept', '--input', $vectors, '--output', $codes);

# --- every command notices that its report is lost ---

my $count = 0;
my @commands = (
	[ '--help' ], [ '--version' ], [ 'drop', '--help' ], [ 'list' ], [ 'list', '--json' ], [ 'show', 'kept' ],
	[ 'show', $book, '--json' ], [ 'export', 'kept', '--output', "$folder/export" ],
	[ @train, '--name', 'NEW' ], [ @train, '--output', "$folder/trained", '--json' ],
	[ 'load', $book, '--name', 'NEW' ], [ 'load', $book, '--name', 'NEW', '--json' ],
	[ 'encode', '--codebook', 'kept', '--input', $vectors, '--output', "$folder/encoded" ],
	[ 'encode', '--codebook', $book, '--input', $vectors, '--output', "$folder/encoded", '--json' ],
	[ 'decode', '--codebook', 'kept', '--input', $codes, '--output', "$folder/decoded.npy" ],
	[ 'evaluate', '--input', $vectors, '--levels', $levels, '--baseline', 'none' ],
	[ 'evaluate', '--table', 'item', '--column', 'v3', '--codebook', 'kept', '--baseline', 'none', '--json' ]);
foreach my $command (@commands, ['drop'])
{
	foreach my $where ('full', 'broken pipe', 'closed')
	{
		my @arguments = map { $_ eq 'NEW' ? 'new' . $count++ : $_ } @$command;
		my $what = join ' ', grep { !m{/} } @$command;
		my ($stdout, $reason);

		if ("@arguments" eq 'drop')
		{
			wrvq_ok('a codebook to drop', 'load', $book, '--name', 'dropped');
			push @arguments, 'dropped';
		}
		if ($where eq 'full')
		{
			open $stdout, '>', '/dev/full' or die "/dev/full: $!";
			$reason = 'No space left on device';
		}
		elsif ($where eq 'broken pipe')
		{
			pipe my $reader, $stdout or die "pipe: $!";
			close $reader;
			$reason = 'Broken pipe';
		}
		else
		{
			$reason = 'Bad file descriptor';
		}
		my ($status, $err) = wrvq_to($stdout, @arguments);
		is($status, 1, "$what, standard output $where: exit status");
		like($err, qr/^wrvq: standard output cannot be written: $reason$/m, "$what, standard output $where: message");
		my $changes = $command->[0] =~ /^(train|load|export|encode|decode|drop)$/ && $command->[-1] ne '--help';
		like($err, qr/^hint: .* is (stored|written|dropped); only the report of it is lost\.$/m, "$what: it says what is done")
		  if $changes;
	}
}
is( $node->safe_psql('postgres', q(SELECT count(*) FROM (SELECT wrvq_encode(name, '{1,2,3}') FROM generate_series(0, 8) AS i, concat('new', i) AS name) AS all_of_them)),
	9, 'what is said to be stored is stored');

# standard error, where progress goes, is another matter
open my $full, '>', '/dev/full' or die "/dev/full: $!";
is(system("'$cli' encode --codebook kept --input '$vectors' --output '$folder/quiet' >/dev/null 2>/dev/full") >> 8,
	0, 'lost progress is not missed');
ok(slurp_file("$folder/quiet") eq slurp_file($codes), 'and the result is there');
close $full;

# --- what is no regular file stays what it is ---

my @writers = (
	[ 'train', $book, @train ], [ 'export', $book, 'export', 'kept' ],
	[ 'encode', $codes, 'encode', '--codebook', 'kept', '--input', $vectors ],
	[ 'decode', undef, 'decode', '--codebook', 'kept', '--input', $codes ]);
foreach my $writer (@writers)
{
	my ($name, $file, @command) = @$writer;
	my $plain = "$folder/$name.plain";

	wrvq_ok("$name: a file", @command, '--output', $plain);
	my $expected = slurp_file($plain);
	ok($expected eq slurp_file($file), "$name: the same again") if defined $file;

	# a link to a device, as we cannot make devices
	my $link = "$folder/$name.full";
	symlink '/dev/full', $link or die "$link: $!";
	my ($status, $out, $err) = wrvq(@command, '--output', $link);
	is($status, 1, "$name: a full device");
	like($err, qr/^wrvq: \Q$link\E: cannot be written: No space left on device$/m, "$name: a full device is named");
	is(readlink($link), '/dev/full', "$name: the link is still there");
	ok(-c '/dev/full', "$name: the device is still one");

	# a FIFO
	my $fifo = "$folder/$name.fifo";
	system_or_bail('mkfifo', $fifo);
	my $reader = IPC::Run::start([ 'cat', $fifo ], '<', \undef, '>', \my $read, '2>', \my $ignored);
	wrvq_ok("$name: a FIFO", @command, '--output', $fifo);
	if (-p $fifo)
	{
		$reader->finish;
		ok($read eq $expected, "$name: all of it comes out at the other end");
	}
	else
	{
		$reader->kill_kill;
		fail("$name: the FIFO is still one");
	}

	# links to files: the link stays, the file is replaced, keeps its permissions, and is never half there
	mkdir "$folder/$name.elsewhere";
	my $target = "$folder/$name.elsewhere/target";
	symlink "$name.elsewhere/target", "$folder/$name.link" or die "symlink: $!";
	wrvq_ok("$name: a link to nothing", @command, '--output', "$folder/$name.link");
	ok(-l "$folder/$name.link" && slurp_file($target) eq $expected, "$name: what it points to is made");
	append_to_file($target, 'longer than it was');
	chmod 0640, $target or die "chmod: $!";
	my $before = (stat $target)[1];
	wrvq_ok("$name: a link to a file", @command, '--output', "$folder/$name.link");
	ok(-l "$folder/$name.link" && slurp_file($target) eq $expected, "$name: what it points to is replaced");
	isnt((stat $target)[1], $before, "$name: by another file at once");
	is((stat $target)[2] & 07777, 0640, "$name: of the same permissions");
	is(join(' ', glob "$folder/$name.elsewhere/* $folder/$name.elsewhere/.wrvq*"), $target, "$name: nothing else is left");

	# standard output by its names
	foreach my $stdout ('-', '/dev/stdout', '/dev/fd/1')
	{
		my ($out, $err) = wrvq_ok("$name: to $stdout", @command, '--output', $stdout);
		ok($out eq $expected, "$name: nothing but the data comes on $stdout");
		like($err, qr/\Q$stdout\E|^level /m, "$name: the report goes to standard error");
	}
	# into a file that has something already: opened anew, it would begin at its beginning
	my $appended = "$folder/$name.appended";
	append_to_file($appended, "first\n");
	open my $handle, '>>', $appended or die "$appended: $!";
	is((wrvq_to($handle, @command, '--output', '/dev/stdout'))[0], 0, "$name: at the end of a file");
	ok(slurp_file($appended) eq "first\n$expected", "$name: what was there stays");
	open my $nowhere, '>', '/dev/full' or die "/dev/full: $!";
	like((wrvq_to($nowhere, @command, '--output', '-'))[1],
		qr/^wrvq: -: cannot be written: No space left on device$/m, "$name: the data do not fit");
}

# a failure half-way leaves the old file
{
	my $old = "$folder/old.npy";
	append_to_file($old, 'old contents');
	my @decode = ('decode', '--codebook', $book, '--input', $codes, '--output', $old);
	# 512 bytes at most
	is(system('sh', '-c', 'ulimit -f 1; trap "" XFSZ; "$@" >/dev/null 2>&1', 'sh', $cli, @decode) >> 8, 1, 'too large a file');
	is(slurp_file($old), 'old contents', 'leaves what was there');
	is(join(' ', glob "$folder/.wrvq*"), '', 'and no part of itself');
	SKIP:
	{
		skip 'root may write everywhere', 2 if $> == 0;
		chmod 0444, $old or die "chmod: $!";
		my ($status, $out, $err) = wrvq(@decode);
		is($status, 1, 'a file that is protected from writing');
		like($err, qr/^wrvq: \Q$old\E: cannot be written: Permission denied$/m, 'is not replaced');
	}
}

foreach my $output ('-', '/dev/stdout')
{
	my ($status, $out, $err) = wrvq(@train, '--output', $output, '--json');
	is($status, 2, "--json and --output $output are too much for one stream");
	is($out, '', 'and nothing comes on it');
}
foreach my $checkpoint ('-', '/dev/null', "$folder/train.fifo")
{
	my ($status, $out, $err) = wrvq(@train, '--method', 'adam', '--iterations', '1', '--checkpoint', $checkpoint, '--output', "$folder/adam");
	is($status, 1, "a checkpoint must be a file: $checkpoint");
	like($err, qr/: cannot be written: it is not a regular file, and has to be read again$/m, 'says so');
}

# --- too few rows ---

sub codebooks { return $node->safe_psql('postgres', 'SELECT count(*) FROM wrvq.wrvq_codebook'); }
my $before = codebooks();
foreach my $case (
	[ 'ten rows', qr/^wrvq: 10 vectors are too few to train the 16 codewords of level 1 \(flat:16\); expected at least one a codeword/m,
		'--table', 'ten', '--column', 'v3' ],
	[ 'a sample of one', qr/^wrvq: 1 vector is too few to train the 40 codewords of level 0 \(flat:40\)/m,
		'--table', 'item', '--column', 'v3', '--sample', '1' ],
	[ 'a sample of one of a file', qr/^wrvq: 1 vector is too few/m, '--input', $vectors, '--sample', '1' ],
	[ 'too many codewords', qr/^wrvq: 400 vectors are too few to train the 401 codewords of level 1 \(flat:401\)/m,
		'--input', $vectors, '--levels', 'flat:2,flat:401' ],
	[ 'rows held out', qr/^wrvq: 360 vectors are too few to train the 361 codewords/m,
		'--input', $vectors, '--levels', 'flat:361', '--method', 'adam', '--iterations', '1' ],
	[ 'pieces', qr/^wrvq: 15 vectors are too few to train the 16 codewords of each piece of level 1 \(product:2\)/m,
		'--input', $vectors, '--levels', $levels, '--sample', '15' ])
{
	my ($what, $message, @arguments) = @$case;
	my ($status, $out, $err) = wrvq('train', @arguments, '--name', 'few');
	is($status, 1, "$what: refused");
	like($err, $message, "$what: says why");
	like($err, qr/^hint: .*--sample.*--levels/m, "$what: says what to do");
	unlike($err, qr/training/, "$what: before the training");
}
is(codebooks(), $before, 'nothing is stored');
is((wrvq('evaluate', '--input', $vectors, '--levels', 'flat:201', '--baseline', 'none'))[0], 1, 'nor is it judged');
{
	my ($out, $err) = wrvq_ok('a hundred rows', 'train', '--table', 'hundred', '--column', 'v3', '--name', 'few');
	like($err, qr/^wrvq: warning: 100 vectors are few to train the 16 codewords of level 1 \(flat:16\): 6\.2 a codeword$/m, 'are warned of');
	unlike((wrvq_ok('enough rows', @train, '--name', 'enough'))[1], qr/warning/, 'are not');
}

# --- vectors of few dimensions ---

foreach my $dimensions (1 .. 3)
{
	my ($out, $err) = wrvq_ok("$dimensions dimensions by default", 'train', '--table', 'item', '--column', "v$dimensions", '--name', "short$dimensions");
	$node->safe_psql('postgres', "CREATE INDEX ON item USING wrvq (v$dimensions) WITH (codebook = 'short$dimensions')");
}
{
	my ($status, $out, $err) = wrvq('train', '--table', 'item', '--column', 'v3', '--levels', 'flat:4,product:4', '--name', 'wide');
	is($status, 1, 'pieces larger than vectors');
	like($err, qr/^wrvq: pieces of 4 dimensions are larger than vectors of 3$/m, 'are named');
	unlike($err, qr/training|reading/, 'before anything is read');
}

$node->stop;
done_testing();
