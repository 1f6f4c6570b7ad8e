// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A libuv loop with a mailbox. All handles of a loop belong to its thread; other threads reach it with
 * loop_post. The daemon and clients run one in a thread of its own (loop_start), the shim runs one in main
 * (loop_new, loop_run). Callbacks must not block.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

typedef struct Loop Loop;
typedef void (*LoopFn)(void *data);

Loop *loop_new(void);
/* Runs until loop_stop; then the mailbox is drained. The calling thread becomes the loop's thread. */
void loop_run(Loop *loop);
/* Any thread. */
void loop_stop(Loop *loop);
/* All handles must be closed or closing; runs the loop until they are. */
void loop_free(Loop *loop);

/* A loop on a new thread (all signals blocked in it); loop_stop_join ends and frees it. */
Loop *loop_start(const char *thread_name);
void loop_stop_join(Loop *loop);

uv_loop_t *loop_uv(Loop *loop); // loop thread only
bool loop_is_current(Loop *loop);

/* Any thread: run fn(data) on the loop's thread, in order of posting. After loop_stop has been seen nothing
 * runs any more and loop_post returns false (data stays the caller's). */
bool loop_post(Loop *loop, LoopFn fn, void *data);
/* Runs at once where the caller is on the loop's thread, else posts. */
bool loop_run_on(Loop *loop, LoopFn fn, void *data);

/* One-shot or repeating timers; loop thread only. A timer is freed by loop_timer_free, also from its own
 * callback. */
typedef struct LoopTimer LoopTimer;
LoopTimer *loop_timer_new(Loop *loop, LoopFn fn, void *data);
void loop_timer_start(LoopTimer *timer, int64_t after_ns, int64_t repeat_ns); // repeat 0: once. Restarts
void loop_timer_stop(LoopTimer *timer);
void loop_timer_free(LoopTimer *timer); // NULL is fine
