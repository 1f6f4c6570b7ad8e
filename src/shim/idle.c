// SPDX-License-Identifier: Apache-2.0

#include "shim/idle.h"

#include "base/time.h"
#include <malloc.h>
#include <stdbool.h>

#define QUIET (500 * NS_PER_MS)

struct Idle {
	LoopTimer *timer;
	bool armed, again;
};

static void on_quiet(void *data)
{
	Idle *idle = data;
	if (idle->again) { // cheaper than restarting the timer at every call
		idle->again = false;
		loop_timer_start(idle->timer, QUIET, 0);
		return;
	}
	idle->armed = false;
	malloc_trim(0);
}

Idle *idle_new(Loop *loop)
{
	Idle *idle = g_new0(Idle, 1);
	idle->timer = loop_timer_new(loop, on_quiet, idle);
	return idle;
}

void idle_touch(Idle *idle)
{
	idle->again = idle->armed;
	if (!idle->armed)
		loop_timer_start(idle->timer, QUIET, 0);
	idle->armed = true;
}
