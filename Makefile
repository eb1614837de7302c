# tfm: Transformers as Unix filters. `make help` lists the targets.
#
# One Makefile, no recursion. A folder under tools/ is a program, a .c file under tests/unit a test
# program; sources are found by wildcard, so adding a file needs no edit here.

VERSION   := 0.1.0
SOVERSION := 0
PREFIX    ?= /usr/local
DESTDIR   ?=
BUILD     ?= build
CC        ?= cc
AR        ?= ar
OPT       ?= -O2
# SAN= address | undefined | thread builds with that sanitizer (used by make asan, ubsan, tsan).
SAN       ?=

PKGS      := yaml-0.1 libpcre2-8 libutf8proc jansson zlib
PKG_CFLAGS:= $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS  := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm -pthread

WARN      := -Wall -Wextra -Wshadow -Wconversion -Wvla -Wstrict-prototypes -Wmissing-prototypes \
             -Wno-unknown-warning-option
# -ffp-contract=off: a multiply and an add stay two roundings unless the code says fma (DESIGN 7).
CSTD      := -std=c11 -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -fPIC -fvisibility=hidden
CSTD      += -ffile-prefix-map=$(CURDIR)=. -DTFM_VERSION='"$(VERSION)"' -MMD -MP
SANFLAGS  := $(if $(SAN),-fsanitize=$(SAN) -fno-omit-frame-pointer -g,)
ALL_CFLAGS = $(CSTD) $(WARN) $(OPT) $(SANFLAGS) -Iinclude -Ilib $(PKG_CFLAGS) $(CFLAGS)
ALL_LDFLAGS= $(SANFLAGS) $(LDFLAGS)

LIB_SRC   := $(filter-out lib/cli/%,$(wildcard lib/*/*.c lib/backend/*/*.c))
CLI_SRC   := $(wildcard lib/cli/*.c)
TOOL_DIRS := $(sort $(wildcard tools/*/))
TOOLS     := $(patsubst tools/%/,tfm-%,$(TOOL_DIRS))
UNIT_SRC  := $(wildcard tests/unit/test_*.c)
UNITS     := $(patsubst tests/unit/%.c,$(BUILD)/tests/unit/%,$(UNIT_SRC))

LIB_OBJ   := $(LIB_SRC:%.c=$(BUILD)/obj/%.o)
CLI_OBJ   := $(CLI_SRC:%.c=$(BUILD)/obj/%.o)
BINS      := $(TOOLS:%=$(BUILD)/bin/%)

.PHONY: all help lib tools units clean print-tools
all: tools $(BUILD)/lib/libtfm.so

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

lib: $(BUILD)/lib/libtfm.a ## the runtime library
tools: $(BINS) ## the programs, in build/bin
units: $(UNITS) ## the C unit test programs
print-tools: ## the names of all programs
	@printf '%s\n' $(TOOLS)

$(BUILD)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(BUILD)/lib/libtfm.a: $(LIB_OBJ)
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcD $@ $^

$(BUILD)/lib/libtfmcli.a: $(CLI_OBJ)
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcD $@ $^

$(BUILD)/lib/libtfm.so: $(LIB_OBJ) lib/libtfm.map
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,libtfm.so.$(SOVERSION) \
	    -Wl,--version-script=lib/libtfm.map -o $@ $(LIB_OBJ) $(PKG_LIBS)

.SECONDEXPANSION:
$(BUILD)/bin/tfm-%: $$(patsubst %.c,$(BUILD)/obj/%.o,$$(wildcard tools/$$*/*.c)) \
                    $(BUILD)/lib/libtfmcli.a $(BUILD)/lib/libtfm.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(BUILD)/tests/unit/%: $(BUILD)/obj/tests/unit/%.o $(BUILD)/lib/libtfmcli.a $(BUILD)/lib/libtfm.a
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

clean: ## remove build/
	rm -rf $(BUILD)

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
