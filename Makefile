# SPDX-License-Identifier: Apache-2.0
# The front door. `make demo` and `make check` install what is missing (Debian, root); plain `make` only builds.

PREFIX ?= /usr/local
DESTDIR ?=
BUILD ?= build
IMAGE ?=

.PHONY: all deps deps-test demo check check-unit check-soak check-vm install bench fuzz asan tsan format format-check layers clean

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	meson setup $(BUILD)

# Build and run-time packages, and those that the tests talk to.
deps:
	tools/install-deps build run
deps-test:
	tools/install-deps build run test

demo: deps all
	tools/demo $(BUILD) $(IMAGE)

check: deps-test all
	tools/check $(BUILD)

check-unit: all
	meson test -C $(BUILD) --no-rebuild --print-errorlogs

# What takes too long for each run: all failpoints, rounds of many containers, random kills. SOAK is the time of the last.
SOAK ?= 300
check-soak: deps-test all
	tests/soak/walk $(BUILD)
	tests/soak/rounds $(BUILD)
	tests/soak/execs $(BUILD)
	tests/soak/soak $(BUILD) $(SOAK)

# What depends on cgroup v2, in a qemu guest with Debian's kernel.
check-vm: all
	tools/check-vm $(BUILD)

install: all
	meson install -C $(BUILD) --no-rebuild $(if $(DESTDIR),--destdir $(abspath $(DESTDIR)))

# Side by side with Debian's containerd.
bench: deps-test all
	bench/run $(BUILD)

# Fuzzers with their corpora; SECONDS is the time for each.
SECONDS ?= 600
fuzz: deps-test
	tools/fuzz build-fuzz $(SECONDS)

# The unit tests again, in sanitizer builds.
asan: deps-test
	tools/sanitize build-asan address,undefined
tsan: deps-test
	tools/sanitize build-tsan thread

format:
	git ls-files '*.c' '*.h' | xargs clang-format -i
format-check:
	git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror
layers:
	tools/check-layers

clean:
	rm -rf $(BUILD) build-asan build-tsan build-fuzz
