// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Metrics of the process, written as Prometheus' text format 0.0.4 (what upstream gets from docker/go-metrics
 * and client_golang). One registry for the process, as theirs.
 *
 * A collector writes its families when somebody asks; it runs on the asker's thread and must not wait for
 * anything outside the process. Counters and histograms are atomics that any thread may change; they cost
 * nothing while nobody looks. Everything here is for any thread.
 *
 * Names follow upstream: counters end in _total, times in _seconds, sizes in _bytes.
 */

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct MetricWriter MetricWriter;
typedef void (*MetricCollect)(MetricWriter *writer, void *data);

/* Returns an id for metrics_remove, after which fn does not run any more (it waits for a running one). */
unsigned metrics_add(MetricCollect fn, void *data);
void metrics_remove(unsigned id);
/* Asks all collectors and appends the text, families sorted by name. */
void metrics_write(GString *out);

typedef enum {
	METRIC_COUNTER,
	METRIC_GAUGE,
	METRIC_HISTOGRAM,
} MetricKind;

/* ---- for collectors ---- */

/* Begins a family, or goes on with one that another collector began. What is given are static strings. */
void metric_family(MetricWriter *writer, const char *name, const char *help, MetricKind kind);
/* A sample of the family begun last. Labels are name, value pairs, ended by NULL; values are escaped here. */
void metric_sample(MetricWriter *writer, double value, ...) G_GNUC_NULL_TERMINATED;
/* The same with a vector of pairs. */
void metric_sample_v(MetricWriter *writer, double value, const char *const *labels);

/* ---- things to count ---- */

typedef struct {
	int64_t value;
} MetricCounter; // zeros at start

static inline void metric_counter_add(MetricCounter *counter, int64_t n)
{
	__atomic_add_fetch(&counter->value, n, __ATOMIC_RELAXED);
}
static inline int64_t metric_counter_get(const MetricCounter *counter)
{
	return __atomic_load_n(&counter->value, __ATOMIC_RELAXED);
}

/* Times, in client_golang's default buckets (5 ms to 10 s). Zeros at start. */
#define METRIC_N_BUCKETS 11
typedef struct {
	uint64_t buckets[METRIC_N_BUCKETS + 1]; // not cumulated; the last is what is over 10 s
	int64_t sum_ns;
} MetricTimer;
void metric_timer_observe(MetricTimer *timer, int64_t ns);
uint64_t metric_timer_count(const MetricTimer *timer);
/* Its samples, into the family begun last (METRIC_HISTOGRAM). */
void metric_timer_write(MetricWriter *writer, const MetricTimer *timer, const char *const *labels);
