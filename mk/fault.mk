# fault.mk - the preload library that makes system calls fail, and its driver, for tests/fault.bats
# and tests/long/fault.bats. A sanitizer brings its own allocator, which cannot be replaced at the
# same time: those builds leave the fault tests out.

FAULTS := $(BUILD)/tests/fault/faultlib.so $(BUILD)/tests/fault/drive

.PHONY: faults
ifeq ($(SAN),)
check check-long: faults
else
LONG_BATS := $(filter-out tests/long/fault.bats,$(LONG_BATS))
endif

faults: $(FAULTS)
$(BUILD)/tests/fault/faultlib.so: $(BUILD)/obj/tests/fault/faultlib.o
	@mkdir -p $(@D)
	$(CC) $(ALL_LDFLAGS) -shared -o $@ $^ -ldl
