// SPDX-License-Identifier: Apache-2.0

/*
 * The metadata database under load: durable label updates by 1, 4, 16, 64 and 256 callers at once, on a disk
 * whose fsync takes as long as is said (on top of what it really takes). The budget: 1,000 updates a second
 * at 5 ms.
 *
 * usage: meta-bench [DIR [FSYNC_MS [SECONDS]]]
 */

#include "base/error.h"
#include "base/fs.h"
#include "base/time.h"
#include "loop/thread.h"
#include "oci/labels.h"
#include "store/content.h"
#include "store/gc.h"
#include "store/images.h"
#include "store/meta-private.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CALLERS_MAX 256

static int delay_us;
static unsigned n_syncs;

/* SQLite's: the executable's definition comes before libc's. */
__attribute__((visibility("default"))) int fdatasync(int fd)
{
	__atomic_add_fetch(&n_syncs, 1, __ATOMIC_RELAXED);
	if (delay_us > 0)
		usleep((useconds_t)delay_us);
	return (int)syscall(SYS_fdatasync, fd);
}

typedef struct {
	MetaDb *db;
	unsigned id;
	int64_t until;
	GArray *times; // of int64_t
	pthread_t thread;
} Caller;

static void *call(void *data)
{
	Caller *c = data;
	static const Ctx ctx = {.ns = "bench"};
	g_autofree char *name = g_strdup_printf("docker.io/library/image-%u:latest", c->id);
	for (unsigned i = 0; time_mono() < c->until; i++) {
		g_autoptr(GError) error = NULL;
		g_autoptr(Image) image = image_new();
		g_autofree char *value = g_strdup_printf("%u", i);
		image->name = g_strdup(name);
		strmap_set(image->labels, "bench/counter", value);
		int64_t start = time_mono(), took;
		Image *updated = images_update(
		        c->db, &ctx, image, (const char *const[]){"labels.bench/counter", NULL}, 0, &error);
		if (updated == NULL) {
			fprintf(stderr, "%s\n", error->message);
			exit(1);
		}
		image_free(updated);
		took = time_mono() - start;
		g_array_append_val(c->times, took);
	}
	return NULL;
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
	return (x > y) - (x < y);
}

static double ms(GArray *sorted, double quantile)
{
	guint i = (guint)(quantile * (double)(sorted->len - 1));
	return (double)g_array_index(sorted, int64_t, i) / (double)NS_PER_MS;
}

static void run(MetaDb *db, unsigned n, double seconds)
{
	static Caller callers[CALLERS_MAX];
	MetaStats before, after;
	meta_stats(db, &before);
	unsigned syncs = n_syncs;
	int64_t start = time_mono();
	for (unsigned i = 0; i < n; i++) {
		callers[i] = (Caller){.db = db,
		                      .id = i,
		                      .until = start + (int64_t)(seconds * (double)NS_PER_SEC),
		                      .times = g_array_new(FALSE, FALSE, sizeof(int64_t))};
		if (thread_start(&callers[i].thread, "caller", 256 * 1024, call, &callers[i]) != 0)
			exit(1);
	}
	g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(int64_t));
	for (unsigned i = 0; i < n; i++) {
		pthread_join(callers[i].thread, NULL);
		g_array_append_vals(all, callers[i].times->data, callers[i].times->len);
		g_array_unref(callers[i].times);
	}
	double took = (double)(time_mono() - start) / (double)NS_PER_SEC;
	meta_stats(db, &after);
	g_array_sort(all, compare);
	printf("%3u callers: %7.0f updates/s, %5.0f commits/s, %.2f fsyncs a commit; ms: median %.2f, 99%% "
	       "%.2f, "
	       "max %.2f\n",
	       n, (double)all->len / took, (double)(after.n_commits - before.n_commits) / took,
	       (double)(n_syncs - syncs) / (double)(after.n_commits - before.n_commits), ms(all, 0.5),
	       ms(all, 0.99), ms(all, 1.0));
}

static void fill(MetaDb *db)
{
	static const Ctx ctx = {.ns = "bench"};
	for (unsigned i = 0; i < CALLERS_MAX; i++) {
		g_autoptr(GError) error = NULL;
		g_autofree char *name = g_strdup_printf("docker.io/library/image-%u:latest", i);
		g_autofree char *digest = digest_bytes(name, strlen(name));
		g_autoptr(Image) image = image_new();
		image->name = g_steal_pointer(&name);
		strmap_set(image->labels, "io.cri-containerd.image", "managed");
		image->target.digest = g_strdup(digest);
		image->target.media_type = g_strdup("application/vnd.oci.image.index.v1+json");
		image->target.size = 1234;
		Image *made = images_create(db, &ctx, image, 0, &error);
		if (made == NULL) {
			fprintf(stderr, "%s\n", error->message);
			exit(1);
		}
		image_free(made);
	}
}

static void report_memory(const char *when)
{
	char *text = NULL;
	size_t len;
	if (!file_read("/proc/self/smaps_rollup", 65536, &text, &len, NULL))
		return;
	const char *pss = strstr(text, "\nPss:");
	printf("%s: PSS %ld kB\n", when, pss != NULL ? strtol(pss + 5, NULL, 10) : -1);
	g_free(text);
}

int main(int argc, char **argv)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *base = g_build_filename(argc > 1 ? argv[1] : "/tmp", "meta-bench-XXXXXX", NULL);
	double fsync_ms = argc > 2 ? strtod(argv[2], NULL) : 5;
	double seconds = argc > 3 ? strtod(argv[3], NULL) : 2;
	if (g_mkdtemp(base) == NULL) {
		fprintf(stderr, "cannot make %s\n", base);
		return 1;
	}
	report_memory("before opening");
	g_autofree char *path = g_build_filename(base, "meta.sqlite", NULL);
	MetaDb *db = meta_open(path, NULL, &error);
	if (db == NULL) {
		fprintf(stderr, "%s\n", error->message);
		return 1;
	}
	fill(db);
	report_memory("with 256 images");
	delay_us = (int)(fsync_ms * 1000);
	printf("fsync takes %.1f ms more than it does\n", fsync_ms);
	static const unsigned counts[] = {1, 4, 16, 64, 256};
	for (size_t i = 0; i < G_N_ELEMENTS(counts); i++)
		run(db, counts[i], seconds);
	report_memory("after");
	meta_close(db);
	return tree_remove(base, NULL) ? 0 : 1;
}
