// SPDX-License-Identifier: Apache-2.0
#include "base/time.h"
#include "loop/lock.h"
#include "loop/thread.h"
#include <glib.h>
#include <signal.h>

static Lock lock;
static Cond cond;
static int counter;

static void *count(void *data)
{
	for (int i = 0; i < 10000; i++) {
		LOCK_SCOPE(&lock);
		counter++;
	}
	return NULL;
}

static void test_mutual(void)
{
	pthread_t threads[4];
	lock_init(&lock, "test", LOCK_RANK_LEAF);
	counter = 0;
	for (int i = 0; i < 4; i++)
		g_assert_cmpint(thread_start(&threads[i], "counter", 0, count, NULL), ==, 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	g_assert_cmpint(counter, ==, 40000);
	lock_destroy(&lock);
}

static void *answer(void *data)
{
	LOCK_SCOPE(&lock);
	counter = 1;
	cond_broadcast(&cond);
	return NULL;
}

static void test_cond(void)
{
	lock_init(&lock, "test", LOCK_RANK_LEAF);
	cond_init(&cond);
	counter = 0;
	{
		LOCK_SCOPE(&lock);
		int64_t start = time_mono();
		g_assert_false(cond_wait_until(&cond, &lock, start + 20 * NS_PER_MS));
		g_assert_cmpint(time_mono(), >=, start + 20 * NS_PER_MS);
		g_assert_false(cond_wait_until(&cond, &lock, start)); // past
		pthread_t thread;
		thread_start(&thread, "answer", 0, answer, NULL);
		while (counter == 0)
			g_assert_true(cond_wait_until(&cond, &lock, time_mono() + 30 * NS_PER_SEC));
		lock_release(&lock);
		pthread_join(thread, NULL);
		lock_acquire(&lock);
	}
	cond_destroy(&cond);
	lock_destroy(&lock);
}

static void *show(void *data)
{
	sigset_t *mask = data;
	pthread_sigmask(SIG_SETMASK, NULL, mask);
	return NULL;
}

static void test_thread_signals(void)
{
	pthread_t thread;
	sigset_t theirs, ours;
	thread_start(&thread, "a name that is far too long", 256 * 1024, show, &theirs);
	pthread_join(thread, NULL);
	g_assert_true(sigismember(&theirs, SIGTERM));
	pthread_sigmask(SIG_SETMASK, NULL, &ours);
	g_assert_false(sigismember(&ours, SIGTERM));
}

#ifdef CTRD_LOCK_CHECK
static void test_rank(void)
{
	Lock outer, inner;
	lock_init(&outer, "outer", LOCK_RANK_STORE);
	lock_init(&inner, "inner", LOCK_RANK_LEAF);
	if (g_test_subprocess()) {
		LOCK_SCOPE(&inner);
		LOCK_SCOPE(&outer);
		return;
	}
	// in order, released in any order
	lock_acquire(&outer);
	lock_acquire(&inner);
	lock_release(&outer);
	lock_release(&inner);
	lock_acquire(&inner);
	lock_release(&inner);
	lock_acquire(&outer);
	lock_release(&outer);
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_failed();
	g_test_trap_assert_stderr("*lock \"outer\" (rank 60) taken while \"inner\" (rank 90) is held*");
	lock_destroy(&outer);
	lock_destroy(&inner);
}

static void test_twice(void)
{
	if (g_test_subprocess()) {
		Lock l;
		lock_init(&l, "self", LOCK_RANK_LEAF);
		lock_acquire(&l);
		lock_acquire(&l);
		return;
	}
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_failed();
	g_test_trap_assert_stderr("*lock \"self\" (rank 90) taken while \"self\"*");
}

static void test_not_held(void)
{
	if (g_test_subprocess()) {
		Lock l;
		lock_init(&l, "free", LOCK_RANK_LEAF);
		lock_release(&l);
		return;
	}
	g_test_trap_subprocess(NULL, 0, 0);
	g_test_trap_assert_failed();
	g_test_trap_assert_stderr("*lock \"free\" released but not held*");
}
#endif

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/lock/mutual", test_mutual);
	g_test_add_func("/lock/cond", test_cond);
	g_test_add_func("/lock/thread-signals", test_thread_signals);
#ifdef CTRD_LOCK_CHECK
	g_test_add_func("/lock/rank", test_rank);
	g_test_add_func("/lock/twice", test_twice);
	g_test_add_func("/lock/not-held", test_not_held);
#endif
	return g_test_run();
}
