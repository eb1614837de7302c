# check.mk - running the tests. One test program or .bats file is one job (make -j runs them side by
# side); each leaves its lines in $(RESULTS), tests/summary.sh reads them, prints what failed, names
# what was skipped and ends on "N passed, N failed, N skipped".
#
# A .bats file that runs make gets the flags of this build in its environment, so that it finds
# everything up to date. REQUIRE_ASSETS=1 turns a skipped test into a failure. LONG=1 (set by
# check-long) lets a test program run its long form. make asan | ubsan | tsan run `check` in a build of
# their own. UNIT and BATS are what `check` runs.

RESULTS   := $(BUILD)/results
JOBS      ?= $(shell nproc 2>/dev/null || echo 2)
# Below another make -j its job server is used.
JFLAG      = $(if $(findstring --jobserver,$(MAKEFLAGS)),,-j$(JOBS))

BATS      ?= $(sort $(wildcard tests/*.bats))
LONG_BATS := $(sort $(wildcard tests/long/*.bats))
FUZZ_SRC  := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZERS   := $(FUZZ_SRC:%.c=$(BUILD)/%)

UNIT      ?= $(UNIT_SRC)
unit_taps  = $(patsubst tests/%.c,$(RESULTS)/$(1)/%.unit,$(UNIT))
bats_taps  = $(patsubst tests/%.bats,$(RESULTS)/$(1)/%.bats,$(2))
fuzz_taps  = $(patsubst tests/fuzz/%.c,$(RESULTS)/$(1)/%.fuzz,$(FUZZ_SRC))

.PHONY: check check-long bits-long check-gpu check-run asan ubsan tsan fuzz

check: all units fuzzers ## all tests that fit in three minutes
	@rm -rf $(RESULTS)/check
	@$(MAKE) --no-print-directory $(JFLAG) check-run SET=check \
	    TAPS="$(call unit_taps,check) $(call bats_taps,check,$(BATS)) $(call fuzz_taps,check)"
	@bash tests/summary.sh $(RESULTS)/check

# The shell's come first: two of them are the longest jobs, and what is short fills the gaps.
check-long: export LONG := 1
check-long: all units fuzzers ## the long tests: more cases of the same, and tests/long
	@rm -rf $(RESULTS)/long
	@$(MAKE) --no-print-directory $(JFLAG) check-run SET=long \
	    TAPS="$(call bats_taps,long,$(LONG_BATS)) $(call unit_taps,long) $(call fuzz_taps,long)"
	@bash tests/summary.sh $(RESULTS)/long

# The long form of tests/bits alone (check-long has it, too), one program after the other.
bits-long: units ## the determinism harness in its long form
	LONG=1 $(BUILD)/tests/bits/test_bits
	LONG=1 $(BUILD)/tests/bits/test_bits_ref

check-gpu: ## the tests that need a GPU (this version has no cuda backend: it says so and fails)
	@echo 'make: check-gpu: this version has no cuda backend, there is nothing to check' >&2; exit 1

check-run: $(TAPS)
	@:
# What a job may print goes to its file, and a job never fails: summary.sh judges.
$(RESULTS)/$(SET)/%.unit: FORCE
	@bash tests/run.sh $(BUILD)/tests/$* $@
$(RESULTS)/$(SET)/%.bats: FORCE
	@BUILD=$(BUILD) SAN=$(SAN) CC="$(CC)" OPT="$(OPT)" bash tests/run.sh tests/$*.bats $@
$(RESULTS)/$(SET)/%.fuzz: FORCE
	@bash tests/run.sh $(BUILD)/tests/fuzz/$* $@ tests/fuzz/corpus/$(*:fuzz_%=%)

# Programs under a sanitizer are slower; what has no threads only repeats itself under the thread
# sanitizer, which takes the C tests and the .bats files named here.
TSAN_UNIT ?= $(wildcard $(addprefix tests/,bits/test_*.c $(patsubst %,unit/test_%.c,\
                 backend base families ops ops_bits ops_edges ops_experts probe schedule score turns)))
TSAN_BATS ?= $(wildcard tests/run.bats tests/main.bats)
# The tests of make itself have nothing to sanitize; for fault.bats see fault.mk.
SAN_BATS   = $(filter-out tests/house.bats tests/fault.bats,$(BATS))
asan: ## the tests in a build with the address and undefined behaviour sanitizers
	@LIMIT=300 $(MAKE) --no-print-directory check BUILD=build-asan SAN=address,undefined BATS="$(SAN_BATS)"
ubsan: ## the tests in a build with the undefined behaviour sanitizer alone
	@LIMIT=300 $(MAKE) --no-print-directory check BUILD=build-ubsan SAN=undefined BATS="$(SAN_BATS)"
tsan: ## the tests that have threads in a build with the thread sanitizer
	@LIMIT=300 $(MAKE) --no-print-directory check BUILD=build-tsan SAN=thread UNIT="$(TSAN_UNIT)" \
	    BATS="$(TSAN_BATS)" FUZZ_SRC=

# tests/fuzz/fuzz_X.c has one LLVMFuzzerTestOneInput. Linked with replay.c it is a plain program that
# runs its corpus (and, asked to, a fixed number of mutations of it); with clang, a libFuzzer program.
.PHONY: fuzzers
fuzzers: $(FUZZERS)
$(FUZZERS): $(BUILD)/tests/fuzz/%: $(BUILD)/obj/tests/fuzz/%.o $(BUILD)/obj/tests/fuzz/replay.o \
            $(BUILD)/obj/tests/fuzz/heap.o $(LIBS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

FUZZ_SECONDS ?= 60
fuzz: ## run every fuzz target with libFuzzer (clang) for FUZZ_SECONDS
	@bash scripts/fuzz.sh $(FUZZ_SECONDS)
