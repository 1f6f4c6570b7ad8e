// SPDX-License-Identifier: Apache-2.0
#pragma once

/* Threads: joined, never detached, with all signals blocked (a signal is for the thread that asked for it).
 * The loop's thread and the pool's workers are made here; so are the few dedicated ones, such as the metadata
 * writer. */

#include <pthread.h>
#include <stdbool.h>

/* name: at most 15 bytes are shown by ps and gdb. stack: bytes, 0 for the usual. Returns 0, or an errno. */
int thread_start(pthread_t *ret, const char *name, size_t stack, void *(*fn)(void *), void *data);
