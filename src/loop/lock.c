// SPDX-License-Identifier: Apache-2.0
#include "loop/lock.h"
#include "base/time.h"
#include <errno.h>
#include <glib.h>

#ifdef CTRD_LOCK_CHECK
#define HELD_MAX 16
static _Thread_local Lock *held[HELD_MAX];
static _Thread_local int n_held;

static void check_acquire(Lock *lock)
{
	for (int i = 0; i < n_held; i++)
		if (held[i]->rank >= lock->rank)
			g_error("lock \"%s\" (rank %d) taken while \"%s\" (rank %d) is held", lock->name,
			        lock->rank, held[i]->name, held[i]->rank);
	if (n_held == HELD_MAX)
		g_error("lock \"%s\" taken while %d locks are held", lock->name, n_held);
	held[n_held++] = lock;
}

static void check_release(Lock *lock)
{
	for (int i = n_held - 1; i >= 0; i--) {
		if (held[i] == lock) {
			held[i] = held[--n_held];
			return;
		}
	}
	g_error("lock \"%s\" released but not held", lock->name);
}
#else
static void check_acquire(Lock *lock)
{
	(void)lock;
}

static void check_release(Lock *lock)
{
	(void)lock;
}
#endif

static void must(int e, const char *what)
{
	if (G_UNLIKELY(e != 0))
		g_error("%s: %s", what, g_strerror(e));
}

void lock_init(Lock *lock, const char *name, int rank)
{
	must(pthread_mutex_init(&lock->mutex, NULL), "pthread_mutex_init");
	lock->name = name;
	lock->rank = rank;
}

void lock_destroy(Lock *lock)
{
	must(pthread_mutex_destroy(&lock->mutex), lock->name);
}

void lock_acquire(Lock *lock)
{
	check_acquire(lock);
	must(pthread_mutex_lock(&lock->mutex), lock->name);
}

void lock_release(Lock *lock)
{
	check_release(lock);
	must(pthread_mutex_unlock(&lock->mutex), lock->name);
}

void cond_init(Cond *cond)
{
	pthread_condattr_t attr;
	must(pthread_condattr_init(&attr), "pthread_condattr_init");
	must(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC), "pthread_condattr_setclock");
	must(pthread_cond_init(&cond->cond, &attr), "pthread_cond_init");
	pthread_condattr_destroy(&attr);
}

void cond_destroy(Cond *cond)
{
	must(pthread_cond_destroy(&cond->cond), "pthread_cond_destroy");
}

void cond_signal(Cond *cond)
{
	pthread_cond_signal(&cond->cond);
}

void cond_broadcast(Cond *cond)
{
	pthread_cond_broadcast(&cond->cond);
}

void cond_wait(Cond *cond, Lock *lock)
{
	must(pthread_cond_wait(&cond->cond, &lock->mutex), lock->name);
}

bool cond_wait_until(Cond *cond, Lock *lock, int64_t deadline)
{
	if (deadline == 0) {
		cond_wait(cond, lock);
		return true;
	}
	struct timespec ts = {.tv_sec = deadline / NS_PER_SEC, .tv_nsec = deadline % NS_PER_SEC};
	int e = pthread_cond_timedwait(&cond->cond, &lock->mutex, &ts);
	if (e == ETIMEDOUT)
		return false;
	must(e, lock->name);
	return true;
}
