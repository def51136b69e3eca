# wrvq: one entry for everything.
#
#   make           the extension and the command-line tool
#   make install   both, into the server of PG_CONFIG and $(prefix)/bin
#   make demo      the whole story on a bundled sample, from a bare machine
#   make test      everything that can be checked; what CI runs
#   make bench     speed of the kernels, and of wrvq beside pgvector
#   make lint      style of Swift, C, Perl and shell; make format mends the first two
#   make clean     stops the private servers and removes what was built
#
# PG_CONFIG= chooses the server.  Every server version has its own folder under
# build/, so going from one to another needs no `make clean`.
PG_CONFIG ?= pg_config
prefix ?= /usr/local
# -Werror by default, so that a warning is met where it was made; `make WERROR=` with a compiler we have not seen
WERROR ?= -Werror
export PG_CONFIG WERROR

PG_MAJOR = $(shell $(PG_CONFIG) --version | sed 's/^PostgreSQL \([0-9]*\).*/\1/')
# a build with PostgreSQL's Assert()s is kept apart: the tests use it, users do not
EXTENSION_BUILD = build/extension-$(PG_MAJOR)$(if $(ASSERTIONS),-assert)

# One self-contained executable: nothing of the Swift runtime has to be installed where it runs.
SWIFT_BUILD = swift build -c release --static-swift-stdlib
SWIFT_FILES = Package.swift Sources Tests
C_FILES = $(wildcard pg_extension/*.[ch] Tests/abi/*.[ch] Tests/modules/*.c)
# Releases of clang-format differ in details: Debian 12's decides, the Swift toolchain's stands in.
CLANG_FORMAT ?= $(firstword $(wildcard /usr/bin/clang-format-14 /usr/bin/clang-format) clang-format)

all: extension cli

extension:
	@mkdir -p $(EXTENSION_BUILD)
	+$(MAKE) -C $(EXTENSION_BUILD) -f ../../pg_extension/Makefile ASSERTIONS=$(ASSERTIONS)

cli:
	$(SWIFT_BUILD) --product wrvq

install: install-extension install-cli

install-extension: extension
	+$(MAKE) -C $(EXTENSION_BUILD) -f ../../pg_extension/Makefile ASSERTIONS=$(ASSERTIONS) install

install-cli: cli
	install -d $(DESTDIR)$(prefix)/bin
	install -m 755 .build/release/wrvq $(DESTDIR)$(prefix)/bin/wrvq

# The shared library may need libc and libm, never the Swift runtime.
check-libraries: extension
	Tests/support/check-libraries $(EXTENSION_BUILD)/wrvq.so

dependencies:
	Tests/support/dependencies

demo: dependencies
	+benchmarks/demo/demo

test: dependencies
	+Tests/support/run-tests

bench: dependencies
	$(SWIFT_BUILD) --product wrvq-bench
	+benchmarks/bench

lint:
	swift format lint --strict --recursive --parallel $(SWIFT_FILES)
	$(if $(C_FILES),$(CLANG_FORMAT) --dry-run -Werror $(C_FILES))
	Tests/support/check-scripts

format:
	swift format --in-place --recursive --parallel $(SWIFT_FILES)
	$(if $(C_FILES),$(CLANG_FORMAT) -i $(C_FILES))

clean:
	Tests/support/cluster remove-all
	rm -rf build .build

.PHONY: all extension cli install install-extension install-cli check-libraries dependencies demo test bench lint format clean
