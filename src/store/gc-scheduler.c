// SPDX-License-Identifier: Apache-2.0

/*
 * When to collect (upstream plugins/gc/scheduler.go). One thread that sleeps until something is due; upstream
 * wakes up some times a second to see that nothing is. The work is done without the lock: deletes that wait
 * for a collection queue up behind it, nobody else waits.
 */

#include "base/error.h"
#include "base/log.h"
#include "loop/lock.h"
#include "loop/thread.h"
#include "store/gc-private.h"

/* So that an average of nothing does not mean a collection without a pause. */
#define COLLECTION_MIN (5 * NS_PER_MS)

/* ---- the rules ---- */

void gc_schedule_set_options(GcSchedule *s, const GcOptions *options)
{
	s->options = *options;
	s->options.pause_threshold = CLAMP(options->pause_threshold, 0.0, 0.5);
	s->options.mutation_threshold = MAX(options->mutation_threshold, 0);
	s->options.schedule_delay_ns = MAX(options->schedule_delay_ns, 0);
	s->options.startup_delay_ns = MAX(options->startup_delay_ns, 0);
}

void gc_schedule_init(GcSchedule *s, const GcOptions *options, int64_t now)
{
	*s = (GcSchedule){.start = now, .interval = NS_PER_SEC};
	gc_schedule_set_options(s, options);
}

static void want(GcSchedule *s, int64_t now)
{
	if (!s->triggered)
		s->trigger_at = now + s->options.schedule_delay_ns;
	s->triggered = true;
}

void gc_schedule_mutation(GcSchedule *s, bool deletion, int64_t now)
{
	s->mutations++;
	if (!deletion)
		return;
	s->deletions++;
	if (s->options.deletion_threshold > 0 && s->deletions >= s->options.deletion_threshold)
		want(s, now);
}

void gc_schedule_trigger(GcSchedule *s, int64_t now)
{
	want(s, now);
}

void gc_schedule_begin(GcSchedule *s)
{
	s->triggered = false;
	s->deletions = s->mutations = 0;
}

void gc_schedule_done(GcSchedule *s, bool ok, int64_t took, int64_t now)
{
	s->last = now;
	if (!ok) {
		// again, a while later than it would have been
		s->interval = (s->ran ? s->interval : s->options.schedule_delay_ns) + NS_PER_SEC;
		s->ran = true;
		s->triggered = true;
		s->trigger_at = now + s->interval;
		return;
	}
	s->ran = true;
	s->time_sum += took;
	s->n_collections++;
	s->interval = NS_PER_SEC;
	if (s->options.pause_threshold > 0.0) {
		double average = MAX((double)s->time_sum / s->n_collections, (double)COLLECTION_MIN);
		s->interval = (int64_t)(average / s->options.pause_threshold - average);
	}
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a == 0 || (b != 0 && b < a) ? b : a;
}

int64_t gc_schedule_due(const GcSchedule *s)
{
	int64_t due = s->triggered ? s->trigger_at : 0;
	bool enough = s->deletions > 0 ||
	              (s->options.mutation_threshold > 0 && s->mutations >= s->options.mutation_threshold);
	if (s->ran)
		return enough ? earlier(due, s->last + s->interval) : due;
	if (s->options.startup_delay_ns > 0)
		return earlier(due, s->start + s->options.startup_delay_ns);
	// no first collection was asked for: what would make a later one due makes this one due
	bool first = (s->options.deletion_threshold == 0 && s->deletions > 0) ||
	             (s->options.mutation_threshold > 0 && s->mutations >= s->options.mutation_threshold);
	return first ? earlier(due, s->start + s->options.schedule_delay_ns) : due;
}

/* ---- the thread ---- */

struct Gc {
	GcCollection collection; // the thread's, but `runs` under the lock while it sleeps
	pthread_t thread;
	bool has_thread;
	pthread_t self; // the thread, as it knows itself; while `running`
	Lock lock;
	Cond wake; // the thread: something may be due
	Cond done; // callers: a collection ended
	GcSchedule schedule;
	bool stopping, running;
	uint64_t n_started, n_ended, last_failed; // collections by number, from 1
	GcStats stats;
	GcMetrics metrics;
};

static void on_mutation(bool deletion, void *data)
{
	Gc *gc = data;
	LOCK_SCOPE(&gc->lock);
	if (gc->running && pthread_equal(gc->self, pthread_self()))
		return; // a collection deletes, but makes no garbage
	gc_schedule_mutation(&gc->schedule, deletion, time_mono());
	cond_signal(&gc->wake);
}

/* Under the lock; false: stop. */
static bool wait_until_due(Gc *gc)
{
	while (!gc->stopping) {
		int64_t due = gc_schedule_due(&gc->schedule), now = time_mono();
		if (due != 0 && due <= now)
			return true;
		cond_wait_until(&gc->wake, &gc->lock, due);
	}
	return false;
}

static void collect_once(Gc *gc)
{
	g_autoptr(GError) error = NULL;
	GcStats stats = {0};
	gc->n_started++;
	gc->self = pthread_self();
	gc->running = true;
	gc_schedule_begin(&gc->schedule);
	lock_release(&gc->lock);
	bool ok = gc_collect(&gc->collection, &stats, &error);
	if (!ok)
		log_error_take(LOG_ERROR, g_steal_pointer(&error), "garbage collection failed", NULL);
	lock_acquire(&gc->lock);
	gc->running = false;
	gc->n_ended = gc->n_started;
	if (!ok) {
		gc->last_failed = gc->n_ended;
	} else {
		unsigned n = gc->stats.n_collections + 1;
		gc->stats = stats;
		gc->stats.n_collections = n;
	}
	gc_schedule_done(&gc->schedule, ok, stats.duration_ns, time_mono());
	metric_counter_add(ok ? &gc->metrics.succeeded : &gc->metrics.failed, 1);
	if (ok)
		metric_timer_observe(&gc->metrics.times, stats.duration_ns);
	cond_broadcast(&gc->done);
}

static void *run(void *data)
{
	Gc *gc = data;
	lock_acquire(&gc->lock);
	while (wait_until_due(gc))
		collect_once(gc);
	cond_broadcast(&gc->done);
	lock_release(&gc->lock);
	return NULL;
}

Gc *gc_new(MetaDb *db, ContentStore *content, GHashTable *snapshotters, const GcOptions *options)
{
	Gc *gc = g_new0(Gc, 1);
	gc->collection = (GcCollection){.db = db, .content = content, .snapshotters = snapshotters};
	gc->collection.runs = g_array_new(FALSE, TRUE, sizeof(GcRun));
	lock_init(&gc->lock, "gc", LOCK_RANK_STORE);
	cond_init(&gc->wake);
	cond_init(&gc->done);
	gc_schedule_init(&gc->schedule, options, time_mono());
	meta_on_mutation(db, on_mutation, gc);
	gc->has_thread = thread_start(&gc->thread, "gc", 0, run, gc) == 0;
	if (!gc->has_thread)
		log_error("no thread for garbage collection: nothing will be collected", NULL);
	return gc;
}

void gc_add_collector(Gc *gc, const GcCollector *collector, void *data)
{
	LOCK_SCOPE(&gc->lock);
	while (gc->running)
		cond_wait(&gc->done, &gc->lock);
	GcRun r = {.collector = collector, .data = data};
	g_array_append_val(gc->collection.runs, r);
}

void gc_set_mounts_cleaner(Gc *gc, bool (*fn)(void *data, GError **error), void *data)
{
	LOCK_SCOPE(&gc->lock);
	while (gc->running)
		cond_wait(&gc->done, &gc->lock);
	gc->collection.clean_mounts = fn;
	gc->collection.mounts = data;
}

static void on_cancel(void *data)
{
	Gc *gc = data;
	LOCK_SCOPE(&gc->lock);
	cond_broadcast(&gc->done);
}

/* A collection that began before this call may have missed what the caller did. */
static bool wait_for_one(Gc *gc, const Ctx *ctx, GError **error)
{
	LOCK_SCOPE(&gc->lock);
	uint64_t number = gc->n_started + 1;
	gc_schedule_trigger(&gc->schedule, time_mono());
	cond_signal(&gc->wake);
	int64_t deadline = ctx->cancel != NULL ? cancel_deadline(ctx->cancel) : 0;
	while (gc->n_ended < number && !gc->stopping) {
		if (!cancel_check(ctx->cancel, error))
			return false;
		cond_wait_until(&gc->done, &gc->lock, deadline);
	}
	if (gc->n_ended < number || gc->last_failed >= number)
		return error_set(error, CTRD_ERR_UNKNOWN, "gc failed");
	return true;
}

bool gc_run(Gc *gc, const Ctx *ctx, GError **error)
{
	if (!gc->has_thread)
		return error_set(error, CTRD_ERR_UNKNOWN, "gc failed");
	unsigned id = ctx->cancel != NULL ? cancel_on(ctx->cancel, on_cancel, gc) : 0;
	bool ok = wait_for_one(gc, ctx, error);
	if (id != 0)
		cancel_off(ctx->cancel, id);
	return ok;
}

void gc_last(Gc *gc, GcStats *ret)
{
	LOCK_SCOPE(&gc->lock);
	*ret = gc->stats;
}

const GcMetrics *gc_metrics(const Gc *gc)
{
	return &gc->metrics;
}

void gc_set_options(Gc *gc, const GcOptions *options)
{
	LOCK_SCOPE(&gc->lock);
	gc_schedule_set_options(&gc->schedule, options);
	cond_signal(&gc->wake);
}

void gc_free(Gc *gc)
{
	if (gc == NULL)
		return;
	meta_on_mutation(gc->collection.db, NULL, NULL);
	lock_acquire(&gc->lock);
	gc->stopping = true;
	cond_signal(&gc->wake);
	lock_release(&gc->lock);
	if (gc->has_thread)
		pthread_join(gc->thread, NULL);
	g_array_unref(gc->collection.runs);
	cond_destroy(&gc->wake);
	cond_destroy(&gc->done);
	lock_destroy(&gc->lock);
	g_free(gc);
}
