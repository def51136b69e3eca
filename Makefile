# wrvq: one entry for everything.
#
#   make           the extension and the command-line tool
#   make install   both, into the server of PG_CONFIG and $(prefix)/bin
#   make uninstall takes them away from there
#   make demo      the whole story on a bundled sample, from a bare machine
#   make test      everything that can be checked; what CI runs
#   make test-all  the same in a fresh Debian, too (root, debootstrap; an hour)
#   make bench     speed of the kernels, and of wrvq beside pgvector
#   make lint      style of Swift, C, Perl and shell; make format mends the first two
#   make clean     stops the private servers and removes what was built
#
# PG_CONFIG= chooses the server.  `make install` installs into it; demo, test and bench never touch it, but work with a
# copy of its files.  Every server version has its own folder under
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
# Releases of clang-format differ in details: Debian 12's decides, or the same one from PyPI (tools/servers fetch).
CLANG_FORMAT ?= $(firstword $(wildcard /usr/bin/clang-format-14) $(shell tools/servers program clang-format) clang-format)

# Libpq's headers, where tools/dependencies had to bring them
ifneq ($(wildcard build/libpq/libpq.pc),)
export PKG_CONFIG_PATH := $(CURDIR)/build/libpq$(if $(PKG_CONFIG_PATH),:$(PKG_CONFIG_PATH))
endif

all: extension cli

# What is missing, in one line
check-%:
	@tools/check $*

# Headers of another server of the same version may differ.
extension: check-swift check-server
	@mkdir -p $(EXTENSION_BUILD)
	@server="$$($(PG_CONFIG) --version --includedir-server)"; \
	[ "$$server" = "$$(cat $(EXTENSION_BUILD)/server 2>/dev/null)" ] || \
	{ rm -f $(EXTENSION_BUILD)/*.o $(EXTENSION_BUILD)/*.so && echo "$$server" >$(EXTENSION_BUILD)/server; }
	+$(MAKE) -C $(EXTENSION_BUILD) -f ../../pg_extension/Makefile ASSERTIONS=$(ASSERTIONS)

cli: check-swift check-libpq
	$(SWIFT_BUILD) --product wrvq

install: install-extension install-cli

install-extension: extension
	+$(MAKE) -C $(EXTENSION_BUILD) -f ../../pg_extension/Makefile ASSERTIONS=$(ASSERTIONS) install

install-cli: cli
	install -d $(DESTDIR)$(prefix)/bin
	install -m 755 .build/release/wrvq $(DESTDIR)$(prefix)/bin/wrvq

uninstall: check-server
	@mkdir -p $(EXTENSION_BUILD)
	+$(MAKE) -C $(EXTENSION_BUILD) -f ../../pg_extension/Makefile uninstall
	rm -f $(DESTDIR)$(prefix)/bin/wrvq

# The shared library may need libc and libm, never the Swift runtime.
check-libraries: extension
	tools/check-libraries $(EXTENSION_BUILD)/wrvq.so

demo:
	tools/dependencies demo
	+benchmarks/demo/demo

test:
	tools/dependencies test
	+tools/run-tests

test-all: test
	tools/fresh-machine

bench:
	tools/dependencies bench
	+benchmarks/bench

lint: check-swift
	tools/check-scripts
	swift format lint --strict --recursive --parallel $(SWIFT_FILES)
	$(if $(C_FILES),$(CLANG_FORMAT) --dry-run -Werror $(C_FILES))

format: check-swift
	swift format --in-place --recursive --parallel $(SWIFT_FILES)
	$(if $(C_FILES),$(CLANG_FORMAT) -i $(C_FILES))

clean:
	tools/cluster remove-all
	rm -rf build .build

.PHONY: all extension cli install install-extension install-cli uninstall check-libraries demo test test-all bench lint format clean
