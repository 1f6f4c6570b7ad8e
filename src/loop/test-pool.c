// SPDX-License-Identifier: Apache-2.0
#include "base/time.h"
#include "loop/lock.h"
#include "loop/pool.h"
#include "loop/thread.h"
#include <glib.h>
#include <stdatomic.h>
#include <time.h>

static void sleep_ns(int64_t ns)
{
	struct timespec ts = {ns / NS_PER_SEC, ns % NS_PER_SEC};
	nanosleep(&ts, NULL);
}

static atomic_int done;

static void task(void *data)
{
	atomic_fetch_add(&done, 1);
}

static void test_all_run(void)
{
	Pool *pool = pool_new("test", 8, 1000, 10 * NS_PER_MS);
	int refused = 0;
	atomic_store(&done, 0);
	for (int i = 0; i < 50000; i++)
		while (!pool_submit(pool, task, NULL))
			refused++;
	pool_free(pool);
	g_assert_cmpint(atomic_load(&done), ==, 50000);
	g_test_message("refused %d times", refused);
}

/* A gate that tasks wait at. */
static Lock gate;
static Cond gate_moved;
static bool gate_open;
static int at_gate;
static GArray *order; // of int, under the gate's lock

static void gate_init(void)
{
	lock_init(&gate, "gate", LOCK_RANK_LEAF);
	cond_init(&gate_moved);
	gate_open = false;
	at_gate = 0;
	order = g_array_new(FALSE, FALSE, sizeof(int));
}

static void gate_clear(void)
{
	cond_destroy(&gate_moved);
	lock_destroy(&gate);
	g_array_unref(order);
}

static void wait_at_gate(void *data)
{
	LOCK_SCOPE(&gate);
	at_gate++;
	cond_broadcast(&gate_moved);
	while (!gate_open)
		cond_wait(&gate_moved, &gate);
	at_gate--;
	int i = GPOINTER_TO_INT(data);
	g_array_append_val(order, i);
	cond_broadcast(&gate_moved);
}

static void await_at_gate(int n)
{
	LOCK_SCOPE(&gate);
	while (at_gate != n)
		g_assert_true(cond_wait_until(&gate_moved, &gate, time_mono() + 30 * NS_PER_SEC));
}

static void open_gate(void)
{
	LOCK_SCOPE(&gate);
	gate_open = true;
	cond_broadcast(&gate_moved);
}

static void test_bounds(void)
{
	gate_init();
	Pool *pool = pool_new("test", 3, 2, NS_PER_SEC);
	for (int i = 0; i < 3; i++)
		g_assert_true(pool_submit(pool, wait_at_gate, GINT_TO_POINTER(i)));
	await_at_gate(3);
	g_assert_cmpuint(pool_n_threads(pool), ==, 3);
	g_assert_true(pool_submit(pool, wait_at_gate, GINT_TO_POINTER(3)));
	g_assert_true(pool_submit(pool, wait_at_gate, GINT_TO_POINTER(4)));
	g_assert_false(pool_submit(pool, wait_at_gate, GINT_TO_POINTER(5)));
	g_assert_cmpuint(pool_n_queued(pool), ==, 2);
	g_assert_cmpuint(pool_n_threads(pool), ==, 3);
	open_gate();
	pool_free(pool);
	g_assert_cmpuint(order->len, ==, 5);
	gate_clear();
}

static void test_order(void)
{
	gate_init();
	Pool *pool = pool_new("test", 1, 1000, NS_PER_SEC);
	for (int i = 0; i < 500; i++)
		g_assert_true(pool_submit(pool, wait_at_gate, GINT_TO_POINTER(i)));
	open_gate();
	pool_free(pool);
	for (int i = 0; i < 500; i++)
		g_assert_cmpint(g_array_index(order, int, i), ==, i);
	gate_clear();
}

static void test_growth(void)
{
	// one task at a time needs one worker
	Pool *pool = pool_new("test", 8, 8, 60 * NS_PER_SEC);
	for (int i = 0; i < 200; i++) {
		atomic_store(&done, 0);
		g_assert_true(pool_submit(pool, task, NULL));
		while (atomic_load(&done) == 0)
			sleep_ns(50000);
		sleep_ns(100000);
	}
	g_assert_cmpuint(pool_n_threads(pool), <=, 2);
	pool_free(pool);
}

static void test_shrink(void)
{
	gate_init();
	Pool *pool = pool_new("test", 4, 4, 20 * NS_PER_MS);
	for (int i = 0; i < 4; i++)
		g_assert_true(pool_submit(pool, wait_at_gate, NULL));
	await_at_gate(4);
	open_gate();
	for (int i = 0; pool_n_threads(pool) > 0; i++) {
		g_assert_cmpint(i, <, 3000);
		sleep_ns(10 * NS_PER_MS);
	}
	// and grows again
	atomic_store(&done, 0);
	g_assert_true(pool_submit(pool, task, NULL));
	pool_free(pool);
	g_assert_cmpint(atomic_load(&done), ==, 1);
	gate_clear();
}

/* Workers that give up exactly when tasks come: the moment in which a wake-up could be lost. */
static void test_idle_race(void)
{
	Pool *pool = pool_new("test", 2, 64, 50000);
	atomic_store(&done, 0);
	for (int i = 0; i < 3000; i++) {
		g_assert_true(pool_submit(pool, task, NULL));
		sleep_ns(20000 + (i % 7) * 10000);
		for (int wait = 0; atomic_load(&done) <= i; wait++) {
			g_assert_cmpint(wait, <, 100000);
			sleep_ns(100000);
		}
	}
	pool_free(pool);
}

static Pool *shared;

static void *submit_many(void *data)
{
	for (int i = 0; i < 5000; i++)
		while (!pool_submit(shared, task, NULL))
			sleep_ns(1000);
	return NULL;
}

static void test_submitters(void)
{
	pthread_t threads[4];
	shared = pool_new("test", 4, 16, 100000);
	atomic_store(&done, 0);
	for (int i = 0; i < 4; i++)
		thread_start(&threads[i], "submitter", 0, submit_many, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	pool_free(shared);
	g_assert_cmpint(atomic_load(&done), ==, 20000);
}

static void submit_from_task(void *data)
{
	// the pool is closing: refused; or not yet: runs
	if (pool_submit(shared, task, NULL))
		atomic_fetch_sub(&done, 1);
	atomic_fetch_add(&done, 1);
}

static void test_submit_while_closing(void)
{
	for (int i = 0; i < 200; i++) {
		shared = pool_new("test", 2, 16, NS_PER_SEC);
		atomic_store(&done, 0);
		g_assert_true(pool_submit(shared, submit_from_task, NULL));
		pool_free(shared);
		g_assert_cmpint(atomic_load(&done), ==, 1);
	}
	pool_free(pool_new("unused", 1, 1, 1));
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/pool/all-run", test_all_run);
	g_test_add_func("/pool/bounds", test_bounds);
	g_test_add_func("/pool/order", test_order);
	g_test_add_func("/pool/growth", test_growth);
	g_test_add_func("/pool/shrink", test_shrink);
	g_test_add_func("/pool/idle-race", test_idle_race);
	g_test_add_func("/pool/submitters", test_submitters);
	g_test_add_func("/pool/submit-while-closing", test_submit_while_closing);
	return g_test_run();
}
