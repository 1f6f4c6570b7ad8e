// SPDX-License-Identifier: Apache-2.0
#include "loop/metrics.h"
#include "loop/lock.h"
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <string.h>

#define MAX_LABELS 12

/* ---- the registry ---- */

typedef struct {
	unsigned id;
	MetricCollect fn;
	void *data;
	unsigned busy; // in the hands of so many that ask
} Collector;

static struct {
	Lock lock;
	Cond idle; // a collector's busy went to 0
	GPtrArray *collectors;
	unsigned next_id;
} registry;

static void registry_init(void)
{
	lock_init(&registry.lock, "metrics", LOCK_RANK_LEAF);
	cond_init(&registry.idle);
	registry.collectors = g_ptr_array_new();
}

static void registry_lock(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, registry_init);
	lock_acquire(&registry.lock);
}

unsigned metrics_add(MetricCollect fn, void *data)
{
	Collector *c = g_new0(Collector, 1);

	registry_lock();
	unsigned id = ++registry.next_id;
	*c = (Collector){.id = id, .fn = fn, .data = data};
	g_ptr_array_add(registry.collectors, c);
	lock_release(&registry.lock);
	return id;
}

/* Off the list, so that nobody new takes it; NULL where there is none. */
static Collector *steal(unsigned id)
{
	for (guint i = 0; i < registry.collectors->len; i++) {
		Collector *c = registry.collectors->pdata[i];

		if (c->id == id)
			return g_ptr_array_remove_index(registry.collectors, i);
	}
	return NULL;
}

void metrics_remove(unsigned id)
{
	registry_lock();
	Collector *c = steal(id);
	while (c != NULL && c->busy > 0)
		cond_wait(&registry.idle, &registry.lock);
	lock_release(&registry.lock);
	g_free(c);
}

/* ---- writing ---- */

typedef struct {
	const char *name, *help;
	MetricKind kind;
	GString *samples;
} Family;

struct MetricWriter {
	GHashTable *families; // name -> Family
	Family *current;
};

static void family_free(void *data)
{
	Family *f = data;

	g_string_free(f->samples, TRUE);
	g_free(f);
}

void metric_family(MetricWriter *writer, const char *name, const char *help, MetricKind kind)
{
	Family *f = g_hash_table_lookup(writer->families, name);

	if (f == NULL) {
		f = g_new0(Family, 1);
		f->name = name;
		f->help = help;
		f->kind = kind;
		f->samples = g_string_new(NULL);
		g_hash_table_insert(writer->families, (char *)name, f);
	}
	writer->current = f;
}

static void append_escaped(GString *out, const char *text, bool quote)
{
	for (; *text != '\0'; text++) {
		if (*text == '\\')
			g_string_append(out, "\\\\");
		else if (*text == '\n')
			g_string_append(out, "\\n");
		else if (*text == '"' && quote)
			g_string_append(out, "\\\"");
		else
			g_string_append_c(out, *text);
	}
}

/* As Go's strconv 'g' with the shortest form that reads back the same. */
static void append_number(GString *out, double value)
{
	char text[40];

	if (isinf(value) || isnan(value)) {
		g_string_append(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		g_snprintf(text, sizeof(text), "%.*g", digits, value);
		if (g_ascii_strtod(text, NULL) == value)
			break;
	}
	g_string_append(out, text);
}

/* Labels in the order of their names, as client_golang writes them. */
static void append_sample(GString *out, const char *name, const char *suffix, const char *const *labels,
                          double value)
{
	const char *const *sorted[MAX_LABELS];
	size_t n = 0;

	for (; labels != NULL && labels[2 * n] != NULL && n < MAX_LABELS; n++) {
		size_t at = n;

		for (; at > 0 && strcmp(sorted[at - 1][0], labels[2 * n]) > 0; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = labels + 2 * n;
	}
	g_string_append_printf(out, "%s%s", name, suffix);
	for (size_t i = 0; i < n; i++) {
		g_string_append_printf(out, "%s%s=\"", i == 0 ? "{" : ",", sorted[i][0]);
		append_escaped(out, sorted[i][1], true);
		g_string_append_c(out, '"');
	}
	g_string_append(out, n > 0 ? "} " : " ");
	append_number(out, value);
	g_string_append_c(out, '\n');
}

void metric_sample_v(MetricWriter *writer, double value, const char *const *labels)
{
	append_sample(writer->current->samples, writer->current->name, "", labels, value);
}

void metric_sample(MetricWriter *writer, double value, ...)
{
	const char *labels[2 * MAX_LABELS + 1] = {NULL};
	va_list ap;

	va_start(ap, value);
	for (size_t i = 0; i < 2 * MAX_LABELS && (i == 0 || labels[i - 1] != NULL); i++)
		labels[i] = va_arg(ap, const char *);
	va_end(ap);
	metric_sample_v(writer, value, labels);
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(Family *const *)a)->name, (*(Family *const *)b)->name);
}

static void append_families(GString *out, GHashTable *families)
{
	static const char *const kinds[] = {"counter", "gauge", "histogram"};
	g_autoptr(GPtrArray) sorted = g_ptr_array_new();
	GHashTableIter iter;
	void *value;

	g_hash_table_iter_init(&iter, families);
	while (g_hash_table_iter_next(&iter, NULL, &value))
		g_ptr_array_add(sorted, value);
	g_ptr_array_sort(sorted, by_name);
	for (guint i = 0; i < sorted->len; i++) {
		const Family *f = sorted->pdata[i];

		if (f->samples->len == 0)
			continue;
		g_string_append_printf(out, "# HELP %s ", f->name);
		append_escaped(out, f->help, false);
		g_string_append_printf(out, "\n# TYPE %s %s\n", f->name, kinds[f->kind]);
		g_string_append_len(out, f->samples->str, (gssize)f->samples->len);
	}
}

void metrics_write(GString *out)
{
	MetricWriter writer = {.families = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, family_free)};

	g_autoptr(GPtrArray) collectors = g_ptr_array_new();

	registry_lock();
	for (guint i = 0; i < registry.collectors->len; i++) {
		Collector *c = registry.collectors->pdata[i];

		c->busy++;
		g_ptr_array_add(collectors, c);
	}
	lock_release(&registry.lock);
	for (guint i = 0; i < collectors->len; i++) {
		Collector *c = collectors->pdata[i];

		writer.current = NULL;
		c->fn(&writer, c->data);
		registry_lock();
		if (--c->busy == 0)
			cond_broadcast(&registry.idle);
		lock_release(&registry.lock);
	}
	append_families(out, writer.families);
	g_hash_table_unref(writer.families);
}

/* ---- timers ---- */

static const double bounds[METRIC_N_BUCKETS] = {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10};

void metric_timer_observe(MetricTimer *timer, int64_t ns)
{
	double seconds = (double)ns / 1e9;
	size_t i = 0;

	while (i < METRIC_N_BUCKETS && seconds > bounds[i])
		i++;
	__atomic_add_fetch(&timer->buckets[i], 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&timer->sum_ns, ns, __ATOMIC_RELAXED);
}

uint64_t metric_timer_count(const MetricTimer *timer)
{
	uint64_t count = 0;

	for (size_t i = 0; i <= METRIC_N_BUCKETS; i++)
		count += __atomic_load_n(&timer->buckets[i], __ATOMIC_RELAXED);
	return count;
}

void metric_timer_write(MetricWriter *writer, const MetricTimer *timer, const char *const *labels)
{
	const Family *f = writer->current;
	const char *with_le[2 * MAX_LABELS + 1] = {NULL};
	uint64_t count = 0;
	size_t n = 0;

	for (; labels != NULL && labels[n] != NULL && n < 2 * MAX_LABELS - 2; n++)
		with_le[n] = labels[n];
	with_le[n] = "le";
	for (size_t i = 0; i <= METRIC_N_BUCKETS; i++) {
		g_autoptr(GString) le = g_string_new(NULL);

		count += __atomic_load_n(&timer->buckets[i], __ATOMIC_RELAXED);
		append_number(le, i < METRIC_N_BUCKETS ? bounds[i] : (double)INFINITY);
		with_le[n + 1] = le->str;
		append_sample(f->samples, f->name, "_bucket", with_le, (double)count);
	}
	append_sample(f->samples, f->name, "_sum", labels,
	              (double)__atomic_load_n(&timer->sum_ns, __ATOMIC_RELAXED) / 1e9);
	append_sample(f->samples, f->name, "_count", labels, (double)count);
}
