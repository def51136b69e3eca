/// What `--help` prints for each command, in 80 columns: the manual that users read.
enum HelpTexts {
  static let wrvq = """
    OVERVIEW: Trains codebooks for wrvq indexes and keeps them in PostgreSQL.

    USAGE: wrvq <subcommand>

    OPTIONS:
      --version               Show the version.
      --help                  Show help information.

    SUBCOMMANDS:
      train                   Trains a codebook on vectors from a table or a file.
      load                    Stores a codebook file in a database.
      export                  Writes a codebook from a database to a file.
      list                    Lists the codebooks in a database.
      show                    Shows a codebook of a database, or in a file.
      drop                    Removes a codebook from a database.
      encode                  Encodes the vectors of a file with a codebook.
      decode                  Turns encoded vectors back into approximate ones.
      evaluate                Compares codebooks with other quantizers on vectors
                              held out of training.

      See 'wrvq help <subcommand>' for detailed help.
    """

  static let train = """
    OVERVIEW: Trains a codebook on vectors from a table or a file.

    Give the vectors as --table and --column, or as --input; give the codebook a
    --name in the database, or an --output file. The same vectors, options and seed
    give the same codebook.

    USAGE: wrvq train (--table <table> --column <column> | --input <file>)
                             (--name <name> | --output <file>) [<options>]

    CONNECTION:
      -h, --host <host>       Host name, or the directory of the server's socket.
      -p, --port <port>       Port.
      -U, --username <username>
                              User to connect as.
      -d, --dbname <dbname>   Database: a name, a URI (postgresql://…) or a
                              conninfo string.

    OPTIONS:
      --table <table>         A table or a view, named as in SQL; its sample is
                              repeatable.
      --column <column>       Its column of vectors: real[], or pgvector's vector
                              or halfvec.
      --input <file>          A file of vectors: .npy or .fvecs.
      --name <name>           Store the codebook in the database under this name.
      --output <file>         Write the codebook to this file (.safetensors); - is
                              standard output.
      --metric <metric>       The distance to preserve. (values: l2, ip, cosine;
                              default: l2)
      --levels <levels>       The levels, for example flat:1024,flat:16,product:4:
                              codewords of a flat level, dimensions a piece of a
                              product level. (default: by the number of rows)
      --method <method>       linear: level by level; adam: then all levels
                              together by gradient descent, for less loss in more
                              time. (values: linear, adam; default: linear)
      --iterations <iterations>
                              Of adam: mini-batches, 1 to 100000. (default: 1000)
      --learning-rate <learning-rate>
                              Of adam: the rate that it begins with, at most 1.
                              (default: 0.001; 0.01 for four flat levels of 256
                              codewords and up)
      --batch <batch>         Of adam: rows of a mini-batch. (default: 4096)
      --beam <beam>           Of adam: ways to code a vector that its search of
                              codes keeps, 1 to 256. (default: 2)
      --checkpoint <file>     Of adam: a file that keeps the state; if it is there,
                              training goes on from it.
      --weight <weight>       How a level's weight is chosen. (values: projection,
                              norm; default: projection)
      --weight-bits <weight-bits>
                              Bits of a stored weight: 16, 8, 4, 3 or 2. (default:
                              16)
      --sample <sample>       Train on this many vectors: at least one a codeword,
                              better 10. (default: 50 for each codeword of level 0,
                              but 10000 to 200000, or 10 for each, and at most 1
                              GiB)
      --seed <seed>           Seed of all random choices. (default: 1)
      --threads <threads>     Threads. (default: as many as processors)
      --json                  Print JSON.
      --version               Show the version.
      --help                  Show help information.

    """

  static let load = """
    OVERVIEW: Stores a codebook file in a database.

    USAGE: wrvq load <file> --name <name> [--json] [--host <host>] [--port <port>] [--username <username>] [--dbname <dbname>]

    ARGUMENTS:
      <file>                  A codebook file (.safetensors).

    CONNECTION:
      -h, --host <host>       Host name, or the directory of the server's socket.
      -p, --port <port>       Port.
      -U, --username <username>
                              User to connect as.
      -d, --dbname <dbname>   Database: a name, a URI (postgresql://…) or a
                              conninfo string.

    OPTIONS:
      --name <name>           The codebook's name in the database.
      --json                  Print JSON.
      --version               Show the version.
      --help                  Show help information.

    """

  static let export = """
    OVERVIEW: Writes a codebook from a database to a file.

    USAGE: wrvq export <name> --output <file> [--host <host>] [--port <port>] [--username <username>] [--dbname <dbname>]

    ARGUMENTS:
      <name>                  The codebook's name in the database.

    CONNECTION:
      -h, --host <host>       Host name, or the directory of the server's socket.
      -p, --port <port>       Port.
      -U, --username <username>
                              User to connect as.
      -d, --dbname <dbname>   Database: a name, a URI (postgresql://…) or a
                              conninfo string.

    OPTIONS:
      --output <file>         The file to write (.safetensors); replaced if it
                              exists; - is standard output.
      --version               Show the version.
      --help                  Show help information.

    """

  static let list = """
    OVERVIEW: Lists the codebooks in a database.

    USAGE: wrvq list [--json] [--host <host>] [--port <port>] [--username <username>] [--dbname <dbname>]

    CONNECTION:
      -h, --host <host>       Host name, or the directory of the server's socket.
      -p, --port <port>       Port.
      -U, --username <username>
                              User to connect as.
      -d, --dbname <dbname>   Database: a name, a URI (postgresql://…) or a
                              conninfo string.

    OPTIONS:
      --json                  Print JSON.
      --version               Show the version.
      --help                  Show help information.

    """

  static let show = """
    OVERVIEW: Shows a codebook of a database, or in a file.

    USAGE: wrvq show <name-or-file> [--json] [--host <host>] [--port <port>] [--username <username>] [--dbname <dbname>]

    ARGUMENTS:
      <name-or-file>          A codebook's name, or a file: what has a slash in it
                              or ends in .safetensors.

    CONNECTION:
      -h, --host <host>       Host name, or the directory of the server's socket.
      -p, --port <port>       Port.
      -U, --username <username>
                              User to connect as.
      -d, --dbname <dbname>   Database: a name, a URI (postgresql://…) or a
                              conninfo string.

    OPTIONS:
      --json                  Print JSON.
      --version               Show the version.
      --help                  Show help information.

    """

  static let drop = """
    OVERVIEW: Removes a codebook from a database.

    A codebook that anything needs is kept, unless forced: indexes and expressions
    that name it, and columns that hold codes of it, or that cannot be read. All
    columns of type wrvq_code are searched. An index keeps its own copy and works
    on, but can only be restored from a dump while a codebook of that name exists;
    codes cannot be read without their codebook.

    USAGE: wrvq drop <name> [--force] [--host <host>] [--port <port>] [--username <username>] [--dbname <dbname>]

    ARGUMENTS:
      <name>                  The codebook's name.

    CONNECTION:
      -h, --host <host>       Host name, or the directory of the server's socket.
      -p, --port <port>       Port.
      -U, --username <username>
                              User to connect as.
      -d, --dbname <dbname>   Database: a name, a URI (postgresql://…) or a
                              conninfo string.

    OPTIONS:
      --force                 Remove it whatever needs it, without a search.
      --version               Show the version.
      --help                  Show help information.

    """

  static let encode = """
    OVERVIEW: Encodes the vectors of a file with a codebook.

    Prints the quantization loss after each level: the mean squared length of what
    is still missing of the vectors, scaled (and normalised under cosine) as the
    codebook says.

    USAGE: wrvq encode --codebook <name-or-file> --input <file> --output <file> [--beam <beam>] [--refit] [--threads <threads>] [--json] [--host <host>] [--port <port>] [--username <username>] [--dbname <dbname>]

    CONNECTION:
      -h, --host <host>       Host name, or the directory of the server's socket.
      -p, --port <port>       Port.
      -U, --username <username>
                              User to connect as.
      -d, --dbname <dbname>   Database: a name, a URI (postgresql://…) or a
                              conninfo string.

    OPTIONS:
      --codebook <name-or-file>
                              A codebook's name, or a file: what has a slash in it
                              or ends in .safetensors.
      --input <file>          A file of vectors: .npy or .fvecs.
      --output <file>         The file of codes and weights to write
                              (.safetensors); replaced if it exists; - is standard
                              output.
      --beam <beam>           Search with a beam of so many ways to code a vector:
                              less loss for more time, 1 to 256. (default: 1)
      --refit                 Fit all weights of a vector together once its codes
                              are chosen.
      --threads <threads>     Threads. (default: as many as processors)
      --json                  Print JSON.
      --version               Show the version.
      --help                  Show help information.

    """

  static let decode = """
    OVERVIEW: Turns encoded vectors back into approximate ones.

    The vectors are in the scale of those that were encoded; under cosine they are
    of length about one.

    USAGE: wrvq decode --codebook <name-or-file> --input <file> --output <file> [--levels <levels>] [--threads <threads>] [--host <host>] [--port <port>] [--username <username>] [--dbname <dbname>]

    CONNECTION:
      -h, --host <host>       Host name, or the directory of the server's socket.
      -p, --port <port>       Port.
      -U, --username <username>
                              User to connect as.
      -d, --dbname <dbname>   Database: a name, a URI (postgresql://…) or a
                              conninfo string.

    OPTIONS:
      --codebook <name-or-file>
                              A codebook's name, or a file: what has a slash in it
                              or ends in .safetensors.
      --input <file>          A file that "wrvq encode" wrote with this codebook.
      --output <file>         The file of vectors to write (.npy); replaced if it
                              exists; - is standard output.
      --levels <levels>       Add up only so many levels, from level 0. (default:
                              all)
      --threads <threads>     Threads. (default: as many as processors)
      --version               Show the version.
      --help                  Show help information.

    """

  static let evaluate = """
    OVERVIEW: Compares codebooks with other quantizers on vectors held out of
    training.

    Trains WRVQ and, at as many codes and at as many bytes a vector, RVQ, PQ, OPQ
    and an additive quantizer; encodes the test rows, and ranks them for the
    queries by their codes. Prints the quantization loss, and the recall: of the 10
    nearest test rows, say, the share among the 10 that the codes put first (ADC:
    the query itself compared with codes; SDC: its code). Bytes count all codes and
    all weights of a vector.

    USAGE: wrvq evaluate (--table <table> --column <column> | --input <file>) [<options>]

    CONNECTION:
      -h, --host <host>       Host name, or the directory of the server's socket.
      -p, --port <port>       Port.
      -U, --username <username>
                              User to connect as.
      -d, --dbname <dbname>   Database: a name, a URI (postgresql://…) or a
                              conninfo string.

    OPTIONS:
      --table <table>         A table or a view, named as in SQL; its sample is
                              repeatable.
      --column <column>       Its column of vectors: real[], or pgvector's vector
                              or halfvec.
      --input <file>          A file of vectors: .npy or .fvecs.
      --codebook <name-or-file>
                              Judge this codebook, a name or a file, instead of
                              training one.
      --levels <levels>       The levels to train, as for train; may be repeated.
                              (default: by the number of rows)
      --weight-bits <weight-bits>
                              Bits of a stored weight; may be repeated. (default:
                              16)
      --method <method>       How to train: linear (L) or adam (T), as train; may
                              be repeated. (default: linear) (values: linear, adam)
      --iterations <iterations>
                              Of adam: mini-batches, 1 to 100000. (default: 1000)
      --weight <weight>       How a level's weight is chosen. (default: projection)
                              (values: projection, norm)
      --beam <beam>           Encode with the codebook a second time, with a beam
                              of so many ways to code, 1 to 256. (default: 1)
      --refit                 Encode with it a second time, and fit all weights of
                              a vector together.
      --metric <metric>       The distance to rank by. (default: l2, or the
                              codebook's) (values: l2, ip, cosine)
      --baseline <baseline>   Compare with this quantizer, or with none; may be
                              repeated. (default: all) (values: rvq, pq, opq,
                              additive, none)
      --sample <sample>       Train on this many vectors. (default: as train)
      --test-rows <test-rows> Hold out this many rows for the test. (default:
                              10000, or half of the rows)
      --test <file>           A file of test rows instead: .npy or .fvecs.
      --queries <file>        A file of queries: .npy or .fvecs. (default: 1000 of
                              the test rows)
      --seed <seed>           Seed of all random choices. (default: 1)
      --threads <threads>     Threads. (default: as many as processors)
      --json                  Print JSON.
      --version               Show the version.
      --help                  Show help information.

    """
}
