# tfm: Transformers as Unix filters. `make help` lists the targets.
#
# One build without recursion: a folder under tools/ is a program, tests/*/test_*.c a test program;
# sources are found by wildcard, so adding a file needs no edit here. Everything made goes to
# $(BUILD). Testing is in mk/check.mk, style and pages in mk/lint.mk, installing in mk/install.mk; a
# further mk/*.mk is picked up by itself. make never installs packages: that is ./bootstrap.

VERSION   := 0.1.0
SOVERSION := 0
PREFIX    ?= /usr/local
DESTDIR   ?=
BUILD     ?= build
CC        ?= cc
AR        ?= ar
OPT       ?= -O2
# SAN= address | undefined | thread | address,undefined: with sanitizers (make asan, ubsan, tsan).
SAN       ?=

PKGS      := yaml-0.1 libpcre2-8 libutf8proc jansson zlib
PKG_CFLAGS:= $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS  := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm -pthread

WARN      := -Wall -Wextra -Wshadow -Wconversion -Wvla -Wstrict-prototypes -Wmissing-prototypes
# -ffp-contract=off: a multiply and an add stay two roundings unless the code says fma (DESIGN 7).
CSTD      := -std=c11 -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -fPIC -fvisibility=hidden
# The prefix map makes builds in different folders byte-equal.
CSTD      += -ffile-prefix-map=$(CURDIR)=. -DTFM_VERSION='"$(VERSION)"' -MMD -MP
SANFLAGS  := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer -g,)
ALL_CFLAGS = $(CSTD) $(WARN) $(OPT) $(SANFLAGS) -Iinclude -Ilib $(PKG_CFLAGS) $(CFLAGS)
ALL_LDFLAGS= $(SANFLAGS) $(LDFLAGS)

LIB_SRC   := $(sort $(filter-out lib/cli/%,$(wildcard lib/*/*.c lib/backend/*/*.c)))
CLI_SRC   := $(sort $(wildcard lib/cli/*.c))
TOOL_DIRS := $(sort $(wildcard tools/*/))
TOOLS     := $(patsubst tools/%/,tfm-%,$(TOOL_DIRS))
UNIT_SRC  := $(sort $(wildcard tests/*/test_*.c))
UNITS     := $(UNIT_SRC:%.c=$(BUILD)/%)

LIB_OBJ   := $(LIB_SRC:%.c=$(BUILD)/obj/%.o)
CLI_OBJ   := $(CLI_SRC:%.c=$(BUILD)/obj/%.o)
BINS      := $(TOOLS:%=$(BUILD)/bin/%)
SHLIB     := $(BUILD)/lib/libtfm.so

.PHONY: all help lib tools units clean print-tools FORCE
.SECONDARY:
all: tools lib ## everything, under build/ (the default)

help: ## show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort -u | expand -t 16

lib: $(BUILD)/lib/libtfm.a $(SHLIB) ## the runtime library
tools: $(BINS) ## the programs, in build/bin
units: $(UNITS) ## the C test programs
print-tools: ## the names of all programs
	@printf '%s\n' $(TOOLS)

# These two files change only when what they hold changes: other flags rebuild everything, a source
# that was removed leaves the archives.
define keep_if_same
@mkdir -p $(@D)
@printf '%s\n' '$(subst ','\'',$(1))' >$@.new
@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
endef
$(BUILD)/flags: FORCE
	@pkg-config --exists --print-errors $(PKGS) || \
	    { echo 'make: needed to build: pkg-config and the packages above: ./bootstrap deps'; exit 1; }
	$(call keep_if_same,$(filter-out ccache,$(CC)) $(ALL_CFLAGS) $(ALL_LDFLAGS))
$(BUILD)/sources: FORCE
	$(call keep_if_same,$(LIB_SRC) $(CLI_SRC))

$(BUILD)/obj/%.o: %.c $(BUILD)/flags
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -c -o $@ $<

# Vector kernels at -O2 cost gcc's sanitizers most of a minute a file; like this they cost a
# quarter.
ifneq ($(SAN),)
$(BUILD)/obj/lib/backend/cpu/kernels_%.o: SANFLAGS += -O1 -fno-sanitize-address-use-after-scope
endif

$(BUILD)/lib/libtfm.a: $(LIB_OBJ) $(BUILD)/sources
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcD $@ $(LIB_OBJ)

$(BUILD)/lib/libtfmcli.a: $(CLI_OBJ) $(BUILD)/sources
	@mkdir -p $(@D)
	@rm -f $@
	$(AR) rcD $@ $(CLI_OBJ)

$(SHLIB): $(LIB_OBJ) lib/libtfm.map $(BUILD)/sources
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -shared -Wl,-soname,libtfm.so.$(SOVERSION) \
	    -Wl,--version-script=lib/libtfm.map -o $@ $(LIB_OBJ) $(PKG_LIBS)

LIBS := $(BUILD)/lib/libtfmcli.a $(BUILD)/lib/libtfm.a
.SECONDEXPANSION:
# No patsubst here: make puts the stem in place of its % first.
tool_objs = $(addprefix $(BUILD)/obj/,$(addsuffix .o,$(basename $(sort $(wildcard tools/$(1)/*.c)))))
$(BUILD)/bin/tfm-%: $$(call tool_objs,$$*) $(LIBS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

$(BUILD)/tests/%: $(BUILD)/obj/tests/%.o $(LIBS)
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -o $@ $^ $(PKG_LIBS)

clean: ## remove everything that was made
	rm -rf build build-*/ $(BUILD)

-include $(sort $(wildcard mk/*.mk))
-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
