# Targets of dyno; `make help` lists them. Everything works offline once the
# modules are in Go's cache.

GO       ?= go
DYNO     := bin/dyno
# Memory and CPU of two cores: one package's tests beside the compiler of the next.
PROCS    ?= 2
FUZZTIME ?= 60s
CUTS     ?= 200
KILLS    ?= 50
SEEDS    ?= 1000
# Flags for one run of `make bench`, such as ARGS=--record.
ARGS     ?=
# The commits of `make bench` and `make gate`, as flags.
COMMITS   = --base $(BASE) $(if $(HEAD),--head $(HEAD))

# Pinned linters; they are built from the module cache, not from go.mod.
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
ERRCHECK    := github.com/kisielk/errcheck@v1.30.0
INEFFASSIGN := github.com/gordonklaus/ineffassign@v0.2.0

# Packages that start goroutines or share memory: what `make race` runs.
CONCURRENT := ./wal/... ./engine/... ./loadgen/... ./bench/...

# Packages with tests that need the tag mutants; their names have Mutants in them.
MUTATED := ./wal/ ./engine/ ./engine/enginetest/ ./engine/kafka/ ./engine/multiraft/ ./engine/partition/ ./bench/ ./bench/replay/

.DEFAULT_GOAL := help

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## build bin/dyno, which knows its commit
	$(GO) build -buildvcs=auto -o $(DYNO) ./cmd/dyno

.PHONY: build-peers
build-peers: ## build bin/dyno-peers: what dyno is compared with, a module of its own
	cd bench/peers && $(GO) build -o ../../bin/dyno-peers .

.PHONY: test
test: ## run every test that ends soon (vet is `make lint`): under 5 minutes on 2 cores, with nothing compiled before
	$(GO) test -p $(PROCS) -parallel 4 -vet=off -timeout 4m ./...

.PHONY: test-long
test-long: ## run every test with its long settings, and the engine's on logs of 1 MiB
	DYNO_LONG=1 $(GO) test -p $(PROCS) -count 1 -timeout 60m ./...
	DYNO_SMALL_LOG=1 $(GO) test -count 1 -timeout 20m ./engine

.PHONY: test-slow
test-slow: ## run the tests of ten seconds or more, which make test leaves out
	DYNO_LONG=1 $(GO) test -p 1 -count 1 -timeout 6m -run '^TestLong' ./bench ./cmd/dyno

.PHONY: race
race: ## run the tests of the concurrent packages under the race detector
	$(GO) test -race -short -p $(PROCS) -timeout 9m $(CONCURRENT)

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, errcheck, ineffassign
	@bad=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$bad" ]; then echo "gofmt -w:"; echo "$$bad"; exit 1; fi
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	$(GO) run $(ERRCHECK) -ignoretests -exclude .errcheck ./...
	$(GO) run $(INEFFASSIGN) ./...

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME (60s) each
	@for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
			echo "fuzz $$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg || exit 1; \
		done; \
	done

.PHONY: sim
sim: ## simulate clusters under faults from SEEDS (1000) seeds, or one: SEED=n
	$(if $(SEED),DYNO_SIM_SEED=$(SEED) DYNO_SIM_TRACE=300,DYNO_SIM_SEEDS=$(SEEDS)) $(GO) test -count 1 -timeout 12h -v -run 'TestSim$$' ./engine/enginetest/

.PHONY: crash
crash: mutants ## cut the power CUTS (200) times, kill a broker KILLS (50) times, run the mutants
	DYNO_CRASH_SEEDS=$(CUTS) $(GO) test -count 1 -timeout 30m -run 'Crash|PowerCut' ./engine/ ./engine/store/ ./wal/...
	DYNO_LONG=1 DYNO_KILLS=$(KILLS) $(GO) test -count 1 -timeout 30m -run Crash -v ./cmd/dyno/

.PHONY: gate
gate: build ## stop a commit that does more for a record than it did; with BASE=rev: or is slower than that. bin/dyno gate has the exit codes
	$(if $(HEAD),$(if $(BASE),,$(error HEAD=$(HEAD) is compared with BASE=rev: name both)))
	$(DYNO) gate $(if $(BASE),$(COMMITS) $(if $(HEAD),--lane t)) $(ARGS)

.PHONY: mutants
mutants: ## show that the tests and the gate fail for code that lacks a guarantee or does more than it must
	$(GO) test -p $(PROCS) -count 1 -timeout 5m -run Mutants -tags mutants $(MUTATED)

.PHONY: bench
bench: build ## measure an embedded cluster; with BASE=rev [HEAD=rev]: compare two commits
	$(if $(HEAD),$(if $(BASE),,$(error HEAD=$(HEAD) is compared with BASE=rev: name both)))
	$(if $(BASE),$(DYNO) compare $(COMMITS) $(ARGS),$(DYNO) bench $(ARGS))

.PHONY: experiments
experiments: build build-peers ## see that every experiment runs (--quick); ARGS=--record runs them in full and writes under results/
	for name in raft-version fsync replication transport recovery idle acks partitions latency-throughput rwlock batching; do $(DYNO) experiment $$name $(or $(ARGS),--quick) || exit 1; done

.PHONY: report
report: build ## list the results, or draw the report of DIR=results/… again
	$(DYNO) report $(DIR) $(ARGS)

.PHONY: clean
clean: ## remove what was built, and local results
	rm -rf bin results/local profiles/local
