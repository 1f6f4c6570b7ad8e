// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Mutexes and condition variables over pthread, with a name and a rank. Locks are taken in ascending rank;
 * debug builds (CTRD_LOCK_CHECK) abort with both names when a thread breaks the order. No lock is held over
 * I/O, an RPC or a child.
 */

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
	pthread_mutex_t mutex;
	const char *name;
	int rank;
} Lock;

/* Ranks, outermost first. A lock of a leaf module that calls nothing while held takes LOCK_RANK_LEAF. */
enum {
	LOCK_RANK_DAEMON = 10,
	LOCK_RANK_PLUGIN = 20,
	LOCK_RANK_SERVICE = 30,
	LOCK_RANK_RUNTIME = 40,
	LOCK_RANK_TRANSFER = 50,
	LOCK_RANK_STORE = 60,
	LOCK_RANK_RPC = 70,
	LOCK_RANK_LOOP = 80,
	LOCK_RANK_LEAF = 90,
};

void lock_init(Lock *lock, const char *name, int rank);
void lock_destroy(Lock *lock);
void lock_acquire(Lock *lock);
void lock_release(Lock *lock);
static inline void lock_release_cleanup_(Lock **lock)
{
	if (*lock != NULL)
		lock_release(*lock);
}
static inline Lock *lock_acquire_(Lock *lock)
{
	lock_acquire(lock);
	return lock;
}
#define LOCK_CONCAT2_(a, b) a##b
#define LOCK_CONCAT_(a, b) LOCK_CONCAT2_(a, b)
/* Holds the lock until the end of the enclosing scope. */
#define LOCK_SCOPE(lock)                                                                                     \
	__attribute__((cleanup(lock_release_cleanup_), unused)) Lock *LOCK_CONCAT_(lock_scope_, __LINE__) =  \
	        lock_acquire_(lock)

typedef struct {
	pthread_cond_t cond; // CLOCK_MONOTONIC
} Cond;
void cond_init(Cond *cond);
void cond_destroy(Cond *cond);
void cond_signal(Cond *cond);
void cond_broadcast(Cond *cond);
void cond_wait(Cond *cond, Lock *lock);
/* deadline: time_mono() nanoseconds; 0 waits for ever. false: the deadline passed. */
bool cond_wait_until(Cond *cond, Lock *lock, int64_t deadline);
