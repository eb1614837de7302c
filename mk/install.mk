# install.mk - make install, uninstall, dist, demo, bench.
#
# The installed tree works from wherever DESTDIR puts it: a program finds share/tfm beside its bin/.

LIBDIR ?= $(PREFIX)/lib
DATE_OF_SOURCE = $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
DIST := tfm-$(VERSION)
PAGES := $(sort $(wildcard man/*.[157]))

.PHONY: install uninstall dist demo bench

install: all ## install below $(DESTDIR)$(PREFIX)
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin include/tfm share/tfm share/man) \
	    $(DESTDIR)$(LIBDIR)/pkgconfig $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	$(if $(BINS),install -m 755 $(BINS) $(DESTDIR)$(PREFIX)/bin)
	install -m 644 include/tfm/*.h $(DESTDIR)$(PREFIX)/include/tfm
	install -m 644 $(BUILD)/lib/libtfm.a $(DESTDIR)$(LIBDIR)
	install -m 755 $(SHLIB) $(DESTDIR)$(LIBDIR)/libtfm.so.$(VERSION)
	ln -sf libtfm.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libtfm.so.$(SOVERSION)
	ln -sf libtfm.so.$(SOVERSION) $(DESTDIR)$(LIBDIR)/libtfm.so
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(LIBDIR)|; s|@VERSION@|$(VERSION)|' \
	    scripts/tfm.pc.in >$(DESTDIR)$(LIBDIR)/pkgconfig/tfm.pc
	cd share && find . -type f -exec install -D -m 644 {} $(abspath $(DESTDIR)$(PREFIX))/share/tfm/{} \;
	for page in $(PAGES); do \
	    install -D -m 644 $$page $(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/}; done
	install -m 644 scripts/completion.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/tfm
	for tool in $(TOOLS); do \
	    ln -sf tfm $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$tool; done

# The list of files is that of a second install, so that the two cannot disagree.
uninstall: ## remove what install put there
	@rm -rf $(BUILD)/stage
	@$(MAKE) -s install DESTDIR=$(abspath $(BUILD))/stage PREFIX=$(PREFIX) LIBDIR=$(LIBDIR)
	cd $(BUILD)/stage && find . \( -type f -o -type l \) -print | while read -r file; do \
	    rm -f "$(abspath $(DESTDIR)/)/$$file"; done
	-rmdir $(DESTDIR)$(PREFIX)/include/tfm 2>/dev/null
	-find $(DESTDIR)$(PREFIX)/share/tfm -depth -type d -exec rmdir {} + 2>/dev/null
	@rm -rf $(BUILD)/stage

# The same commit gives the same bytes: order, owners, modes and times are fixed.
dist: ## a source archive, $(BUILD)/tfm-VERSION.tar.gz
	@mkdir -p $(BUILD)
	git ls-files -z | LC_ALL=C sort -z | tar --null -T - --no-recursion --format=ustar \
	    --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX,go-w --mtime=@$(DATE_OF_SOURCE) \
	    --transform 's,^,$(DIST)/,' -cf - | gzip -9n >$(BUILD)/$(DIST).tar.gz

demo: tools ## write text with the model that ships
	@PATH="$(abspath $(BUILD))/bin:$$PATH" sh examples/demo.sh

bench: all ## measure this machine (bench/)
	@bash bench/run.sh $(BUILD)
