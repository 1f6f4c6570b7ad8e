#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
load lib

@test "clients print the same from our daemon as from upstream's, our ctr as upstream's" {
	[ "$(id -u)" -eq 0 ] || skip "needs root"
	[ -x /usr/bin/containerd ] || skip "Debian's containerd is not installed"
	once
	"$BATS_TEST_DIRNAME/compare"
}
