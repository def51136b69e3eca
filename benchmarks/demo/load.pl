#!/usr/bin/env perl
# load.pl VECTORS.npy TEXTS.tsv: writes rows (id int, name text, summary text, embedding real[])
# to stdout in PostgreSQL's binary COPY format.
use strict;
use warnings;

my ($vectors, $texts) = @ARGV;
open(my $npy, '<:raw', $vectors) or die "$vectors: $!\n";
open(my $tsv, '<:raw', $texts) or die "$texts: $!\n";
binmode STDOUT;

# .npy: magic, version 1.0, length of the header, the header, a Python dictionary
read($npy, my $prefix, 10) == 10 or die "$vectors: too short\n";
my ($magic, $header_bytes) = unpack('a8 v', $prefix);
$magic eq "\x93NUMPY\x01\x00" or die "$vectors: not a .npy file of version 1.0\n";
read($npy, my $header, $header_bytes) == $header_bytes or die "$vectors: too short\n";
$header =~ /'descr': '<f2', 'fortran_order': False, 'shape': \((\d+), (\d+)\)/
  or die "$vectors: expected rows of float16, found $header\n";
my ($rows, $dimensions) = ($1, $2);

# The 65,536 halves as array elements: their length, then the same value as a big-endian float.
my @elements = map { pack('N f>', 4, half_to_float($_)) } 0 .. 0xffff;

sub half_to_float
{
	my ($bits) = @_;
	my $fraction = ($bits & 0x3ff) / 1024;
	my $exponent = ($bits >> 10) & 0x1f;
	my $magnitude =
		$exponent == 0x1f ? ($fraction ? 9**9**9 / 9**9**9 : 9**9**9)
	  : $exponent ? (1 + $fraction) * 2**($exponent - 15)
	  : $fraction * 2**-14;
	return $bits & 0x8000 ? -$magnitude : $magnitude;
}

sub field { return pack('N/a*', $_[0]) }

# one dimension, no NULLs, elements of type 700 (real), subscripts from 1
my $array_header = pack('N5', 1, 0, 700, $dimensions, 1);

print "PGCOPY\n\xff\r\n\0", pack('N2', 0, 0);
for my $id (0 .. $rows - 1)
{
	read($npy, my $halves, 2 * $dimensions) == 2 * $dimensions or die "$vectors: too short\n";
	defined(my $line = <$tsv>) or die "$texts: fewer than $rows lines\n";
	chomp $line;
	my ($name, $summary) = split(/\t/, $line, 2);
	print pack('n', 4), field(pack('N', $id)), field($name), field($summary),
	  field($array_header . join('', @elements[ unpack('v*', $halves) ]));
}
print pack('n', 0xffff);
close(STDOUT) or die "stdout: $!\n";
