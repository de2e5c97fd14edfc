# make              builds the program; it runs without Swift's runtime
# make install      installs it below DESTDIR/PREFIX, with manual pages, completions, systemd units and an example
# make deb          makes a Debian package of it in DEBS
# make check        runs the tests; TEST_FLAGS go to `swift test`

PREFIX = /usr/local
DESTDIR =
# The directory of SwiftPM's products.
SCRATCH = .build
DEBS = $(SCRATCH)
ZSH_COMPLETIONS = $(PREFIX)/share/zsh/site-functions

# The only place of the version is the source of `treering --version`.
VERSION := $(shell sed -n 's/.*static let version = "\(.*\)".*/\1/p' Sources/Commands/Interface/Treering.swift)
PROGRAM = $(SCRATCH)/release/treering

all:
	swift build -c release --static-swift-stdlib --scratch-path $(SCRATCH) --product treering

$(PROGRAM):
	$(MAKE) all

put = install -D -m 644
share = $(DESTDIR)$(PREFIX)/share

install: $(PROGRAM)
	install -D -m 755 -s $(PROGRAM) $(DESTDIR)$(PREFIX)/bin/treering
	for page in man/*.[1-8]; do $(put) -t $(share)/man/man$${page##*.} $$page || exit; done
	$(PROGRAM) --generate-completion-script bash | $(put) /dev/stdin $(share)/bash-completion/completions/treering
	$(PROGRAM) --generate-completion-script zsh | $(put) /dev/stdin $(DESTDIR)$(ZSH_COMPLETIONS)/_treering
	$(PROGRAM) --generate-completion-script fish | $(put) /dev/stdin $(share)/fish/vendor_completions.d/treering.fish
	$(PROGRAM) config example | $(put) /dev/stdin $(share)/doc/treering/examples/treering.toml
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	$(PROGRAM) schedule --units-for $(DESTDIR)$(PREFIX)/lib/systemd/system --program $(PREFIX)/bin/treering

deb: all
	Packaging/deb $(PROGRAM) $(VERSION) $(DEBS)

# The tests' servers of S3. Debian has none.
MOTO = .build/moto/bin/moto_server
$(MOTO):
	python3 -m venv .build/moto
	.build/moto/bin/pip install -q 'moto[server]==5.2.1'

SWIFT = .build/swift/bin/swift-proxy-server
$(SWIFT):
	python3 -m venv .build/swift
	.build/swift/bin/pip install -q --only-binary :all: 'swift==2.38.3'

# The tests try the program that is installed. An unoptimized one would take twice the time.
check: all $(MOTO) $(SWIFT)
	TREERING_TEST_PROGRAM=$(abspath $(PROGRAM)) swift test $(TEST_FLAGS)

.PHONY: all install deb check
