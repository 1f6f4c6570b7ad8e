// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Worker threads for blocking code. The pool grows while tasks wait and no worker is idle, up to max, and a
 * worker that had nothing to do for idle_ns ends. Tasks run in order of submission; more than max_queue
 * waiting is refused, so that the caller can answer RESOURCE_EXHAUSTED.
 */

#include <stdbool.h>
#include <stdint.h>

typedef struct Pool Pool;
typedef void (*PoolFn)(void *data);

Pool *pool_new(const char *name, unsigned max, unsigned max_queue, int64_t idle_ns);
/* Any thread. false: the queue is full or the pool is closing; data stays the caller's. */
bool pool_submit(Pool *pool, PoolFn fn, void *data);
/* Waits for all tasks and frees. */
void pool_free(Pool *pool);
unsigned pool_n_threads(Pool *pool);
unsigned pool_n_queued(Pool *pool);
