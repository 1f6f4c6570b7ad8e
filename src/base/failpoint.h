// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Failpoints: named places where a test makes a program fail, wait or die. In every build; switched on by the
 * environment variable CONTAINERD_FAILPOINTS only, and a single test of a flag where it is not set. After
 * FreeBSD's fail(9) and upstream's internal/failpoint, whose terms are understood as they are:
 *
 *   CONTAINERD_FAILPOINTS='name=terms;name2=terms'
 *   terms:  [percent%][count*]type[(arg)][->terms]
 *   type:   off | error(text) | panic(text) | delay(milliseconds) | kill
 *
 * The first term that still counts acts: `1*off->2*error(oops)` lets one pass, fails two, and is silent then.
 * A term without a count never ends. error is class UNKNOWN with this text; panic aborts; kill is SIGKILL to
 * ourselves. A term with a percentage that does not act leaves the turn to the next one.
 *
 * The names begin with their program: "shim." for the shim, everything else is the daemon's. The variable
 * goes to both; each looks at its own. CONTAINERD_FAILPOINTS=list prints the names of a program's points and
 * ends it.
 *
 * FAILPOINT may be used on any thread; set-up comes before there is a second one.
 */

#include "base/util.h"

typedef struct FailTerm FailTerm;
typedef struct {
	const char *name;
	FailTerm *terms; // NULL: off
} FailPoint;

extern bool failpoints_on;

bool failpoint_hit(FailPoint *point, GError **error);

/* True: go on. False: *error is set. Each use needs a name of its own. */
#define FAILPOINT(point_name, error)                                                                         \
	({                                                                                                   \
		static FailPoint fail_point_ = {.name = (point_name)};                                       \
		__attribute__((section("failpoints"), used)) static FailPoint *fail_point_ref_ =             \
		        &fail_point_;                                                                        \
		G_LIKELY(!failpoints_on) || failpoint_hit(fail_point_ref_, (error));                         \
	})
/* Where nothing can fail: delay, kill and panic act, error is only counted. */
#define FAILPOINT_HERE(point_name) ((void)FAILPOINT((point_name), NULL))

/* Reads the variable. program: "shim" or "daemon". Texts: `CONTAINERD_FAILPOINTS: unknown point "x"`,
 * `CONTAINERD_FAILPOINTS: x: invalid term "y"`. */
bool failpoints_setup(const char *program, GError **error);

/* The grammar alone, for tests: the terms as they are understood, owned by the caller. */
char *failpoint_normalize(const char *terms, GError **error);
