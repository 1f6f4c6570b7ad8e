// SPDX-License-Identifier: Apache-2.0
#include "base/time.h"
#include "loop/lock.h"
#include "loop/loop.h"
#include "loop/thread.h"

typedef struct {
	Loop *loop;
	GArray *seen; // of int; loop thread
	int value;
} Post;

static void on_post(void *data)
{
	Post *post = data;
	g_assert_true(loop_is_current(post->loop));
	g_array_append_val(post->seen, post->value);
	g_free(post);
}

static Post *new_post(Loop *loop, GArray *seen, int value)
{
	Post *post = g_new(Post, 1);
	*post = (Post){loop, seen, value};
	return post;
}

static void test_order(void)
{
	g_autoptr(GArray) seen = g_array_new(FALSE, FALSE, sizeof(int));
	Loop *loop = loop_start("test-loop");
	g_assert_false(loop_is_current(loop));
	for (int i = 0; i < 10000; i++)
		g_assert_true(loop_post(loop, on_post, new_post(loop, seen, i)));
	loop_stop_join(loop); // what was posted before runs
	g_assert_cmpuint(seen->len, ==, 10000);
	for (int i = 0; i < 10000; i++)
		g_assert_cmpint(g_array_index(seen, int, i), ==, i);
}

static void *post_many(void *data)
{
	Post *from = data; // value: which thread
	for (int i = 0; i < 5000; i++)
		g_assert_true(loop_post(from->loop, on_post, new_post(from->loop, from->seen, i)));
	return NULL;
}

static void test_threads(void)
{
	Loop *loop = loop_start("test-loop");
	Post from[4];
	pthread_t threads[4];
	for (int t = 0; t < 4; t++) {
		from[t] = (Post){loop, g_array_new(FALSE, FALSE, sizeof(int)), t};
		thread_start(&threads[t], "poster", 0, post_many, &from[t]);
	}
	for (int t = 0; t < 4; t++)
		pthread_join(threads[t], NULL);
	loop_stop_join(loop);
	for (int t = 0; t < 4; t++) {
		g_assert_cmpuint(from[t].seen->len, ==, 5000);
		for (int i = 0; i < 5000; i++)
			g_assert_cmpint(g_array_index(from[t].seen, int, i), ==, i);
		g_array_unref(from[t].seen);
	}
}

typedef struct {
	Loop *loop;
	LoopTimer *timer;
	int64_t start;
	int n, refused;
} Ticks;

static void refuse(void *data)
{
	g_assert_not_reached();
}

static void post_after_stop(void *data)
{
	Ticks *t = data;
	// the loop is draining its mailbox for the last time
	if (!loop_post(t->loop, refuse, NULL))
		t->refused++;
}

static void on_tick(void *data)
{
	Ticks *t = data;
	if (++t->n == 1)
		g_assert_cmpint(time_mono() - t->start, >=, 10 * NS_PER_MS);
	if (t->n == 3) {
		loop_timer_free(t->timer); // from its own callback
		loop_stop(t->loop);
		loop_stop(t->loop);
	}
}

static void at_once(void *data)
{
	((Ticks *)data)->n += 100;
}

static void test_timer(void)
{
	Loop *loop = loop_new();
	Ticks t = {.loop = loop, .start = time_mono()};
	t.timer = loop_timer_new(loop, on_tick, &t);
	LoopTimer *never = loop_timer_new(loop, refuse, NULL);
	loop_timer_start(never, 5 * NS_PER_MS, 0);
	loop_timer_stop(never);
	loop_timer_free(never);
	loop_timer_free(NULL);
	loop_timer_start(t.timer, 60 * NS_PER_SEC, 0);
	loop_timer_start(t.timer, 10 * NS_PER_MS, 2 * NS_PER_MS); // restarts
	loop_run(loop);
	g_assert_cmpint(t.n, ==, 3);
	g_assert_cmpint(time_mono() - t.start, >=, 14 * NS_PER_MS);
	g_assert_false(loop_post(loop, refuse, NULL));
	loop_free(loop);
}

static void test_stop(void)
{
	Loop *loop = loop_new();
	Ticks t = {.loop = loop};
	loop_stop(loop); // before it runs
	g_assert_true(loop_post(loop, post_after_stop, &t));
	loop_run(loop);
	g_assert_cmpint(t.refused, <=, 1);
	g_assert_true(loop_is_current(loop));
	g_assert_true(loop_run_on(loop, at_once, &t)); // this is the loop's thread
	g_assert_cmpint(t.n, ==, 100);
	loop_free(loop);
}

static void endless(void *data)
{
	Ticks *t = data;
	t->n++;
	if (!loop_post(t->loop, endless, t))
		t->refused++;
}

static void test_endless_poster(void)
{
	// who posts from each message does not keep the loop from its end
	Loop *loop = loop_start("test-loop");
	Ticks t = {.loop = loop};
	loop_post(loop, endless, &t);
	loop_stop_join(loop);
	g_assert_cmpint(t.refused, ==, 1);
}

static void run_on_nested(void *data)
{
	Ticks *t = data;
	int before = t->n;
	loop_run_on(t->loop, at_once, t);
	g_assert_cmpint(t->n, ==, before + 100);
}

static void test_run_on(void)
{
	Loop *loop = loop_start("test-loop");
	Ticks t = {.loop = loop};
	g_assert_true(loop_run_on(loop, run_on_nested, &t));
	loop_stop_join(loop);
	g_assert_cmpint(t.n, ==, 100);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/loop/order", test_order);
	g_test_add_func("/loop/threads", test_threads);
	g_test_add_func("/loop/timer", test_timer);
	g_test_add_func("/loop/stop", test_stop);
	g_test_add_func("/loop/endless-poster", test_endless_poster);
	g_test_add_func("/loop/run-on", test_run_on);
	return g_test_run();
}
