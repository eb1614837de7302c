# lint.mk - what can be checked without running a tool on data: layers, pages, format, static
# analysis.

C_FILES = $(sort $(shell find include lib tools tests -name '*.[ch]' 2>/dev/null))

.PHONY: lint fmt check-man check-layers
lint: ## clang-format, cppcheck and shellcheck, each where it is installed
	@bash scripts/lint.sh $(C_FILES)

fmt: ## format the C files in place
	clang-format -i $(C_FILES)

check-layers: all ## a layer includes only earlier ones; the library's symbols and calls are clean
	@bash scripts/check-layers $(BUILD)
	@bash scripts/check-names

check-man: tools ## pages: mandoc is content, options and pages agree, examples run as printed
	@bash scripts/check-man $(BUILD)
