// SPDX-License-Identifier: Apache-2.0
#pragma once

/* For tests that mount: a mount namespace of their own, so that nothing they leave behind, even when they
 * crash, outlives them, and no two tests see each other's mounts. Call first in main, before there are
 * threads. */

#include <glib.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <unistd.h>

static bool test_can_mount;

static inline void test_private_ns(void)
{
	if (geteuid() != 0)
		return;
	test_can_mount = unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

static inline bool test_skip_without_mounts(void)
{
	if (!test_can_mount)
		g_test_skip("needs root and a mount namespace");
	return !test_can_mount;
}
