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

/* In the environment, since every file that includes this has its own variables. */
#define TEST_CAN_MOUNT "CTRD_TEST_CAN_MOUNT"

static inline void test_private_ns(void)
{
	if (geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		g_setenv(TEST_CAN_MOUNT, "1", TRUE);
	else
		g_unsetenv(TEST_CAN_MOUNT);
}

static inline bool test_skip_without_mounts(void)
{
	if (g_getenv(TEST_CAN_MOUNT) != NULL)
		return false;
	g_test_skip("needs root and a mount namespace");
	return true;
}
